"""Save a workspace and a report in W&B: the first `publish` of a sweep makes them, others update.

The ids that the server gave are kept in the sweep's folder: names and titles may change there.

`publish` uses these private parts of wandb-workspaces, here and in `dashboards`, because it has no
public way to them: `_to_model` (the JSON of --dry-run, and panels that show single runs),
`internal.upsert_view2` with `_generate_view_name` and `_internal_name` (to save a model that was
changed), and `internal.execute_graphql` (whether a saved view is still there).
"""

import json
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ptl_sweep.cli.publish import dashboards
from ptl_sweep.cli.publish.dashboards import DashboardPlace
from ptl_sweep.config.schema import ConfigError
from ptl_sweep.store import write_atomically
from ptl_sweep.tracking.server import base_url

log = logging.getLogger(__name__)

SAVED = "dashboards.json"  # server/entity/project -> workspace and report -> id and url
Saved = dict[str, str]  # id, url
Found = dict[str, Any]  # id and name of a view, as the server has them


def save_dashboards(
    folder: Path, place: DashboardPlace, workspace: Any, report: Any
) -> dict[str, str]:
    """Their addresses by name; `folder` is the sweep's. Raises: ConfigError when W&B refuses."""
    _require_project(place)
    path = folder / SAVED
    known = _read(path)
    views = known.setdefault(f"{base_url()}/{place.entity}/{place.project}", {})
    savers: dict[str, tuple[Callable[[Any, Found | None], Saved], Any]] = {
        "workspace": (_save_workspace, workspace),
        "report": (_save_report, report),
    }
    for name, (save, content) in savers.items():
        try:
            views[name] = save(content, _on_server(name, views.get(name)))
        except Exception as error:  # W&B raises many kinds
            raise ConfigError(
                f"{base_url()} did not take the {name} into {place.entity}/{place.project} "
                f"({str(error).strip()}); may this account write there? To have new ones made "
                f"instead of updating those of an earlier publish, delete {path}"
            ) from error
        write_atomically(path, json.dumps(known, indent=1).encode())
    return {name: views[name]["url"] for name in savers}


def _require_project(place: DashboardPlace) -> None:
    """wandb-workspaces would make a project that is misspelt. Raises: ConfigError."""
    import wandb

    try:
        projects = {project.name for project in wandb.Api().projects(place.entity)}
    except Exception as error:
        raise ConfigError(
            f"{base_url()} shows no projects of {place.entity} ({error}); --entity must be this "
            "account or a team that it belongs to"
        ) from error
    if place.project not in projects:
        raise ConfigError(
            f"{base_url()} has no project {place.project} of {place.entity}; bring the runs there "
            "first (python -m ptl_sweep sync), or name another with --project and --entity"
        )


def _read(path: Path) -> dict[str, dict[str, Saved]]:
    try:
        return dict(json.loads(path.read_text(encoding="utf-8")))
    except FileNotFoundError:
        return {}
    except ValueError as error:
        raise ConfigError(
            f"{path} is not JSON ({error}); delete it to have new ones made"
        ) from error


def _on_server(name: str, saved: Saved | None) -> Found | None:
    """What an earlier publish saved, as it is now; None: to be made."""
    import wandb
    from wandb_workspaces.reports.v2 import gql
    from wandb_workspaces.workspaces import internal

    if saved is None:
        return None
    answer = internal.execute_graphql(wandb.Api(), gql.view_report, {"reportId": saved["id"]})
    found: Found | None = answer["view"]
    if found is None:
        log.warning("the %s at %s was deleted there: a new one is made", name, saved["url"])
    return found


def _save_workspace(workspace: Any, found: Found | None) -> Saved:
    """As `Workspace.save`, which has no way to set what `workspace_model` sets."""
    from wandb_workspaces.workspaces import internal

    model = dashboards.workspace_model(workspace)
    model.id = found["id"] if found else ""
    model.name = found["name"] if found else internal._generate_view_name()  # noqa: SLF001
    saved = internal.upsert_view2(model)["upsertView"]["view"]
    workspace._internal_name = saved["name"]  # noqa: SLF001  its url is made from it
    return {"id": saved["id"], "url": workspace.url}


def _save_report(report: Any, found: Found | None) -> Saved:
    report.id = found["id"] if found else ""
    report.save()
    return {"id": report.id, "url": report.url}
