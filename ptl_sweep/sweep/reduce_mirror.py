"""What W&B shows of a reduced sweep: its tables, figures, report and results as an artifact."""

import re
from collections.abc import Sequence
from pathlib import Path

from ptl_sweep.analysis.report.page import PRIORITY
from ptl_sweep.analysis.study import Study
from ptl_sweep.analysis.summary import SUMMARY_COLUMNS
from ptl_sweep.config import TrackingConfig
from ptl_sweep.sweep.planner import Plan
from ptl_sweep.sweep.run_infos import reduce_run
from ptl_sweep.sweep.study_tables import FILES
from ptl_sweep.tracking import open_mirror

REPORT = "report.html"
MAX_FIGURES = 20


def mirror_study(
    plan: Plan, tracking: TrackingConfig, study: Study, columns: Sequence[str]
) -> None:
    """One run of the reduced sweep; `columns` are those of results.csv."""
    info = reduce_run(plan)
    with open_mirror(tracking, root=plan.root / "tracking", sweep=plan.name, run=info) as mirror:
        for name, table, names in (
            ("grid/results", study.rows, columns),
            ("grid/summary", study.summary, SUMMARY_COLUMNS),
        ):
            mirror.table(name, names, [[row.get(column) for column in names] for row in table])
        for path in figures_of(plan.folder):
            mirror.log_figure(f"figure/{re.sub(r'[^A-Za-z0-9_-]', '_', path.stem)}", path)
        report = plan.folder / REPORT
        mirror.log_html("report", report)
        mirror.log({"grid/cells_ok": sum(row["status"] == "ok" for row in study.rows)})
        files = [path for path in (plan.folder / name for name in FILES) if path.is_file()]
        mirror.artifact(f"grid-results-{plan.name}", "results", [*files, report])


def figures_of(folder: Path) -> list[Path]:
    """At most 20 drawn figures of a sweep, in the order of their importance in the report."""
    importance = {kind: place for place, kind in enumerate(PRIORITY)}

    def place(path: Path) -> tuple[int, str]:
        return importance.get(path.name.partition("-")[0], len(importance)), path.name

    return sorted((folder / "figures").glob("*.png"), key=place)[:MAX_FIGURES]
