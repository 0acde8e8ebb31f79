"""An order: which folder becomes which W&B run, as one line of JSON."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from ptl_sweep.tracking.history import HistoryReader, Value
from ptl_sweep.tracking.media import read_media
from ptl_sweep.tracking.run_info import FiledFiles, RunInfo, run_id

HISTORY, META = "history.jsonl", "meta.json"  # as in `store`


@dataclass(frozen=True, kw_only=True, slots=True)
class Order:
    """Make a W&B run equal to a folder."""

    run: RunInfo
    sweep: str  # the run's group
    folder: Path  # where the stage is published, or the folder of a reduced sweep
    work_folder: Path | None = None  # where the stage is made until then
    root: Path  # outputs/tracking, for W&B's own files
    mode: str  # online | offline
    project: str
    entity: str | None = None
    summary: Mapping[str, Value] = field(default_factory=dict)  # beside that of meta.json
    is_live: bool = False  # the folder is still being written

    @property
    def run_id(self) -> str:
        """W&B's name of the run."""
        return run_id(self.run.key)

    @property
    def is_finished(self) -> bool:
        """Whether the folder will not change any more."""
        return self.folder.is_dir()

    @property
    def source(self) -> Path:
        """Where the files are now."""
        return self.folder if self.work_folder is None or self.is_finished else self.work_folder

    def to_line(self) -> str:
        """One line of JSON, without its end."""
        return json.dumps(asdict(self), default=str)

    @classmethod
    def from_line(cls, line: str) -> "Order":
        """The order that `to_line` has written."""
        content = json.loads(line)
        run: dict[str, Any] = content.pop("run")
        makes = run.pop("makes")
        run["makes"] = FiledFiles(**makes) if makes else None
        for name in ("folder", "root", "work_folder"):
            content[name] = Path(content[name]) if content[name] else None
        return cls(run=RunInfo(**run), **content)

    def full_summary(self) -> dict[str, Value]:
        """The summary of a published stage and what the order adds."""
        try:
            meta = json.loads((self.folder / META).read_text(encoding="utf-8"))
        except (OSError, ValueError):  # not published, a sweep's folder, or damaged: no summary
            meta = {}
        return {**meta.get("summary", {}), **self.summary}

    def num_steps(self) -> int:
        """Steps that the run has when it equals the folder: rows, and one for media after them.

        Raises: ValueError when history.jsonl is damaged.
        """
        num_rows = len(HistoryReader(self.source / HISTORY).new_rows())
        has_rest = any(entry.row >= num_rows for entry in read_media(self.source))
        return num_rows + int(self.is_finished and has_rest)
