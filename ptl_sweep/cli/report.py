"""`report`: a sweep's tables and page once more, or a page that sets two sweeps side by side."""

from pathlib import Path
from typing import TYPE_CHECKING

from ptl_sweep.cli.arguments import OK, find_sweep, split_overrides, verb_parser
from ptl_sweep.cli.tables import reduce_where_needed
from ptl_sweep.config.schema import ConfigError, TrackingConfig
from ptl_sweep.launchers.slurm.queue import view_jobs
from ptl_sweep.pipeline.plan import Plan
from ptl_sweep.terminal import output, print_json

if TYPE_CHECKING:
    from ptl_sweep.report.comparison import Compared

RESULTS = "results.parquet"  # results.csv with its types


def report_verb(arguments: list[str]) -> int:
    """Reduce a sweep again: every table and report.html, from the store alone; or compare two."""
    parser = verb_parser("report", report_verb.__doc__ or "")
    parser.add_argument(
        "sweeps",
        nargs="*",
        metavar="sweep",
        help="name or folder, default: the newest; two: a page that compares the second with the "
        "first",
    )
    rest, overrides = split_overrides(arguments)
    options = parser.parse_args(rest)
    if len(options.sweeps) > 2:
        raise ConfigError(f"report takes one sweep or two to compare, got {len(options.sweeps)}")
    plans = [find_sweep(name, overrides) for name in options.sweeps or [None]]
    if len(plans) == 2:
        return _compare(plans[0], plans[1], as_json=options.json)
    from ptl_sweep.reduce.run import reduce_sweep

    result = reduce_sweep(plans[0], TrackingConfig(mode="off"), jobs=view_jobs(plans[0]))
    if options.json:
        print_json({"sweep": plans[0].name, "report": str(result.report)})
    else:
        output().print(result.text, markup=False, soft_wrap=True)
    return OK


def _compare(first: Plan, second: Plan, *, as_json: bool) -> int:
    """Write the page into the folder of the second sweep."""
    if first.folder.resolve() == second.folder.resolve():
        raise ConfigError(f"{first.name} is compared with itself; name another sweep")
    from ptl_sweep.report.comparison import write_comparison

    path = write_comparison(second.folder, _compared(first), _compared(second))
    if as_json:
        print_json({"first": first.name, "second": second.name, "comparison": str(path)})
    else:
        output().print(f"comparison  {path}", markup=False, soft_wrap=True)
    return OK


def _compared(plan: Plan) -> "Compared":
    from ptl_sweep.report.comparison import Compared
    from ptl_sweep.study.study import Study

    reduce_where_needed(plan, RESULTS)
    rows = _rows(plan.folder / RESULTS)
    return Compared(
        plan.name, Study(rows=rows, iteration_rows=(), summary=()), plan.settings.shared
    )


def _rows(path: Path) -> list[dict[str, str | int | float | None]]:
    from pyarrow import parquet

    return list(parquet.read_table(path).to_pylist())
