"""Own files below ./conf or --config-dir: `new-dataset` writes them, and commands find them."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from helpers.exports import EXPORTS, roboflow_coco, roboflow_yolo

from ptl_sweep.compose.compose import compose_grid, compose_run
from ptl_sweep.compose.own_choices import new_choice, search_word
from ptl_sweep.config.schema import ConfigError, conf_dir

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def study(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working directory beside an export."""
    roboflow_yolo(tmp_path / "export", 0)
    folder = tmp_path / "my study's folder"
    folder.mkdir()
    monkeypatch.chdir(folder)
    return folder


def test_a_source_and_a_target_are_found_where_they_were_written(study: Path, run: Any) -> None:
    assert run("new-dataset", "people", "--root", "../export").code == 0
    assert run("new-target", "quarry", "--root", "../export").code == 0
    assert sorted(path.relative_to(study).as_posix() for path in study.rglob("conf/*/*.yaml")) == [
        "conf/dataset/people.yaml",
        "conf/target/quarry.yaml",
    ]
    words = ["experiment=own_data", "dataset=people", "target=quarry,source", "synthetic=off"]
    cells = compose_grid(words)
    assert {cell.dataset.root for cell in cells} == {str(study.parent / "export")}
    assert [cell.target.name for cell in cells] == ["people-validation", "quarry"]
    assert compose_run(["-m", *words]) == cells
    assert compose_run(["-m", *words, "hydra.verbose=false"]) == cells  # by Hydra's own sweeper
    for command in ("check", "-m"):
        assert "did you mean quarry?" in run(command, "target=quarrry", "dataset=people").errors
    assert re.search(r"^dataset: .*\bpeople\b", run("--help").output, re.M)


def test_another_folder_is_named_for_each_command(study: Path, run: Any) -> None:
    place = ["--config-dir", "mine"]
    outcome = run("new-dataset", "people", "--root", "../export", *place)
    assert outcome.code == 0, outcome.errors
    assert outcome.output.splitlines()[-1] == (
        "next    python -m ptl_sweep check dataset=people --config-dir mine --sheet outputs/sheets"
    )
    assert (study / "mine" / "dataset" / "people.yaml").is_file()
    words = ["experiment=own_data", "dataset=people", "target=source"]
    for command in ("check", "plan"):
        assert run(command, *words, *place).code == 0
        assert "unknown choice dataset=people" in run(command, *words).errors
    found = compose_run(["-m", *place, *words])
    assert found is not None
    assert {cell.dataset.name for cell in found} == {"people"}


def test_a_folder_may_have_an_equals_sign_in_its_path(
    study: Path, monkeypatch: pytest.MonkeyPatch, run: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    """As the folders of Hydra's sweeps do."""
    place = study / "seed=1"
    place.mkdir()
    monkeypatch.chdir(place)
    assert run("new-dataset", "people", "--root", "../../export").code == 0
    words = ["experiment=own_data", "dataset=people", "target=source"]
    assert run("plan", *words).code == 0
    for flags in ([], [f"--config-dir=../{place.name}/conf"]):
        capsys.readouterr()
        assert compose_run([*words, *flags, "--cfg", "job"]) is None
        assert "name: people" in capsys.readouterr().out


def test_a_name_of_the_package_or_of_an_own_file_is_taken(study: Path) -> None:
    with pytest.raises(ConfigError, match=r"conf/target/okutama.yaml is there already"):
        new_choice("target", "okutama", Path("conf"))
    (study / "conf" / "target").mkdir(parents=True)
    (study / "conf" / "target" / "mine.yaml").write_text("")
    with pytest.raises(ConfigError, match=r"conf/target/mine.yaml is there already"):
        new_choice("target", "mine", Path("conf"))
    with pytest.raises(ConfigError, match="is not a folder"):
        search_word(study / "nowhere")


def test_an_own_file_never_replaces_one_of_the_package(study: Path) -> None:
    before = compose_grid(["target=field"], as_sweep=False)
    (study / "conf" / "target").mkdir(parents=True)
    (study / "conf" / "target" / "field.yaml").write_text("name: other\nreader: miniature\n")
    assert compose_grid(["target=field"], as_sweep=False) == before


def test_copies_in_its_own_parts_are_said_and_the_file_divides_anew(study: Path, run: Any) -> None:
    root = study.parent / "copies"
    EXPORTS["Roboflow, COCO, copies in two parts"].write(root, 0)
    outcome = run("new-dataset", "people", "--root", str(root))
    found, why, wrote = outcome.output.replace("\n        ", " ").splitlines()[:3]
    assert "divided anew by scenes: 80 % to train on, 20 % held out" in found
    assert why.startswith(
        "why     the validation split of people (validation) shows by their names"
    )
    assert wrote.startswith("wrote")
    assert run("check", "dataset=people").code == 0


def test_copies_in_validation_alone_leave_its_test_part(study: Path, run: Any) -> None:
    roboflow_coco(study.parent / "copies", 0, first_of_valid=0)
    outcome = run("new-dataset", "people", "--root", "../copies")
    assert "trained on train, held out test" in outcome.output
    assert "why     the validation split of people (validation) shows" in outcome.output


def test_a_source_of_one_part_says_what_every_run_needs(study: Path, run: Any) -> None:
    root = study.parent / "visdrone"
    EXPORTS["VisDrone-DET"].write(root, 0)
    shutil.rmtree(root / "VisDrone2019-DET-val")
    outcome = run("new-dataset", "people", "--root", str(root))
    assert outcome.code == 0
    assert "trained on train, nothing to hold out" in outcome.output
    assert "needs analysis.calibration=crossfit" in outcome.output.replace("\n        ", " ")
    assert run("check", "dataset=people", "analysis.calibration=crossfit").code == 0
    refused = run("check", "dataset=people")
    assert refused.code == 1
    assert "analysis.calibration=crossfit" in refused.output


def installed(place: Path) -> dict[str, str]:
    """The package as a wheel unpacks it, conf/ inside, where nobody may write; an environment."""
    ignored = shutil.ignore_patterns("__pycache__")
    shutil.copytree(ROOT / "ptl_sweep", place / "ptl_sweep", ignore=ignored)
    shutil.copytree(conf_dir(), place / "ptl_sweep" / "conf")
    for path in (place / "ptl_sweep" / "conf").rglob("*"):
        path.chmod(0o555)
    return os.environ | {"PYTHONPATH": str(place), "PYTHONDONTWRITEBYTECODE": "1"}


def test_an_installed_package_writes_below_the_working_directory_and_finds_it(
    study: Path, tmp_path: Path
) -> None:
    environment = installed(tmp_path / "site-packages")
    before = sorted((tmp_path / "site-packages").rglob("*.yaml"))

    def call(*words: str) -> str:
        done = subprocess.run(
            [sys.executable, "-m", "ptl_sweep", *words],
            cwd=study, env=environment, capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    call("new-dataset", "people", "--root", "../export")
    content = yaml.safe_load((study / "conf" / "dataset" / "people.yaml").read_text())
    assert content["root"] == str(tmp_path / "export")
    checked = json.loads(call("check", "dataset=people", "--json"))
    assert [entry["error"] for entry in checked] == [None, None]
    assert sorted((tmp_path / "site-packages").rglob("*.yaml")) == before
