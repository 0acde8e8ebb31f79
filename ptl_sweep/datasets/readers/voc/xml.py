"""Pascal VOC XML, one file per image: every object's class and box, and the size of the image.

Boxes are 1-based and include their last pixel by the definition of VOC, but tools that write the
format do not agree on it; the numbers are taken as they stand, as the common readers do.
Only `size`, and `name` and `bndbox` of each `object`, are read: not `filename`, `pose`,
`truncated`, `difficult` or `part`.
"""

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from xml.parsers import expat

import numpy as np
from jaxtyping import Float
from numpy import ndarray
from PIL import Image

from ptl_sweep.config.schema import DatasetConfig
from ptl_sweep.datasets.images import image_size
from ptl_sweep.datasets.readers.classes import ANY, added_names, loose, merged_meanings
from ptl_sweep.datasets.readers.pairs import Pairs
from ptl_sweep.datasets.readers.validator import Labels, Validator
from ptl_sweep.datasets.validation import (
    MAX_COORDINATE_PX,
    data_error,
    nearest,
    number,
    quoted,
)

SIDES = ("xmin", "ymin", "xmax", "ymax")
_FIX = "correct the file, or download it again"


@dataclass(frozen=True, slots=True)
class Annotation:
    """What one file says; line numbers count from 1."""

    path: Path
    names: tuple[str, ...]  # class of each object, as written
    name_lines: tuple[int, ...]
    boxes: Float[ndarray, "n 4"]  # xyxy, pixels, as written
    size: tuple[float, float] | None  # (width, height); None when the file does not say
    size_line: int


@dataclass(slots=True)
class _Element:
    tag: str
    line: int
    pieces: list[str] = field(default_factory=list)  # of its text
    children: list["_Element"] = field(default_factory=list)

    @property
    def text(self) -> str:
        return "".join(self.pieces).strip()

    def named(self, tag: str) -> list["_Element"]:
        return [child for child in self.children if child.tag == tag]

    def only(self, tag: str, path: Path) -> "_Element":
        """Return the one child of that tag. Raises: DataError when there are none or several."""
        found = self.named(tag)
        if len(found) == 1:
            return found[0]
        count = f"{len(found)} elements {tag}" if found else f"no element {tag}"
        raise data_error(
            path, f"<{self.tag}> has {count}, must have one", _FIX, (found or [self])[-1].line
        )


class Classes:
    """The class names of one data set, and which of its own `categories` has never occurred."""

    def __init__(self, built_in: Mapping[str, str], config: DatasetConfig) -> None:
        self._data_set = config.name
        self._names = merged_meanings(built_in, config)
        self._meanings = {loose(name): meaning for name, meaning in self._names.items()}
        self._unseen = added_names(built_in, config)

    def labels(self, annotation: Annotation) -> Labels:
        """Say what each box is. Raises: DataError for a class that is not known."""
        self.refuse_unknown([annotation])
        meanings = [self._meaning(name) for name in annotation.names]
        person = np.array([meaning == "person" for meaning in meanings], dtype=np.bool_)
        ignored = np.array([meaning == "ignore" for meaning in meanings], dtype=np.bool_)
        return Labels(annotation.path, annotation.boxes, person, ignored)

    def refuse_unknown(self, annotations: Iterable[Annotation]) -> None:
        """Name every class that is not known. Raises: DataError at the first place of the first."""
        places = {
            name: (annotation.path, line)
            for annotation in reversed([*annotations])
            for name, line in reversed([*zip(annotation.names, annotation.name_lines, strict=True)])
            if not self._is_known(name)
        }
        if not places:
            return
        unknown = list(reversed(places))
        path, line = places[unknown[0]]
        others = f" (and not known either: {', '.join(map(quoted, unknown[1:]))})"
        raise data_error(
            path,
            f"class {quoted(unknown[0])} is not known in data set {self._data_set!r}; the nearest "
            f"is {nearest(unknown[0], self._names)!r}{others if unknown[1:] else ''}",
            "correct it, or add it to categories (dataset.categories or target.categories) as "
            f"person, other or ignore, or all others as '*' (now: {', '.join(self._names)})",
            line,
        )

    def _is_known(self, name: str) -> bool:
        return loose(name) in self._meanings or ANY in self._names

    def warn_of_unseen(self, validator: Validator) -> None:
        """Warn of names that only the configuration has: they may be spelt wrong."""
        for name in self._unseen.values():
            validator.warn("categories that no annotation has: are they spelt right?", name)

    def _meaning(self, name: str) -> str:
        self._unseen.pop(loose(name), None)
        return self._meanings[loose(name)] if loose(name) in self._meanings else self._names[ANY]


def add_voc(
    names: Iterable[str],
    pairs: Pairs,
    scene_of: Callable[[str], str],
    classes: Classes,
    validator: Validator,
) -> None:
    """Check the named images, each with its annotation file, and keep them.

    Raises: DataError for files that cannot be used; it names file, line, field and value.
    """
    annotations = {name: parse_voc(pairs.files[name], validator) for name in names}
    classes.refuse_unknown(annotations.values())
    for name, annotation in annotations.items():
        path = pairs.images[name]
        size = image_size(path)
        _require_declared_size(annotation, path, size, validator)
        validator.add(name, scene_of(name), path, size, classes.labels(annotation))
    classes.warn_of_unseen(validator)


