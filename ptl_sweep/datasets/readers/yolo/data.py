"""The data file of a YOLO folder, data.yaml, and the lists of images that it or obj.data names."""

from pathlib import Path
from typing import Any

import yaml

from ptl_sweep.datasets.validation import data_error, quoted, read_text

NAMES_FIX = "write the line `names: {0: person}` or `names: [person]`"


def data_file(root: Path) -> Path:
    """Name the data file, which need not be there."""
    return root / "data.yml" if (root / "data.yml").is_file() else root / "data.yaml"


def read_data_file(root: Path) -> dict[Any, Any]:
    """Read data.yaml. Raises: DataError when it is no mapping."""
    path = data_file(root)
    try:
        content = yaml.safe_load(read_text(path))
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise data_error(path, f"is not valid YAML: {quoted(str(error))}", NAMES_FIX) from error
    return content if isinstance(content, dict) else {}


def image_lists(root: Path) -> dict[str, Path]:
    """Find the lists of images that data.yaml (Ultralytics) or obj.data (CVAT) names, by split.

    Raises: DataError for a file that cannot be read.
    """
    named: dict[Any, Any] = {}
    if (root / "obj.data").is_file():
        pairs = [line.partition("=") for line in read_text(root / "obj.data").splitlines()]
        named = {key.strip(): value.strip() for key, _, value in pairs}
    if data_file(root).is_file():
        named |= read_data_file(root)
    found = {}
    for key, value in named.items():
        is_list = isinstance(value, str) and value.lower().endswith(".txt")
        path = _below(root, value) if is_list else None
        if path is not None:
            found[str(key)] = path
    return found


def listed_images(root: Path, path: Path) -> list[Path]:
    """Find the images of a list, one a line, whatever folders its tool wrote in front.

    Raises: DataError that names the first line whose image is not there.
    """
    found: dict[Path, int] = {}
    missing = []
    for line, text in enumerate(read_text(path).splitlines(), 1):
        name = text.strip()
        image = _below(root, name) if name else None
        if image is not None:
            found.setdefault(image, line)
        elif name:
            missing.append((line, name))
    if missing or not found:
        line, name = missing[0] if missing else (1, "")
        more = f" (nor {len(missing) - 1} more)" if len(missing) > 1 else ""
        problem = f"{quoted(name)} is not there{more}" if missing else "lists no image"
        fix = "export the data set together with its images, or delete the lines of those missing"
        raise data_error(path, problem, fix, line)
    return sorted(found)


def _below(root: Path, name: str) -> Path | None:
    """The file inside root that a path written elsewhere means: its longest end that is there."""
    parts = [part for part in name.replace("\\", "/").split("/") if part not in ("", ".", "..")]
    ends = (root.joinpath(*parts[first:]) for first in range(len(parts)))
    return next((path for path in ends if path.is_file()), None)
