"""Every reading of a sweep as a row: measured, or missing with its reason."""

import json
from dataclasses import dataclass, replace
from functools import cached_property

from ptl_sweep.metrics.measure import CellMetrics
from ptl_sweep.pipeline import status
from ptl_sweep.pipeline.graph import Cell, CellIteration
from ptl_sweep.pipeline.plan import Plan
from ptl_sweep.pipeline.queue import QueueSnapshot
from ptl_sweep.pipeline.status import STUCK, StageState, States
from ptl_sweep.pipeline.status_text import what_failed
from ptl_sweep.reduce.measure import Measurements, measure_sweep
from ptl_sweep.stages.base import StageKind
from ptl_sweep.stages.evaluate import EvaluateStage
from ptl_sweep.store import StoreError
from ptl_sweep.vocabulary import Domain, Value


@dataclass(frozen=True, slots=True)
class Measured:
    """One reading with its numbers; metrics is None when a stage is missing."""

    cell: Cell
    reading: CellIteration
    row: dict[str, Value]
    metrics: CellMetrics | None

    @property
    def is_final(self) -> bool:
        """Whether this is the reading that the cell stands for."""
        return self.reading == self.cell.readings[-1]

    @property
    def place(self) -> dict[str, Value]:
        """Where this reading stands: the columns of schemas.CELL."""
        return {**self.cell.id._asdict(), "iteration": self.reading.iteration}


class Reducer:
    """Measures each detector once, whatever the number of cells that share it."""

    def __init__(self, plan: Plan, jobs: QueueSnapshot | None) -> None:
        self.plan = plan
        self.jobs = jobs
        self.states = with_damage(plan, status.stage_states(plan, self.jobs))

    @cached_property
    def measurements(self) -> Measurements:
        """Of every published reading."""
        return measure_sweep(self.plan, self.states)

    def measure_all(self) -> list[Measured]:
        """Every reading of every cell, in the order of the plan."""
        return [self.measure(cell, r) for cell in self.plan.cells for r in cell.readings]

    def measure(self, cell: Cell, reading: CellIteration) -> Measured:
        """Row of results.csv or iterations.csv; a missing cell is a row, not a hole."""
        row: dict[str, Value] = {
            **cell.id._asdict(),
            "iteration": reading.iteration,
            "domain": domain_of(self.plan, reading),
            "train_key": reading.detector,
            "evaluate_key": reading.evaluate,
        }
        state = self.states[reading.evaluate]
        if state != StageState.PUBLISHED:
            failed = state in STUCK
            row |= {"status": "failed" if failed else "missing", "reason": self._cause(reading)}
            return Measured(cell, reading, row, None)
        problem = self.measurements.problems.get(reading.evaluate)
        try:
            columns = self._stage_columns(reading)
        except StoreError as error:
            problem = str(error)
        if problem is not None:
            row |= {"status": "failed", "reason": problem}
            return Measured(cell, reading, row, None)
        metrics = self.measurements.cells[reading.evaluate]
        trained = self.plan.store.meta(reading.detector)["summary"]
        reasons = [*metrics.reasons, trained.get("reason")]
        row |= {"status": "ok", **metrics.columns, **columns}
        row["reason"] = "; ".join(r for r in reasons if r) or None
        return Measured(cell, reading, row, metrics)

    def _stage_columns(self, reading: CellIteration) -> dict[str, Value]:
        store = self.plan.store
        metrics = json.loads(store.artifact(reading.evaluate, "metrics.json").read_text())
        trained = store.meta(reading.detector)["summary"]
        return {
            "AP50": metrics["AP50"],
            "AP": metrics["AP"],
            "num_train_images": trained["num_train_images"],
            "num_synthetic": trained["num_synthetic"],
        }

    def _cause(self, reading: CellIteration) -> str:
        """The first failure upstream, or that nothing has run yet."""
        key: str | None = reading.evaluate
        while key is not None:
            if self.states[key] == StageState.FAILED:
                return f"{key}: {what_failed(self.plan, key, self.jobs).splitlines()[0]}"
            parents = self.plan.stages[key].parents
            key = next(iter(parents), None)
        return "not computed yet"


def with_damage(plan: Plan, states: States) -> States:
    """Stages whose meta.json cannot be used as failed, and their evaluations as blocked."""
    found = dict(states)
    for key, stage in plan.stages.items():
        if states[key] != StageState.PUBLISHED:
            continue
        if plan.store.damage(key) is not None:
            found[key] = StageState.FAILED
        elif stage.kind == StageKind.EVALUATE and found[stage.parents[0]] == StageState.FAILED:
            found[key] = StageState.BLOCKED
    return found


def domain_of(plan: Plan, reading: CellIteration) -> Domain:
    """Whether the target is a part of the source, and which.

    Parts have one reader, folder and scenery (`domain` of the miniature world), whatever the split.
    """
    source = plan.detector_stage(reading.detector).data
    target = plan.evaluate_stage(reading.evaluate)
    if reading.validation is not None and _is_validation(
        target, plan.evaluate_stage(reading.validation)
    ):
        return Domain.CALIBRATION
    of_source = (source.reader, source.place.root, source.domain)
    is_part = (target.data.reader, target.data.place.root, target.data.domain) == of_source
    return Domain.IN if is_part else Domain.CROSS


def _is_validation(target: EvaluateStage, validation: EvaluateStage) -> bool:
    """Whether a target is the validation split, a copy of it, or a number of its images."""
    one, other = target.data, validation.data
    if target.spec["data"] == validation.spec["data"]:
        return True
    of_all = replace(
        one, num_images=other.num_images, fingerprint=other.fingerprint, place=other.place
    )
    return one.place.root == other.place.root and of_all == other
