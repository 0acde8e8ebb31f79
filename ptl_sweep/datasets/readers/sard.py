"""SARD: video frames of search-and-rescue scenes, Pascal VOC as its owner ships it, or YOLO."""

import re
from dataclasses import replace
from pathlib import Path

from ptl_sweep.config.schema import DatasetConfig
from ptl_sweep.datasets.images import list_images
from ptl_sweep.datasets.readers.classes import added_names, merged_meanings
from ptl_sweep.datasets.readers.pairs import (
    Pairs,
    annotation_files,
    data_folder,
    image_files,
    labelled,
)
from ptl_sweep.datasets.readers.validator import Validator
from ptl_sweep.datasets.readers.voc.xml import Classes, add_voc
from ptl_sweep.datasets.readers.yolo.layout import class_names
from ptl_sweep.datasets.readers.yolo.reader import add_yolo, class_numbers, list_split
from ptl_sweep.datasets.records import ImageSet
from ptl_sweep.datasets.subsets import frame_runs, originals, spread
from ptl_sweep.datasets.validation import data_error, refuse_scene_fractions, require_root

_ORIGINAL = ("Standing", "Walking", "Running", "Sitting", "Lying", "Not Defined")
_REPACK = ("Running", "Walking", "laying_down", "not_defined", "seated", "stands")
CLASSES = dict.fromkeys((*_ORIGINAL, *_REPACK, "human", "person"), "person")
_SPLITS = ("train", "valid", "test")
_HOLDS = "frames with their XML files (images/ and annotations/), or train/, valid/, test/"


def read_sard(config: DatasetConfig, split: str) -> ImageSet:
    """Read the frames of one split; every posture is a person, and an unknown class is an error.

    `root` or one folder in it holds the original (frames and XML files in one folder, or images/
    and annotations/; it has no split but `all`) or the YOLO re-pack (train/, valid/, test/ and
    data.yaml). `categories` changes what a class means and adds classes. A scene is a run of
    consecutive frame numbers; the re-pack dealt frames at random over its splits, so its runs go
    through all of them. `frame_stride` takes every k-th frame of a scene.
    Raises: DataError for files that cannot be used, ConfigError for keys that do not fit them.
    """
    refuse_scene_fractions(config, "SARD is a target: set it to null and split=all")
    folder = data_folder(
        require_root(config, _HOLDS),
        lambda path: _is_repack(path) or _voc_folders(path) is not None,
        _HOLDS,
    )
    if _is_repack(folder):
        return _read_repack(folder, config, split)
    return _read_original(folder, config, split)


def _is_repack(folder: Path) -> bool:
    named = any((folder / name).is_file() for name in ("data.yaml", "data.yml"))
    return named or any((folder / split / "images").is_dir() for split in _SPLITS)


def _voc_folders(folder: Path) -> tuple[Path, Path] | None:
    """Where the frames and where the XML files lie; None when this folder has none of them."""
    inside = {path.name.lower(): path for path in folder.iterdir() if path.is_dir()}
    if "images" in inside and "annotations" in inside:
        return inside["images"], inside["annotations"]
    return (folder, folder) if any(folder.glob("*.xml")) else None


def _read_original(folder: Path, config: DatasetConfig, split: str) -> ImageSet:
    if split != "all":
        raise data_error(
            folder,
            f"is the original SARD, which has no split {split!r}",
            f"set split=all of data set {config.name!r}; the YOLO re-pack has train, valid and "
            "test, but its frames of one scene lie in all three",
        )
    validator = Validator(config, split)
    frames, annotations = _voc_folders(folder) or (folder, folder)
    pairs = Pairs(image_files(frames), annotation_files(annotations))
    scenes = dict(zip(pairs.images, frame_runs(list(pairs.images)), strict=True))
    names = labelled(pairs, validator)
    kept = spread(_every(names, scenes, config.frame_stride), config.num_images)
    add_voc(kept, pairs, scenes.__getitem__, Classes(CLASSES, config), validator)
    return validator.image_set()


def _every(names: list[str], scenes: dict[str, str], stride: int) -> list[str]:
    """Keep the first and then every `stride`-th frame of each scene, in the order of `names`.

    Copies of one frame, as an augmented export has them, are kept or left out together.
    """
    original = dict(zip(names, originals(names), strict=True))
    seen: dict[str, list[str]] = {}  # frames by scene
    for name in sorted(names, key=lambda name: _frame_order(original[name])):
        frames = seen.setdefault(scenes[name], [])
        if original[name] not in frames[-1:]:
            frames.append(original[name])
    kept = {(scene, frame) for scene, frames in seen.items() for frame in frames[::stride]}
    return [name for name in names if (scenes[name], original[name]) in kept]


def _frame_order(name: str) -> list[tuple[int, str]]:
    """Sorts frame 9 before frame 10."""
    parts = re.split(r"([0-9]+)", name)
    return [(int(part or 0) if index % 2 else 0, part) for index, part in enumerate(parts)]


def _read_repack(folder: Path, config: DatasetConfig, split: str) -> ImageSet:
    """Through the YOLO reader, with the classes of SARD and scenes over all its splits."""
    meanings = class_numbers(folder, replace(config, categories=merged_meanings(CLASSES, config)))
    validator = Validator(config, split)
    for name in sorted(
        set(added_names(CLASSES, config).values()) - {*class_names(folder).values()}
    ):
        validator.warn("categories that data.yaml lacks", name)
    stems = [path.stem for path in list_images(folder)]
    scene_of = dict(zip(stems, frame_runs(stems), strict=True))
    listed = {image.image_id: image for image in list_split(folder, config, split, validator)}
    scenes = {name: scene_of[image.image.stem] for name, image in listed.items()}
    kept = spread(_every(list(listed), scenes, config.frame_stride), config.num_images)
    images = [listed[name]._replace(scene=scenes[name]) for name in kept]
    add_yolo(images, meanings, validator)
    return validator.image_set()
