"""The reducer: every cell's row, the tables, the figures and the report, gaps included."""

import json
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ptl_sweep.analysis.ap_t2t import CellMetrics, measure_cell
from ptl_sweep.analysis.figures import CellHistogram
from ptl_sweep.analysis.report import Provenance, ReportContext, StageFailure, write_report
from ptl_sweep.analysis.tables import (
    SUMMARY_COLUMNS,
    Group,
    Row,
    Value,
    demo_table,
    result_columns,
    summarise,
    write_table,
)
from ptl_sweep.analysis.train2test import load_detections
from ptl_sweep.config import Config, TrackingConfig
from ptl_sweep.datasets import registry
from ptl_sweep.store import StoreError
from ptl_sweep.sweep import display, status
from ptl_sweep.sweep.job_view import view_jobs
from ptl_sweep.sweep.planner import Cell, Plan, Reading, config_of
from ptl_sweep.sweep.provenance import software
from ptl_sweep.sweep.samples import sample_pictures, stage_costs
from ptl_sweep.sweep.workspace import derive_seed
from ptl_sweep.tracking import RunInfo, open_mirror

FEATURES = "training_features.npz"
TOY_NOTE = (
    "The miniature world is a toy: it proves that the pipeline works, and says nothing about "
    "VisDrone. Its pool was drawn to cover poses and pitches that its source lacks."
)


@dataclass(frozen=True, slots=True)
class Reduced:
    """What a sweep has come to."""

    report: Path
    text: str  # for the terminal
    num_failed: int  # cells without a result


@dataclass(frozen=True, slots=True)
class Measured:
    """One reading with its numbers; metrics is None when a stage is missing."""

    cell: Cell
    reading: Reading
    row: dict[str, Value]
    metrics: CellMetrics | None


