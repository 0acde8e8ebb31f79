"""A W&B server on loopback that real runs of the SDK complete against, and that fails on demand.

It keeps what it is sent, so that tests can compare that with history.jsonl. It answers what
wandb 0.31 asks; a request that it does not know is refused and kept in `unknown`.
"""

import gzip
import json
import re
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self
from urllib.parse import unquote, urlsplit

from helpers.wandb_server.artifacts import ArtifactShelf, FakeArtifact, Operations, Variables
from helpers.wandb_server.runs import INTERNAL_ID, USER, FakeRun, RunShelf
from helpers.wandb_server.views import RefusedError, ViewShelf

FILE_STREAM = re.compile(r"/files/([^/]+)/([^/]+)/([^/]+)/file_stream")
NOTHING_TO_SAY: dict[str, Any] = {  # questions whose answer never changes
    "ServerFeaturesQuery": {"serverInfo": {"features": []}},
    "RunStoppedStatus": {"project": {"run": {"stopped": False}}},
    "RunState": {"project": {"run": {"state": "running", "stopped": False}}},
    "OrgFeatureFlags": {"organization": {"featureFlags": []}},
    "OrganizationCoreWeaveOrganizationID": {
        "entity": {"organization": {"coreWeaveOrganizationId": None}}
    },
    "FetchOrgEntityFromEntity": {"entity": {"organization": None, "user": None}},
    "XXHashDigestsEnabled": {"entity": {"xxhashDigestsEnabled": False}},
    "MarkRunFilesUploaded": {"markRunFilesUploaded": {"success": True}},
    "ProjectInternalId": {"project": {"id": "P1", "internalId": INTERNAL_ID}},
}

Answer = tuple[int, bytes]  # HTTP status, body


