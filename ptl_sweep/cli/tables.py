"""Verbs that hand over what a paper needs: `table` writes a table of a sweep, `figure` finds files.

Both read what the reducer wrote, and run it first where that is missing or out of date.
"""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from ptl_sweep.cli.arguments import FAILED, OK, parse_sweep_verb, verb_parser
from ptl_sweep.config.schema import ConfigError, TrackingConfig
from ptl_sweep.launchers.slurm.queue import view_jobs
from ptl_sweep.pipeline import status
from ptl_sweep.pipeline.plan import Plan
from ptl_sweep.terminal import close_match, output, print_json

ITERATIONS = "iterations.parquet"  # iterations.csv with its types
TABLES = ("crossdomain", "first")  # keys of paper_tables.TABLES, which is slow to import
FIGURES = {  # name -> first word of the files that the reducer writes into figures/
    "t2t": "distances",
    "apt2t": "ap_t2t",
    "curve": "iterations",
}
WHY_NONE = {
    "t2t": "no detection has a train2test distance (see `reason` in results.csv)",
    "apt2t": "no cell has a result",
    "curve": "no cell with synthetic images was evaluated after a PTL iteration "
    "(synthetic=on, evaluate.iterations=all)",
}


def table_verb(arguments: list[str]) -> int:
    """Print a table of a sweep, and write it as Markdown, CSV and LaTeX."""
    parser = verb_parser("table", table_verb.__doc__ or "")
    parser.add_argument("name", help=f"which: {', '.join(TABLES)}")
    plan, options = parse_sweep_verb(parser, arguments)
    _require_known("table", options.name, TABLES)
    reduce_where_needed(plan, ITERATIONS)
    table, paths = _write(plan, options.name)
    if options.json:
        print_json({"sweep": plan.name, **table, "paths": [str(path) for path in paths]})
    else:
        shown = [paths[0].read_text(encoding="utf-8"), *map(str, paths)]
        output().print("\n".join(shown), markup=False, soft_wrap=True)
    return OK


def _write(plan: Plan, name: str) -> tuple[dict[str, Any], list[Path]]:
    """The table by its fields, and its files, Markdown first."""
    from pyarrow import parquet

    from ptl_sweep.report import paper_tables

    rows = parquet.read_table(plan.folder / ITERATIONS).to_pylist()
    table = paper_tables.TABLES[name](rows)
    paths = paper_tables.write_paper_table(table, plan.folder / "tables", name)
    return table._asdict(), paths


def figure_verb(arguments: list[str]) -> int:
    """Say where a figure of a sweep lies, as SVG and PNG; exit code 1 when it has none."""
    parser = verb_parser("figure", figure_verb.__doc__ or "")
    parser.add_argument("name", help=f"which: {', '.join(FIGURES)}")
    plan, options = parse_sweep_verb(parser, arguments)
    _require_known("figure", options.name, FIGURES)
    reduce_where_needed(plan, "figures")
    paths = figure_files(plan.folder / "figures", options.name)
    reason = "" if paths else f"{plan.name} has no figure {options.name}: {WHY_NONE[options.name]}"
    if options.json:
        found = [str(path) for path in paths]
        print_json({"sweep": plan.name, "figure": options.name, "paths": found, "reason": reason})
    else:
        output().print(reason or "\n".join(map(str, paths)), markup=False, soft_wrap=True)
    return OK if paths else FAILED


def figure_files(folder: Path, name: str) -> list[Path]:
    """SVG and PNG files of a figure, one pair per source data set (t2t: and per real count)."""
    files = folder.glob(f"{FIGURES[name]}-*")
    return sorted(path for path in files if path.suffix in (".svg", ".png"))


def _require_known(kind: str, name: str, known: Iterable[str]) -> None:
    if name not in known:
        close = close_match(name, known)
        hint = f"; did you mean {close}?" if close else ""
        raise ConfigError(f"no {kind} {name}{hint}\n{kind}s: {', '.join(known)}")


def reduce_where_needed(plan: Plan, product: str) -> None:
    """Reduce a sweep that is incomplete, was never reduced, or lacks `product`; tracks nothing."""
    if status.is_complete(plan) and (plan.folder / product).exists():
        return
    from ptl_sweep.reduce.run import reduce_sweep

    reduce_sweep(plan, TrackingConfig(mode="off"), jobs=view_jobs(plan))
