"""No image is trained on, calibrated on and tested on at once, by whatever name it lies there."""

import os
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from ptl_sweep.compose.leakage import (
    require_clean_pool,
    require_clean_validation,
    require_held_out,
    require_separate,
    shared_originals,
)
from ptl_sweep.config.schema import ConfigError, DatasetConfig, PoolConfig
from ptl_sweep.datasets import registry


def write(root: Path, values: dict[str, list[int]]) -> Path:
    """A YOLO folder with parts of images of one value each."""
    root.mkdir()
    (root / "data.yaml").write_text("names: [person]\n")
    for part, found in values.items():
        for folder in ("images", "labels"):
            (root / folder / part).mkdir(parents=True)
        for number, value in enumerate(found):
            pixels = np.full((40, 60, 3), value, np.uint8)
            Image.fromarray(pixels).save(root / "images" / part / f"{part}{number}.png")
            (root / "labels" / part / f"{part}{number}.txt").write_text("0 0.5 0.5 0.4 0.4\n")
    return root


@pytest.fixture
def source(tmp_path: Path) -> Path:
    return write(tmp_path / "source", {"train": [1, 2, 3], "val": [4, 5], "test": [6, 7]})


def config(root: Path, split: str, name: str = "mine", **keys: Any) -> DatasetConfig:
    values: dict[str, Any] = {"reader": "yolo", "validation_split": "val"} | keys
    return DatasetConfig(name=name, root=str(root), split=split, **values)


def hard_links(source: Path, copy: Path) -> None:
    shutil.copytree(source, copy, copy_function=os.link)


def soft_links(source: Path, copy: Path) -> None:
    shutil.copytree(source, copy, copy_function=os.symlink)


def other_names(source: Path, copy: Path) -> None:
    shutil.copytree(source, copy)
    for path in sorted(copy.rglob("train*.*")):
        path.rename(path.with_stem(f"frame-{path.stem}"))


COPIES = [shutil.copytree, hard_links, soft_links, other_names]


@pytest.mark.parametrize("copy", COPIES)
def test_a_copy_of_the_training_images_is_no_target(
    copy: Callable[[Path, Path], object], source: Path, tmp_path: Path
) -> None:
    copy(source, tmp_path / "copy")
    with pytest.raises(ConfigError) as caught:
        require_separate(config(source, "train"), config(tmp_path / "copy", "train", "theirs"))
    message = str(caught.value)
    assert "target theirs (train) shares images with mine (train)" in message
    assert "(3, first: " in message
    assert "fix: set target.split" in message
    require_separate(config(source, "train"), config(tmp_path / "copy", "test", "theirs"))


def test_one_shared_image_is_enough(source: Path, tmp_path: Path) -> None:
    other = write(tmp_path / "other", {"test": [10, 2, 11]})
    with pytest.raises(ConfigError, match=r"\(test1\)"):
        require_separate(config(source, "train"), config(other, "test", "theirs"))


def test_what_calibrates_was_not_trained_on(tmp_path: Path) -> None:
    root = write(tmp_path / "source", {"train": [1, 2, 3], "val": [4, 2], "test": [6]})
    with pytest.raises(ConfigError) as caught:
        require_clean_validation(config(root, "train"))
    assert "the validation split of mine (val) shares images with train" in str(caught.value)
    assert "fix: set dataset.validation_split" in str(caught.value)


def test_a_target_beside_the_validation_split_shares_none_of_its_images(
    source: Path, tmp_path: Path
) -> None:
    other = write(tmp_path / "other", {"test": [5, 9]})
    with pytest.raises(ConfigError) as caught:
        require_held_out(config(source, "train"), config(other, "test", "theirs"))
    assert "target theirs (test) shares images with the validation split" in str(caught.value)
    require_held_out(config(source, "train"), config(source, "test"))


COPY = "clip-{}_jpg.rf.{}"  # as Roboflow calls augmented copies


@pytest.fixture
def export(source: Path) -> Path:
    """`source`, in which each part shows clip-0 and train alone clip-1, every time other pixels."""
    for part in ("train", "val", "test"):
        for number in (0, 1) if part == "train" else (0,):
            for folder, suffix in (("images", "png"), ("labels", "txt")):
                path = source / folder / part / f"{part}{number}.{suffix}"
                path.rename(path.with_stem(COPY.format(number, part * 2)))
    return source


def test_copies_of_one_picture_by_their_names_lie_in_no_two_parts(export: Path) -> None:
    pair = f"copies: {COPY.format(0, 'valval')} and {COPY.format(0, 'traintrain')}"
    with pytest.raises(ConfigError) as caught:
        require_clean_validation(config(export, "train"))
    assert pair in str(caught.value)
    assert "fix: dataset.resplit=true" in str(caught.value)
    assert "or analysis.calibration=crossfit" in str(caught.value)
    with pytest.raises(ConfigError, match=r"target theirs \(test\) shows by their names the pict"):
        require_separate(config(export, "train"), config(export, "test", "theirs"))


