"""Pascal VOC folders of anybody: images and XML files in two folders, or beside each other."""

from pathlib import Path

from ptl_sweep.config.schema import DatasetConfig
from ptl_sweep.datasets.readers.pairs import (
    Pairs,
    annotation_files,
    data_folder,
    image_files,
    labelled,
    only_below,
    only_listed,
)
from ptl_sweep.datasets.readers.validator import Validator
from ptl_sweep.datasets.readers.voc_xml import Classes, add_voc
from ptl_sweep.datasets.records import ImageSet
from ptl_sweep.datasets.subsets import SPLITS, frame_runs, split_names, spread
from ptl_sweep.datasets.validation import (
    data_error,
    refuse_scene_fractions,
    require_root,
)

CLASSES = {"person": "person"}  # `categories` says what every other class means
_IMAGES = ("JPEGImages", "images", "Images")
_FILES = ("Annotations", "annotations")
_HOLDS = "JPEGImages/ and Annotations/, images/ and annotations/, or images with XML files"


def read_voc(config: DatasetConfig, split: str) -> ImageSet:
    """Read the images of one split that have an annotation file; those without are counted.

    A split is a list ImageSets/Main/<split>.txt, or else the folder <split>, called as any tool
    calls it; `all` is every image. An XML file without
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
        pairs = _part(folder, split, pairs, validator)
    names = spread(labelled(pairs, validator), config.num_images)
    add_voc(names, pairs, scenes.__getitem__, Classes(CLASSES, config), validator)
    return validator.image_set()


def _layout(folder: Path) -> tuple[Path, Path] | None:
    """Where images and XML files lie; None when the folder has neither."""
    for pair in (("JPEGImages", "Annotations"), ("images", "annotations")):
        if all((folder / name).is_dir() for name in pair):
            return folder / pair[0], folder / pair[1]
    there = [folder / name for name in _IMAGES if (folder / name).is_dir()]
    files = next((folder / name for name in _FILES if (folder / name).is_dir()), None)
    if there and files is not None:
        return there[0], files
    parts = [folder / name for split in SPLITS for name in split_names(split)]
    for images, sources in [(path, [path]) for path in there] + [(folder, [folder, *parts])]:
        if any(path.suffix.lower() == ".xml" for source in sources for path in source.glob("*")):
            return images, images
    return None


def _part(folder: Path, split: str, pairs: Pairs, validator: Validator) -> Pairs:
    """The images of one split. Raises: DataError when neither a list nor a folder says which."""
    lists = folder / "ImageSets" / "Main"
    for name in split_names(split):
        if (lists / f"{name}.txt").is_file():
            return only_listed(lists / f"{name}.txt", pairs, validator)
    for name in split_names(split):
        part = only_below(name, pairs)
        if part.images:
            return part
    folders = {name.split("/")[0] for name in pairs.images if "/" in name}
    there = sorted({path.stem for path in lists.glob("*.txt")} | folders)
    raise data_error(
        lists / f"{split}.txt",
        f"not found, so there is no split {split!r}",
        f"set split to one of {', '.join([*there, 'all'])}, or write the list: one name a line",
    )
