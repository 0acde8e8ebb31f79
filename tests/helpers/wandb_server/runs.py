"""The runs of the fake W&B backend: made, resumed, sent rows, and asked for."""

import base64
import json
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

from helpers.wandb_server.artifacts import Operations, Variables

PROJECT_ID = "1"
INTERNAL_ID = base64.b64encode(f"ProjectInternalId:{PROJECT_ID}".encode()).decode()
USER = {"id": "U1", "name": "Tester", "username": "tester"}
HISTORY, EVENTS, SUMMARY = "wandb-history.jsonl", "wandb-events.jsonl", "wandb-summary.json"


@dataclass
class FakeRun:
    """What the server knows of one run."""

    entity: str
    project: str
    id: str  # the run id, last part of its URL
    config: dict[str, Any] = field(default_factory=dict)  # name -> {"value": ...}
    summary: dict[str, Any] = field(default_factory=dict)
    about: dict[str, Any] = field(default_factory=dict)  # displayName, groupName, jobType, ...
    history: dict[int, dict[str, Any]] = field(default_factory=dict)  # line -> row
    events: dict[int, dict[str, Any]] = field(default_factory=dict)  # line -> system metrics
    files: dict[str, bytes] = field(default_factory=dict)  # by name
    alerts: list[Variables] = field(default_factory=list)  # title, text, severity, ...
    exit_code: int | None = None
    state: str = "running"

    @property
    def rows(self) -> list[dict[str, Any]]:
        """Rows in the order of their lines."""
        return [self.history[line] for line in sorted(self.history)]

    @property
    def server_id(self) -> str:
        """What GraphQL calls the run."""
        text = f"Run:v1:{self.id}:{self.project}:{self.entity}"
        return base64.b64encode(text.encode()).decode()


class RunShelf:
    """Every run of the server."""

    def __init__(self, entity: str) -> None:
        self.url = ""  # of the backend, once it listens
        self.entity = entity
        self.runs: dict[str, FakeRun] = {}  # by run id
        self.operations: Operations = {
            "UpsertBucket": self._upsert_run,
            "RunResumeStatus": self._resume_status,
            "CreateRunFiles": self._create_run_files,
            "Run": self._find_run,
            "Runs": self._find_runs,
            "RunHistoryKeys": self._find_run,
            "RunFullHistory": self._find_run,
            "HistoryPage": self._history_page,
            "RunParquetHistory": self._parquet_history,
            "NotifyScriptableRunAlert": self._alert,
        }

    def stream(self, run_id: str, request: dict[str, Any]) -> bool:
        """Keep the lines of a file_stream request; False for a run that does not exist.

        Lines come with their offset, so that one sent twice is kept once.
        """
        run = self.runs.get(run_id)
        if run is None:
            return False
        for name, content in (request.get("files") or {}).items():
            texts = content.get("content") or []
            if name in (HISTORY, EVENTS):
                lines = run.history if name == HISTORY else run.events
                first = content.get("offset", 0)
                lines |= {first + i: json.loads(text) for i, text in enumerate(texts)}
            elif name == SUMMARY:
                run.summary = json.loads(texts[-1])
        if request.get("complete"):
            run.exit_code = request.get("exitcode")
            run.state = "finished" if run.exit_code == 0 else "failed"
        return True

    def _upsert_run(self, variables: Variables) -> Any:
        name, server_id = variables.get("name"), variables.get("id")
        known = [r for r in self.runs.values() if server_id == r.server_id or name == r.id]
        run = known[0] if known else self._add_run(variables)
        if variables.get("config"):
            run.config = json.loads(variables["config"])
        if variables.get("summaryMetrics"):
            run.summary = json.loads(variables["summaryMetrics"])
        run.about |= {k: v for k, v in variables.items() if v is not None}
        run.state = variables.get("state") or run.state
        return {"upsertBucket": {"bucket": self._describe(run), "inserted": not known}}

    def _add_run(self, variables: Variables) -> FakeRun:
        entity = variables.get("entity") or self.entity
        project = variables.get("project") or "uncategorized"
        run = FakeRun(entity, project, variables["name"])
        self.runs[run.id] = run
        return run

    def _describe(self, run: FakeRun) -> dict[str, Any]:
        """Everything that any query asks of a run."""
        project = {"id": "P1", "name": run.project, "entity": {"id": "E1", "name": run.entity}}
        times = dict.fromkeys(("createdAt", "heartbeatAt"), "2026-01-01T00:00:00Z")
        nothing = dict.fromkeys(("sweepName", "commit", "description", "systemMetrics"))
        last_step = max((row["_step"] for row in run.rows), default=-1)
        return {
            **nothing,
            **times,
            "id": run.server_id,
            "name": run.id,
            "displayName": run.about.get("displayName") or run.id,
            "group": run.about.get("groupName"),
            "jobType": run.about.get("jobType"),
            "tags": run.about.get("tags") or [],
            "notes": run.about.get("notes"),
            "state": run.state,
            "config": json.dumps(run.config),
            "summaryMetrics": json.dumps(run.summary),
            "project": project,
            "projectId": PROJECT_ID,
            "user": USER,
            "readOnly": False,
            "historyLineCount": len(run.history),
            "eventsLineCount": len(run.events),
            "logLineCount": 0,
            "historyKeys": {"lastStep": last_step},
            "history": [json.dumps(row) for row in run.rows],
        }

    def _resume_status(self, variables: Variables) -> Any:
        run = self.runs.get(variables["name"])
        if run is None:
            return {"model": None}
        bucket = self._describe(run) | {
            "historyTail": json.dumps([json.dumps(row) for row in run.rows[-1:]]),
            "eventsTail": json.dumps([json.dumps(run.events[line]) for line in run.events][-1:]),
            "wandbConfig": json.dumps({"t": 1}),
        }
        return {"model": {**bucket["project"], "bucket": bucket}}

    def _create_run_files(self, variables: Variables) -> Any:
        run = self.runs[variables["run"]]
        files = [
            {"name": name, "uploadUrl": f"{self.url}/storage/{quote(f'run/{run.id}/{name}')}"}
            for name in variables["files"]
        ]
        return {"createRunFiles": {"runID": run.server_id, "uploadHeaders": [], "files": files}}

    def _find_run(self, variables: Variables) -> Any:
        run = self.runs.get(variables["name"])
        return {"project": {"run": self._describe(run) if run else None}}

    def _find_runs(self, _variables: Variables) -> Any:
        edges = [{"node": self._describe(run), "cursor": run.id} for run in self.runs.values()]
        runs = {"edges": edges, "pageInfo": {"endCursor": None, "hasNextPage": False}}
        project = {"internalId": INTERNAL_ID, "runCount": len(edges), "readOnly": False}
        return {"project": {**project, "runs": runs}}

    def _history_page(self, variables: Variables) -> Any:
        low, high = variables["minStep"], variables["maxStep"]
        rows = self.runs[variables["run"]].rows
        page = [json.dumps(row) for row in rows if low <= row["_step"] < high]
        return {"project": {"run": {"history": page}}}

    def _alert(self, variables: Variables) -> Any:
        self.runs[variables["runName"]].alerts.append(variables)
        return {"notifyScriptableRunAlert": {"success": True}}

    def _parquet_history(self, variables: Variables) -> Any:
        rows = self.runs[variables["runName"]].rows
        return {"project": {"run": {"parquetHistory": {"parquetUrls": [], "liveData": rows}}}}
