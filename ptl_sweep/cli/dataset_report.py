"""Shows what the command `check` has read of the data sets: tables, warnings, JSON."""

import math
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np

from ptl_sweep.datasets.anchors import InputView, SeenBoxes, input_size, is_tiled
from ptl_sweep.datasets.images import decode_all
from ptl_sweep.datasets.records import ImageSet, PixelSource
from ptl_sweep.datasets.summary import SetSummary
from ptl_sweep.terminal import WIDTH, text_table, wrap

CONTENT = (
    "set", "split", "images", "with", "persons", "per image", "scenes", "dropped", "fingerprint",
)  # fmt: skip
SIZES = ("set", "image px", "input px", "height px", "height at input", "anchors match")
LEGEND = (
    "with: images with a person; height: quartiles over the persons, in the image as stored and at "
    "the network's input; anchors match: persons that an anchor overlaps with IoU 0.5 or more, - "
    "for a detector without anchors"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class DatasetCheck:
    """One data set of a grid: its summary, or why it cannot be used."""

    role: str
    name: str
    source: str  # licence and citation
    view: InputView
    image_set: ImageSet | None = None
    seen: SeenBoxes | None = None
    summary: SetSummary | None = None
    sheet: Path | None = None
    error: str | None = None
    warnings: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()  # odd only beside a default that nobody chose

    @property
    def title(self) -> str:
        """`target okutama`."""
        return f"{self.role} {self.name}"


@dataclass(slots=True)
class Decoding:
    """Decodes every picture once, over all sets, and says how fast."""

    known: set[PixelSource] = field(default_factory=set)
    num_pictures: int = 0
    seconds: float = 0.0

    def decode(self, image_set: ImageSet) -> None:
        """Decode what no other set has. Raises: DataError for what a training could not read."""
        started = time.monotonic()
        self.num_pictures += decode_all(image_set.records, self.known)
        self.seconds += time.monotonic() - started

    def text(self) -> str:
        """Say how many pictures took how long."""
        rate = self.num_pictures / max(self.seconds, 1e-3)
        return (
            f"decoded {self.num_pictures} pictures in {self.seconds:.1f} s ({rate:.0f} a second); "
            "--fast reads their headers alone"
        )


@dataclass(frozen=True, slots=True)
class CheckResult:
    """All data sets of a grid."""

    sets: list[DatasetCheck]
    decoding: Decoding | None = None

    def exit_code(self, *, strict: bool) -> int:
        """Return 0, or 1 when a set cannot be used (or, with `strict`, has warnings)."""
        return int(any(c.error is not None or (strict and c.warnings) for c in self.sets))

    def as_json(self) -> list[dict[str, object]]:
        """List the sets for a script; what is unknown is null."""
        return [
            {
                "role": c.role,
                "name": c.name,
                "source": c.source,
                "error": c.error,
                "sheet": None if c.sheet is None else str(c.sheet),
                **(_summary_json(c.summary, c.view) if c.summary else {}),
                "warnings": list(c.warnings),
                "notes": list(c.notes),
            }
            for c in self.sets
        ]

    def text(self) -> str:
        """Show two tables, then drops, warnings and errors in full."""
        good = [(c, c.summary) for c in self.sets if c.summary is not None]
        parts = []
        if good:
            parts += [_fitted(CONTENT, [_content_row(c, s) for c, s in good]), ""]
            parts += [_fitted(SIZES, [_size_row(c, s) for c, s in good]), "", wrap(LEGEND)]
        parts += [wrap(f"source  {c.title}: {c.source}") for c, _ in good if c.source]
        for checked in self.sets:
            if checked.summary is not None:
                drops = checked.summary.drops
                parts += [wrap(f"dropped {checked.title}: {n} {why}") for why, n in drops.items()]
                parts += [_wrapped(f"warning {checked.title}: {w}") for w in checked.warnings]
                parts += [_wrapped(f"note    {checked.title}: {n}") for n in checked.notes]
                parts += [f"sheet   {checked.sheet}"] if checked.sheet else []
            if checked.error is not None:
                parts.append(f"ERROR   {checked.title}: {checked.error}")
        if self.decoding is not None and self.decoding.num_pictures:
            parts.append(self.decoding.text())
        return "\n".join(parts)


def _summary_json(summary: SetSummary, view: InputView) -> dict[str, object]:
    size = summary.image_sizes[0]
    return {
        **{key: _plain(value) for key, value in asdict(summary).items()},
        "persons_per_image": summary.persons_per_image,
        "input_size": input_size(*size, view),
        "is_tiled": is_tiled(*size, view.tiling.size),
    }


def _plain(value: object) -> object:
    """Give a value without arrays and NaN, which JSON lacks."""
    if isinstance(value, np.ndarray):
        return [_plain(item) for item in value.tolist()]
    return None if isinstance(value, float) and math.isnan(value) else value


def _wrapped(text: str) -> str:
    return "\n".join(wrap(line) for line in text.split("\n"))


def _fitted(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Fit a table into WIDTH columns: the names in front are cut as far as needed."""
    too_wide = max(len(line) for line in text_table(header, rows).splitlines()) - WIDTH
    limit = max(len(row[0]) for row in rows) - too_wide
    if too_wide <= 0:
        return text_table(header, rows)
    cut = [[n if len(n) <= limit else f"{n[: limit - 1]}~", *rest] for n, *rest in rows]
    return text_table(header, cut)


def _content_row(checked: DatasetCheck, summary: SetSummary) -> list[str]:
    return [
        checked.title,
        summary.split,
        str(summary.num_images),
        str(summary.num_images_with_persons),
        str(summary.num_persons),
        f"{summary.persons_per_image:.1f}",
        str(summary.num_scenes),
        str(sum(summary.drops.values())),
        summary.fingerprint[:8],
    ]


def _size_row(checked: DatasetCheck, summary: SetSummary) -> list[str]:
    size, *others = summary.image_sizes
    width, height = input_size(*size, checked.view)
    share = summary.matched_share
    return [
        checked.title,
        f"{size[0]}x{size[1]}" + (f" +{len(others)}" if others else ""),
        f"{width}x{height}" + (" tiles" if is_tiled(*size, checked.view.tiling.size) else ""),
        _joined(summary.height_quartiles),
        _joined(summary.input_height_quartiles),
        "-" if math.isnan(share) else f"{percent(share)} %",
    ]


def _joined(quartiles: np.ndarray) -> str:
    return "-" if np.isnan(quartiles).any() else "/".join(f"{v:.0f}" for v in quartiles)


def percent(share: float) -> int:
    """Round down, so that 79.9 % is not shown as the 80 % that it misses."""
    return math.floor(100 * share + 1e-9)
