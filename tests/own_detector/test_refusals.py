"""Exported detections that cannot be measured: exit code 2, with file, entry and fix."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
from helpers.own_detections import read, write


class Fault(NamedTuple):
    """What is done to a whole folder, and how the first line of the refusal begins behind it."""

    damage: Callable[[Path], object]
    first: str
    fix: str = "fix: "


def edit(name: str, change: Callable[[Any], object]) -> Callable[[Path], object]:
    """Change what a JSON file holds."""

    def damage(lab: Path) -> None:
        content = read(lab / name)
        change(content)
        write(lab / name, content)

    return damage


def array(name: str, change: Callable[[np.ndarray], np.ndarray]) -> Callable[[Path], object]:
    """Change a file of features."""
    return lambda lab: np.save(lab / name, change(np.load(lab / name)))


def removed(name: str) -> Callable[[Path], object]:
    return lambda lab: shutil.rmtree(lab / name) if (lab / name).is_dir() else (lab / name).unlink()


def text(name: str, content: str) -> Callable[[Path], object]:
    return lambda lab: (lab / name).write_text(content)


def nan_in(row: int) -> Callable[[np.ndarray], np.ndarray]:
    def change(features: np.ndarray) -> np.ndarray:
        features[row, 1] = np.nan
        return features

    return change


def only(num: int) -> Callable[[Path], object]:
    """Leave so many features of the training set, selected."""

    def damage(lab: Path) -> None:
        shutil.rmtree(lab / "train")
        (lab / "train").mkdir()
        chosen = {"features": np.ones((num, 4), np.float32), "images": np.arange(num)}
        np.savez(lab / "train" / "training_features.npz", **chosen)

    return damage


def no_targets(lab: Path) -> None:
    shutil.rmtree(lab / "quarry")
    shutil.rmtree(lab / "shore")


TRUTH, RESULTS, FEATURES = (
    f"quarry/{name}" for name in ("ground_truth.json", "results.json", "features.npy")
)
FAULTS = {
    "no train": Fault(removed("train"), "{lab} has no folder train (there: quarry, shore, valid"),
    "no target": Fault(no_targets, "{lab} has no target: no folder beside train and validation"),
    "no truth": Fault(removed(TRUTH), "{lab}/quarry/ground_truth.json is not there", "categories"),
    "no results": Fault(removed(RESULTS), "{lab}/quarry/results.json is not there", "loadRes"),
    "no features": Fault(
        removed(FEATURES), "{lab}/quarry/features.npy is not there", "one feature for each of the "
    ),
    "broken truth": Fault(
        text(TRUTH, '{"images": ['), "{lab}/quarry/ground_truth.json, line 1: is not valid JSON"
    ),
    "broken results": Fault(
        text(RESULTS, "[{]"), "{lab}/quarry/results.json, line 1: is not valid JSON"
    ),
    "results of a document": Fault(
        text(RESULTS, "{}"), "{lab}/quarry/results.json: is {}, must be a list of detections"
    ),
    "no images": Fault(
        edit(TRUTH, lambda truth: truth["images"].clear()),
        "{lab}/quarry/ground_truth.json: images is an empty list",
    ),
    "empty target": Fault(
        edit(TRUTH, lambda truth: truth["annotations"].clear()),
        "{lab}/quarry: none of 0 annotations is a ground truth of category person",
    ),
    "one row less": Fault(
        array(FEATURES, lambda rows: rows[1:]),
        "{lab}/quarry/features.npy: holds ",
        "one row for each of them, in their order",
    ),
    "one row of truths less": Fault(
        array("quarry/truth_features.npy", lambda rows: rows[1:]),
        "{lab}/quarry/truth_features.npy: holds 79 rows, but there are 80 annotations of ground",
    ),
    "a vector": Fault(
        array(FEATURES, lambda rows: rows[:, 0]), "{lab}/quarry/features.npy: holds float32 of sha"
    ),
    "other channels": Fault(
        array(FEATURES, lambda rows: rows[:, :3]),
        "{lab}/quarry: its features have 3 channels, those of training have 4",
    ),
    "NaN of a target": Fault(
        array(FEATURES, nan_in(3)), "{lab}/quarry/features.npy: row 3 holds NaN or infinity"
    ),
    "NaN of training": Fault(
        array("train/features.npy", nan_in(0)), "{lab}/train/features.npy: row 0 holds NaN or inf"
    ),
    "no array": Fault(text(FEATURES, "no array"), "{lab}/quarry/features.npy: is not a whole file"),
    "unknown image": Fault(
        edit(RESULTS, lambda rows: rows[2].update(image_id=999)),
        "{lab}/quarry/results.json: [2].image_id is 999, which is not among the images of ground",
    ),
    "unknown image of a truth": Fault(
        edit(TRUTH, lambda truth: truth["annotations"][4].update(image_id=999)),
        "{lab}/quarry/ground_truth.json: annotations[4].image_id is 999, which is not in the file",
    ),
    "unknown category": Fault(
        edit(RESULTS, lambda rows: rows[0].update(category_id=3)),
        "{lab}/quarry/results.json: [0].category_id is 3, which is not among the categories of",
    ),
    "another category": Fault(
        edit(TRUTH, lambda truth: truth["categories"].insert(0, {"id": 8, "name": "car"})
             or truth["categories"][1].update(name="persn")),
        "{lab}/quarry/ground_truth.json: no category person; did you mean persn? (there: car, p",
        "--category NAME",
    ),
    "no score": Fault(
        edit(RESULTS, lambda rows: rows[1].pop("score")),
        "{lab}/quarry/results.json: [1] has no score",
    ),
    "a score in percent": Fault(
        edit(RESULTS, lambda rows: rows[1].update(score=87)),
        "{lab}/quarry/results.json: [1].score is 87, must be a number from 0 to 1",
    ),
    "a box of corners that end before they begin": Fault(
        edit(RESULTS, lambda rows: rows[1].update(bbox=[50, 50, -10, 20])),
        "{lab}/quarry/results.json: [1].bbox is [50, 50, -10, 20], must be [x, y, width, height]",
    ),
    "two images of one id": Fault(
        edit(TRUTH, lambda truth: truth["images"][1].update(id=1)),
        "{lab}/quarry/ground_truth.json: images[1].id is 1, must be a number no other entry has",
    ),
    "too few features": Fault(only(1), "{lab}/train: gives no Gaussian: ", "more training images"),
    "equal features": Fault(only(9), "{lab}/train: gives no Gaussian: no channel varies over the"),
}  # fmt: skip


@pytest.mark.parametrize("name", FAULTS)
def test_what_cannot_be_measured_is_named_with_a_fix(name: str, lab: Path, run: Any) -> None:
    fault = FAULTS[name]
    fault.damage(lab)
    answer = run("measure", str(lab), "--out", str(lab.parent / "out"))
    assert (answer.code, answer.output) == (2, "")
    assert answer.errors.startswith(fault.first.replace("{lab}", str(lab)))
    assert fault.fix in answer.errors
    assert len(answer.errors.splitlines()) == 2
    assert not (lab.parent / "out").exists()


def test_a_threshold_that_leaves_no_feature_is_named(lab: Path, run: Any) -> None:
    answer = run("measure", str(lab), "gaussian.min_score=0.9999")
    assert answer.code == 2
    assert "detections have score >= 0.9999 and IoU > 0.5 with one of 80" in answer.errors
    assert "lower gaussian.min_score" in answer.errors


def test_a_category_that_does_not_exist_is_refused(lab: Path, run: Any) -> None:
    answer = run("measure", str(lab), "--category", "persom")
    assert answer.code == 2
    assert "no category persom; did you mean person? (there: person)" in answer.errors


def test_files_are_not_written_among_the_detections(lab: Path, run: Any) -> None:
    answer = run("measure", str(lab), "--out", str(lab / "measures"))
    assert answer.code == 2
    assert "lie in one another" in answer.errors
    assert not (lab / "measures").exists()
