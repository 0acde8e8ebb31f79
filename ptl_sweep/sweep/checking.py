"""The verb `check`: every data set, pool and target of a grid, read once and summed up."""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from rich.progress import track

from ptl_sweep.config import Config, ConfigError
from ptl_sweep.datasets import registry
from ptl_sweep.datasets.records import ImageSet
from ptl_sweep.datasets.summary import SetSummary, sample_sheet, summarise
from ptl_sweep.datasets.validation import DataError
from ptl_sweep.sweep.display import text_table

HEADER = (
    "set", "split", "images", "with", "persons", "scenes", "width px", "height px", "dropped",
    "fingerprint",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Checked:
    """One data set: its summary, or why it cannot be used."""

    role: str
    name: str
    summary: SetSummary | None
    error: str | None


@dataclass(frozen=True, slots=True)
class CheckResult:
    """All data sets of a grid."""

    sets: list[Checked]

    def exit_code(self, *, strict: bool) -> int:
        """0, or 1 when a set cannot be used (or, with `strict`, has warnings)."""
        bad = any(
            c.summary is None or (strict and (c.summary.warnings or c.summary.drops))
            for c in self.sets
        )
        return int(bad)

    def as_json(self) -> list[dict[str, Any]]:
        """For scripts."""
        return [
            {
                "role": c.role,
                "name": c.name,
                "error": c.error,
                **({k: _plain(v) for k, v in asdict(c.summary).items()} if c.summary else {}),
            }
            for c in self.sets
        ]

    def text(self) -> str:
        """A table, then drops, warnings and errors in full."""
        rows = [_row(c.role, c.summary) for c in self.sets if c.summary is not None]
        parts = [text_table(HEADER, rows)] if rows else []
        for checked in self.sets:
            if checked.summary is not None:
                drops = checked.summary.drops
                parts += [f"dropped {checked.name}: {n} {why}" for why, n in drops.items()]
                parts += [f"warning {checked.name}: {w}" for w in checked.summary.warnings]
            else:
                parts.append(f"ERROR   {checked.role} {checked.name}: {checked.error}")
        return "\n".join(parts)


def _plain(value: object) -> object:
    return value.tolist() if isinstance(value, np.ndarray) else value


def _row(role: str, summary: SetSummary) -> list[str]:
    return [
        f"{role} {summary.name}",
        summary.split,
        str(summary.num_images),
        str(summary.num_images_with_persons),
        str(summary.num_persons),
        str(summary.num_scenes),
        "/".join(f"{v:.0f}" for v in summary.width_quartiles),
        "/".join(f"{v:.0f}" for v in summary.height_quartiles),
        str(sum(summary.drops.values())),
        summary.fingerprint[:8],
    ]


def check_data(cells: Sequence[Config], *, named: Sequence[str], sheet: str | None) -> CheckResult:
    """Read each data set once; an unusable one does not hide the others.

    Only the roles that `named` overrides name are read, all of them when it names none.
    """
    readers = _readers(cells, {override.split("=")[0].split(".")[0] for override in named})
    found = []
    for (role, name), read in track(list(readers.items()), "reading", transient=True):
        try:
            image_set = read()
        except (DataError, ConfigError) as error:
            found.append(Checked(role, name, None, str(error)))
            continue
        found.append(Checked(role, name, summarise(image_set), None))
        if sheet is not None:
            folder = Path(sheet)
            folder.mkdir(parents=True, exist_ok=True)
            sample_sheet(image_set, folder / f"{role}-{image_set.name}-{image_set.split}.png")
    return CheckResult(found)


def _readers(
    cells: Sequence[Config], named: set[str]
) -> dict[tuple[str, str], Callable[[], ImageSet]]:
    roles = named & {"dataset", "target", "pool"} or {"dataset", "target", "pool"}
    readers: dict[tuple[str, str], Callable[[], ImageSet]] = {}
    for config in cells:
        for role, data in (("dataset", config.dataset), ("target", config.target)):
            if role in roles:
                readers.setdefault(
                    (role, data.name), partial(registry.read_split, data, data.split)
                )
        if "pool" in roles:
            readers.setdefault(("pool", config.pool.name), partial(registry.read_pool, config.pool))
    return readers
