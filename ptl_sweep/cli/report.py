"""`report`: a sweep's tables and page once more, or a page that sets it beside another sweep."""

from ptl_sweep.cli.against import compare_sweeps, find_named
from ptl_sweep.cli.arguments import OK, command_parser, find_sweep, parse_overrides
from ptl_sweep.config.schema import TrackingConfig
from ptl_sweep.launchers.slurm.queue import view_jobs
from ptl_sweep.terminal import answer


def report_command(arguments: list[str]) -> int:
    """Reduce a sweep again: every table and report.html, from the store alone; or compare two."""
    parser = command_parser(report_command)
    parser.add_argument("sweep", nargs="?", help="name or folder; default: the newest")
    parser.add_argument(
        "--against",
        metavar="OTHER",
        help="a page and a table instead: the sweep minus OTHER, in pairs of cells with the same "
        "value of synthetic; SWEEP:on --against OTHER:random names other values",
    )
    overrides, options = parse_overrides(parser, arguments)
    if options.against is not None:
        own, other = (find_named(name, overrides) for name in (options.sweep, options.against))
        return compare_sweeps(own, other, as_json=options.json)
    plan = find_sweep(options.sweep, overrides)
    from ptl_sweep.reduce.run import reduce_sweep

    result = reduce_sweep(plan, TrackingConfig(mode="off"), jobs=view_jobs(plan))
    content = {"sweep": plan.name, "report": str(result.report)}
    answer(content, result.text, as_json=options.json)
    return OK
