"""The projects of the fake W&B backend and what is saved in them: workspaces and reports."""

import base64
from typing import Any

from helpers.wandb_server.artifacts import Operations, Variables
from helpers.wandb_server.runs import INTERNAL_ID, USER

TIMES = dict.fromkeys(("createdAt", "updatedAt"), "2026-01-01T00:00:00")


class RefusedError(Exception):
    """What the server answers instead of data."""


class ViewShelf:
    """Every view, by id: what was sent last."""

    def __init__(self, entity: str) -> None:
        self.entity = entity
        self.projects = {"ptl-sweep"}
        self.views: dict[str, Variables] = {}
        self._num_made = 0
        self.operations: Operations = {
            "GetProjects": self._projects,
            "UpsertView2": self._upsert,
            "upsertView": self._upsert,
            "SpecificReport": self._find,
        }

    def _projects(self, variables: Variables) -> Any:
        if variables["entity"] != self.entity:
            return {"models": None}
        edges = [{"cursor": name, "node": self._project(name)} for name in sorted(self.projects)]
        return {"models": {"edges": edges, "pageInfo": {"endCursor": None, "hasNextPage": False}}}

    def _project(self, name: str) -> Any:
        account = {"__typename": "User", "email": "t@example.org", "admin": False, "flags": "{}"}
        empty: dict[str, list[Any]] = {"edges": []}
        user = {**USER, **account, "entity": self.entity, "deletedAt": None}
        user |= {"apiKeys": empty, "teams": empty}
        identity = {"__typename": "Project", "id": "P1", "internalId": INTERNAL_ID, "name": name}
        created = {"createdAt": "2026-01-01T00:00:00Z", "isBenchmark": False}
        return {**identity, **created, "entityName": self.entity, "user": user}

    def _upsert(self, variables: Variables) -> Any:
        """Make a view, or change the one whose id is given."""
        where = variables["entityName"], variables["projectName"]
        if where[0] != self.entity or where[1] not in self.projects:
            raise RefusedError(f"permission denied: {where}")
        identity = variables.get("id") or self._new_id()
        inserted = not variables.get("id")
        if not inserted and identity not in self.views:
            raise RefusedError(f"no view {identity}")
        self.views[identity] = {**variables, "id": identity}
        return {"upsertView": {"view": self._describe(identity), "inserted": inserted}}

    def _new_id(self) -> str:
        self._num_made += 1
        return base64.b64encode(f"View:{self._num_made}".encode()).decode()

    def _find(self, variables: Variables) -> Any:
        identity = variables["reportId"]
        return {"view": self._describe(identity) if identity in self.views else None}

    def _describe(self, identity: str) -> Any:
        view = self.views[identity]
        project = {"id": "P1", "name": view["projectName"], "entityName": view["entityName"]}
        return {**view, **TIMES, "project": project, "user": USER}
