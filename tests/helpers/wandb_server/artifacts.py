"""The artifacts of the fake W&B backend: create, manifest, files, commit, use."""

import base64
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

Variables = dict[str, Any]  # of a GraphQL request
Operations = dict[str, Callable[[Variables], Any]]  # by name; the answer is the request's `data`

PENDING, COMMITTED = "PENDING", "COMMITTED"
CREATED = "2026-01-01T00:00:00Z"


@dataclass
class FakeArtifact:
    """One version of a collection."""

    id: str
    entity: str
    project: str
    collection: str  # such as model-train-k
    kind: str  # such as model
    version: str  # v0, v1, ...
    digest: str
    metadata: str | None = None  # JSON
    state: str = PENDING
    runs: list[str] = field(default_factory=list)  # run ids that logged it
    used_by: list[str] = field(default_factory=list)  # run ids that declared it as their input
    files: dict[str, str] = field(default_factory=dict)  # name -> key of the backend's blobs


class ArtifactShelf:
    """Every artifact that runs have logged or used."""

    def __init__(self) -> None:
        self.url = ""  # of the backend, once it listens
        self.artifacts: dict[str, FakeArtifact] = {}  # by id
        self._clients: dict[str, str] = {}  # the id that a client invents -> ours
        self._num_manifests = 0
        self.operations: Operations = {
            "CreateArtifact": self._create,
            "CreateArtifactManifest": self._create_manifest,
            "UpdateArtifactManifest": self._update_manifest,
            "CreateArtifactFiles": self._create_files,
            "CommitArtifact": self._commit,
            "UpdateArtifact": lambda v: {"updateArtifact": {"artifact": {"id": v["artifactID"]}}},
            "ArtifactByID": lambda v: {"artifact": _describe(self.artifacts[v["id"]])},
            "ArtifactMembershipByName": self._membership,
            "UseArtifact": self._use,
            "ArtifactType": self._type,
            "ClientIDMapping": self._client_id,
        }

    def find(self, name: str, entity: str, project: str) -> FakeArtifact | None:
        """The committed artifact that `collection:latest` or `collection:v3` names."""
        collection, _, alias = name.partition(":")
        found = [
            artifact
            for artifact in self._versions(collection)
            if (artifact.entity, artifact.project) == (entity, project)
            and artifact.state == COMMITTED
            and alias in ("latest", artifact.version)
        ]
        return found[-1] if found else None

    def _versions(self, name: str) -> list[FakeArtifact]:
        return [a for a in self.artifacts.values() if a.collection == name]

    def _create(self, variables: Variables) -> Any:
        given = variables["input"]
        names = given.get("artifactCollectionNames") or [given.get("artifactCollectionName")]
        versions = self._versions(names[0])
        equal = [a for a in versions if (a.digest, a.state) == (given["digest"], COMMITTED)]
        artifact = equal[0] if equal else self._add(given, names[0], len(versions))
        self._clients[given.get("clientID") or ""] = artifact.id
        if given.get("runName"):
            artifact.runs.append(given["runName"])
        committed = [a.id for a in versions if a.state == COMMITTED]
        latest = {"id": committed[-1]} if committed else None
        sequence = {"id": f"S-{names[0]}", "latestArtifact": latest}
        answer = {"id": artifact.id, "state": artifact.state, "artifactSequence": sequence}
        return {"createArtifact": {"artifact": answer}}

    def _add(self, given: Variables, collection: str, version: int) -> FakeArtifact:
        number = len(self.artifacts) + 1
        artifact = FakeArtifact(
            id=base64.b64encode(f"Artifact:{number}".encode()).decode(),
            entity=given.get("entityName", ""),
            project=given["projectName"],
            collection=collection,
            kind=given["artifactTypeName"],
            version=f"v{version}",
            digest=given["digest"],
            metadata=given.get("metadata"),
        )
        self.artifacts[artifact.id] = artifact
        return artifact

    def _create_manifest(self, _variables: Variables) -> Any:
        self._num_manifests += 1
        return {"createArtifactManifest": self._manifest(f"M{self._num_manifests}")}

    def _update_manifest(self, variables: Variables) -> Any:
        return {"updateArtifactManifest": self._manifest(variables["artifactManifestID"])}

    def _manifest(self, identity: str) -> Any:
        url = f"{self.url}/storage/manifest/{identity}"
        file = {"id": f"F{identity}", "uploadUrl": url, "uploadHeaders": []}
        return {"artifactManifest": {"id": identity, "file": file}}

    def _create_files(self, variables: Variables) -> Any:
        nodes = [self._add_file(file) for file in variables["input"]["artifactFiles"]]
        return {"createArtifactFiles": {"files": {"edges": [{"node": node} for node in nodes]}}}

    def _add_file(self, file: Variables) -> Any:
        identity, name = file["artifactID"], file["name"]
        path = f"artifact/{identity}/{name}"
        self.artifacts[identity].files[name] = path
        return {
            "id": path,
            "name": name,
            "displayName": name,
            "storagePath": path,
            "uploadUrl": f"{self.url}/storage/{quote(path)}",
            "uploadHeaders": [],
            "uploadMultipartUrls": None,
            "artifact": {"id": identity},
        }

    def _commit(self, variables: Variables) -> Any:
        artifact = self.artifacts[variables["artifactID"]]
        artifact.state = COMMITTED
        return {"commitArtifact": {"artifact": {"id": artifact.id, "digest": artifact.digest}}}

    def _membership(self, variables: Variables) -> Any:
        """What `run.use_artifact(name)` asks first; null where there is no such artifact."""
        artifact = self.find(variables["name"], variables["entity"], variables["project"])
        membership = _describe_membership(artifact) if artifact else None
        return {"project": {"artifactCollectionMembership": membership}}

    def _use(self, variables: Variables) -> Any:
        given = variables.get("input") or variables  # wandb-core has one input, the SDK has none
        artifact = self.artifacts[given["artifactID"]]
        artifact.used_by.append(given["runName"])
        return {"useArtifact": {"artifact": _describe(artifact)}}

    def _type(self, variables: Variables) -> Any:
        versions = self._versions(variables["name"].split(":")[0])
        found = {"artifactType": {"name": versions[-1].kind}} if versions else None
        return {"project": {"artifact": found}}

    def _client_id(self, variables: Variables) -> Any:
        server = self._clients.get(variables["clientID"])
        return {"clientIDMapping": {"serverID": server} if server else None}


