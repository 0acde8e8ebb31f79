"""meta.json of a published stage: its summary and the checksums of its files, under a seal.

The seal is a checksum of everything else in the file, so an edited number is noticed. A file of a
version before the seal has none and is read as it is: nothing published is lost.
"""

import functools
import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

META = "meta.json"
SEAL = "seal"
NUM_METAS = 20_000  # that are kept in memory: a report asks for each of them many times


def sealed(content: Mapping[str, Any]) -> dict[str, Any]:
    """Take the content as JSON reads it back, and add its seal; an earlier one is replaced."""
    plain: dict[str, Any] = json.loads(json.dumps(content))
    plain.pop(SEAL, None)
    return {**plain, SEAL: _digest(plain)}


def read_meta(path: Path) -> dict[str, Any]:
    """Read meta.json, from memory while the file is the same.

    Raises: OSError; ValueError for anything but what was published.
    """
    stat = path.stat()
    return dict(_read(path, stat.st_mtime_ns, stat.st_size))


@functools.lru_cache(maxsize=NUM_METAS)
def _read(path: Path, mtime_ns: int, size: int) -> dict[str, Any]:
    del mtime_ns, size  # part of what is remembered
    return parse_meta(path)


def parse_meta(path: Path) -> dict[str, Any]:
    """Read meta.json and keep nothing in memory. Raises: as `read_meta`."""
    content = json.loads(path.read_text(encoding="utf-8"))
    if not isinstance(content, dict):
        raise ValueError("it is no JSON object")  # noqa: TRY004 of a file, not of an argument
    if SEAL in content and content[SEAL] != sealed(content)[SEAL]:
        raise ValueError("its checksum differs: it was edited or damaged after it was published")
    return content


def parents_in(meta: Mapping[str, Any]) -> list[str]:
    """Keys of the stages that a stage was made from, as its meta.json names them."""
    found = meta.get("parents")
    return [key for key in found if isinstance(key, str)] if isinstance(found, list) else []


def _digest(plain: Mapping[str, Any]) -> str:
    """Of the canonical JSON: white space and order do not count."""
    text = json.dumps(plain, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()
