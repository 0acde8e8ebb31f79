"""The reducer: tables of the study, figures, report and closing words, gaps included."""

import time
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from ptl_sweep.config.schema import TrackingConfig
from ptl_sweep.pipeline import status
from ptl_sweep.pipeline.costs import stage_seconds
from ptl_sweep.pipeline.plan import Plan
from ptl_sweep.pipeline.plan_text import kind_counts
from ptl_sweep.pipeline.queue import QueueSnapshot
from ptl_sweep.pipeline.status import StageState
from ptl_sweep.pipeline.status_text import failure_text
from ptl_sweep.pipeline.toy import toy_note
from ptl_sweep.reduce.report_context import report_context
from ptl_sweep.reduce.rows import Reducer
from ptl_sweep.reduce.tables import study_of, write_study
from ptl_sweep.reduce.tracked_runs import project_sweep
from ptl_sweep.reduce.wandb import write_sweep_media
from ptl_sweep.report import write_report
from ptl_sweep.report.breaks.marks import marked_sentences
from ptl_sweep.report.reproduction import write_record
from ptl_sweep.report.verdicts.answers import answers
from ptl_sweep.report.verdicts.claim_row import read_claims
from ptl_sweep.study.claims.table import Statement
from ptl_sweep.study.study import Study
from ptl_sweep.study.tables import demo_table
from ptl_sweep.terminal import duration, wrap


@dataclass(frozen=True, slots=True)
class Reduced:
    """What a sweep has come to."""

    report: Path
    text: str  # for the terminal
    num_failed: int  # cells without a result


def reduce_sweep(
    plan: Plan,
    tracking: TrackingConfig,
    *,
    jobs: QueueSnapshot | None,
    submission: str | None = None,
) -> Reduced:
    """Write the tables of the study, its figures and report.html into the sweep's folder.

    `jobs`: what the launcher's scheduler says of the stages that are missing; None without one.
    `submission` names the one that this ends: `wait` looks for it.
    """
    started = time.time()
    reducer = Reducer(plan, jobs)
    study = study_of(reducer)
    write_study(plan.folder, study, plan.cells)
    context = report_context(
        plan,
        study,
        states=reducer.states,
        jobs=reducer.jobs,
        cells=reducer.measurements.cells,
    )
    report = write_report(plan.folder, context)
    write_record(plan.folder, context)
    write_sweep_media(plan, study)
    project_sweep(plan, tracking)
    num_failed = study.rows.filter(pl.col("status") != "ok").height
    text = _closing_text(reducer, study, report, num_failed)
    reduction = status.Reduction(
        time=started,
        num_cells=len(study.rows),
        num_failed=num_failed,
        text=text,
        settings=status.reducer_settings(plan),
        submission=submission,
    )
    status.record_reduction(plan, reduction)
    return Reduced(report, text, num_failed)


def _closing_text(reducer: Reducer, study: Study, report: Path, num_failed: int) -> str:
    plan = reducer.plan
    lines = kind_counts(plan)
    naive, unique = sum(line.naive for line in lines), sum(line.unique for line in lines)
    seconds = sum(
        stage_seconds(plan.store.meta(key))
        for key, state in reducer.states.items()
        if state == StageState.PUBLISHED
    )
    parts = [demo_table(study.summary, study.score_thresholds), *_findings(study)]
    parts.append(f"stages  {naive} naively, {unique} after sharing; {duration(seconds)} of work")
    note = toy_note(plan)
    if note:
        parts.append(wrap(f"note    {note}"))
    for key, state in reducer.states.items():
        if state == StageState.FAILED:
            parts.append(failure_text(plan, key, reducer.states, reducer.jobs))
    if num_failed:
        parts.append(f"{num_failed} of {len(plan.cells)} cells have no result; see above")
    parts.append(f"report  {report}")
    return "\n\n".join(parts)


def _findings(study: Study) -> list[str]:
    """The report's sentences, each behind its verdict: found, none or open."""
    found = [(one.verdict, one.sentence) for one in answers(study.claims, study.summary)]
    medium = read_claims(study.claims, Statement.MEDIUM)
    if medium:  # without AP_t2t of two values there is nothing to say
        verdicts = (row.shown_verdict for row in medium)
        found += zip(verdicts, marked_sentences(study, Statement.MEDIUM), strict=True)
    return [wrap(f"{verdict:<8}{sentence}") for verdict, sentence in found]
