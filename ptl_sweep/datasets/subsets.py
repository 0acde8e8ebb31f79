"""Which images are used: nested real subsets by seed, and splits that never cut a scene."""

import re
from collections import Counter
from collections.abc import Sequence
from typing import TypeVar

import numpy as np

from ptl_sweep.config.schema import ConfigError
from ptl_sweep.datasets.records import ImageRecord

SPLITS = ("train", "validation", "test")

_FOLDERS = {  # what tools call the folder, file or list of each split
    "train": ("train", "training", "train2017"),
    "validation": ("validation", "valid", "val", "val2017"),
    "test": ("test", "testing", "test2017"),
}

Item = TypeVar("Item")

_COPY = re.compile(  # what tools append to the name of the picture that they copy or augment
    r"_(jpe?g|png|webp|bmp|gif|tiff?)\.rf\.[0-9a-z]+$"  # Roboflow
    r"|[ _-]aug(mented)?[ _-]?[0-9]+$"
    r"|( - |[ _-])copy( ?\([0-9]+\)| [0-9]+)?$",
    re.IGNORECASE,
)
_NUMBERED = re.compile(r" ?\([0-9]+\)$")  # a copy beside its original, else a picture of its own


def real_subset(records: Sequence[ImageRecord], count: int, seed: int) -> list[ImageRecord]:
    """Take the first `count` images of this seed's shuffle of those with a person.

    The shuffle depends on the ids and the seed only, so 20 images lie within 50 within 100.
    Raises: ConfigError when fewer images have a person.
    """
    eligible = sorted(
        (record for record in records if len(record.boxes)), key=lambda record: record.image_id
    )
    if count > len(eligible):
        raise ConfigError(
            f"real_count={count} asks for more images than have a person ({len(eligible)} of "
            f"{len(records)}): lower real_count or choose a larger data set"
        )
    order = np.random.default_rng(seed).permutation(len(eligible))
    return [eligible[index] for index in order[:count]]


def split_names(split: str) -> tuple[str, ...]:
    """Name what the files of a split may be called: as it was asked for, then as tools call it."""
    aliases = _FOLDERS.get(split_role(split) or "", ())
    return tuple(dict.fromkeys((split, *aliases)))


def split_role(split: str) -> str | None:
    """Say which of SPLITS a name stands for; None for a name of the user's own."""
    return next((role for role, aliases in _FOLDERS.items() if split in aliases), None)


def spread(items: Sequence[Item], count: int | None) -> list[Item]:
    """Take at most `count` items at even distances, so that every scene is seen; None: all."""
    if count is None or count >= len(items):
        return list(items)
    return [items[index * len(items) // count] for index in range(count)]


def frame_runs(names: Sequence[str]) -> list[str]:
    """Find the scene of each image: its run of consecutive frame numbers, named after the first.

    The frame number is the trailing digits of the name; names with another beginning (folders
    included) or without a number are other scenes. A copy is in the scene of its original.
    """
    split_names = [_frame(name) for name in originals(names)]
    scenes: dict[tuple[str, int], str] = {}
    for prefix, number, name in sorted(split_names):
        before = scenes.get((prefix, number - 1)) if number > 0 else None
        scenes.setdefault((prefix, number), before or name)
    return [scenes[prefix, number] for prefix, number, _ in split_names]


def originals(names: Sequence[str]) -> list[str]:
    """Name the picture that each image is a copy of, by what tools append; itself for any other.

    `a (1)` is a copy where `a` is among the names: numbers alone count pictures of their own.
    """
    stripped = [_without_copy(name) for name in names]
    known = set(stripped)
    beside = [_without_copy(_NUMBERED.sub("", name)) for name in stripped]
    return [
        original if original in known else name
        for name, original in zip(stripped, beside, strict=True)
    ]


def _without_copy(name: str) -> str:
    """Take off the endings of copies; an augmented export of copies has several."""
    while shorter := _COPY.sub("", name):
        if shorter == name:
            break
        name = shorter
    return name


def _frame(name: str) -> tuple[str, int, str]:
    """(what comes before the frame number, frame number or -1, name)."""
    prefix = name.rstrip("0123456789")
    digits = name[len(prefix) :]
    return prefix, int(digits) if digits else -1, name


def assign_scenes(scenes: Sequence[str], shares: Sequence[float]) -> list[str]:
    """Assign each image to train, validation or test by its scene: whole scenes only.

    The largest scene first goes to the split that lags most behind its share of the images;
    a split with a positive share is never left empty.
    Raises: ConfigError when there are fewer scenes than splits with a positive share.
    """
    wanted = [split for split, share in zip(SPLITS, shares, strict=True) if share > 0]
    sizes = sorted(Counter(scenes).items(), key=lambda scene: (-scene[1], scene[0]))
    if len(sizes) < len(wanted):
        raise ConfigError(
            f"scene_fractions={list(shares)} asks for {', '.join(wanted)}, but there "
            f"{'is only 1 scene' if len(sizes) == 1 else f'are only {len(sizes)} scenes'} (a scene "
            "is a run of consecutive frame numbers, and is never cut)\n  fix: set the share of a "
            "split to 0, as in scene_fractions=[1.0,0.0,0.0] with analysis.calibration=crossfit, "
            "and take the target from another root; or put one folder of images for each "
            "recording below images/, each of which is a scene of its own; or write "
            "train/images and valid/images yourself"
        )
    lag = {split: shares[SPLITS.index(split)] * len(scenes) for split in wanted}
    empty = set(wanted)
    split_of: dict[str, str] = {}
    for position, (scene, size) in enumerate(sizes):
        must_fill = len(sizes) - position == len(empty)
        candidates = [split for split in wanted if split in empty or not must_fill]
        split = max(candidates, key=lambda split: lag[split])
        split_of[scene] = split
        lag[split] -= size
        empty.discard(split)
    return [split_of[scene] for scene in scenes]
