"""`check`: every data set of a grid is read once, and one that is unusable hides no other."""

import json
import shlex
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from ptl_sweep.cli.check import check_data
from ptl_sweep.cli.dataset_report import CheckResult
from ptl_sweep.config.schema import Config, DatasetConfig
from ptl_sweep.datasets import registry

Cells = Callable[..., list[Config]]
WriteYolo = Callable[[str, list[str], tuple[int, int]], Path]
PERSON = "0 0.5 0.5 0.2 0.5"
SMALL = ("dataset.num_images=3", "target.num_images=2", "pool.num_images=4")


@pytest.fixture
def grid(cells: Cells) -> list[Config]:
    return cells("real_count=2", "target=field,karst", "synthetic=on", *SMALL)  # two cells


@pytest.fixture
def write_yolo(tmp_path: Path) -> WriteYolo:
    """write(folder, label text of each image, width and height of all): the folder."""

    def write(name: str, labels: list[str], size: tuple[int, int]) -> Path:
        for index, text in enumerate(labels):
            for part in ("images", "labels"):
                (tmp_path / name / part).mkdir(parents=True, exist_ok=True)
            Image.new("RGB", size).save(tmp_path / name / "images" / f"{index}.png")
            (tmp_path / name / "labels" / f"{index}.txt").write_text(text)
        (tmp_path / name / "data.yaml").write_text("names: {0: person}")
        return tmp_path / name

    return write


