"""Which format a folder of labelled pictures is in, and which of its classes are persons.

The folder is read by the reader that would read it in a sweep, so what is said of it holds.
"""

import re
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from ptl_sweep.config.schema import ConfigError, DatasetConfig
from ptl_sweep.datasets import registry
from ptl_sweep.datasets.readers import pairs
from ptl_sweep.datasets.readers.classes import loose
from ptl_sweep.datasets.readers.coco.layout import annotation_files
from ptl_sweep.datasets.readers.validator import Validator
from ptl_sweep.datasets.readers.voc.xml import parse_voc
from ptl_sweep.datasets.readers.yolo.layout import class_names, names_file
from ptl_sweep.datasets.records import ImageSet
from ptl_sweep.datasets.validation import DataError, nearest, parse_json, read_text

SPLITS = ("test", "validation", "train", "all")  # a target is best what nobody trains on
PERSONS = {  # what exports call persons, by the `loose` form of their names
    "person", "persons", "people", "human", "humans", "pedestrian", "pedestrians", "man", "men",
    "woman", "women", "child", "children", "swimmer", "swimmers", "walker", "walkers", "worker",
    "workers", "hiker", "hikers", "persona", "personas", "persone", "personne", "personnes",
    "pessoa", "pessoas", "mensch", "menschen", "mens", "mensen", "osoba", "osoby", "ihminen",
    "\u4eba", "\u884c\u4eba", "\u0447\u0435\u043b\u043e\u0432\u0435\u043a",
}  # fmt: skip
IGNORED = {"ignore", "ignored", "ignoredregion", "ignoredregions", "dontcare", "crowd"}
FORMATS_TEXT = (
    "VisDrone (VisDrone2019-DET-val/), COCO (annotations/*.json or SPLIT/_annotations.coco.json), "
    "YOLO (data.yaml or classes.txt, images and labels) and Pascal VOC (XML files)"
)


class DetectedFormat(NamedTuple):
    """How a folder is read."""

    reader: str
    split: str
    categories: dict[str, str]  # what each class means; empty where the format itself says
    image_set: ImageSet


def detect_format(root: Path, name: str, persons: Collection[str] = ()) -> DetectedFormat:
    """Find reader, split and classes of a folder; `persons` are classes that count as persons.

    Without `persons`, classes whose names say so do. Of several splits, the one is taken that is
    most like a test set.
    Raises: DataError for a folder in no known format, or that its reader refuses; ConfigError when
    no class is a person.
    """
    reader, categories = find_format(root, persons)
    return _read(reader, root, name, categories)


def find_format(root: Path, persons: Collection[str] = ()) -> tuple[str, dict[str, str]]:
    """Find the reader of a folder, and what each class means; empty where the format says it.

    Raises: DataError, ConfigError as `detect_format`.
    """
    if not root.is_dir():
        raise DataError(f"{root} is not a folder\n  fix: name the folder of the data set")
    for reader, classes in _formats(root):
        return reader, _categories(classes(root), persons)
    raise DataError(
        f"{root}: no format that is known by its files; these are: {FORMATS_TEXT}\n"
        "  fix: name the folder that holds them, or export the labels in one of these formats"
    )


def _formats(root: Path) -> Iterator[tuple[str, Callable[[Path], Sequence[str]]]]:
    """Yield readers whose files are there, the most certain first, and how to list classes."""
    names = [root.name, *(path.name for path in root.iterdir() if path.is_dir())]
    for task, reader in (("DET", "visdrone"), ("VID", "visdrone_vid")):
        if any(re.fullmatch(rf"VisDrone\d*-{task}-.+", name, re.IGNORECASE) for name in names):
            yield reader, lambda _: ()
    if annotation_files(root):
        yield "coco", _coco_classes
    if names_file(root).is_file():
        yield "yolo", lambda folder: list(class_names(folder).values())
    if any(root.rglob("*.xml")):
        yield "voc", _voc_classes


def _coco_classes(root: Path) -> list[str]:
    """Names of the categories of all files, in their order."""
    names: dict[str, None] = {}
    for path in annotation_files(root):
        content = parse_json(read_text(path), path, "export the file again")
        categories = content.get("categories") if isinstance(content, dict) else None
        for entry in categories if isinstance(categories, list) else []:
            if isinstance(entry, dict) and "name" in entry:
                names[str(entry["name"])] = None
    return list(names)


def _voc_classes(root: Path) -> list[str]:
    """Names of all objects, in the order of the files. Raises: DataError."""
    validator = Validator(DatasetConfig(name="classes", reader="voc", root=str(root)), "all")
    files = sorted(pairs.annotation_files(root).values())
    return list(dict.fromkeys(name for path in files for name in parse_voc(path, validator).names))


def _categories(classes: Sequence[str], persons: Collection[str]) -> dict[str, str]:
    """Say of each class whether it is a person. Raises: ConfigError when none is."""
    if not classes:
        return {}
    for name in persons:
        if name not in classes:
            raise ConfigError(
                f"--person {name}: there is no such class; the nearest is "
                f"{nearest(name, classes)!r} (all: {', '.join(classes)})"
            )
    chosen = set(persons) or {name for name in classes if loose(name) in PERSONS}
    if not chosen:
        raise ConfigError(
            f"none of its classes is called like a person: {', '.join(classes)}\n"
            "  fix: say which one is, with --person NAME (once for each)"
        )
    return {
        name: "person" if name in chosen else "ignore" if loose(name) in IGNORED else "other"
        for name in classes
    }


def _read(reader: str, root: Path, name: str, categories: dict[str, str]) -> DetectedFormat:
    """Read the first split that is there and shows a person; else the first one that can be read.

    Raises: what the reader says of one of them, when none can be read.
    """
    readable: list[DetectedFormat] = []
    refused: list[DataError | ConfigError] = []
    for split in SPLITS:
        config = DatasetConfig(
            name=name, reader=reader, root=str(root), split=split, categories=categories
        )
        try:
            found = DetectedFormat(reader, split, categories, registry.read_split(config, split))
        except (DataError, ConfigError) as error:
            refused.append(error)
            continue
        if found.image_set.num_persons:
            return found
        readable.append(found)
    if readable:
        return readable[0]
    of_files = [error for error in refused if not str(error).startswith(f"{root}: ")]
    raise (of_files or refused)[0]  # rather what is wrong in a file than that a split is not there


def describe_format(found: DetectedFormat) -> str:
    """Write what was found as a line of text."""
    texts = [f"format {found.reader}", f"split {found.split}"]
    return "; ".join([*texts, *describe_classes(found.categories)])


def describe_classes(categories: Mapping[str, str]) -> list[str]:
    """Write `person: man, woman`, and the same of other and ignored classes."""
    texts = []
    for meaning in ("person", "other", "ignore"):
        names = [name for name, own in categories.items() if own == meaning]
        texts += [f"{meaning}: {', '.join(names)}"] if names else []
    return texts