def test_a_target_of_one_folder_with_the_validation_split_shows_none_of_its_pictures(
    export: Path,
) -> None:
    for folder in ("images", "labels"):
        (path,) = (export / folder / "train").glob("clip-0*")
        path.rename(path.with_stem("other"))
    with pytest.raises(ConfigError, match=r"with the validation split .*\n  fix: set target.split"):
        require_held_out(config(export, "train"), config(export, "test", "theirs"))
    require_separate(config(export, "train"), config(export, "test", "theirs"))


def test_names_of_two_folders_may_be_equal(export: Path, tmp_path: Path) -> None:
    other = write(tmp_path / "other", {"test": [11]})
    for folder, suffix in (("images", "png"), ("labels", "txt")):
        path = other / folder / "test" / f"test0.{suffix}"
        path.rename(path.with_stem(COPY.format(1, "other")))
    require_separate(config(export, "train"), config(other, "test", "theirs"))


def test_what_is_divided_anew_has_no_copies_in_two_parts(export: Path) -> None:
    dataset = config(export, "train", resplit=True)
    require_clean_validation(dataset)
    require_separate(dataset, dataset.validation_config())


def test_each_copy_is_paired_with_a_picture_of_the_source(source: Path) -> None:
    images = [
        [replace(record, image_id=COPY.format(number, part)) for number in range(5)]
        for part, record in (
            ("a", registry.read_split(config(source, "train"), "train").records[0]),
            ("b", registry.read_split(config(source, "val"), "val").records[0]),
        )
    ]
    sets = [replace(registry.read_split(config(source, "test"), "test"), records=tuple(found))
            for found in images]  # fmt: skip
    shared = shared_originals(*sets)
    assert shared == {COPY.format(n, "b"): COPY.format(n, "a") for n in range(5)}
    assert shared_originals(sets[0], sets[0]) == {name: name for name in shared.values()}


def test_a_target_may_be_the_validation_split_itself(source: Path, tmp_path: Path) -> None:
    dataset = config(source, "train")
    require_clean_validation(dataset)
    require_held_out(dataset, dataset.validation_config())
    shutil.copytree(source, tmp_path / "copy")  # is evaluated as one with it
    require_held_out(dataset, config(tmp_path / "copy", "val", "theirs"))
    require_held_out(dataset, config(source, "val", num_images=1))
    with pytest.raises(ConfigError, match="with the validation split"):  # not known as its part
        require_held_out(dataset, config(tmp_path / "copy", "val", "theirs", num_images=1))


def test_the_worlds_of_the_miniature_are_told_apart_by_what_draws_them() -> None:
    town = DatasetConfig(name="town", reader="miniature", domain="town", split="train")
    field = DatasetConfig(name="field", reader="miniature", domain="field", split="test")
    require_held_out(town, field)
    require_held_out(town, town.validation_config())
    require_clean_validation(town)
    with pytest.raises(ConfigError, match=r"shares images with train"):
        require_clean_validation(
            DatasetConfig(name="town", reader="miniature", domain="town", validation_split="train")
        )


def test_a_validation_split_that_is_trained_on_is_refused_before_any_file_is_read(
    run: Any, tmp_path: Path
) -> None:
    words = ["real_count=3", "target=field", f"sweep.root={tmp_path}"]
    for command in (["plan"], ["-m"]):
        outcome = run(*command, *words, "dataset.validation_split=train")
        assert outcome.code == 2
        assert "dataset.validation_split=train is the split that training" in outcome.errors
    assert run("plan", *words, "dataset.validation_split=train",
               "analysis.calibration=crossfit").code == 0  # fmt: skip


@pytest.fixture
def backgrounds(tmp_path: Path) -> PoolConfig:
    """A pool of one cut-out on pictures of values 1 and 9."""
    for name in ("persons", "empty"):
        (tmp_path / name).mkdir()
    person = np.zeros((20, 10, 4), np.uint8)
    person[2:18, 2:8] = 255
    Image.fromarray(person).save(tmp_path / "persons" / "a.png")
    for value in (1, 9):
        pixels = np.full((40, 60, 3), value, np.uint8)
        Image.fromarray(pixels).save(tmp_path / "empty" / f"place{value}.png")
    empty = str(tmp_path / "empty")
    return PoolConfig(
        name="mine", reader="cutouts", root=str(tmp_path / "persons"), backgrounds=empty
    )


def test_persons_are_not_put_on_pictures_that_are_tested_on(
    source: Path, backgrounds: PoolConfig
) -> None:
    require_clean_pool(backgrounds, config(source, "val"))
    with pytest.raises(ConfigError, match=r"persons on images of mine .train.*place1\.png.\n  fix"):
        require_clean_pool(backgrounds, config(source, "train"))


def test_a_run_and_check_refuse_such_a_pool(
    source: Path, backgrounds: PoolConfig, run: Any, tmp_path: Path
) -> None:
    words = [
        "dataset=yolo", f"dataset.root={source}", "dataset.split=test",
        "dataset.validation_split=val", "target=yolo", f"target.root={source}",
        "target.split=train", "pool=cutouts", f"pool.root={backgrounds.root}",
        f"pool.backgrounds={backgrounds.backgrounds}", "real_count=2", f"sweep.root={tmp_path}",
    ]  # fmt: skip
    for command, code in (["-m"], 2), (["check"], 1):
        outcome = run(*command, *words)
        assert outcome.code == code
        assert "puts persons on images of yolo (train)" in outcome.errors + outcome.output