def test_each_set_of_a_grid_is_read_once(
    grid: list[Config], monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[str] = []
    real = registry.read_split

    def counted(config: Any, split: str) -> Any:
        read.append(config.name)
        return real(config, split)

    monkeypatch.setattr(registry, "read_split", counted)
    checked = check_data(grid, named=[], sheet=None)
    assert sorted(read) == ["field", "karst", "miniature"]
    assert [(c.role, c.name) for c in checked.sets] == [
        ("dataset", "miniature"), ("target", "field"), ("target", "karst"), ("pool", "miniature"),
    ]  # fmt: skip
    assert [c.summary.num_images for c in checked.sets if c.summary] == [3, 2, 2, 4]
    assert checked.exit_code(strict=False) == 0


def test_only_the_roles_that_were_named_are_read(grid: list[Config]) -> None:
    checked = check_data(grid, named=["target=field,karst", "seed=0"], sheet=None)
    assert {c.role for c in checked.sets} == {"target"}
    checked = check_data(grid, named=["dataset.root=/x"], sheet=None)
    assert {c.role for c in checked.sets} == {"dataset"}
    checked = check_data(grid, named=["+target.categories.dog=other"], sheet=None)
    assert {c.role for c in checked.sets} == {"target"}


def test_a_pool_that_no_cell_uses_is_read_only_when_it_is_named(cells: Cells) -> None:
    off = cells("real_count=2", "target=field", "synthetic=off", *SMALL)
    checked = check_data(off, named=["synthetic=off"], sheet=None)
    assert [c.role for c in checked.sets] == ["dataset", "target"]
    checked = check_data(off, named=["pool=miniature"], sheet=None)
    assert [c.role for c in checked.sets] == ["pool"]


def test_an_unusable_set_is_an_error_that_hides_no_other(grid: list[Config]) -> None:
    grid[0].target.reader, grid[0].target.root = "yolo", "/nowhere"
    checked = check_data(grid, named=[], sheet=None)
    assert checked.exit_code(strict=False) == 1
    (bad,) = [c for c in checked.sets if c.error]
    assert bad.name == grid[0].target.name
    assert "/nowhere is not a folder" in str(bad.error)
    assert len([c for c in checked.sets if c.summary]) == 3
    assert f"ERROR   target {bad.name}: " in checked.text()


def test_a_picture_that_cannot_be_drawn_makes_its_set_unusable_and_hides_no_other(
    grid: list[Config], tmp_path: Path, write_yolo: WriteYolo
) -> None:
    folder = write_yolo("mine", [PERSON], (100, 80))
    path = folder / "images" / "0.png"
    path.write_bytes(path.read_bytes()[:-40])  # the header, which is all that a reader looks at
    grid[0].target = DatasetConfig(name="mine", reader="yolo", root=str(folder), split="all")
    assert check_data(grid, named=[], sheet=None, fast=True).exit_code(strict=False) == 0
    assert check_data(grid, named=[], sheet=None).exit_code(strict=False) == 1
    (tmp_path / "sheets" / "target-karst-test.png").mkdir(parents=True)
    checked = check_data(grid, named=[], sheet=str(tmp_path / "sheets"))
    assert checked.exit_code(strict=False) == 1
    errors = {c.name: str(c.error) for c in checked.sets if c.error}
    assert errors.keys() == {"mine", "karst"}
    assert errors["mine"].startswith(f"{path}: is not a complete JPEG or PNG image")
    assert errors["karst"].endswith("target-karst-test.png cannot be used: Is a directory")


def test_json_holds_every_set_and_nothing_that_json_lacks(
    grid: list[Config], write_yolo: WriteYolo
) -> None:
    grid[0].target.reader, grid[0].target.root = "yolo", "/nowhere"
    folder = str(write_yolo("nobody", [""], (100, 80)))
    grid[1].target = DatasetConfig(name="nobody", reader="yolo", root=folder, split="all")
    checked = check_data(grid, named=[], sheet=None)
    content = json.loads(json.dumps(checked.as_json(), allow_nan=False))
    assert [entry["name"] for entry in content] == ["miniature", "field", "nobody", "miniature"]
    good = [entry for entry in content if entry["error"] is None]
    assert all(entry["num_images"] > 0 for entry in good)
    assert good[0]["input_size"] == [128, 128]
    assert good[1]["height_quartiles"] == [None] * 3
    assert good[1]["matched_share"] is None
    assert good[1]["warnings"] == ["no image shows a person"]
    assert "-  " in checked.text()


def test_a_sheet_of_example_pictures_is_drawn_for_each_set(
    grid: list[Config], tmp_path: Path
) -> None:
    check_data(grid, named=[], sheet=str(tmp_path / "sheets"))
    names = sorted(path.name for path in (tmp_path / "sheets").iterdir())
    assert names == [
        "dataset-miniature-train.png",
        "pool-miniature-pool.png",
        "target-field-test.png",
        "target-karst-test.png",
    ]


def test_strict_makes_warnings_errors_and_not_what_is_left_out_by_design(
    grid: list[Config],
) -> None:
    checked = check_data(grid[:1], named=["target"], sheet=None)
    (target,) = checked.sets
    assert target.summary is not None
    target.summary.drops["other category"] = 2
    assert (checked.exit_code(strict=False), checked.exit_code(strict=True)) == (0, 0)
    assert "dropped target field: 2 other category" in checked.text()
    warned = CheckResult([replace(target, warnings=("duplicate rows",))])
    assert (warned.exit_code(strict=False), warned.exit_code(strict=True)) == (0, 1)
    assert "warning target field: duplicate rows" in warned.text()


def test_the_tables_have_at_most_100_columns_whatever_the_names(
    grid: list[Config], write_yolo: WriteYolo
) -> None:
    name = "a-name-of-forty-letters-that-says-it-all"
    folder = str(write_yolo(name, [PERSON], (100, 80)))
    grid[1].target = DatasetConfig(name=name, reader="yolo", root=folder, split="all")
    lines = check_data(grid, named=[], sheet=None).text().splitlines()
    assert max(map(len, lines)) <= 100
    assert any(line.startswith("target a-name-of-") and "~" in line for line in lines)


def fix(warning: str) -> list[str]:
    """The overrides that a warning names, as a shell would read them."""
    return [word for word in shlex.split(warning.split("fix: ")[1]) if "=" in word]


def shares(outcome: Any) -> dict[str, float]:
    return {entry["name"]: entry["matched_share"] for entry in json.loads(outcome.output)}


def test_anchors_that_fit_nobody_are_reported_with_some_that_fit_everybody(run: Any) -> None:
    command = ["check", "--json", "real_count=2", "target=field,karst,yard", *SMALL]
    coarse = ["detector.anchor_sizes=[[60.0,80.0],[120.0,160.0]]"]
    outcome = run(*command, "target.num_images=20", *coarse)
    assert outcome.code == 0  # usable: it is for the user to decide
    sets = json.loads(outcome.output)
    assert all(entry["matched_share"] < 0.8 for entry in sets)
    for entry in sets:
        (warning,) = entry["warnings"]
        assert "of the persons at IoU 0.5, should be 80 %" in warning
        fixed = run(*command, "target.num_images=20", *fix(warning))
        assert min(shares(fixed).values()) >= 0.8
        assert all(not entry["warnings"] for entry in json.loads(fixed.output))
    assert run(*command, "--strict", *coarse).code == 1


def test_persons_that_no_anchor_can_find_are_reported_with_tiles_that_show_them(
    run: Any, write_yolo: WriteYolo, tmp_path: Path
) -> None:
    rng = np.random.default_rng(0)
    rows = "\n".join(f"0 {x:.3f} {y:.3f} 0.006 0.012" for x, y in rng.uniform(0.1, 0.9, (40, 2)))
    folder = write_yolo("wild", [rows, rows], (2000, 1500))  # 12 x 18 px, 6 x 9 at the input
    command = [
        "check", "--json", "target=yolo", f"target.root={folder}", "target.name=wild",
        "detector=retinanet_r50", f"sweep.root={tmp_path}",
    ]  # fmt: skip
    (warning,) = json.loads(run(*command).output)[0]["warnings"]
    assert any(word.startswith("tiling.size=") for word in fix(warning))
    (entry,) = json.loads(run(*command, *fix(warning)).output)
    assert entry["matched_share"] >= 0.8
    assert entry["is_tiled"] is True
    small = run(*command, "detector.min_size=64", "detector.max_size=64").output
    (warning,) = json.loads(small)[0]["warnings"]
    assert "raise detector.min_size" in warning


def test_no_anchors_are_counted_for_a_detector_that_has_none(run: Any, tmp_path: Path) -> None:
    command = ["check", "target=field", "target.num_images=3", f"sweep.root={tmp_path}"]
    (entry,) = json.loads(run(*command, "detector=fcos_tiny", "--json", "--strict").output)
    assert entry["matched_share"] is None
    assert not entry["warnings"]
    assert not entry["notes"]
    (anchored,) = json.loads(run(*command, "--json").output)
    assert anchored["matched_share"] > 0


def test_a_target_that_shows_training_pictures_is_refused_as_by_a_run(
    run: Any, write_yolo: WriteYolo, tmp_path: Path
) -> None:
    folder = write_yolo("mine", [PERSON, "", PERSON], (100, 80))
    words = [
        "dataset=yolo", f"dataset.root={folder}", "dataset.split=all", "real_count=2",
        "target=yolo", f"target.root={folder}", f"sweep.root={tmp_path}", "synthetic=off",
        "analysis.calibration=none",
    ]  # fmt: skip
    outcome = run("check", "--json", *words)
    source, target = json.loads(outcome.output)
    assert (outcome.code, source["error"]) == (1, None)
    assert "target yolo (all) shares images with yolo (all)" in target["error"]
    refused = run(*words)
    assert refused.code == 2
    assert target["error"].split("\n")[0] in refused.errors


@pytest.fixture
def export(write_yolo: WriteYolo) -> Path:
    """A folder with parts train and valid, as exports have them."""
    for name in ("train", "valid"):
        folder = write_yolo(f"export/{name}", [PERSON] * 3, (100, 80))
        for index in range(3):
            size, colour = (100, 80), (index, ord(name[0]), len(name) * index)
            path = folder / "images" / f"{index}.png"
            Image.new("RGB", size, colour).save(path)
            path.rename(path.with_name(f"{name}{index}.png"))
            label = folder / "labels" / f"{index}.txt"
            label.rename(label.with_name(f"{name}{index}.txt"))
    (folder.parent / "data.yaml").write_text("names: [person]")
    return folder.parent


def test_a_clean_export_is_clean_although_defaults_do_not_fit_it(
    run: Any, export: Path, tmp_path: Path
) -> None:
    words = ["dataset=yolo", f"dataset.root={export}", f"sweep.root={tmp_path}"]
    outcome = run("check", "--strict", "--json", *words)
    source, validation = json.loads(outcome.output)
    assert outcome.code == 0
    assert (source["warnings"], validation["warnings"]) == ([], [])
    assert any(note.startswith("scene_fractions not used") for note in source["notes"])
    assert any(note.startswith("real_count=") for note in source["notes"])
    assert "note    dataset yolo: scene_fractions" in run("check", *words).output
    named = run("check", "--strict", *words, "dataset.scene_fractions=[0.5,0.5,0.0]")
    assert named.code == 1
    assert run("check", *words, "real_count=4").code == 1
    assert run("check", *words, "real_count=3").code == 0


def test_the_validation_split_is_read_too(run: Any, export: Path, tmp_path: Path) -> None:
    for path in (export / "valid" / "images").iterdir():
        path.unlink()
    words = ["dataset=yolo", f"dataset.root={export}", f"sweep.root={tmp_path}"]
    outcome = run("check", "--json", *words)
    source, validation = json.loads(outcome.output)
    assert (outcome.code, source["error"]) == (1, None)
    assert "holds no .jpg, .jpeg or .png file" in validation["error"]
    assert "analysis.calibration=crossfit" in validation["error"]
    assert run("check", *words, "analysis.calibration=crossfit").code == 0


def test_a_truncated_picture_is_refused_unless_headers_are_enough(
    run: Any, export: Path, tmp_path: Path
) -> None:
    path = export / "train" / "images" / "train1.png"
    rng = np.random.default_rng(0)
    Image.fromarray(rng.integers(0, 255, (80, 100, 3), np.uint8)).save(path)
    words = ["dataset=yolo", f"dataset.root={export}", f"sweep.root={tmp_path}"]
    assert "decoded 6 pictures in" in run("check", *words).output
    path.write_bytes(path.read_bytes()[:9000])
    outcome = run("check", *words)
    assert outcome.code == 1
    assert f"{path}: is not a complete JPEG or PNG image" in outcome.output
    assert run("check", "--fast", *words).code == 0


def test_copies_by_name_in_the_validation_split_are_refused_and_resplit_is_the_way_out(
    run: Any, export: Path, tmp_path: Path
) -> None:
    suffix = "_jpg.rf.GNSaptniQRRWmG0fIgl"
    for part in ("images/{}.png", "labels/{}.txt"):
        for name in ("train", "valid"):
            path = export / name / part.format(f"{name}0")
            path.rename(path.with_stem(f"clip-01{suffix}{name[0]}"))
    words = ["dataset=yolo", f"dataset.root={export}", f"sweep.root={tmp_path}"]
    outcome = run("check", "--json", *words)
    assert outcome.code == 1
    error = json.loads(outcome.output)[1]["error"]
    assert f"(copies: clip-01{suffix}v and clip-01{suffix}t)" in error
    assert "fix: dataset.resplit=true" in error
    for way_out in ("dataset.resplit=true", "analysis.calibration=crossfit"):
        assert run("check", *words, way_out).code == 0
