"""`publish`: a W&B workspace and a report of a sweep, saved there or written as JSON."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ptl_sweep.config import ConfigError, TrackingConfig
from ptl_sweep.store import write_atomically
from ptl_sweep.sweep.arguments import OK, output, parse_sweep_verb, print_json, verb_parser
from ptl_sweep.sweep.planner import Plan, config_of
from ptl_sweep.sweep.table_verbs import reduce_where_needed

if TYPE_CHECKING:
    from ptl_sweep.analysis.dashboards import Place
    from ptl_sweep.analysis.study import Study

EXTRA = "publish needs wandb-workspaces: pip install 'ptl-sweep[workspaces]'"
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
    reduce_where_needed(plan, f"{TABLES[0]}.parquet")
    place = _place(plan, options.entity, options.project, asks=not options.dry_run)
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
        import wandb_workspaces  # noqa: F401
    except ImportError as error:
        raise ConfigError(EXTRA) from error


def _place(plan: Plan, entity: str | None, project: str | None, *, asks: bool) -> "Place":
    """Where the runs are; `asks` the server for the account's own entity where nobody says.

    Raises: ConfigError without an account or a server.
    """
    from ptl_sweep.analysis.dashboards import Place

    tracking: TrackingConfig = config_of(plan, 0).tracking
    entity = entity or tracking.entity or (_own_entity() if asks else "")
    return Place(entity=entity, project=project or tracking.project, sweep=plan.name)


def _own_entity() -> str:
    import wandb

    try:
        entity = wandb.Api().default_entity
    except Exception as error:  # no key, no server, or a server that refuses: W&B has many kinds
        raise ConfigError(
            f"cannot ask W&B who you are ({error}); set WANDB_API_KEY or use netrc (wandb login), "
            "or see the JSON with --dry-run"
        ) from error
    if not entity:
        raise ConfigError("the W&B account has no default entity; name one with --entity")
    return str(entity)


def _study(plan: Plan) -> "Study":
    """The tables that the report reads, as the reducer wrote them."""
    from ptl_sweep.analysis.published import load_published
    from ptl_sweep.analysis.study import Study

    return Study(
        rows=_rows(plan, "results"),
        iteration_rows=(),
        published=load_published(),
        score_thresholds=config_of(plan, 0).evaluate.score_thresholds,
        **{name: _rows(plan, name) for name in TABLES},
    )


def _rows(plan: Plan, stem: str) -> list[Any]:
    from pyarrow import parquet

    return list(parquet.read_table(plan.folder / f"{stem}.parquet").to_pylist())


def _notes(plan: Plan) -> list[str]:
    is_toy = any(config["dataset"]["reader"] == "miniature" for config in plan.configs)
    return [TOY_NOTE] if is_toy else []


def _write(plan: Plan, place: "Place", study: "Study") -> dict[str, str]:
    """JSON of both below the sweep's folder; their paths by name."""
    from ptl_sweep.analysis import dashboards

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


def _save(plan: Plan, place: "Place", study: "Study") -> dict[str, str]:
    """Save both; their addresses by name. Raises: ConfigError when W&B refuses."""
    from ptl_sweep.analysis import dashboards

    try:
        workspace = dashboards.build_workspace(place, study).save()
        report = dashboards.build_report(place, study, _notes(plan)).save()
    except Exception as error:  # W&B raises many kinds
        raise ConfigError(
            f"W&B did not take the workspace or report into {place.entity}/{place.project} "
            f"({error}); is the project there (sync the sweep first) and yours to write?"
        ) from error
    return {"workspace": str(workspace.url), "report": str(report.url)}
