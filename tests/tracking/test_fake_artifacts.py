"""The fake backend draws edges as the real SDK asks for them, and lacks what was not committed."""

from pathlib import Path

import pytest
from helpers.local_runs import run_program
from helpers.wandb_server.artifacts import COMMITTED, ArtifactShelf
from helpers.wandb_server.backend import FakeBackend

# A run that files a model, and one that starts from it and from one that nobody has filed.
USER = """
import sys
from pathlib import Path
import wandb

root = Path(sys.argv[1])
root.mkdir()
model = root / "model.bin"
model.write_bytes(b"weights")

def start(key):
    return wandb.init(id=key, project="s", dir=root, settings={"silent": True, "console": "off"})

with start("train-a") as first:
    made = wandb.Artifact("model-a", "model")
    made.add_file(str(model))
    first.log_artifact(made).wait()
lacks = 0
with start("train-b") as second:
    for name in ("model-a:latest", "model-a:v0", "model-of-nobody:latest", "model-a:v7"):
        try:
            second.use_artifact(name)
        except Exception:
            lacks += 1
        second.log({"loss": 0.5})
print(lacks)
"""


@pytest.mark.wandb
def test_the_sdk_draws_an_edge_and_does_without_an_artifact_that_the_server_lacks(
    backend: tuple[FakeBackend, dict[str, str]], tmp_path: Path
) -> None:
    server, environment = backend
    done = run_program(USER, str(tmp_path / "root"), env=environment)
    assert done.stdout.splitlines()[-1:] == ["2"], done.stderr
    (artifact,) = server.artifacts.values()
    assert (artifact.collection, artifact.state) == ("model-a", COMMITTED)
    assert (artifact.runs, artifact.used_by) == (["train-a"], ["train-b", "train-b"])
    assert server.blob(artifact, "model.bin") == b"weights"
    assert server.rows_of("train-b") == [{"loss": 0.5}] * 4
    assert server.unknown == []


# the shelf, asked as the SDK asks


def log(shelf: ArtifactShelf, digest: str, *, commit: bool = True) -> str:
    """Id of a version of `model-a` in team/project."""
    given = {"entityName": "team", "projectName": "project", "artifactTypeName": "model"}
    given |= {"artifactCollectionNames": ["model-a"], "digest": digest, "runName": "run"}
    answer = shelf.operations["CreateArtifact"]({"input": given})
    identity: str = answer["createArtifact"]["artifact"]["id"]
    if commit:
        shelf.operations["CommitArtifact"]({"artifactID": identity})
    return identity


def found(
    shelf: ArtifactShelf, name: str, entity: str = "team", project: str = "project"
) -> str | None:
    variables = {"entity": entity, "project": project, "name": name}
    answer = shelf.operations["ArtifactMembershipByName"](variables)
    membership = answer["project"]["artifactCollectionMembership"]
    return membership and membership["artifact"]["id"]


def test_latest_is_the_newest_version_that_was_committed() -> None:
    shelf = ArtifactShelf()
    first, second = log(shelf, "digest 0"), log(shelf, "digest 1")
    pending = log(shelf, "digest 2", commit=False)
    assert found(shelf, "model-a:latest") == second
    assert (found(shelf, "model-a:v0"), found(shelf, "model-a:v1")) == (first, second)
    assert found(shelf, "model-a:v2") is None
    shelf.operations["CommitArtifact"]({"artifactID": pending})
    assert found(shelf, "model-a:latest") == pending


def test_artifacts_of_another_name_project_or_entity_are_not_found() -> None:
    shelf = ArtifactShelf()
    assert found(shelf, "model-a:latest") is None
    log(shelf, "digest")
    assert found(shelf, "model-b:latest") is None
    assert found(shelf, "model-a:latest", project="another") is None
    assert found(shelf, "model-a:latest", entity="another") is None


def test_edges_of_the_sdk_and_of_its_service_are_kept_alike() -> None:
    shelf = ArtifactShelf()
    identity = log(shelf, "digest")
    use = shelf.operations["UseArtifact"]
    use({"artifactID": identity, "runName": "of-the-sdk", "usedAs": None})
    use({"input": {"artifactID": identity, "runName": "of-the-service"}})
    assert shelf.artifacts[identity].used_by == ["of-the-sdk", "of-the-service"]