class Reducer:
    """Reads each pair of stages once, whatever the number of cells that share it."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.config: Config = config_of(plan, 0)
        self.jobs = view_jobs(plan)
        self.states = status.stage_states(plan, self.jobs)
        self._metrics: dict[str, CellMetrics] = {}

    def measure(self, cell: Cell, reading: Reading) -> Measured:
        """Row of results.csv or iterations.csv; a missing cell is a row, not a hole."""
        row: dict[str, Value] = {
            **cell.id._asdict(),
            "iteration": reading.iteration,
            "train_key": reading.detector,
            "evaluate_key": reading.evaluate,
        }
        state = self.states[reading.evaluate]
        if state != "published":
            failed = state in ("failed", "blocked")
            row |= {"status": "failed" if failed else "missing", "reason": self._cause(reading)}
            return Measured(cell, reading, row, None)
        try:
            metrics = self._cell_metrics(reading)
            row |= {"status": "ok", **metrics.columns, **self._stage_columns(reading)}
        except StoreError as error:
            row |= {"status": "failed", "reason": str(error)}
            return Measured(cell, reading, row, None)
        reasons = [
            *metrics.reasons,
            self.plan.store.meta(reading.detector)["summary"].get("reason"),
        ]
        row["reason"] = "; ".join(r for r in reasons if r) or None
        return Measured(cell, reading, row, metrics)

    def _cell_metrics(self, reading: Reading) -> CellMetrics:
        if reading.evaluate not in self._metrics:
            store = self.plan.store
            for name in ("detections.parquet", "images.parquet", "features.npy"):
                store.artifact(reading.evaluate, name)
            with np.load(store.artifact(reading.detector, FEATURES)) as stored:
                training_features = stored["features"]
            self._metrics[reading.evaluate] = measure_cell(
                load_detections(store.path(reading.evaluate)),
                training_features,
                self.config.evaluate.score_thresholds,
                np.random.default_rng(derive_seed(0, "null")),
            )
        return self._metrics[reading.evaluate]

    def _stage_columns(self, reading: Reading) -> dict[str, Value]:
        store = self.plan.store
        metrics = json.loads(store.artifact(reading.evaluate, "metrics.json").read_text())
        trained = store.meta(reading.detector)["summary"]
        return {
            "AP50": metrics["AP50"],
            "AP": metrics["AP"],
            "num_train_images": trained["num_train_images"],
            "num_synthetic": trained["num_synthetic"],
        }

    def _cause(self, reading: Reading) -> str:
        """The first failure upstream, or that nothing has run yet."""
        key: str | None = reading.evaluate
        while key is not None:
            if self.states[key] == "failed":
                return f"{key}: {self.what_failed(key).splitlines()[0]}"
            parents = self.plan.stages[key].parents
            key = parents[0] if parents else None
        return "not computed yet"

    def what_failed(self, key: str) -> str:
        """What FAILED.json says, else how its SLURM job ended."""
        return display.what_failed(self.plan, key, self.jobs)


def reduce_sweep(plan: Plan, tracking: TrackingConfig, submission: str | None = None) -> Reduced:
    """Write results.csv, iterations.csv, summary.csv and report.html into the sweep's folder.

    `submission` names the one to SLURM that this ends: `wait` looks for it.
    """
    started = time.time()
    reducer = Reducer(plan)
    iterations = [reducer.measure(cell, r) for cell in plan.cells for r in cell.readings]
    results = [m for m in iterations if m.reading == m.cell.readings[-1]]
    rows = [m.row for m in results]
    summary = summarise(rows)
    columns = result_columns(reducer.config.evaluate.score_thresholds)
    write_table(rows, plan.folder, "results", columns)
    write_table([m.row for m in iterations], plan.folder, "iterations", columns)
    write_table(summary, plan.folder, "summary", SUMMARY_COLUMNS)
    context = _report_context(reducer, iterations, results, summary)
    report = write_report(plan.folder, context)
    _mirror(plan, tracking, rows, summary, columns)
    num_failed = sum(row["status"] != "ok" for row in rows)
    text = _closing_text(reducer, summary, report, num_failed)
    reduction = status.Reduction(
        time=started,
        num_cells=len(rows),
        num_failed=num_failed,
        text=text,
        settings=status.reducer_settings(plan),
        submission=submission,
    )
    status.record_reduction(plan, reduction)
    return Reduced(report, text, num_failed)


def _report_context(
    reducer: Reducer,
    iterations: Sequence[Measured],
    results: Sequence[Measured],
    summary: Sequence[Row],
) -> ReportContext:
    plan, config = reducer.plan, reducer.config
    return ReportContext(
        title=plan.name,
        rows=[m.row for m in results],
        iteration_rows=[m.row for m in iterations],
        summary_rows=summary,
        stage_costs=stage_costs(plan, reducer.states),
        histograms=[_histogram(m, m.metrics) for m in results if m.metrics is not None],
        provenance=_provenance(plan),
        feature_dim=config.detector.channels,
        is_miniature=any(c["dataset"]["reader"] == "miniature" for c in plan.configs),
        samples=sample_pictures(plan),
        failures=_failures(reducer),
        drops=_drops(plan),
        warnings=_warnings(reducer),
    )


def _histogram(measured: Measured, metrics: CellMetrics) -> CellHistogram:
    cell = measured.cell.id
    group = Group(cell.dataset, cell.real_count, cell.synthetic, cell.target)
    return CellHistogram(group, metrics.histogram)


def _failures(reducer: Reducer) -> list[StageFailure]:
    found = []
    for key, state in reducer.states.items():
        if state == "failed":
            failure = reducer.plan.store.failure(key) or {}
            path = failure.get("log") or reducer.plan.log_path(reducer.plan.task_of(key))
            found.append(StageFailure(key, reducer.what_failed(key), str(path)))
    return found


def _warnings(reducer: Reducer) -> list[str]:
    """What a reader must know about single stages, whatever cell they belong to."""
    warnings = []
    for key, state in reducer.states.items():
        summary = reducer.plan.store.meta(key)["summary"] if state == "published" else {}
        if summary.get("num_selected_uniformly") and summary.get("reason"):
            warnings.append(f"{key}: {summary['reason']}")
        if summary.get("num_untranslated"):
            warnings.append(f"{key}: {summary['num_untranslated']} persons stay untranslated")
        if summary.get("num_capped_images"):
            warnings.append(
                f"{key}: {summary['num_capped_images']} images reach evaluate.max_detections"
            )
    return warnings


def _provenance(plan: Plan) -> Provenance:
    about = software()
    return Provenance(
        command=plan.command,
        commit=about["commit"] or "not a git checkout",
        created=time.strftime("%Y-%m-%d %H:%M:%S %z"),
        versions=about["versions"],
        stage_keys=list(plan.stages),
    )


def _drops(plan: Plan) -> dict[str, dict[str, int]]:
    """Boxes that the validator left out; the miniature world has none."""
    drops: dict[str, dict[str, int]] = {}
    for index in range(len(plan.configs)):
        config = config_of(plan, index)
        for data in (config.dataset, config.target):
            name = f"{data.name} ({data.split})"
            if data.reader != "miniature" and name not in drops:
                found = registry.fingerprint(data, data.split)
                drops[name] = dict(registry.read_split(data, data.split).drops) if found else {}
    return drops


def _mirror(
    plan: Plan,
    tracking: TrackingConfig,
    rows: Sequence[Row],
    summary: Sequence[Row],
    columns: Sequence[str],
) -> None:
    info = RunInfo(
        key=f"reduce-{plan.name}",
        name=f"reduce {plan.name}",
        job_type="reduce",
        config={"sweep": plan.name, "cells": len(plan.cells)},
    )
    with open_mirror(tracking, root=plan.root / "tracking", sweep=plan.name, run=info) as mirror:
        for name, table, names in (
            ("grid/results", rows, columns),
            ("grid/summary", summary, SUMMARY_COLUMNS),
        ):
            mirror.table(name, names, [[row.get(column) for column in names] for row in table])
        mirror.log({"grid/cells_ok": sum(row["status"] == "ok" for row in rows)})
        files = [plan.folder / name for name in ("results.csv", "summary.csv", "report.html")]
        mirror.artifact(f"grid-results-{plan.name}", "results", files)


def _closing_text(reducer: Reducer, summary: Sequence[Row], report: Path, num_failed: int) -> str:
    plan = reducer.plan
    lines = status.kind_counts(plan)
    naive, unique = sum(line.naive for line in lines), sum(line.unique for line in lines)
    seconds = sum(
        float(plan.store.meta(key)["seconds"])
        for key, state in reducer.states.items()
        if state == "published"
    )
    parts = [demo_table(summary)] if summary else []
    parts.append(
        f"stages  {naive} naively, {unique} after sharing; {display.duration(seconds)} of work"
    )
    if any(c["dataset"]["reader"] == "miniature" for c in plan.configs):
        parts.append(display.wrap(f"note    {TOY_NOTE}"))
    for key, state in reducer.states.items():
        if state == "failed":
            parts.append(display.failure_text(plan, key, reducer.states, reducer.jobs))
    if num_failed:
        parts.append(f"{num_failed} of {len(plan.cells)} cells have no result; see above")
    parts.append(f"report  {report}")
    return "\n\n".join(parts)
