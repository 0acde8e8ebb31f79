"""Where a COCO data set keeps the annotation file and the images of each split: tools differ."""

from pathlib import Path
from typing import NamedTuple

from ptl_sweep.config.schema import DatasetConfig
from ptl_sweep.datasets.readers.division import is_divided, refuse_unused_shares
from ptl_sweep.datasets.subsets import SPLITS, split_names
from ptl_sweep.datasets.validation import DataError, data_error, quoted

ROBOFLOW = "_annotations.coco.json"  # beside the images, in the folder of the split


class Part(NamedTuple):
    """One annotation file; `prefix` keeps file names of several apart."""

    prefix: str
    path: Path
    split: str  # what the folder of its images may be called


def find_parts(root: Path, config: DatasetConfig, split: str) -> tuple[list[Part], bool]:
    """List the files that hold the images of a split, and say whether scenes divide these further.

    Raises: DataError when there is none, ConfigError for shares beside splits of the files' own.
    """
    own = {name: path for name in SPLITS if (path := _file_of(root, name)) is not None}
    refuse_unused_shares(config, own)
    one = _file_of(root, split)
    every = own or {_split_of(path): path for path in annotation_files(root)}
    if every and (is_divided(config, own) or (split == "all" and one is None)):
        several = len(every) > 1
        parts = [Part(f"{name}/" * several, path, name) for name, path in every.items()]
        return parts, is_divided(config, own)
    if one is not None:
        return [Part("", one, split)], False
    found = [path.relative_to(root).as_posix() for path in annotation_files(root)[:10]]
    raise DataError(
        f"{root}: none of {', '.join(_names(split))} (there: {', '.join(found) or 'no .json file'})"
        f"\n  fix: set split of data set {config.name!r} to a file that is there, or to all; or "
        "scene_fractions=[0.8,0.2,0.0] to divide all images by scenes"
    )


def annotation_files(root: Path) -> list[Path]:
    """List the files that may hold boxes: instances of annotations/ first, then Roboflow's."""
    files = sorted(root.glob("annotations/instances_*.json"))
    return [
        *(files or sorted(root.glob("annotations/*.json"))),
        *sorted(root.glob(f"*/{ROBOFLOW}")),
    ]


def _names(split: str) -> list[str]:
    names = split_names(split)
    files = [f"annotations/{stem}{name}.json" for stem in ("instances_", "") for name in names]
    return files + [f"{name}/{ROBOFLOW}" for name in names]


def _file_of(root: Path, split: str) -> Path | None:
    return next((root / name for name in _names(split) if (root / name).is_file()), None)


def _split_of(path: Path) -> str:
    return path.parent.name if path.name == ROBOFLOW else path.stem.removeprefix("instances_")


def image_file(root: Path, part: Part, name: str) -> Path:
    """Find the image that an annotation file names. Raises: DataError."""
    folders = [root / "images", *(root / "images" / alias for alias in split_names(part.split))]
    for alias in split_names(part.split):
        folders += [root / alias, root / alias / "images"]
    if part.path.name == ROBOFLOW:
        folders = [part.path.parent, *folders]
    for folder in (*folders, root):
        if (folder / name).is_file():
            return folder / name
    raise data_error(
        part.path,
        f"file_name {quoted(name)} is not in {root / 'images'}",
        "unpack the images there, or delete the image from the file",
    )
