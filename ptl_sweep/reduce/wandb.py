"""What a reduced sweep shows in W&B, as files of its folder: history.jsonl and media.json.

A row is a reduction that found other results than the one before it.
"""

import re
from pathlib import Path

import polars as pl

from ptl_sweep.pipeline.plan import Plan
from ptl_sweep.reduce.tracked_runs import REPORT
from ptl_sweep.report.figures import PRIORITY
from ptl_sweep.report.verdicts.claim_row import read_claims
from ptl_sweep.store import HISTORY, sha256_of
from ptl_sweep.study.claims.table import Statement
from ptl_sweep.study.study import Study
from ptl_sweep.tracking import History, Row, plain_row
from ptl_sweep.tracking.media import MediaEntry, ShownImage, write_media
from ptl_sweep.vocabulary import ALL_TARGETS

RESULTS = "results.csv"
TABLES = {"grid/results": "results.parquet", "grid/summary": "summary.parquet"}
MAX_FIGURES = 20
METRIC = "AP50"
STATUSES = ("ok", "failed", "missing")  # of a cell


def write_sweep_media(plan: Plan, study: Study) -> None:
    """Add a row where the results have changed, and show tables, figures and report with it."""
    row = len(reductions(plan, study)) - 1
    figures = figures_of(plan.folder)
    entries = [
        *(MediaEntry(name=name, row=row, table=file) for name, file in TABLES.items()),
        *(_figure(plan.folder, path, row) for path in figures),
        MediaEntry(name="report", row=row, page=REPORT),
    ]
    write_media(plan.folder, entries)


def _figure(folder: Path, path: Path, row: int) -> MediaEntry:
    name = f"figure/{re.sub(r'[^A-Za-z0-9_-]', '_', path.stem)}"
    return MediaEntry(name=name, row=row, images=[ShownImage(str(path.relative_to(folder)))])


def reductions(plan: Plan, study: Study) -> list[Row]:
    """The rows of the sweep's history.jsonl, the last of which is of the results as they are."""
    history = History(plan.folder / HISTORY)
    row: Row = {
        **{f"grid/cells_{status}": cells_of(study, status) for status in STATUSES},
        "grid/results_sha256": sha256_of(plan.folder / RESULTS),
        **plain_row(headline(study)),
    }
    rows = history.rows()
    if not rows or any(rows[-1].get(name) != value for name, value in row.items()):
        history.append(row)
        rows.append(row)
    return rows


def cells_of(study: Study, status: str) -> int:
    """How many cells ended so."""
    return study.rows.filter(pl.col("status") == status).height


def headline(study: Study) -> Row:
    """AP50 and the effect of each value of `synthetic`, pooled as in the report's first sentence.

    The source is in the names where there are several.
    """
    pooled = study.summary.filter(
        pl.col("real_count").is_null(), target=ALL_TARGETS, metric=METRIC
    ).sort("dataset", "synthetic")
    several = pooled["dataset"].n_unique() > 1
    row: Row = {}
    for one in pooled.iter_rows(named=True):
        arm = f"{one['dataset']}_{one['synthetic']}" if several else one["synthetic"]
        row |= {f"grid/{METRIC}_{arm}": one["mean"], f"grid/num_seeds_{arm}": one["num_seeds"]}
    for claim in read_claims(study.claims, Statement.EFFECT):
        arm = f"{claim.dataset}_{claim.treated}" if several else claim.treated
        row |= {
            f"grid/effect_{arm}": claim.value,
            f"grid/effect_{arm}_low": claim.low,
            f"grid/effect_{arm}_high": claim.high,
            f"grid/verdict_{arm}": str(claim.verdict),
        }
    return row


def figures_of(folder: Path) -> list[Path]:
    """At most 20 drawn figures of a sweep, in the order of their importance in the report."""
    importance = {kind: place for place, kind in enumerate(PRIORITY)}

    def place(path: Path) -> tuple[int, str]:
        return importance.get(path.name.partition("-")[0], len(importance)), path.name

    return sorted((folder / "figures").glob("*.png"), key=place)[:MAX_FIGURES]
