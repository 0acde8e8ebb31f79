"""Where a YOLO folder keeps the images, labels and class names of each split: tools differ."""

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from ptl_sweep.datasets.images import IMAGE_SUFFIXES
from ptl_sweep.datasets.readers.yolo.data import (
    NAMES_FIX,
    data_file,
    image_lists,
    listed_images,
    read_data_file,
)
from ptl_sweep.datasets.subsets import SPLITS, split_names, split_role
from ptl_sweep.datasets.validation import data_error, quoted, read_text

NAME_FILES = ("classes.txt", "obj.names", "_darknet.labels")  # a class a line; never labels


class Folder(NamedTuple):
    """Images and labels of one split; `prefix` keeps ids of several splits apart."""

    prefix: str
    images: Path
    labels: Path  # the folder of the images where labels lie beside them
    paths: tuple[Path, ...] | None = None  # below `images`; None: all that lie there


def own_folders(root: Path, split: str) -> dict[str, Folder]:
    """Find the folders of SPLITS and of the split that is asked for, where there are any.

    A list of images that data.yaml or obj.data names for a split says which of them it has.
    Raises: DataError for a data.yaml or a list that cannot be used.
    """
    names = tuple(dict.fromkeys((*SPLITS, split)))
    lists = image_lists(root)
    found: dict[str, Folder] = {}
    for find in (_official, _darknet, _of_data_file):
        if found or (find is _darknet and (root / "images").is_dir()):
            continue  # one flat folder; another one beside it holds something else
        found = {name: folder for name in names if (folder := find(root, name)) is not None}
    for name in names:
        path = next((lists[alias] for alias in split_names(name) if alias in lists), None)
        if path is not None:
            found[name] = _of_list(root, path, found.get(name))
    return {name: found[name] for name in names if name in found}


def flat_folder(root: Path) -> Folder:
    """Say where the images of a data set without splits lie: in images/, or in the root."""
    if not (root / "images").is_dir() and _has_images(root):
        return Folder("", root, root)
    return Folder("", root / "images", root / "labels")


def label_file(folder: Folder, name: str) -> Path:
    """Find the label file of an image, in the folder of labels or beside the image.

    Raises: DataError when both are there.
    """
    apart, beside = (base / f"{name}.txt" for base in (folder.labels, folder.images))
    if folder.paths is not None and folder.labels == folder.images:
        apart = _labels_of(beside, folder.images)
    if apart == beside or not beside.is_file():
        return apart
    if apart.is_file():
        raise data_error(beside, f"is a second label file beside {apart}", "delete one of the two")
    return beside


def _official(root: Path, split: str) -> Folder | None:
    for name in split_names(split):
        for images, labels in (
            (root / name / "images", root / name / "labels"),
            (root / "images" / name, root / "labels" / name),
        ):
            if images.is_dir():
                return Folder("", images, labels)
    return None


def _darknet(root: Path, split: str) -> Folder | None:
    """A folder that holds images and labels side by side, as Darknet, LabelImg and CVAT write."""
    for name in split_names(split):
        for folder in (root / f"obj_{name}_data", root / name):
            if folder.is_dir() and _has_images(folder):
                return Folder("", folder, folder)
    return None


def _of_data_file(root: Path, split: str) -> Folder | None:
    """The folder that data.yaml names for the split, when it lies inside the root."""
    content = read_data_file(root) if data_file(root).is_file() else {}
    own = [str(content[key]) for key in split_names(split) if isinstance(content.get(key), str)]
    if not own or split_role(split) is None:
        return None
    below = Path(*(part for part in Path(own[0]).parts if part != ".."))  # Roboflow: ../train
    for base in (root / str(content.get("path") or ""), root):
        images = base / below
        is_part = images.is_relative_to(root) and images not in (root, root / "images")
        if is_part and images.is_dir():
            return Folder("", images, _labels_of(images, root))
    return None


def _of_list(root: Path, path: Path, folder: Folder | None) -> Folder:
    """The listed images, below the smallest folder that holds them all. Raises: DataError."""
    paths = tuple(listed_images(root, path))
    own = [folder] if folder is not None else []
    for place in (*own, Folder("", root / "images", root / "labels")):
        if all(image.is_relative_to(place.images) for image in paths):
            return place._replace(paths=paths)
    return Folder("", root, root, paths)


def _labels_of(images: Path, root: Path) -> Path:
    """Put labels for images in the last part of the path inside the root, as the trainers do."""
    parts = list(images.relative_to(root).parts)
    if "images" not in parts:
        return images
    parts[len(parts) - 1 - parts[::-1].index("images")] = "labels"
    return root.joinpath(*parts)


def _has_images(folder: Path) -> bool:
    return any(path.suffix.lower() in IMAGE_SUFFIXES for path in folder.iterdir())


def names_file(root: Path) -> Path:
    """Find the file of the class names: data.yaml, or a list of Darknet, LabelImg or CVAT."""
    if data_file(root).is_file():
        return data_file(root)
    return next(_name_lists(root), data_file(root))


def _name_lists(root: Path) -> Iterator[Path]:
    folders = [root, root / "labels", root / "images"]
    folders += [folder for folder in sorted(root.glob("*")) if folder.is_dir()]
    folders += [folder for folder in sorted(root.glob("*/*")) if folder.is_dir()]
    for folder in folders:
        yield from (folder / name for name in NAME_FILES if (folder / name).is_file())


def class_names(root: Path) -> dict[int, str]:
    """Read the class names: a list or {number: name} in data.yaml, else a file with one a line.

    Raises: DataError when there are none.
    """
    path = names_file(root)
    if not path.is_file():
        raise data_error(path, "not found", "write it with the line `names: {0: person}`")
    if path != data_file(root):
        return dict(enumerate(line.strip() for line in read_text(path).split("\n") if line.strip()))
    names = read_data_file(root).get("names")
    if isinstance(names, list):
        names = dict(enumerate(names))
    if not isinstance(names, dict) or not all(
        isinstance(number, int) and isinstance(name, str) for number, name in names.items()
    ):
        raise data_error(
            path, f"names is {quoted(names)}, must be class names by number", NAMES_FIX
        )
    return names


def has_keypoints(root: Path) -> bool:
    """Say whether the rows of labels go on with keypoints after the box."""
    return data_file(root).is_file() and "kpt_shape" in read_data_file(root)
