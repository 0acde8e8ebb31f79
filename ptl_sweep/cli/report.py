"""`report`: a sweep's tables and page once more, or a page that sets two sweeps side by side."""

from typing import TYPE_CHECKING

from ptl_sweep.cli.arguments import OK, command_parser, find_sweep, parse_overrides
from ptl_sweep.cli.tables import reduce_where_needed
from ptl_sweep.config.schema import ConfigError, TrackingConfig
from ptl_sweep.launchers.slurm.queue import view_jobs
from ptl_sweep.pipeline.plan import Plan
from ptl_sweep.terminal import answer

if TYPE_CHECKING:
    from ptl_sweep.report.comparison.page import Compared


def report_command(arguments: list[str]) -> int:
    """Reduce a sweep again: every table and report.html, from the store alone; or compare two."""
    parser = command_parser(report_command)
    parser.add_argument(
        "sweeps",
        nargs="*",
        metavar="sweep",
        help="name or folder, default: the newest; two: a page that compares the second with the "
        "first",
    )
    overrides, options = parse_overrides(parser, arguments)
    if len(options.sweeps) > 2:
        raise ConfigError(f"report takes one sweep or two to compare, got {len(options.sweeps)}")
    plans = [find_sweep(name, overrides) for name in options.sweeps or [None]]
    if len(plans) == 2:
        return _compare(plans[0], plans[1], as_json=options.json)
    from ptl_sweep.reduce.run import reduce_sweep

    result = reduce_sweep(plans[0], TrackingConfig(mode="off"), jobs=view_jobs(plans[0]))
    content = {"sweep": plans[0].name, "report": str(result.report)}
    answer(content, result.text, as_json=options.json)
    return OK


def _compare(first: Plan, second: Plan, *, as_json: bool) -> int:
    """Write the page into the folder of the second sweep."""
    if first.folder.resolve() == second.folder.resolve():
        raise ConfigError(f"{first.name} is compared with itself; name another sweep")
    from ptl_sweep.report.comparison.page import write_comparison

    path = write_comparison(second.folder, _compared(first), _compared(second))
    content = {"first": first.name, "second": second.name, "comparison": str(path)}
    answer(content, f"comparison  {path}", as_json=as_json)
    return OK


def _compared(plan: Plan) -> "Compared":
    from ptl_sweep.report.comparison.page import Compared
    from ptl_sweep.study.study import Study
    from ptl_sweep.study.tables import read_table

    reduce_where_needed(plan, "results.parquet")
    rows = read_table(plan.folder / "results.parquet")
    thresholds = plan.settings.score_thresholds
    study = Study(rows=rows, iteration_rows=rows.clear(), score_thresholds=thresholds)
    return Compared(plan.name, study, plan.settings.shared)
