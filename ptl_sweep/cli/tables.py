"""What a paper needs: `table` writes a table of a sweep, `figure` finds its files.

Both read what the reducer wrote, and run it first where that is missing or out of date.
"""

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from ptl_sweep.cli.arguments import FAILED, OK, command_parser, parse_sweep
from ptl_sweep.config.schema import ConfigError, TrackingConfig
from ptl_sweep.launchers.slurm.queue import view_jobs
from ptl_sweep.pipeline import status
from ptl_sweep.pipeline.plan import Plan
from ptl_sweep.terminal import answer, did_you_mean

if TYPE_CHECKING:
    from ptl_sweep.report.paper.source import PaperSource

# keys of report.paper.TABLES, which is slow to import
TABLES = (
    "crossdomain", "first", "effects", "contrasts", "dose", "predictors", "errors", "forecast",
    "variance",
)  # fmt: skip
FIGURES = {  # name -> first word of the files that the reducer writes into figures/
    "t2t": "distances",
    "apt2t": "ap_t2t",
    "curve": "iterations",
    "dose": "dose",
    "clusters": "clusters",
}
WHY_NONE = {
    "t2t": "no detection has a train2test distance (see `reason` in results.csv)",
    "apt2t": "no cell has a result",
    "curve": "no cell with synthetic images was evaluated after a PTL iteration "
    "(synthetic=on, evaluate.iterations=all)",
    "dose": "it has no cells with several numbers of virtual images",
    "clusters": "no cell has enough false positives whose pictures are there",
}


def table_command(arguments: list[str]) -> int:
    """Print a table of a sweep, and write it as Markdown, CSV and LaTeX."""
    parser = command_parser(table_command)
    parser.add_argument("name", help=f"which: {', '.join(TABLES)}")
    plan, options = parse_sweep(parser, arguments)
    _require_known("table", options.name, TABLES)
    from ptl_sweep.report import paper
    from ptl_sweep.report.paper.layout import write_paper_table

    reduce_where_needed(plan, "iterations.parquet")
    table = paper.TABLES[options.name](_paper_source(plan))
    paths = write_paper_table(table, plan.folder / "tables", options.name)
    files = [str(path) for path in paths]
    markdown = paths[0].read_text(encoding="utf-8")
    content = {"sweep": plan.name, **table._asdict(), "paths": files}
    answer(content, "\n".join([markdown, *files]), as_json=options.json)
    return OK


def _paper_source(plan: Plan) -> "PaperSource":
    from ptl_sweep.report.paper.source import PaperSource
    from ptl_sweep.study.tables import read_table

    steps: dict[tuple[str, str], set[int]] = {}
    for cell in plan.cells:
        recipe = plan.detector_stage(cell.readings[-1].detector).train
        steps.setdefault((cell.id.dataset, cell.id.synthetic), set()).add(recipe.num_steps)
    return PaperSource(
        iteration_rows=read_table(plan.folder / "iterations.parquet"),
        results=read_table(plan.folder / "results.parquet"),
        claims=read_table(plan.folder / "claims.parquet"),
        spreads=read_table(plan.folder / "train2test.parquet"),
        summary=read_table(plan.folder / "summary.parquet"),
        score_thresholds=plan.settings.score_thresholds,
        steps=steps,
        axes=plan.axes,
    )


def _has_all_columns(plan: Plan) -> bool:
    import polars as pl

    from ptl_sweep.study.schemas import results_schema

    path = plan.folder / "results.parquet"
    settings = plan.settings
    wanted = results_schema(settings.score_thresholds, settings.analysis.ap_t2t.equal_counts)
    return path.exists() and set(wanted) <= set(pl.read_parquet_schema(path))


def figure_command(arguments: list[str]) -> int:
    """Say where a figure of a sweep lies, as SVG and PNG; exit code 1 when it has none."""
    parser = command_parser(figure_command)
    parser.add_argument("name", help=f"which: {', '.join(FIGURES)}")
    plan, options = parse_sweep(parser, arguments)
    _require_known("figure", options.name, FIGURES)
    reduce_where_needed(plan, "figures")
    from ptl_sweep.report import paper

    if options.name in paper.FIGURES:
        paper.FIGURES[options.name](_paper_source(plan), plan.folder / "figures")
    elif options.name == "clusters":
        from ptl_sweep.reduce.cluster_sheets import write_cluster_sheets

        write_cluster_sheets(plan, plan.folder / "figures")
    paths = figure_files(plan.folder / "figures", options.name)
    reason = "" if paths else f"{plan.name} has no figure {options.name}: {WHY_NONE[options.name]}"
    files = [str(path) for path in paths]
    content = {"sweep": plan.name, "figure": options.name, "paths": files, "reason": reason}
    answer(content, reason or "\n".join(files), as_json=options.json)
    return OK if paths else FAILED


def figure_files(folder: Path, name: str) -> list[Path]:
    """Find a figure's SVG and PNG files, a pair per source data set (t2t: and per real count)."""
    files = folder.glob(f"{FIGURES[name]}-*")
    return sorted(path for path in files if path.suffix in (".svg", ".png"))


def _require_known(kind: str, name: str, known: Iterable[str]) -> None:
    if name not in known:
        hint = did_you_mean(name, known)
        raise ConfigError(f"no {kind} {name}{hint}\n{kind}s: {', '.join(known)}")


def reduce_where_needed(plan: Plan, product: str) -> None:
    """Reduce a sweep that is incomplete, was never reduced, or lacks `product`; tracks nothing.

    So is one whose tables an older version wrote, which knew fewer columns.
    """
    if status.is_complete(plan) and (plan.folder / product).exists() and _has_all_columns(plan):
        return
    from ptl_sweep.reduce.run import reduce_sweep

    reduce_sweep(plan, TrackingConfig(mode="off"), jobs=view_jobs(plan))
