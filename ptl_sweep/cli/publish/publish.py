"""`publish`: a W&B workspace and a report of a sweep, saved there or written as JSON."""

from typing import TYPE_CHECKING

from ptl_sweep.cli.arguments import OK, command_parser, parse_sweep
from ptl_sweep.cli.sync import require_key
from ptl_sweep.cli.tables import reduce_where_needed
from ptl_sweep.config.schema import ConfigError
from ptl_sweep.pipeline.plan import Plan
from ptl_sweep.pipeline.toy import toy_note
from ptl_sweep.terminal import answer
from ptl_sweep.tracking.server import Server, ServerError, end_service

if TYPE_CHECKING:
    from ptl_sweep.cli.publish.dashboards import DashboardPlace
    from ptl_sweep.study.study import Study

EXTRA = "publish needs wandb-workspaces ({error}): pip install 'ptl-sweep[workspaces]'"
DRY_RUN = "; --dry-run writes the JSON and asks nobody"
TABLES = ("summary", "claims", "errors", "gaussians")  # beside results


def publish_command(arguments: list[str]) -> int:
    """Make a W&B workspace and a report of a sweep; --dry-run writes their JSON and asks nobody."""
    parser = command_parser(publish_command)
    parser.add_argument("--dry-run", action="store_true", help="write the JSON, save nothing")
    parser.add_argument("--entity", help="W&B user or team; default: as the sweep, else your own")
    parser.add_argument("--project", help="W&B project; default: as the sweep")
    plan, options = parse_sweep(parser, arguments)
    found = _publish(plan, options.entity, options.project, asks=not options.dry_run)
    text = "\n".join(f"{name:<9}  {where}" for name, where in found.items())
    answer({"sweep": plan.name, **found}, text, as_json=options.json)
    return OK


def _publish(plan: Plan, entity: str | None, project: str | None, *, asks: bool) -> dict[str, str]:
    """Write or save both; where they are, by name.

    Raises: ConfigError without wandb-workspaces, an account or a server.
    """
    try:
        from ptl_sweep.cli.publish import dashboards, save
    except ImportError as error:
        raise ConfigError(EXTRA.format(error=error)) from error
    place = _place(plan, entity, project, asks=asks)
    reduce_where_needed(plan, "summary.parquet")
    study = _study(plan)
    workspace = dashboards.build_workspace(place, study)
    note = toy_note(plan)
    report = dashboards.build_report(place, study, [note] if note else [])
    publish = save.save_dashboards if asks else save.write_dashboards
    try:
        return publish(plan.folder, place, workspace, report)
    finally:
        end_service()


def _place(plan: Plan, entity: str | None, project: str | None, *, asks: bool) -> "DashboardPlace":
    """Say where the runs are; `asks` the server whether it is there, and whose the key is.

    Raises: ConfigError without an account or a server.
    """
    from ptl_sweep.cli.publish.dashboards import DashboardPlace

    tracking = plan.settings.tracking
    entity, project = entity or tracking.entity, project or tracking.project
    if not asks:
        return DashboardPlace(entity=entity or "", project=project, sweep=plan.name)
    require_key(DRY_RUN)
    try:
        server = Server(project=project, entity=entity)
    except ServerError as error:
        raise ConfigError(f"{error}{DRY_RUN}") from error
    return DashboardPlace(entity=server.entity, project=project, sweep=plan.name)


def _study(plan: Plan) -> "Study":
    """Read the tables that the report shows, as the reducer wrote them."""
    from ptl_sweep.study.published import load_published
    from ptl_sweep.study.study import Study
    from ptl_sweep.study.tables import read_table

    results = read_table(plan.folder / "results.parquet")
    tables = {name: read_table(plan.folder / f"{name}.parquet") for name in TABLES}
    return Study(
        rows=results,
        iteration_rows=results.clear(),
        published=load_published(),
        score_thresholds=plan.settings.score_thresholds,
        summary=tables["summary"],
        claims=tables["claims"],
        errors=tables["errors"],
        gaussians=tables["gaussians"],
    )
