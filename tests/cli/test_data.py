"""The command `manifest`, and what docs/ and conf/ say about data."""

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from PIL import Image

from ptl_sweep.compose import compose
from ptl_sweep.config.schema import conf_dir
from ptl_sweep.datasets.readers.archangel.manifest import read_manifest

EXTENDING = Path(__file__).parents[2] / "docs" / "extending.md"
PATTERN = r"images/(?P<character>[a-z]+)(?=_\d)_(?P<altitude_m>\d+)"  # holds a =, as no override


@pytest.fixture
def pool(tmp_path: Path) -> Path:
    """Two virtual images with masks, one without, one with an empty mask, and a stray file."""
    for name, value in {"anna_10": 255, "bob_20": 255, "eve_30": 0, "zoe_40": None}.items():
        for folder in ("images", "masks"):
            (tmp_path / "pool" / folder).mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (60, 40)).save(tmp_path / "pool" / "images" / f"{name}.png")
        if value is not None:
            mask = np.zeros((40, 60), np.uint8)
            mask[10:30, 20:28] = value
            Image.fromarray(mask).save(tmp_path / "pool" / "masks" / f"{name}.png")
    Image.new("RGB", (60, 40)).save(tmp_path / "pool" / "cover.png")
    return tmp_path / "pool"


def test_a_folder_becomes_a_manifest_and_a_pool_that_check_can_read(run: Any, pool: Path) -> None:
    outcome = run("manifest", str(pool), "--pattern", PATTERN)
    assert (outcome.code, outcome.errors) == (0, "")
    assert outcome.output.startswith(f"wrote   {pool / 'manifest.csv'}: 2 images\n")
    reasons = "1 do not match the pattern, 1 have no mask, 1 have an empty mask; the first are"
    assert f"left    {reasons} cover.png," in outcome.output
    rows = list(read_manifest(pool / "manifest.csv"))
    assert [row.attributes for row in rows] == [
        {"character": "anna", "altitude_m": 10}, {"character": "bob", "altitude_m": 20},
    ]  # fmt: skip
    command = outcome.output.splitlines()[-1].removeprefix("next    python -m ptl_sweep ").split()
    outcome = run(*command, "--json", f"sweep.root={pool.parent / 'outputs'}")
    (entry,) = json.loads(outcome.output)
    assert (entry["name"], entry["num_persons"], entry["error"]) == ("archangel", 2, None)


def test_json_of_manifest_tells_the_counts(run: Any, pool: Path) -> None:
    output = pool.parent / "manifest.csv"
    outcome = run("manifest", str(pool), f"--pattern={PATTERN}", "--output", str(output), "--json")
    assert json.loads(outcome.output) == {
        "path": str(output),
        "num_images": 2,
        "num_unmatched": 1,
        "num_without_mask": 1,
        "num_empty_masks": 1,
        "examples": ["cover.png", "images/zoe_40.png", "images/eve_30.png"],
    }
    assert next(read_manifest(output)).image == "pool/images/anna_10.png"


MISTAKES: dict[str, tuple[list[str], str]] = {
    "no regular expression": (["--pattern", "("], "is not a regular expression"),
    "an unknown group": (["--pattern", "(?P<hight>.*)"], "group 'hight' of the pattern"),
    "no match": (["--pattern", "photos/.*"], "none of 8 images matches"),
    "a template": (["--pattern", PATTERN, "--masks", "{x}.png"], "template of the masks '{x}.png'"),
    "a name": (
        ["--pattern", PATTERN, "--output", "/nowhere/m.csv"],
        "/nowhere/m.csv: does not lie",
    ),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_ends_with_2_and_names_what_to_correct(
    run: Any, pool: Path, mistake: str
) -> None:
    arguments, words = MISTAKES[mistake]
    outcome = run("manifest", str(pool), *arguments)
    assert (outcome.code, outcome.output) == (2, "")
    assert words in outcome.errors
    assert not (pool / "manifest.csv").exists()


def test_a_manifest_is_never_overwritten(run: Any, pool: Path) -> None:
    (pool / "manifest.csv").write_text("mine")
    outcome = run("manifest", str(pool), "--pattern", PATTERN)
    assert (outcome.code, (pool / "manifest.csv").read_text()) == (2, "mine")
    assert "is already there" in outcome.errors


def test_help_of_manifest_tells_the_rules(run: Any, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        run("manifest", "--help")
    shown = capsys.readouterr().out
    for words in ("PATTERN is a regular expression", "azimuth_deg; all are optional", "{stem}"):
        assert words in shown
    assert "progress" not in shown


def test_the_target_that_the_documentation_adds_is_one_short_file_that_works(
    run: Callable[..., Any],
    coco_folder: Callable[[Path], Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    block, *_ = re.findall(r"```yaml\n(.*?)```", EXTENDING.read_text(), re.DOTALL)
    assert len(block.splitlines()) < 15
    name = block.splitlines()[0].removeprefix("# conf/")
    shutil.copytree(conf_dir(), tmp_path / "conf")
    (tmp_path / "conf" / name).write_text(block)
    monkeypatch.setattr(compose, "conf_dir", lambda: tmp_path / "conf")
    coco_folder(tmp_path / "quarry")
    outcome = run(
        "check", "target=quarry", f"data_root={tmp_path}", f"sweep.root={tmp_path}", "--json"
    )
    (entry,) = json.loads(outcome.output)
    assert outcome.code == 0
    assert (entry["name"], entry["split"]) == ("quarry", "test")
    assert (entry["num_persons"], entry["num_ignored"]) == (1, 1)
    assert entry["source"] == "CC BY 4.0; Doe et al., People in Quarries, 2026"


@pytest.fixture
def coco_folder() -> Callable[[Path], Path]:
    """A COCO data set with one worker, one truck and one crowd."""

    def write(root: Path) -> Path:
        for folder in ("images", "annotations"):
            (root / folder).mkdir(parents=True)
        Image.new("RGB", (100, 80)).save(root / "images" / "a.jpg")
        names = ("worker", "truck", "crowd")
        content = {
            "images": [{"id": 1, "file_name": "a.jpg", "width": 100, "height": 80}],
            "categories": [{"id": i, "name": name} for i, name in enumerate(names)],
            "annotations": [
                {"id": i, "image_id": 1, "category_id": i, "bbox": [20 * i, 10, 12, 25]}
                for i in range(3)
            ],
        }
        (root / "annotations" / "instances_test.json").write_text(json.dumps(content))
        return root

    return write


@pytest.mark.parametrize(
    "path",
    sorted(p for g in ("dataset", "target", "pool") for p in conf_dir().glob(f"{g}/*.yaml")),
    ids=lambda path: f"{path.parent.name}/{path.stem}",
)
def test_every_data_set_states_licence_citation_and_where_it_comes_from(path: Path) -> None:
    text = path.read_text()
    content = yaml.safe_load(text)
    base = content.get("defaults", [None])[0]  # another choice of its group, which it changes
    if base is not None:
        content = yaml.safe_load(path.with_stem(base).read_text()) | content
    assert text.startswith("# ")
    if content["reader"] in ("coco", "yolo", "voc", "source") and "citation" not in content:
        assert "Your own" in text or "source" in text  # a template
        return
    assert content["licence"]
    if content["reader"] not in ("miniature", "cutouts"):
        assert content["citation"]
        head = " ".join(line for line in text.splitlines() if line.startswith("#"))
        assert re.search(r"[a-z]\.(org|com|at|de|hr|vision)\b", head)
