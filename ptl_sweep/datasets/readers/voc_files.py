"""Where the images and the XML files of a Pascal VOC data set lie, and which belong together."""

from collections.abc import Callable, Mapping
from pathlib import Path

from ptl_sweep.datasets.images import list_images
from ptl_sweep.datasets.validation import Validator, data_error


def annotation_files(folder: Path) -> dict[str, Path]:
    """The XML files under the folder by name without suffix; hidden files are left out."""
    return {
        _name_inside(path, folder): path
        for path in sorted(folder.rglob("*"))
        if path.suffix.lower() == ".xml" and not path.name.startswith(".")
    }


def image_files(folder: Path) -> dict[str, Path]:
    """The images under the folder by name without suffix. Raises: DataError for equal names."""
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


def labelled(
    images: Mapping[str, Path], files: Mapping[str, Path], validator: Validator
) -> list[str]:
    """The names of images that have an annotation file; counts those without the other."""
    for name, path in images.items():
        if name not in files:
            validator.drop("image without annotation file", 1)
            validator.warn("images without annotation file, left out", path.name)
    for name, path in files.items():
        if name not in images:
            validator.warn("annotation files without image", path.name)
    return [name for name in images if name in files]


def data_folder(root: Path, is_layout: Callable[[Path], bool], holds: str) -> Path:
    """`root`, or else the one folder inside it, that has the layout.

    Raises: DataError when none has, or several.
    """
    if is_layout(root):
        return root
    found = [path for path in _folders(root) if is_layout(path)]
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


def _folders(root: Path) -> list[Path]:
    """The folders inside without those that an archive of macOS adds."""
    return sorted(
        path
        for path in root.iterdir()
        if path.is_dir() and not path.name.startswith(".") and path.name != "__MACOSX"
    )
