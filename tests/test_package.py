"""What a user gets: a version, a light --help, a complete wheel; and that shapes are checked."""

import importlib.metadata
import json
import re
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import numpy as np
import pytest
from packaging.requirements import Requirement
from packaging.version import Version

import ptl_sweep
from ptl_sweep.metrics.average_precision import average_precision

ROOT = Path(__file__).resolve().parent.parent

# Runs the module as `python -m` does, then tells which heavy libraries came along.
HELP = """
import json, runpy, sys
sys.argv = ["ptl_sweep", "--help"]
try:
    runpy.run_module("ptl_sweep", run_name="__main__", alter_sys=True)
except SystemExit as end:
    code = end.code or 0
else:
    code = 0
heavy = sorted({"torch", "torchvision", "wandb", "matplotlib", "scipy"} & set(sys.modules))
print(json.dumps({"code": code, "heavy": heavy}), file=sys.stderr)
"""


def test_version_is_the_one_of_the_metadata() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert ptl_sweep.__version__ == project["version"] == importlib.metadata.version("ptl-sweep")


def test_help_prints_usage_and_loads_nothing_heavy(
    tmp_path: Path,
) -> None:
    done = subprocess.run(
        [sys.executable, "-c", HELP], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert json.loads(done.stderr.splitlines()[-1]) == {"code": 0, "heavy": []}
    assert "real_count" in done.stdout
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "module",
    ["config.schema", "store", "tracking", "pipeline.plan", "pipeline.status_text", "launchers"],
)
def test_modules_that_only_look_are_light(module: str) -> None:
    program = (
        f"import sys, ptl_sweep.{module}\n"
        "heavy = {'torch', 'torchvision', 'wandb', 'matplotlib', 'scipy'}\n"
        "print(sorted(heavy & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"


def test_the_wheel_carries_conf_and_every_file_of_the_package(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)]
    subprocess.run(command, cwd=ROOT, capture_output=True, check=True)
    (wheel,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        packed = set(archive.namelist())
    sources = [path for path in (ROOT / "ptl_sweep").rglob("*") if path.is_file()]
    settings = (ROOT / "conf").rglob("*.yaml")
    expected = {
        path.relative_to(ROOT).as_posix() for path in sources if "__pycache__" not in path.parts
    } | {"ptl_sweep/" + path.relative_to(ROOT).as_posix() for path in settings}
    assert "ptl_sweep/conf/config.yaml" in expected
    assert "ptl_sweep/datasets/records.py" in expected
    assert expected - packed == set()


def test_the_lock_covers_every_dependency_with_hashes_and_names_no_host() -> None:
    text = (ROOT / "requirements.lock").read_text(encoding="utf-8")
    assert not re.search(r"://|--index|--extra-index|--find-links|/tmp|/root|/home", text)
    entries = re.findall(
        r"^([a-z0-9.-]+)==[^\n]*\\\n((?:    --hash=sha256:\w{64}[^\n]*\n)+)", text, re.M
    )
    assert len(entries) == len(re.findall(r"^[a-z0-9.-]+==", text, re.M))
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    wanted = [
        *project["project"]["dependencies"],
        *project["project"]["optional-dependencies"]["dev"],
        *project["build-system"]["requires"],
    ]
    names = {re.match(r"[A-Za-z0-9._-]+", line)[0].lower() for line in wanted}
    assert names - {name for name, _ in entries} == set()


def test_the_lock_has_the_wandb_that_the_cap_admits_and_no_later_minor_is_admitted() -> None:
    """The tests run with what is locked; a later W&B may log, resume and sync in another way."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    (wanted,) = [
        one for line in project["dependencies"] if (one := Requirement(line)).name == "wandb"
    ]
    text = (ROOT / "requirements.lock").read_text(encoding="utf-8")
    (locked,) = [Version(found) for found in re.findall(r"^wandb==(\S+)", text, re.M)]
    assert wanted.specifier.contains(locked)
    assert not wanted.specifier.contains(Version(f"{locked.major}.{locked.minor + 1}.0"))


def test_a_wrong_shape_is_caught_while_the_tests_run() -> None:
    """The canary of tests/conftest.py: without it, all other shape checks are asleep."""
    with pytest.raises(Exception, match="true_positive") as caught:
        average_precision(np.zeros((2, 2), dtype=bool), 1)
    assert "jaxtyping" in type(caught.value).__module__ or "beartype" in str(caught.value)
