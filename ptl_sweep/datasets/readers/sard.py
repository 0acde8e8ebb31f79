"""SARD: video frames of search-and-rescue scenes, Pascal VOC as its owner ships it, or YOLO."""

import hashlib
import re
from dataclasses import replace
from pathlib import Path, PurePosixPath

import yaml

from ptl_sweep.config.schema import ConfigError, DatasetConfig
from ptl_sweep.datasets.images import list_images
from ptl_sweep.datasets.readers.voc_files import (
    annotation_files,
    data_folder,
    image_files,
    labelled,
)
from ptl_sweep.datasets.readers.voc_xml import (
    Classes,
    VocImage,
    add_voc,
    added_names,
    merged_meanings,
)
from ptl_sweep.datasets.readers.yolo import read_yolo
from ptl_sweep.datasets.records import ImageSet
from ptl_sweep.datasets.subsets import frame_runs, spread
from ptl_sweep.datasets.validation import Validator, data_error, read_text, require_root

_ORIGINAL = ("Standing", "Walking", "Running", "Sitting", "Lying", "Not Defined")
_REPACK = ("Running", "Walking", "laying_down", "not_defined", "seated", "stands")
CLASSES = dict.fromkeys((*_ORIGINAL, *_REPACK, "human", "person"), "person")
_SPLITS = ("train", "valid", "test")
_HOLDS = "frames with their XML files (images/ and annotations/), or train/, valid/, test/"


def read_sard(config: DatasetConfig, split: str) -> ImageSet:
    """The frames of one split; every posture is a person, and an unknown class is an error.

    `root` or one folder in it holds the original (frames and XML files in one folder, or images/
    and annotations/; it has no split but `all`) or the YOLO re-pack (train/, valid/, test/ and
    data.yaml). `categories` changes what a class means and adds classes. A scene is a run of
    consecutive frame numbers; the re-pack dealt frames at random over its splits, so its runs go
    through all of them. `frame_stride` takes every k-th frame of a scene.
    Raises: DataError for files that cannot be used, ConfigError for keys that do not fit them.
    """
    if config.scene_fractions is not None:
        raise ConfigError(
            f"{config.name}.scene_fractions divides a flat folder of reader=yolo; SARD is a "
            "target: set it to null and split=all"
        )
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
    images, files = _found(folder)
    scenes = dict(zip(images, frame_runs(list(images)), strict=True))
    names = labelled(images, files, validator)
    kept = spread(_every(names, scenes, config.frame_stride), config.num_images)
    classes = Classes(CLASSES, config)
    add_voc(
        [VocImage(name, scenes[name], images[name], files[name]) for name in kept],
        classes,
        validator,
    )
    return validator.image_set()


def _found(folder: Path) -> tuple[dict[str, Path], dict[str, Path]]:
    frames, annotations = _voc_folders(folder) or (folder, folder)
    return image_files(frames), annotation_files(annotations)


def _every(names: list[str], scenes: dict[str, str], stride: int) -> list[str]:
    """The first and then every `stride`-th name of each scene, in the order of `names`."""
    seen: dict[str, int] = {}
    kept = set()
    for name in sorted(names, key=_frame_order):
        position = seen.get(scenes[name], 0)
        seen[scenes[name]] = position + 1
        if position % stride == 0:
            kept.add(name)
    return [name for name in names if name in kept]


def _frame_order(name: str) -> list[tuple[int, str]]:
    """Sorts frame 9 before frame 10."""
    parts = re.split(r"([0-9]+)", name)
    return [(int(part or 0) if index % 2 else 0, part) for index, part in enumerate(parts)]


def _read_repack(folder: Path, config: DatasetConfig, split: str) -> ImageSet:
    """Through the YOLO reader, with the classes of SARD and scenes over all its splits."""
    stems = [path.stem for path in list_images(folder)]
    scene_of = dict(zip(stems, frame_runs(stems), strict=True))
    whole = read_yolo(
        replace(
            config,
            root=str(folder),
            categories=merged_meanings(CLASSES, config),
            num_images=config.num_images if config.frame_stride == 1 else None,
            frame_stride=1,
        ),
        split,
    )
    scenes = {
        record.image_id: scene_of[PurePosixPath(record.image_id).name] for record in whole.records
    }
    records = tuple(replace(record, scene=scenes[record.image_id]) for record in whole.records)
    unseen = set(added_names(CLASSES, config).values()) - set(_yolo_names(folder))
    warnings = [f"categories that data.yaml lacks: {name}" for name in sorted(unseen)]
    found = replace(whole, records=records, warnings=(*whole.warnings, *warnings))
    return found if config.frame_stride == 1 else _thinned(found, scenes, config)


def _yolo_names(folder: Path) -> list[str]:
    """The classes of data.yaml, which `read_yolo` has found to be well formed."""
    path = folder / "data.yml" if (folder / "data.yml").is_file() else folder / "data.yaml"
    names = yaml.safe_load(read_text(path))["names"]
    return list(names.values() if isinstance(names, dict) else names)


def _thinned(whole: ImageSet, scenes: dict[str, str], config: DatasetConfig) -> ImageSet:
    """Every k-th record of a scene; the fingerprint says which."""
    names = [record.image_id for record in whole.records]
    kept = set(spread(_every(names, scenes, config.frame_stride), config.num_images))
    content = "\0".join((whole.fingerprint, *sorted(kept)))
    return replace(
        whole,
        records=tuple(record for record in whole.records if record.image_id in kept),
        fingerprint=hashlib.sha256(content.encode()).hexdigest()[:16],
    )
