"""Pascal VOC folders of anybody: images and XML files in two folders, or beside each other."""

from pathlib import Path

from ptl_sweep.config.schema import DatasetConfig
from ptl_sweep.datasets.readers.division import divide, is_divided, refuse_unused_shares
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
from ptl_sweep.datasets.readers.voc.xml import Classes, add_voc
from ptl_sweep.datasets.records import ImageSet
from ptl_sweep.datasets.subsets import SPLITS, frame_runs, split_names, spread
from ptl_sweep.datasets.validation import (
    data_error,
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
    consecutive frame numbers. `scene_fractions` divides what has no splits, with `resplit` all.
    Raises: DataError for files that cannot be used, ConfigError for keys that do not fit them.
    """
    folder = data_folder(
        require_root(config, _HOLDS), lambda path: _layout(path) is not None, _HOLDS
    )
    images_folder, files_folder = _layout(folder) or (folder, folder)
    validator = Validator(config, split)
    pairs = Pairs(image_files(images_folder), annotation_files(files_folder))
    own = _own_splits(folder, pairs)
    refuse_unused_shares(config, own)
    bare = [_without_split(name, own) if config.resplit else name for name in pairs.images]
    scenes = dict(zip(pairs.images, frame_runs(bare), strict=True))
    if split != "all" and not is_divided(config, own):
        pairs = _part(folder, split, pairs, validator)
    names = labelled(pairs, validator)
    if is_divided(config, own):
        names = divide(names, [scenes[name] for name in names], config, split)
    names = spread(names, config.num_images)
    add_voc(names, pairs, scenes.__getitem__, Classes(CLASSES, config), validator)
    return validator.image_set()


def _own_splits(folder: Path, pairs: Pairs) -> list[str]:
    """Which of SPLITS have a list or a folder."""
    folders = {name.split("/")[0] for name in pairs.images if "/" in name}
    lists = {path.stem for path in (folder / "ImageSets" / "Main").glob("*.txt")}
    return [split for split in SPLITS if {*split_names(split)} & (folders | lists)]


def _without_split(name: str, own: list[str]) -> str:
    """Take off the folder of a split, in which a copy of the picture need not lie."""
    first, _, rest = name.partition("/")
    return rest if rest and any(first in split_names(split) for split in own) else name


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
        f"set split to one of {', '.join([*there, 'all'])}, or scene_fractions=[0.8,0.2,0.0] to "
        "divide all images by scenes, or write the list: one name a line",
    )
