"""Entries of a COCO file, checked: lists of objects, their ids, boxes and flags."""

import math
import re
from collections.abc import Collection
from pathlib import Path
from typing import Any

from ptl_sweep.datasets.validation import (
    MAX_COORDINATE_PX,
    data_error,
    parse_json,
    quoted,
    read_text,
)

Entry = dict[str, Any]

FIX = "correct the file or delete the entry"


def coco_content(path: Path) -> Entry:
    """Read an instances file. Raises: DataError for anything else."""
    content = parse_json(read_text(path), path, "download or export the file again")
    if not isinstance(content, dict):
        raise data_error(path, "is not a COCO instances file", "export it as COCO detection JSON")
    return content


def entries_of(content: Entry, key: str, fields: tuple[str, ...], path: Path) -> list[Entry]:
    """Find the list under `key`, every entry with all of `fields`. Raises: DataError."""
    entries = content.get(key)
    if not isinstance(entries, list):
        raise data_error(
            path,
            f"{key} is {quoted(entries)}, must be a list",
            "use an instances file with images, annotations and categories",
        )
    for index, entry in enumerate(entries):
        if not isinstance(entry, dict):
            raise data_error(path, f"{key}[{index}] is {quoted(entry)}, must be an object", FIX)
        for field in fields:
            if field not in entry:
                raise data_error(path, f"{key}[{index}] has no {field}", FIX)
    return entries


def id_of(value: object) -> int | str | None:
    """Read the id that a tool wrote as a number or as its digits; None for anything else."""
    if isinstance(value, str):
        return int(value) if re.fullmatch(r"0|[1-9][0-9]{0,17}", value) else value
    return value if isinstance(value, int) else None


def by_id(
    entries: list[Entry], key: str, path: Path, fields: tuple[str, ...] = ()
) -> dict[int | str, Entry]:
    """Sort entries by id; one that repeats another in `fields`, if any, is the same.

    Raises: DataError for two entries of one id.
    """
    found: dict[int | str, Entry] = {}
    for index, entry in enumerate(entries):
        own = id_of(entry["id"])
        first = entry if own is None else found.setdefault(own, entry)
        repeats = fields and all(first.get(field) == entry.get(field) for field in fields)
        if own is None or not (first is entry or repeats):
            raise data_error(
                path,
                f"{key}[{index}].id is {quoted(entry['id'])}, must be a number no other entry has",
                FIX,
            )
    return found


def known_id(
    entry: Entry, field: str, known: Collection[int | str], index: int, path: Path
) -> int | str:
    """Return the id in a field of annotations[index]. Raises: DataError when it is not known."""
    found = id_of(entry[field])
    if found is not None and found in known:
        return found
    where = "images" if field == "image_id" else "categories"
    raise data_error(
        path,
        f"annotations[{index}].{field} is {quoted(entry[field])}, which is not in the file's "
        f"{where}",
        FIX,
    )


def is_box(value: object) -> bool:
    """Say whether this is [x, y, width, height], finite and in the range of pictures."""
    if not isinstance(value, list) or len(value) != 4:
        return False
    if any(isinstance(number, bool) or not isinstance(number, int | float) for number in value):
        return False
    inside = all(math.isfinite(number) and abs(number) <= MAX_COORDINATE_PX for number in value)
    return inside and value[2] >= 0 and value[3] >= 0


def is_set(entry: Entry, flag: str) -> bool:
    """Read a flag that tools write as a number, as a boolean or as text."""
    value = entry.get(flag)
    return str(value).strip().lower() not in ("none", "", "0", "0.0", "false")