def parse_voc(path: Path, validator: Validator) -> Annotation:
    """Parse classes, boxes and size; a file without `object` is a negative.

    Raises: DataError for a file that is empty or not XML, has a DOCTYPE (and so may have entities),
    has no `annotation`, or has an object without one class and one box of finite numbers.
    """
    root = _tree(path, validator.read_text(path))
    objects = root.named("object")
    names = [_class_name(element, path) for element in objects]
    size, size_line = _declared_size(root, path, validator)
    return Annotation(
        path,
        tuple(name.text for name in names),
        tuple(name.line for name in names),
        np.array([_box(element, path) for element in objects], dtype=np.float64).reshape(-1, 4),
        size,
        size_line,
    )


def _tree(path: Path, text: str) -> _Element:
    """The elements with their lines; expat itself, because ElementTree forgets the lines."""
    if not text.strip():
        raise data_error(
            path,
            "is empty, and so not XML",
            "download it again, or write <annotation></annotation> for an image without objects",
        )
    parser = expat.ParserCreate()
    parser.buffer_text = True
    document = _Element("", 1)
    inside = [document]

    def start(tag: str, _: dict[str, str]) -> None:
        element = _Element(tag, parser.CurrentLineNumber)
        inside[-1].children.append(element)
        inside.append(element)

    def refuse(*_: object) -> None:
        raise data_error(
            path,
            "has a DOCTYPE, which no annotation needs and which can fill the memory",
            "delete the DOCTYPE and its entities",
            parser.CurrentLineNumber,
        )

    def characters(data: str) -> None:
        inside[-1].pieces.append(data)

    parser.StartElementHandler = start
    parser.EndElementHandler = lambda _: inside.pop()
    parser.CharacterDataHandler = characters
    parser.StartDoctypeDeclHandler = refuse
    try:
        parser.Parse(text, True)
    except expat.ExpatError as error:
        problem = f"is not valid XML: {expat.ErrorString(error.code)}"
        raise data_error(path, problem, _FIX, error.lineno) from error
    root = document.children[0]
    if root.tag != "annotation":
        problem = f"starts with <{quoted(root.tag)[1:-1]}>, must be <annotation>"
        raise data_error(path, problem, "use annotation files in Pascal VOC format", root.line)
    return root


def _class_name(element: _Element, path: Path) -> _Element:
    name = element.only("name", path)
    if not name.text:
        raise data_error(path, "name is empty, must be a class", _FIX, name.line)
    return name


def _box(element: _Element, path: Path) -> tuple[float, ...]:
    corners = element.only("bndbox", path)
    sides = [corners.only(side, path) for side in SIDES]
    values = tuple(_pixels(side, path) for side in sides)
    for low, high in ((0, 2), (1, 3)):
        if values[high] < values[low]:
            raise data_error(
                path,
                f"{SIDES[high]} is {values[high]:g}, must be at least {SIDES[low]} "
                f"({values[low]:g})",
                "correct the box or delete the object",
                sides[high].line,
            )
    return values


def _pixels(element: _Element, path: Path) -> float:
    value = math.nan if element.children else number(element.text)
    if not abs(value) <= MAX_COORDINATE_PX:  # NaN too
        raise data_error(
            path,
            f"{element.tag} is {quoted(element.text)}, must be a number of pixels in "
            f"[{-MAX_COORDINATE_PX:g}, {MAX_COORDINATE_PX:g}]",
            "correct the number",
            element.line,
        )
    return value


def _declared_size(
    root: _Element, path: Path, validator: Validator
) -> tuple[tuple[float, float] | None, int]:
    """(width, height) of the element `size`, and its line; None when it is missing or zero."""
    if not (root.named("size") and root.only("size", path).children):
        return None, root.line
    element = root.only("size", path)
    width, height = (_pixels(element.only(side, path), path) for side in ("width", "height"))
    if width == 0 or height == 0:
        validator.warn("size of width or height 0, taken from the image", path.name)
        return None, element.line
    return (width, height), element.line


def _require_declared_size(
    annotation: Annotation, image: Path, size: tuple[int, int], validator: Validator
) -> None:
    """Raises: DataError when the file was written for an image of another size or orientation."""
    declared = annotation.size
    if declared == size:
        return
    turned = _is_turned_by_exif(image, size)
    if declared is None:
        kind = "images turned by EXIF whose annotation has no size: look at the boxes"
        validator.warn(kind, image.name, int(turned))
        return
    if declared == size[::-1] and not turned:
        validator.warn("width and height of size swapped, taken from the image", image.name)
        return
    raise data_error(
        annotation.path,
        f"size is {declared[0]:g}x{declared[1]:g}, but {image.name} is {size[0]}x{size[1]}",
        "remove the EXIF orientation from the image; it was labelled without"
        if declared == size[::-1]
        else "use the images the boxes were drawn on, or scale the boxes to these",
        annotation.size_line,
    )


def _is_turned_by_exif(path: Path, size: tuple[int, int]) -> bool:
    with Image.open(path) as image:
        return image.size != size