class FakeBackend:
    """The server, up while the context lasts; knobs may be set at any time."""

    def __init__(self, entity: str = "team") -> None:
        self.entity = entity
        self.operations: list[tuple[str, Variables]] = []  # GraphQL requests, in order
        self.unknown: list[str] = []  # requests that the server cannot answer
        self.fail_filestream = 0  # how many of the next requests that bring rows fail
        self.fail_graphql = 0  # how many of the next GraphQL requests fail
        self.fail_status = 429  # with which HTTP status
        self.refused: set[str] = set()  # names of GraphQL requests that are answered with an error
        self.is_dead = False  # connections are closed without an answer
        self.num_unanswered = 0  # requests while it was dead
        self._artifact_shelf = ArtifactShelf()
        self._run_shelf = RunShelf(entity)
        self._view_shelf = ViewShelf(entity)
        self._blobs: dict[str, bytes] = {}  # what was PUT, by storage key
        self._lock = threading.RLock()
        self._server = _Server(("127.0.0.1", 0), _handler(self))
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,))
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self._artifact_shelf.url = self._run_shelf.url = self.url
        self._known: Operations = {
            **{name: lambda _v, data=data: data for name, data in NOTHING_TO_SAY.items()},
            **self._artifact_shelf.operations,
            **self._run_shelf.operations,
            **self._view_shelf.operations,
            "Viewer": self._viewer,
            "GetDefaultEntity": self._viewer,
            "GetViewer": self._viewer,
        }

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    @property
    def runs(self) -> dict[str, FakeRun]:
        """By run id."""
        return self._run_shelf.runs

    @property
    def artifacts(self) -> dict[str, FakeArtifact]:
        """By id."""
        return self._artifact_shelf.artifacts

    @property
    def views(self) -> dict[str, Variables]:
        """Workspaces and reports, by id; one that a test takes out is deleted."""
        return self._view_shelf.views

    @property
    def projects(self) -> set[str]:
        """By name; a view of any other is refused."""
        return self._view_shelf.projects

    def rows_of(self, run_id: str) -> list[dict[str, Any]]:
        """What a run's history holds, without the names that W&B adds; step = line, else fails."""
        run = self.runs[run_id]
        steps = [row["_step"] for row in run.rows]
        if steps != list(range(len(steps))) or sorted(run.history) != steps:
            raise AssertionError(f"{run_id}: lines {sorted(run.history)} hold steps {steps}")
        return [{k: v for k, v in row.items() if not k.startswith("_")} for row in run.rows]

    def blob(self, artifact: FakeArtifact, name: str) -> bytes:
        """Content of a file of an artifact."""
        return self._blobs[artifact.files[name]]

    def answer(self, method: str, path: str, body: bytes) -> Answer:
        """Route one request."""
        with self._lock:
            if path == "/graphql":
                return self._graphql(json.loads(body))
            if match := FILE_STREAM.fullmatch(path):
                return self._file_stream(unquote(match[3]), json.loads(body))
            if path.startswith("/storage/"):
                return self._storage(method, unquote(path.removeprefix("/storage/")), body)
            if path.startswith("/sdk/otel/"):  # telemetry
                return 200, b"{}"
            self.unknown.append(f"{method} {path}")
            return 404, b"{}"

    def _storage(self, method: str, key: str, body: bytes) -> Answer:
        if method != "PUT":
            return (200, self._blobs[key]) if key in self._blobs else (404, b"{}")
        self._blobs[key] = body
        if key.startswith("run/"):
            _, run_id, name = key.split("/", 2)
            self.runs[run_id].files[name] = body
        return 200, b""

    def _file_stream(self, run_id: str, request: dict[str, Any]) -> Answer:
        if self.fail_filestream > 0:
            self.fail_filestream -= 1
            return self.fail_status, b'{"error": "on demand"}'
        if not self._run_shelf.stream(run_id, request):
            return 404, b'{"error": "no such run"}'
        return 200, b'{"exitcode": null, "limits": {}}'

    def _graphql(self, request: dict[str, Any]) -> Answer:
        query, variables = request["query"], request.get("variables") or {}
        match = re.search(r"(?:query|mutation)\s+(\w+)", query)
        name = request.get("operationName") or (match[1] if match else "")
        self.operations.append((name, variables))
        if self.fail_graphql > 0:
            self.fail_graphql -= 1
            return self.fail_status, b'{"errors": [{"message": "on demand"}]}'
        if name not in self._known:
            self.unknown.append(query)
            return 200, json.dumps({"errors": [{"message": f"unknown: {name}"}]}).encode()
        try:
            answer = {"data": self._answer(name, variables)}
        except RefusedError as error:
            answer = {"errors": [{"message": str(error)}]}
        return 200, json.dumps(answer).encode()

    def _answer(self, name: str, variables: Variables) -> Any:
        if name in self.refused:
            raise RefusedError(f"permission denied: {name}")
        return self._known[name](variables)

    def _viewer(self, _variables: Variables) -> Any:
        teams = {"edges": [{"node": {"name": self.entity}}]}
        account = {"email": "t@example.org", "admin": False, "flags": "{}", "deletedAt": None}
        keys: dict[str, list[Any]] = {"edges": []}
        return {
            "viewer": {**USER, **account, "entity": self.entity, "teams": teams, "apiKeys": keys}
        }


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 256  # a dozen runs connect at once


def _handler(backend: FakeBackend) -> type[BaseHTTPRequestHandler]:
    """A handler of HTTP requests that asks `backend`."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_: object) -> None:
            """Stay quiet."""

        def handle_any(self) -> None:
            """Read, answer, close when the backend plays dead."""
            body = self._body()
            if backend.is_dead:
                backend.num_unanswered += 1
                self.close_connection = True
                return
            status, content = backend.answer(self.command, urlsplit(self.path).path, body)
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        do_GET = do_POST = do_PUT = do_HEAD = do_DELETE = handle_any  # noqa: N815

        def _body(self) -> bytes:
            if self.headers.get("Transfer-Encoding") == "chunked":
                content = b"".join(self._chunks())
            else:
                content = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            is_packed = self.headers.get("Content-Encoding") == "gzip"
            return gzip.decompress(content) if is_packed else content

        def _chunks(self) -> list[bytes]:
            chunks = []
            while size := int(self.rfile.readline().split(b";")[0], 16):
                chunks.append(self.rfile.read(size))
                self.rfile.readline()
            self.rfile.readline()
            return chunks

    return Handler
