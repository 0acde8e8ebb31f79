"""A file of a data set below conf/, as source or as target, from what was found in a folder."""

from dataclasses import asdict
from pathlib import Path
from typing import NamedTuple

import yaml

from ptl_sweep.config.schema import DatasetConfig
from ptl_sweep.store import write_atomically

KEYS = ("name", "reader", "root", "split", "validation_split", "scene_fractions", "resplit")


class WrittenChoice(NamedTuple):
    """A file below conf/, and what it says."""

    path: Path
    config: DatasetConfig
    text: str


def write_choice(path: Path, config: DatasetConfig, *, is_source: bool) -> WrittenChoice:
    """Write the file below dataset/ or target/. Raises: OSError."""
    kept = {key: asdict(config)[key] for key in KEYS if is_source or key != "validation_split"}
    content = {
        **{key: value for key, value in kept.items() if value not in (None, False)},
        **({"categories": config.categories} if config.categories else {}),
        "licence": "",
        "citation": "",
    }
    command = "new-dataset" if is_source else "new-target"
    head = (
        f"# {path.stem}: written by `python -m ptl_sweep {command}` from what lies in root.\n"
        "# Every class is a person, other or ignore; say whose pictures these are.\n"
    )
    text = head + yaml.safe_dump(content, sort_keys=False, allow_unicode=True, width=100)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, text.encode())
    return WrittenChoice(path, config, text)
