"""No image is trained on, calibrated on and tested on at once, by whatever name it lies there."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from ptl_sweep.compose.leakage import require_held_out, require_separate
from ptl_sweep.config.schema import ConfigError, DatasetConfig


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
        require_held_out(config(root, "train"), config(root, "test"))
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


def test_a_target_may_be_the_validation_split_itself(source: Path, tmp_path: Path) -> None:
    dataset = config(source, "train")
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
    with pytest.raises(ConfigError, match=r"shares images with train"):
        require_held_out(
            DatasetConfig(name="town", reader="miniature", domain="town", validation_split="train"),
            field,
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
