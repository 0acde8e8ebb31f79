"""Pascal VOC folders of anybody: JPEGImages/ and Annotations/, or images/ and annotations/."""

from pathlib import Path

from ptl_sweep.config.schema import ConfigError, DatasetConfig
from ptl_sweep.datasets.readers.voc_files import (
    annotation_files,
    data_folder,
    image_files,
    labelled,
)
from ptl_sweep.datasets.readers.voc_xml import Classes, VocImage, add_voc
from ptl_sweep.datasets.records import ImageSet
from ptl_sweep.datasets.subsets import frame_runs, spread
from ptl_sweep.datasets.validation import Validator, data_error, read_text, require_root

CLASSES = {"person": "person"}  # `categories` says what every other class means
_LAYOUTS = (("JPEGImages", "Annotations"), ("images", "annotations"))
_HOLDS = "JPEGImages/ and Annotations/, or images/ and annotations/"


def read_voc(config: DatasetConfig, split: str) -> ImageSet:
    """The images of one split that have an annotation file; those without are counted.

    A split is a list ImageSets/Main/<split>.txt; `all` is every image. An XML file without
    objects is a negative. `categories` must name every class but person. A scene is a run of
    consecutive frame numbers.
    Raises: DataError for files that cannot be used, ConfigError for keys that do not fit them.
    """
    if config.scene_fractions is not None:
        raise ConfigError(
            f"{config.name}.scene_fractions divides a flat folder of reader=yolo; give a VOC "
            "folder lists of names, ImageSets/Main/<split>.txt, and set it to null"
        )
    folder = data_folder(
        require_root(config, _HOLDS), lambda path: _layout(path) is not None, _HOLDS
    )
    images_folder, files_folder = _layout(folder) or (folder, folder)
    validator = Validator(config, split)
    images, files = image_files(images_folder), annotation_files(files_folder)
    scenes = dict(zip(images, frame_runs(list(images)), strict=True))
    wanted = _listed(folder, split, set(images), validator) if split != "all" else set(images)
    chosen = {name: path for name, path in images.items() if name in wanted}
    described = {name: path for name, path in files.items() if name in wanted or split == "all"}
    names = spread(labelled(chosen, described, validator), config.num_images)
    add_voc(
        [VocImage(name, scenes[name], images[name], files[name]) for name in names],
        Classes(CLASSES, config),
        validator,
    )
    return validator.image_set()


def _layout(folder: Path) -> tuple[Path, Path] | None:
    """Where images and XML files lie; None when the folder has neither pair."""
    pairs = ((folder / images, folder / files) for images, files in _LAYOUTS)
    return next((pair for pair in pairs if pair[0].is_dir() and pair[1].is_dir()), None)


def _listed(folder: Path, split: str, images: set[str], validator: Validator) -> set[str]:
    """The names in the split's list. Raises: DataError when there is no such list."""
    lists = folder / "ImageSets" / "Main"
    path = lists / f"{split}.txt"
    if not path.is_file():
        there = sorted(p.stem for p in lists.glob("*.txt"))
        raise data_error(
            path,
            f"not found, so there is no split {split!r}",
            f"set split to one of {', '.join([*there, 'all'])}, or write the list: one name a line",
        )
    names = {line.split()[0] for line in read_text(path).splitlines() if line.strip()}
    for name in sorted(names - images):
        validator.warn(f"listed in {path.name}, but there is no such image", name)
    return names
