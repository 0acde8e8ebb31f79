"""`new-target`: exports of the usual tools become a target whose file reads them."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from PIL import Image

from ptl_sweep.compose import compose, own_choices
from ptl_sweep.compose.detect_format import detect_format
from ptl_sweep.config.schema import ConfigError, conf_dir
from ptl_sweep.datasets.validation import DataError

SIZE = (100, 80)
NAME = "a_jpg.rf.GNSaptniQRRWmG0fIgl1"  # as Roboflow calls its copies
Write = Callable[[Path], None]


def picture(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", SIZE, (90, 120, 60)).save(path)


def roboflow_coco(root: Path) -> None:
    """Two splits, the categories as Roboflow writes them: a super-category first."""
    for split in ("train", "test"):
        picture(root / split / f"{NAME}.jpg")
        content = {
            "images": [
                {"id": 0, "file_name": f"{NAME}.jpg", "width": 100, "height": 80},
            ],
            "categories": [
                {"id": 0, "name": "people-and-cars"}, {"id": 1, "name": "Pedestrian"},
                {"id": 2, "name": "car"},
            ],
            "annotations": [
                {"id": 0, "image_id": 0, "category_id": 1, "bbox": [10, 10, 8, 20]},
                {"id": 1, "image_id": 0, "category_id": 2, "bbox": [50, 10, 30, 20]},
            ],
        }  # fmt: skip
        (root / split / "_annotations.coco.json").write_text(json.dumps(content))


def roboflow_yolo(root: Path) -> None:
    for split in ("train", "valid"):
        picture(root / split / "images" / f"{NAME}.jpg")
        labels = root / split / "labels"
        labels.mkdir()
        text = "1 0.14 0.25 0.08 0.25\n0 0.65 0.25 0.3 0.25\n"
        (labels / f"{NAME}.txt").write_text(text)
    (root / "data.yaml").write_text(
        "train: ../train/images\nval: ../valid/images\nnames: [car, man]"
    )


def cvat_voc(root: Path) -> None:
    picture(root / "JPEGImages" / "frame 1.png")
    (root / "Annotations").mkdir()
    objects = "".join(
        f"<object><name>{name}</name><bndbox><xmin>10</xmin><ymin>10</ymin><xmax>18</xmax>"
        "<ymax>30</ymax></bndbox></object>"
        for name in ("person", "dont care")
    )
    text = (
        "<annotation><filename>frame 1.png</filename><size><width>100</width><height>80</height>"
        f"<depth>3</depth></size>{objects}</annotation>"
    )
    (root / "Annotations" / "frame 1.xml").write_text(text)
    lists = root / "ImageSets" / "Main"
    lists.mkdir(parents=True)
    (lists / "default.txt").write_text("frame 1\n")


def visdrone(root: Path) -> None:
    folder = root / "VisDrone2019-DET-val"
    picture(folder / "images" / "0000001_00001_d_0000001.jpg")
    (folder / "annotations").mkdir()
    (folder / "annotations" / "0000001_00001_d_0000001.txt").write_text("10,10,8,20,1,1,0,0\n")


EXPORTS: dict[str, tuple[Write, str, str, dict[str, str]]] = {
    "Roboflow, COCO": (
        roboflow_coco, "coco", "test",
        {"people-and-cars": "other", "Pedestrian": "person", "car": "other"},
    ),
    "Roboflow, YOLO": (
        roboflow_yolo, "yolo", "validation", {"car": "other", "man": "person"},
    ),
    "CVAT, VOC": (cvat_voc, "voc", "all", {"person": "person", "dont care": "ignore"}),
    "VisDrone": (visdrone, "visdrone", "validation", {}),
}  # fmt: skip


@pytest.fixture
def conf(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of conf/ that commands read and write."""
    folder = tmp_path / "conf"
    shutil.copytree(conf_dir(), folder)
    monkeypatch.setattr(compose, "conf_dir", lambda: folder)
    monkeypatch.setattr(own_choices, "conf_dir", lambda: folder)
    monkeypatch.chdir(tmp_path)
    return folder


