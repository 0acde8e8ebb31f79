"""The W&B folders of a run on disk, and which of them the server needs next."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ptl_sweep.tracking.server import Standing
from ptl_sweep.tracking.trimming import Span, span_of

EMPTY_LOG = 7  # bytes of a log that was killed before its first flush


@dataclass(frozen=True, slots=True)
class Segment:
    """One W&B folder of a run; a resumed run has several."""

    path: Path  # of the .wandb file
    span: Span

    @property
    def rank(self) -> tuple[int, str]:
        """More rows are better, then newer is."""
        return self.span.end, self.path.parent.name.removeprefix("offline-")

    @property
    def is_offline(self) -> bool:
        """Whether nothing of it was sent when it was written."""
        return self.path.parent.name.startswith("offline-")

    @property
    def marker(self) -> Path:
        """W&B's file that says that the log was synced."""
        return self.path.with_name(f"{self.path.name}.synced")


def find_segments(root: Path, run_id: str) -> tuple[list[Segment], list[str]]:
    """The readable segments of a run below ``root/wandb``, and a line for each other folder."""
    pattern = re.compile(rf"(offline-)?run-\d{{8}}_\d{{6}}-{re.escape(run_id)}")
    segments, unreadable = [], []
    for folder in sorted((root / "wandb").glob(f"*run-*-{run_id}")):
        if not pattern.fullmatch(folder.name):
            continue
        path = folder / f"run-{run_id}.wandb"
        try:
            if path.stat().st_size <= EMPTY_LOG:
                unreadable.append(f"{folder.name}: empty, its run was killed before the first row")
                continue
            segments.append(Segment(path, span_of(path)))
        except (OSError, ValueError) as error:
            what = error.strerror if isinstance(error, OSError) else error
            unreadable.append(f"{folder.name}: cannot be read ({what})")
    return segments, unreadable


def next_segment(segments: Sequence[Segment], now: Standing) -> Segment | None:
    """What brings the server the most rows without a gap; then what ends the run."""
    ahead = [s for s in segments if s.span.first <= now.num_rows < s.span.end]
    if ahead:
        return max(ahead, key=lambda s: s.rank)
    if not segments:
        return None
    last = max(segments, key=lambda s: s.rank)
    if last.span.first > now.num_rows or last.span.end > now.num_rows or last.marker.exists():
        return None
    lacks_end = last.is_offline or (last.span.has_exit and not now.has_ended)
    return last if lacks_end else None
