"""Where frames and labels of Okutama-Action lie, by sequence, and which split a sequence is of."""

import logging
import re
from collections.abc import Iterable
from pathlib import Path

from ptl_sweep.config.schema import DatasetConfig
from ptl_sweep.datasets.readers.validator import Validator
from ptl_sweep.datasets.validation import DataError, data_error

log = logging.getLogger(__name__)

LABEL_SIZE = (3840, 2160)  # width and height, pixels, of the pictures that the boxes were drawn on
LABEL_KINDS = (
    "MultiActionLabels",
    "SingleActionLabels",
    "SingleActionTrackingLabels",
)  # best first
TEST_SEQUENCES = frozenset(  # content of the official TestSetFrames.zip
    ["1.1.8", "1.1.9", "1.2.1", "1.2.3", "1.2.10", "2.1.8", "2.1.9", "2.2.1", "2.2.3", "2.2.10"]
)
NUM_SEQUENCES = {"train": 33, "test": 10, "all": 43}
_SEQUENCE = re.compile(r"[12]\.[12]\.\d+", re.ASCII)  # drone, part of the day, scenario

Files = dict[str, list[Path]]  # by sequence


def of_split(files: Files, split: str) -> Files:
    """The sequences of one split."""
    wanted = {"train": (False,), "test": (True,), "all": (False, True)}[split]
    return {name: found for name, found in files.items() if (name in TEST_SEQUENCES) in wanted}


def _bases(root: Path) -> list[Path]:
    """Where Drone1, Drone2 and Labels may lie: the root and the folders in it."""
    inside = (path for path in sorted(root.iterdir()) if path.is_dir())
    return [root, *(path for path in inside if not path.name.startswith((".", "_")))]


def _by_sequence(paths: Iterable[tuple[str, Path]]) -> Files:
    files: Files = {}
    for name, path in paths:
        if _SEQUENCE.fullmatch(name):
            files.setdefault(name, []).append(path)
    return files


def frame_folders(root: Path) -> Files:
    """Find the folders of extracted frames."""
    found = (
        path
        for base in _bases(root)
        for path in sorted(base.glob("Drone*/*/Extracted-Frames-*/*"))
        if path.is_dir()
    )
    return _by_sequence((path.name, path) for path in found)


def label_files(root: Path, config: DatasetConfig, validator: Validator) -> Files:
    """The label files of the first kind of LABEL_KINDS that is there."""
    place = "x".join(map(str, LABEL_SIZE))
    for kind in LABEL_KINDS:
        found = (
            path
            for base in _bases(root)
            for path in sorted((base / "Labels" / kind / place).glob("*.txt"))
        )
        files = _by_sequence((path.stem, path) for path in found)
        if files:
            log.info("%s: boxes from %s", config.name, kind)
            if kind != LABEL_KINDS[0]:
                validator.warn(f"no {LABEL_KINDS[0]}, read {kind}", "Labels")
            return files
    raise data_error(
        root,
        f"no label file in Labels/{LABEL_KINDS[0]}/{place}, nor one of "
        f"{' or '.join(LABEL_KINDS[1:])}",
        "unpack the Labels folder of TrainSetFrames.zip or TestSetFrames.zip beside Drone1",
    )


def nothing_there(root: Path, config: DatasetConfig, split: str) -> DataError:
    """Say that no sequence of the split has frames."""
    there = sorted(frame_folders(root))
    listed = f"there are {', '.join(there)}" if there else "none of any other either"
    return data_error(
        root,
        f"no frames of split {split!r} in Drone1/Morning/Extracted-Frames-1280x720 and the like "
        f"({listed})",
        f"unpack TrainSetFrames.zip or TestSetFrames.zip of okutama-action.org into root of data "
        f"set {config.name!r}; frames cut from the videos do not fit the labels",
    )


def the_one(paths: list[Path]) -> Path:
    """The path that there is; with two of them, nobody knows which is meant. Raises: DataError."""
    if len(paths) > 1:
        raise data_error(
            paths[1], f"is there twice, also as {paths[0]}", "delete one of the two copies"
        )
    return paths[0]