def _describe(artifact: FakeArtifact) -> dict[str, Any]:
    """Everything that any query asks of an artifact."""
    nothing = dict.fromkeys(("description", "historyStep", "updatedAt", "commitHash"))
    return {
        **nothing,
        "__typename": "Artifact",
        "id": artifact.id,
        "artifactSequence": _describe_collection(artifact),
        "versionIndex": int(artifact.version.removeprefix("v")),
        "artifactType": {"name": artifact.kind},
        "metadata": artifact.metadata,
        "ttlDurationSeconds": -2,  # never expires
        "ttlIsInherited": False,
        "tags": [],
        "state": artifact.state,
        "size": 0,  # nobody asks for its bytes
        "digest": artifact.digest,
        "fileCount": len(artifact.files),
        "createdAt": CREATED,
    }


def _describe_collection(artifact: FakeArtifact) -> dict[str, Any]:
    entity = {"name": artifact.entity}
    project = {"id": "P1", "internalId": "P1", "name": artifact.project, "entity": entity}
    return {"__typename": "ArtifactSequence", "name": artifact.collection, "project": project}


def _describe_membership(artifact: FakeArtifact) -> dict[str, Any]:
    """A version as a member of its collection."""
    return {
        "__typename": "ArtifactCollectionMembership",
        "id": f"membership of {artifact.id}",
        "versionIndex": int(artifact.version.removeprefix("v")),
        "createdAt": CREATED,
        "aliases": [],
        "artifactCollection": _describe_collection(artifact),
        "artifact": _describe(artifact),
    }
