"""`publish`: a W&B workspace and a report of a sweep, saved there or written as JSON."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ptl_sweep.cli.arguments import OK, parse_sweep_verb, verb_parser
from ptl_sweep.cli.sync import NO_KEY
from ptl_sweep.cli.tables import reduce_where_needed
from ptl_sweep.config.schema import ConfigError, TrackingConfig
from ptl_sweep.pipeline.plan import Plan
from ptl_sweep.store import write_atomically
from ptl_sweep.terminal import output, print_json
from ptl_sweep.tracking.server import Server, ServerError, base_url, has_key

if TYPE_CHECKING:
    from ptl_sweep.cli.publish.dashboards import DashboardPlace
    from ptl_sweep.study.study import Study

EXTRA = "publish needs wandb-workspaces ({error}): pip install 'ptl-sweep[workspaces]'"
DRY_RUN = "; --dry-run writes the JSON and asks nobody"
WORKSPACE, REPORT = "workspace.json", "report.json"
TABLES = ("summary", "contrasts", "correlations", "errors")  # of the study: files by that name
TOY_NOTE = "The miniature world is a toy: it proves that the pipeline works, and nothing else."


def publish_verb(arguments: list[str]) -> int:
    """Make a W&B workspace and a report of a sweep; --dry-run writes their JSON and asks nobody."""
    parser = verb_parser("publish", publish_verb.__doc__ or "")
    parser.add_argument("--dry-run", action="store_true", help="write the JSON, save nothing")
    parser.add_argument("--entity", help="W&B user or team; default: as the sweep, else your own")
    parser.add_argument("--project", help="W&B project; default: as the sweep")
    plan, options = parse_sweep_verb(parser, arguments)
    _require_extra()
    place = _place(plan, options.entity, options.project, asks=not options.dry_run)
    reduce_where_needed(plan, f"{TABLES[0]}.parquet")
    publish = _write if options.dry_run else _save
    found = publish(plan, place, _study(plan))
    if options.json:
        print_json({"sweep": plan.name, **found})
    else:
        lines = [f"{name:<9}  {where}" for name, where in found.items()]
        output().print("\n".join(lines), markup=False, soft_wrap=True)
    return OK


def _require_extra() -> None:
    try:
        import wandb_workspaces.reports.v2
        import wandb_workspaces.workspaces  # noqa: F401
    except ImportError as error:
        raise ConfigError(EXTRA.format(error=error)) from error


def _place(plan: Plan, entity: str | None, project: str | None, *, asks: bool) -> "DashboardPlace":
    """Where the runs are; `asks` the server whether it is there, and whose the key is.

    Raises: ConfigError without an account or a server.
    """
    from ptl_sweep.cli.publish.dashboards import DashboardPlace

    tracking: TrackingConfig = plan.settings.tracking
    entity, project = entity or tracking.entity, project or tracking.project
    if not asks:
        return DashboardPlace(entity=entity or "", project=project, sweep=plan.name)
    if not has_key():
        raise ConfigError(NO_KEY.format(url=base_url()) + DRY_RUN)
    try:
        server = Server(project=project, entity=entity)
    except ServerError as error:
        raise ConfigError(f"{error}{DRY_RUN}") from error
    return DashboardPlace(entity=server.entity, project=project, sweep=plan.name)


def _study(plan: Plan) -> "Study":
    """The tables that the report reads, as the reducer wrote them."""
    from ptl_sweep.study.published import load_published
    from ptl_sweep.study.study import Study

    return Study(
        rows=_rows(plan, "results"),
        iteration_rows=(),
        published=load_published(),
        score_thresholds=plan.settings.score_thresholds,
        **{name: _rows(plan, name) for name in TABLES},
    )


def _rows(plan: Plan, stem: str) -> list[Any]:
    from pyarrow import parquet

    return list(parquet.read_table(plan.folder / f"{stem}.parquet").to_pylist())


def _notes(plan: Plan) -> list[str]:
    return [TOY_NOTE] if plan.is_toy else []


def _write(plan: Plan, place: "DashboardPlace", study: "Study") -> dict[str, str]:
    """JSON of both below the sweep's folder; their paths by name."""
    from ptl_sweep.cli.publish import dashboards

    workspace = dashboards.build_workspace(place, study)
    report = dashboards.build_report(place, study, _notes(plan))
    content = {
        WORKSPACE: dashboards.workspace_json(workspace),
        REPORT: dashboards.report_json(report),
    }
    return {
        Path(name).stem: str(_write_json(plan.folder / name, content[name])) for name in content
    }


def _write_json(path: Path, content: Mapping[str, Any]) -> Path:
    write_atomically(path, json.dumps(content, indent=1).encode())
    return path


def _save(plan: Plan, place: "DashboardPlace", study: "Study") -> dict[str, str]:
    """Save both; their addresses by name. Raises: ConfigError when W&B refuses."""
    from ptl_sweep.cli.publish import dashboards
    from ptl_sweep.cli.publish.save import save_dashboards

    workspace = dashboards.build_workspace(place, study)
    report = dashboards.build_report(place, study, _notes(plan))
    return save_dashboards(plan.folder, place, workspace, report)
