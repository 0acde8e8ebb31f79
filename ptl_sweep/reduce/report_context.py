"""What the report shows beside the study: failures, drops, warnings, settings, provenance."""

import time
from collections import Counter
from collections.abc import Iterator, Mapping

from ptl_sweep.metrics.measure import CellMetrics
from ptl_sweep.pipeline.plan import Plan
from ptl_sweep.pipeline.plan_text import axes_note
from ptl_sweep.pipeline.provenance import software, software_text
from ptl_sweep.pipeline.queue import QueueSnapshot
from ptl_sweep.pipeline.status import StageState, States
from ptl_sweep.pipeline.status_text import what_failed
from ptl_sweep.pipeline.toy import toy_note
from ptl_sweep.reduce.pictures import sample_pictures, stage_costs
from ptl_sweep.reduce.sample_size_bias import kept_simulation
from ptl_sweep.reduce.tables import FILES
from ptl_sweep.report import Provenance, ReportContext, StageFailure
from ptl_sweep.report.figures import CellHistogram
from ptl_sweep.study.study import Study
from ptl_sweep.vocabulary import Group

DRIFT_COUNTS = (30, 100, 300, 1000, 3000)  # features at which the appendix shows the artefact
MAX_WARNINGS = 10  # about the order of matching


def report_context(
    plan: Plan,
    study: Study,
    *,
    states: States,
    jobs: QueueSnapshot | None,
    cells: Mapping[str, CellMetrics],
) -> ReportContext:
    """Everything that the report shows of a reduced sweep; `cells` by key of the evaluate stage."""
    dimension = plan.detector_stage(next(iter(plan.stages))).detector.channels
    analysis = plan.settings.analysis
    return ReportContext(
        title=plan.name,
        study=study,
        stage_costs=stage_costs(plan, states),
        histograms=list(_histograms(plan, cells)),
        provenance=_provenance(plan, states),
        feature_dim=dimension,
        toy_note=toy_note(plan),
        settings=plan.settings.shared,
        files=FILES,
        samples=sample_pictures(plan),
        failures=_failures(plan, states, jobs),
        drops=_drops(plan, states),
        warnings=[
            *_axis_warnings(plan),
            *_stage_warnings(plan, states),
            *_matching_warnings(cells),
        ],
        drift=kept_simulation(plan.root, dimension, DRIFT_COUNTS, analysis) if cells else [],
    )


def _histograms(plan: Plan, cells: Mapping[str, CellMetrics]) -> Iterator[CellHistogram]:
    for cell in plan.cells:
        metrics = cells.get(cell.readings[-1].evaluate)
        if metrics is not None:
            place = cell.id
            group = Group(place.dataset, place.real_count, place.synthetic, place.target)
            yield CellHistogram(group, metrics.histogram)


def _failures(plan: Plan, states: States, jobs: QueueSnapshot | None) -> list[StageFailure]:
    found = []
    for key, state in states.items():
        if state == StageState.FAILED:
            failure = plan.store.failure(key) or {}
            path = failure.get("log") or plan.log_path(plan.task_of(key))
            found.append(StageFailure(key, what_failed(plan, key, jobs), str(path)))
    return found


def _axis_warnings(plan: Plan) -> Iterator[str]:
    if plan.axes:
        yield (
            f"axes: {axes_note(plan)}. Every value is judged by itself. Effects on AP50 are "
            "adjusted for the number of values; other statements are not, so a single one that is "
            "found among several values is exploratory"
        )


def _stage_warnings(plan: Plan, states: States) -> list[str]:
    """What a reader must know about single stages, whatever cell they belong to."""
    warnings = []
    for key, state in states.items():
        summary = plan.store.meta(key)["summary"] if state == StageState.PUBLISHED else {}
        if summary.get("num_selected_uniformly") and summary.get("reason"):
            warnings.append(f"{key}: {summary['reason']}")
        if summary.get("num_untranslated"):
            warnings.append(f"{key}: {summary['num_untranslated']} persons stay untranslated")
        if summary.get("num_ground_truth") == 0:
            warnings.append(f"{key}: no image of this target shows a person, so AP is empty (-)")
        if summary.get("num_capped_images"):
            warnings.append(
                f"{key}: {summary['num_capped_images']} images reach evaluate.max_detections"
            )
    return warnings


def _matching_warnings(cells: Mapping[str, CellMetrics]) -> list[str]:
    """Where the order of matching decides AP_t2t."""
    found = [f"{key}: {text}" for key, metrics in cells.items() for text in metrics.warnings]
    if len(found) <= MAX_WARNINGS:
        return found
    rest = f"{len(found) - MAX_WARNINGS} more such changes: columns _rematched of results.csv"
    return [*found[:MAX_WARNINGS], rest]


def _provenance(plan: Plan, states: States) -> Provenance:
    about = software()
    computed = Counter(
        software_text(plan.store.meta(key))
        for key, state in states.items()
        if state == StageState.PUBLISHED
    )
    return Provenance(
        command=plan.command,
        commit=about["commit"] or "not a git checkout",
        created=time.strftime("%Y-%m-%d %H:%M:%S %z"),
        versions=about["versions"],
        computed_with=dict(computed.most_common()),
        stage_keys=list(plan.stages),
    )


def _drops(plan: Plan, states: States) -> dict[str, dict[str, int]]:
    """Boxes that the validator left out of each data set, as the stages noted that read it.

    Data sets are not read again: a label file that was damaged since must not cost the report.
    """
    drops: dict[str, dict[str, int]] = {}
    for key, state in states.items():
        if state == StageState.PUBLISHED:
            drops |= plan.store.meta(key).get("drops", {})
    return drops
