"""What W&B shows of a reduced sweep: its tables, figures, report and results as an artifact.

A step is a reduction that found other results than the one before it.
"""

import re
from collections.abc import Sequence
from pathlib import Path

from ptl_sweep.config.schema import TrackingConfig
from ptl_sweep.pipeline.plan import Plan
from ptl_sweep.reduce.leftover_runs import record_leftovers
from ptl_sweep.reduce.tables import FILES
from ptl_sweep.report.page import PRIORITY
from ptl_sweep.stages.wandb_runs import reduce_run
from ptl_sweep.store import HISTORY, sha256_of
from ptl_sweep.study.study import Study
from ptl_sweep.study.summary import SUMMARY_COLUMNS
from ptl_sweep.tracking import History, Recorder, Row, mode_of

REPORT, RESULTS = "report.html", "results.csv"
MAX_FIGURES = 20


def mirror_study(
    plan: Plan, tracking: TrackingConfig, study: Study, columns: Sequence[str]
) -> None:
    """One run of the reduced sweep, and those that short stages have left to be written.

    `columns` are those of results.csv.
    """
    if mode_of(tracking) is None:
        return
    info, root = reduce_run(plan), plan.root / "tracking"
    *rows, row = reductions(plan, study)
    with (
        Recorder() as recorder,
        recorder.open_mirror(tracking, root=root, sweep=plan.name, run=info, rows=rows) as mirror,
    ):
        for name, table, names in (
            ("grid/results", study.rows, columns),
            ("grid/summary", study.summary, SUMMARY_COLUMNS),
        ):
            mirror.table(name, names, [[row.get(column) for column in names] for row in table])
        for path in figures_of(plan.folder):
            mirror.log_figure(f"figure/{re.sub(r'[^A-Za-z0-9_-]', '_', path.stem)}", path)
        report = plan.folder / REPORT
        mirror.log_html("report", report)
        mirror.log(row)
        files = [path for path in (plan.folder / name for name in FILES) if path.is_file()]
        mirror.artifact(f"grid-results-{plan.name}", "results", [*files, report])
    record_leftovers(root)


def reductions(plan: Plan, study: Study) -> list[Row]:
    """The rows of the sweep's history.jsonl, the last of which is of the results as they are."""
    history = History(plan.folder / HISTORY)
    row: Row = {
        "grid/cells_ok": sum(row["status"] == "ok" for row in study.rows),
        "grid/results_sha256": sha256_of(plan.folder / RESULTS),
    }
    rows = history.rows()
    if rows[-1:] != [row]:
        history.append(row)
        rows.append(row)
    return rows


def figures_of(folder: Path) -> list[Path]:
    """At most 20 drawn figures of a sweep, in the order of their importance in the report."""
    importance = {kind: place for place, kind in enumerate(PRIORITY)}

    def place(path: Path) -> tuple[int, str]:
        return importance.get(path.name.partition("-")[0], len(importance)), path.name

    return sorted((folder / "figures").glob("*.png"), key=place)[:MAX_FIGURES]