@pytest.mark.parametrize(("write", "reader", "split", "categories"), EXPORTS.values(), ids=EXPORTS)
def test_an_export_becomes_a_target_that_reads_its_persons(
    write: Write,
    reader: str,
    split: str,
    categories: dict[str, str],
    conf: Path,
    tmp_path: Path,
    run: Any,
) -> None:
    root = tmp_path / "export"
    write(root)
    outcome = run("new-target", "quarry", "--root", str(root), "--json")
    assert outcome.code == 0, outcome.errors
    content = yaml.safe_load((conf / "target" / "quarry.yaml").read_text())
    assert (content["reader"], content["split"]) == (reader, split)
    assert content.get("categories", {}) == categories
    assert content["root"] == str(root)
    (entry,) = json.loads(outcome.output)["check"]
    assert (entry["name"], entry["num_persons"], entry["error"]) == ("quarry", 1, None)
    checked = run("check", "target=quarry", f"sweep.root={tmp_path}")
    assert checked.code == 0
    assert "quarry" in checked.output


def test_the_terminal_shows_what_was_found_the_file_and_the_check(
    conf: Path, tmp_path: Path, run: Any
) -> None:
    roboflow_yolo(tmp_path / "export")
    outcome = run("new-target", "quarry", "--root", str(tmp_path / "export"))
    lines = outcome.output.splitlines()
    assert lines[0] == "found   format yolo; split validation; person: man; other: car"
    assert lines[1] == f"wrote   {conf / 'target' / 'quarry.yaml'}"
    assert any(line.startswith("target quarry") for line in lines)
    assert lines[-1].startswith("next    python -m ptl_sweep check target=quarry")


def test_a_name_that_is_taken_is_refused_and_its_file_kept(
    conf: Path, tmp_path: Path, run: Any
) -> None:
    before = (conf / "target" / "okutama.yaml").read_text()
    roboflow_yolo(tmp_path / "export")
    outcome = run("new-target", "okutama", "--root", str(tmp_path / "export"))
    assert outcome.code == 2
    assert "is there already" in outcome.errors
    assert (conf / "target" / "okutama.yaml").read_text() == before
    assert run("new-target", "../x", "--root", str(tmp_path / "export")).code == 2


def test_classes_that_are_not_called_persons_are_listed_and_can_be_named(
    conf: Path, tmp_path: Path, run: Any
) -> None:
    root = tmp_path / "export"
    roboflow_yolo(root)
    (root / "data.yaml").write_text("names: [car, figure]")
    outcome = run("new-target", "quarry", "--root", str(root))
    assert outcome.code == 2
    assert "none of its classes is called like a person: car, figure" in outcome.errors
    assert not (conf / "target" / "quarry.yaml").exists()
    misspelt = run("new-target", "quarry", "--root", str(root), "--person", "figur")
    assert misspelt.code == 2
    assert "the nearest is 'figure'" in misspelt.errors
    assert run("new-target", "quarry", "--root", str(root), "--person", "figure").code == 0
    content = yaml.safe_load((conf / "target" / "quarry.yaml").read_text())
    assert content["categories"] == {"car": "other", "figure": "person"}


def test_a_split_without_persons_is_taken_only_when_there_is_no_other(tmp_path: Path) -> None:
    roboflow_coco(tmp_path)
    path = tmp_path / "test" / "_annotations.coco.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"annotations": []}))
    alone = shutil.copytree(tmp_path, tmp_path.with_name("alone"))
    shutil.rmtree(alone / "train")
    assert detect_format(tmp_path, "quarry").split == "train"
    assert detect_format(alone, "quarry").split == "test"


def test_a_folder_in_no_known_format_is_answered_with_the_formats(tmp_path: Path) -> None:
    picture(tmp_path / "a.jpg")
    with pytest.raises(DataError, match=r"no format that is known .* COCO .* YOLO .* Pascal VOC"):
        detect_format(tmp_path, "quarry")
    with pytest.raises(DataError, match="is not a folder"):
        detect_format(tmp_path / "a.jpg", "quarry")


def test_what_its_reader_refuses_is_said_in_the_readers_words(tmp_path: Path) -> None:
    roboflow_yolo(tmp_path)
    for path in tmp_path.rglob("*.txt"):
        path.write_text("7 0.5 0.5 0.1 0.1\n")
    with pytest.raises((DataError, ConfigError), match=r"\.txt, line 1"):
        detect_format(tmp_path, "quarry")
