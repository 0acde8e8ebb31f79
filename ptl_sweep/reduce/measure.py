"""Every published detector of a sweep measured on its targets, side by side on the cores here."""

import logging
import multiprocessing
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, field, replace
from pathlib import Path

from ptl_sweep.config.schema import AnalysisConfig
from ptl_sweep.detection.table import ARTIFACTS
from ptl_sweep.metrics.measure import CellMetrics, DetectorJob, Evaluation, measure_detector
from ptl_sweep.pipeline.graph import CellIteration
from ptl_sweep.pipeline.plan import Plan
from ptl_sweep.pipeline.status import StageState, States
from ptl_sweep.seeds import derive_seed
from ptl_sweep.stages.train import FEATURES, num_real_images
from ptl_sweep.store import Store, StoreError
from ptl_sweep.terminal import progress_bar
from ptl_sweep.vocabulary import Value

logger = logging.getLogger(__name__)

MAX_WORKERS = 8
FEWEST_JOBS = 4  # a process takes a second to start


@dataclass(slots=True)
class Measurements:
    """What is known of a sweep's detectors; a damaged file leaves a problem in its place."""

    cells: dict[str, CellMetrics] = field(default_factory=dict)  # by key of the evaluate stage
    gaussians: dict[str, dict[str, Value]] = field(default_factory=dict)  # by key of the detector
    problems: dict[str, str] = field(default_factory=dict)  # by key of the evaluate stage


def measure_sweep(plan: Plan, states: States) -> Measurements:
    """Measure every reading whose stages are published.

    All detectors of a source are compared at one number of features, the smallest that is at least
    `analysis.equal_n_min`; the number of workers changes no digit.
    """
    jobs = list(detector_jobs(plan, states))
    found = Measurements()
    for one in _measured(jobs, plan.store, plan.settings.analysis):
        found.cells |= one.cells
        found.gaussians |= one.gaussians
        found.problems |= one.problems
    return found


def detector_jobs(plan: Plan, states: States) -> Iterator[DetectorJob]:
    """One job per detector with something to measure, in the order of the plan."""
    readings: dict[str, list[CellIteration]] = {}
    sources: dict[str, str] = {}
    final = {cell.readings[-1].evaluate for cell in plan.cells}
    for cell in plan.cells:
        for reading in cell.readings:
            if states[reading.evaluate] == StageState.PUBLISHED:
                readings.setdefault(reading.detector, []).append(reading)
                sources[reading.detector] = cell.id.dataset
    equal_n = _equal_n(plan, sources)
    for detector, own in readings.items():
        validation = own[0].validation
        is_there = validation is not None and states[validation] == StageState.PUBLISHED
        yield DetectorJob(
            key=detector,
            training_features=plan.store.path(detector) / FEATURES,
            validation=plan.store.path(validation) if validation and is_there else None,
            evaluations=tuple(
                Evaluation(key, plan.store.path(key), key in final, _resampling_seed(plan, key))
                for key in dict.fromkeys(reading.evaluate for reading in own)
            ),
            settings=plan.settings.analysis,
            score_thresholds=tuple(plan.settings.score_thresholds),
            equal_n=equal_n[detector],
            seed=derive_seed(0, "analysis"),
            num_real=num_real_images(plan.store, detector),
        )


def _equal_n(plan: Plan, sources: Mapping[str, str]) -> dict[str, int | None]:
    """Features to compare each detector at; None for one that has fewer."""
    least = plan.settings.analysis.equal_n_min
    counts = {key: int(plan.store.meta(key)["summary"]["gaussian_n"]) for key in sources}
    common: dict[str, int] = {}
    for key, source in sources.items():
        if counts[key] >= least:
            common[source] = min(counts[key], common.get(source, counts[key]))
    return {key: common[sources[key]] if counts[key] >= least else None for key in sources}


def _resampling_seed(plan: Plan, key: str) -> int:
    """The same for every detector of a target; other targets draw on their own."""
    return derive_seed(0, "bootstrap", plan.stages[key].spec["data"])


def _measured(
    jobs: Sequence[DetectorJob], store: Store, settings: AnalysisConfig
) -> Iterator[Measurements]:
    """Results in the order of the jobs, with a progress bar where somebody watches."""
    num_workers = min(settings.num_workers or _num_cores(), len(jobs))
    if num_workers == 1 or (settings.num_workers is None and len(jobs) < FEWEST_JOBS):
        yield from _shown((_measure_checked(job, store) for job in jobs), len(jobs))
        return
    done = 0
    try:
        for found in _shown(_in_processes(jobs, store, num_workers), len(jobs)):
            yield found
            done += 1
    except BrokenProcessPool:
        logger.warning("a process that measured detectors was killed; one process goes on")
        yield from (_measure_checked(job, store) for job in jobs[done:])


def _in_processes(
    jobs: Sequence[DetectorJob], store: Store, num_workers: int
) -> Iterator[Measurements]:
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(num_workers, mp_context=context) as pool:
        yield from pool.map(_measure_checked, jobs, [store] * len(jobs))


def _num_cores() -> int:
    """What SLURM has given to the job, which may be fewer than it lets the job see."""
    cores = len(os.sched_getaffinity(0))
    return min(int(os.environ.get("SLURM_CPUS_PER_TASK") or cores), cores, MAX_WORKERS)


def _shown(results: Iterable[Measurements], total: int) -> Iterator[Measurements]:
    with progress_bar() as bar:
        yield from bar.track(results, total=total, description="measuring detectors")


def _measure_checked(job: DetectorJob, store: Store) -> Measurements:
    """Measure what is undamaged; a damaged validation leaves calibrated distances out."""
    found = Measurements()
    try:
        store.artifact(job.key, FEATURES)
    except StoreError as error:
        found.problems = {one.key: str(error) for one in job.evaluations}
        return found
    for one in job.evaluations:
        if problem := _damage(store, one.folder):
            found.problems[one.key] = problem
    validation = job.validation
    if validation is not None and _damage(store, validation):
        validation = None
    whole = tuple(one for one in job.evaluations if one.key not in found.problems)
    metrics = measure_detector(replace(job, evaluations=whole, validation=validation))
    found.cells, found.gaussians = metrics.cells, {job.key: metrics.gaussian}
    return found


def _damage(store: Store, folder: Path) -> str:
    """What is wrong with the files of an evaluate stage; empty when nothing is."""
    try:
        for name in ARTIFACTS:
            store.artifact(folder.name, name)
    except StoreError as error:
        return str(error)
    return ""
