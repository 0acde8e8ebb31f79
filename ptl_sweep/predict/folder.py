"""A folder of COCO files, written whole or not at all, and never in place of anything else."""

import shutil
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ptl_sweep.config.schema import ConfigError
from ptl_sweep.predict.document import DETECTIONS, GROUND_TRUTH, RESULTS, read_info

PICTURES = "pictures"
OWN = {DETECTIONS, RESULTS, GROUND_TRUTH, PICTURES}
SAME = ("tool", "stage", "folder")  # of `info`: the same command wrote it
FIX = "\n  fix: name another folder (predict: with --out), or move that one away"


@contextmanager
def replaced_folder(out: Path, info: Mapping[str, Any]) -> Iterator[Path]:
    """Yield an empty folder beside `out` that takes its place at the end of the block.

    Where the block raises, `out` stays as it was.
    Raises: ConfigError where `out` holds anything but what the same command has written (`info`);
    OSError.
    """
    _refuse_foreign(out, info)
    target = out.resolve()
    target.parent.mkdir(parents=True, exist_ok=True)
    work = target.with_name(f".{target.name}.{uuid.uuid4().hex[:8]}.tmp")
    work.mkdir()
    try:
        yield work
        _refuse_foreign(out, info)  # hours may have passed
        _swap(work, target)
    finally:
        shutil.rmtree(work, ignore_errors=True)


def refuse_nesting(out: Path, place: Path) -> None:
    """Refuse to write among the pictures that are searched. Raises: ConfigError."""
    one, other = out.resolve(), place.resolve()
    if one.is_relative_to(other) or other.is_relative_to(one):
        raise ConfigError(
            f"{out} and {place} lie in one another: what is written would be searched as well"
            "\n  fix: name a folder elsewhere with --out"
        )


def _refuse_foreign(out: Path, info: Mapping[str, Any]) -> None:
    """Only an empty folder, or one that the same command has written, may be replaced."""
    if not out.exists():
        return
    if not out.is_dir():
        raise ConfigError(f"{out} is no folder{FIX}")
    names = sorted(path.name for path in out.iterdir())
    if not names:
        return
    found = read_info(out)
    others = [name for name in names if name not in OWN]
    if found is None or others:
        raise ConfigError(f"{out} holds something else ({[*others, *names][0]}){FIX}")
    for key in SAME:
        if found.get(key) != info[key]:
            raise ConfigError(f"{out} holds predictions of another {key}: {found.get(key)}{FIX}")


def _swap(work: Path, target: Path) -> None:
    """Two renames; the old folder comes back where the second one fails."""
    old = work.with_name(f"{work.name}.old")
    if target.exists():
        target.rename(old)
    try:
        work.rename(target)
    except OSError:
        if old.exists():
            old.rename(target)
        raise
    shutil.rmtree(old, ignore_errors=True)
