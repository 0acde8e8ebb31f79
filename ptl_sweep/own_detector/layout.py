"""A folder of exported detections: one sub-folder for each split, and the files in it."""

from pathlib import Path
from typing import NamedTuple

from ptl_sweep.config.schema import ConfigError
from ptl_sweep.datasets.validation import DataError
from ptl_sweep.predict.document import GROUND_TRUTH, RESULTS

TRAIN, VALIDATION = "train", "validation"  # every other sub-folder is a target
FEATURES, TRUTH_FEATURES = "features", "truth_features"  # .npy, or .npz with an array `features`
SELECTED = "training_features.npz"  # in train/: features that are selected already
ABOUT = "about.json"  # where an export of a sweep is from; not read
PAGE = "docs/own-detector.md"


class Splits(NamedTuple):
    """Folders of one detector."""

    train: Path
    validation: Path | None  # what the source holds back; None: not exported
    targets: tuple[Path, ...]  # by name


def find_splits(folder: Path) -> Splits:
    """Find the sub-folders. Raises: ConfigError where there is no folder, DataError for gaps."""
    if not folder.is_dir():
        raise ConfigError(
            f"{folder} is no folder of detections\n"
            f"  fix: name the folder that holds {TRAIN}/ and a folder for each target ({PAGE})"
        )
    found = {path.name: path for path in sorted(folder.iterdir()) if _is_split(path)}
    if TRAIN not in found:
        there = ", ".join(found) or "no folder"
        raise DataError(
            f"{folder} has no folder {TRAIN} (there: {there})\n  fix: export the detections on "
            f"the training images into {folder / TRAIN}; distances are measured from them"
        )
    targets = tuple(path for name, path in found.items() if name not in (TRAIN, VALIDATION))
    if not targets:
        raise DataError(
            f"{folder} has no target: no folder beside {TRAIN} and {VALIDATION}\n"
            "  fix: export the detections on test images into a folder with the name of the target"
        )
    return Splits(found[TRAIN], found.get(VALIDATION), targets)


def _is_split(path: Path) -> bool:
    return path.is_dir() and not path.name.startswith(".")


def require_file(folder: Path, name: str, holds: str) -> Path:
    """Find a file of a split. Raises: DataError."""
    path = folder / name
    if not path.is_file():
        raise DataError(f"{path} is not there\n  fix: write {holds} into it ({PAGE})")
    return path


def ground_truth_file(folder: Path) -> Path:
    """Find the COCO file of images and boxes. Raises: DataError."""
    return require_file(folder, GROUND_TRUTH, "images, annotations and categories as COCO does")


def results_file(folder: Path) -> Path:
    """Find the list of detections. Raises: DataError."""
    return require_file(folder, RESULTS, "the list of detections that pycocotools' loadRes reads")
