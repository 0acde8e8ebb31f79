"""Where images and their annotation files lie, one file an image, and which belong together."""

import re
from collections.abc import Callable, Set
from pathlib import Path
from typing import NamedTuple

from ptl_sweep.datasets.images import IMAGE_SUFFIXES, list_images
from ptl_sweep.datasets.readers.validator import Validator
from ptl_sweep.datasets.validation import data_error, read_text

_SUFFIXES = (*IMAGE_SUFFIXES, ".xml")  # of names in lists


class Pairs(NamedTuple):
    """Images and annotation files by name."""

    images: dict[str, Path]
    files: dict[str, Path]


def annotation_files(folder: Path, suffix: str = ".xml") -> dict[str, Path]:
    """Find the annotation files under the folder by name without suffix, hidden ones left out."""
    return {
        _name_inside(path, folder): path
        for path in sorted(folder.rglob("*"))
        if path.suffix.lower() == suffix and not path.name.startswith(".")
    }


def image_files(folder: Path) -> dict[str, Path]:
    """Find the images under the folder by name without suffix. Raises: DataError if equal."""
    found: dict[str, Path] = {}
    for path in list_images(folder):
        name = _name_inside(path, folder)
        if name in found:
            raise data_error(
                path,
                f"has the name of {found[name].name}, so the annotation may be of either",
                "delete one of the two images",
            )
        found[name] = path
    return found


def _name_inside(path: Path, folder: Path) -> str:
    return path.relative_to(folder).with_suffix("").as_posix()


def only_listed(path: Path, pairs: Pairs, validator: Validator) -> Pairs:
    """Keep the names in a list of ImageSets/Main, one a line; warn of odd ones.

    A name may have blanks, a suffix and folders in front, and be followed by 1, 0 or -1, by which
    VOC says whether the image shows the class of the list.
    Raises: DataError when the list cannot be read.
    """
    known = pairs.images.keys() | pairs.files.keys()
    lines = [line.strip() for line in read_text(path).splitlines() if line.strip()]
    names = [_listed_name(line, known) for line in lines]
    wanted = set(names)
    validator.warn("names listed twice", path.name, len(names) - len(wanted))
    for name in sorted(wanted - known):
        validator.warn(f"listed in {path.name}, but there is no such image", name)
    return Pairs(*({name: found[name] for name in found if name in wanted} for found in pairs))


def _listed_name(line: str, known: Set[str]) -> str:
    """Find the known name that a line means; what it says without the mark for none."""
    marked = re.fullmatch(r"(.*\S)\s+(?:-1|[01])", line)
    for text in (line, marked[1]) if marked else (line,):
        bare = text.replace("\\", "/")
        stem = bare[: -len(suffix)] if (suffix := _suffix(bare)) else bare
        for name in (bare, stem):
            parts = name.split("/")
            below = ("/".join(parts[first:]) for first in range(len(parts)))
            if found := next((part for part in below if part in known), None):
                return found
    first = line.split(maxsplit=1)[0]
    return first if first in known else (marked[1] if marked else line)


def _suffix(name: str) -> str:
    return next((end for end in _SUFFIXES if name.lower().endswith(end)), "")


def only_below(folder: str, pairs: Pairs) -> Pairs:
    """Keep the names inside a folder."""
    start = f"{folder}/"
    return Pairs(
        *({name: found[name] for name in found if name.startswith(start)} for found in pairs)
    )


def labelled(pairs: Pairs, validator: Validator) -> list[str]:
    """Name the images that have an annotation file; counts those without the other."""
    images, files = pairs
    for name, path in images.items():
        if name not in files:
            validator.drop("image without annotation file", 1)
            validator.warn("images without annotation file, left out", path.name)
    for name, path in files.items():
        if name not in images:
            validator.warn("annotation files without image", path.name)
    return [name for name in images if name in files]


def data_folder(root: Path, is_layout: Callable[[Path], bool], holds: str) -> Path:
    """Find the folder that has the layout: `root`, or else the one folder inside it that does.

    Raises: DataError when none has, or several.
    """
    if is_layout(root):
        return root
    inside = sorted(path for path in root.iterdir() if path.is_dir())
    found = [
        path
        for path in inside
        if not path.name.startswith((".", "__MACOSX")) and is_layout(path)  # archives of macOS
    ]
    if len(found) == 1:
        return found[0]
    if found:
        problem = f"holds the data set {len(found)} times: {', '.join(p.name for p in found)}"
        raise data_error(root, problem, "set root to one of these folders")
    raise data_error(
        root,
        f"neither it nor a folder in it holds {holds}",
        "unpack the data set there, or set root (dataset.root or target.root) to its folder",
    )
