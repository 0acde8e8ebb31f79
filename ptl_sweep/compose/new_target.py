"""A file below conf/target/, from what was found in a folder."""

from pathlib import Path

import yaml

from ptl_sweep.compose.detect_format import DetectedFormat
from ptl_sweep.config.checks import identifier
from ptl_sweep.config.schema import ConfigError, conf_dir
from ptl_sweep.store import write_atomically


def target_path(name: str) -> Path:
    """Name the file of a target that does not exist yet. Raises: ConfigError for one that does."""
    identifier("NAME", name)
    path = conf_dir() / "target" / f"{name}.yaml"
    if path.exists():
        raise ConfigError(f"{path} is there already: choose another name, or delete the file")
    return path


def write_target(path: Path, root: Path, found: DetectedFormat) -> str:
    """Write the file; returns its text. Raises: OSError."""
    content = {
        "name": path.stem,
        "reader": found.reader,
        "root": str(root.absolute()),
        "split": found.split,
        **({"categories": found.categories} if found.categories else {}),
        "licence": "",
        "citation": "",
    }
    head = (
        f"# {path.stem}: written by `python -m ptl_sweep new-target` from what lies in root.\n"
        "# Every class is a person, other or ignore; say whose pictures these are.\n"
    )
    text = head + yaml.safe_dump(content, sort_keys=False, allow_unicode=True, width=100)
    write_atomically(path, text.encode())
    return text
