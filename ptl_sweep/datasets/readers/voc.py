"""Pascal VOC folders of anybody: JPEGImages/ and Annotations/, or images/ and annotations/."""

from pathlib import Path

from ptl_sweep.config.schema import DatasetConfig
from ptl_sweep.datasets.readers.pairs import (
    Pairs,
    annotation_files,
    data_folder,
    image_files,
    labelled,
    only_listed,
)
from ptl_sweep.datasets.readers.validator import Validator
from ptl_sweep.datasets.readers.voc_xml import Classes, add_voc
from ptl_sweep.datasets.records import ImageSet
from ptl_sweep.datasets.subsets import frame_runs, spread
from ptl_sweep.datasets.validation import (
    data_error,
    refuse_scene_fractions,
    require_root,
)

CLASSES = {"person": "person"}  # `categories` says what every other class means
_LAYOUTS = (("JPEGImages", "Annotations"), ("images", "annotations"))
_HOLDS = "JPEGImages/ and Annotations/, or images/ and annotations/"


def read_voc(config: DatasetConfig, split: str) -> ImageSet:
    """Read the images of one split that have an annotation file; those without are counted.

    A split is a list ImageSets/Main/<split>.txt; `all` is every image. An XML file without
    objects is a negative. `categories` must name every class but person. A scene is a run of
    consecutive frame numbers.
    Raises: DataError for files that cannot be used, ConfigError for keys that do not fit them.
    """
    refuse_scene_fractions(
        config, "give a VOC folder lists of names, ImageSets/Main/<split>.txt, and set it to null"
    )
    folder = data_folder(
        require_root(config, _HOLDS), lambda path: _layout(path) is not None, _HOLDS
    )
    images_folder, files_folder = _layout(folder) or (folder, folder)
    validator = Validator(config, split)
    pairs = Pairs(image_files(images_folder), annotation_files(files_folder))
    scenes = dict(zip(pairs.images, frame_runs(list(pairs.images)), strict=True))
    if split != "all":
        pairs = only_listed(_list_of_names(folder, split), pairs, validator)
    names = spread(labelled(pairs, validator), config.num_images)
    add_voc(names, pairs, scenes.__getitem__, Classes(CLASSES, config), validator)
    return validator.image_set()


def _layout(folder: Path) -> tuple[Path, Path] | None:
    """Where images and XML files lie; None when the folder has neither pair."""
    pairs = ((folder / images, folder / files) for images, files in _LAYOUTS)
    return next((pair for pair in pairs if pair[0].is_dir() and pair[1].is_dir()), None)


def _list_of_names(folder: Path, split: str) -> Path:
    """The split's list. Raises: DataError when there is no such list."""
    lists = folder / "ImageSets" / "Main"
    path = lists / f"{split}.txt"
    if not path.is_file():
        there = sorted(p.stem for p in lists.glob("*.txt"))
        raise data_error(
            path,
            f"not found, so there is no split {split!r}",
            f"set split to one of {', '.join([*there, 'all'])}, or write the list: one name a line",
        )
    return path
