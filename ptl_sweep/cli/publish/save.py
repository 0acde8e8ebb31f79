"""Save a workspace and a report in W&B: the first `publish` of a sweep makes them, others update.

The ids that the server gave are kept in the sweep's folder: names and titles may change there.

wandb-workspaces 0.4.13 has no public way to four things that `publish` does. This module, and no
other, therefore uses these private parts of it:

- `_to_model`: to read the JSON of a workspace or report (`--dry-run`), and to have panels show
  single runs beside a grouped table of runs, which no public setting allows;
- `internal.upsert_view2`, `internal._generate_view_name` and `_internal_name`: to save that changed
  model. `Workspace.save` sends the unchanged one;
- `internal.execute_graphql` with `gql.view_report`: to ask whether a saved view is still there.
  `from_url` would bring along what was edited in it, and fails where the edits cannot be read.
"""

import json
import logging
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import wandb
import wandb_workspaces.reports.v2 as wr
import wandb_workspaces.workspaces as ws
from wandb_workspaces.reports.v2 import gql
from wandb_workspaces.workspaces import internal

from ptl_sweep.cli.publish.dashboards import DashboardPlace
from ptl_sweep.config.schema import ConfigError
from ptl_sweep.store import write_atomically
from ptl_sweep.tracking.credentials import base_url

log = logging.getLogger(__name__)

SAVED = "dashboards.json"  # server/entity/project -> workspace and report -> id and url
Saved = dict[str, str]  # id, url


class ServerView(NamedTuple):
    """A view as the server has it; its name is part of a workspace's address."""

    id: str
    name: str


def workspace_model(workspace: ws.Workspace) -> Any:
    """Build what saving sends: panels show single runs, though the table of runs is grouped.

    A panel would otherwise show the mean of a whole job type. A section's own setting wins over
    that of the workspace.
    """
    model = workspace._to_model()  # noqa: SLF001
    section = model.spec.section
    places = (section.panel_bank_section_config, *section.panel_bank_config.sections)
    for settings in (section.settings, *(place.local_panel_settings for place in places)):
        settings.use_runs_table_grouping_in_panels = False
    return model


def write_dashboards(
    folder: Path, place: DashboardPlace, workspace: ws.Workspace, report: wr.Report
) -> dict[str, str]:
    """Write the JSON that saving would send into the sweep's folder; the paths by name."""
    models = {"workspace": workspace_model(workspace), "report": report._to_model()}  # noqa: SLF001
    for name, model in models.items():
        spec = json.loads(model.spec.model_dump_json(by_alias=True, exclude_none=True))
        where = {"entity": place.entity, "project": place.project, "name": model.display_name}
        _write_json(folder / f"{name}.json", {**where, "spec": spec})
    return {name: str(folder / f"{name}.json") for name in models}


def save_dashboards(
    folder: Path, place: DashboardPlace, workspace: ws.Workspace, report: wr.Report
) -> dict[str, str]:
    """Save both; the addresses by name, kept in the sweep's folder.

    Raises: ConfigError when W&B refuses.
    """
    _require_project(place)
    path = folder / SAVED
    known = _read(path)
    views = known.setdefault(f"{base_url()}/{place.entity}/{place.project}", {})
    savers: dict[str, tuple[Callable[[Any, ServerView | None], Saved], Any]] = {
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
        _write_json(path, known)
    return {name: views[name]["url"] for name in savers}


def _require_project(place: DashboardPlace) -> None:
    """Refuse a project that is not there: it would be made anew. Raises: ConfigError."""
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


def _write_json(path: Path, content: Mapping[str, object]) -> None:
    write_atomically(path, json.dumps(content, indent=1).encode())


def _on_server(name: str, saved: Saved | None) -> ServerView | None:
    """Ask for what an earlier publish saved; None: it has to be made."""
    if saved is None:
        return None
    answer = internal.execute_graphql(wandb.Api(), gql.view_report, {"reportId": saved["id"]})
    found = answer["view"]
    if found is None:
        log.warning("the %s at %s was deleted there: a new one is made", name, saved["url"])
        return None
    return ServerView(found["id"], found["name"])


def _save_workspace(workspace: ws.Workspace, found: ServerView | None) -> Saved:
    model = workspace_model(workspace)
    new = ServerView("", internal._generate_view_name())  # noqa: SLF001
    model.id, model.name = found or new
    saved = internal.upsert_view2(model)["upsertView"]["view"]
    workspace._internal_name = saved["name"]  # noqa: SLF001  its url is made from it
    return {"id": saved["id"], "url": workspace.url}


def _save_report(report: wr.Report, found: ServerView | None) -> Saved:
    report.id = found.id if found else ""
    report.save()
    return {"id": report.id, "url": report.url}
