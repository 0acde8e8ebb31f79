"""An order: which folder becomes which W&B run, as one line of JSON."""

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

from ptl_sweep.meta import META, read_meta
from ptl_sweep.store import HISTORY
from ptl_sweep.tracking.history import HistoryReader
from ptl_sweep.tracking.media import read_media
from ptl_sweep.vocabulary import Value

MAX_RUN_ID = 64  # characters that W&B accepts
MAX_TAG = 64  # characters that W&B accepts
MAX_TITLE = 63  # characters of an alert that W&B accepts
JOB_TYPES = ("train", "evaluate", "reduce")


@dataclass(frozen=True, kw_only=True, slots=True)
class FiledFiles:
    """Files of a finished folder that W&B keeps as an artifact."""

    name: str
    kind: str  # model | results
    files: Sequence[str]  # relative to the folder
    metadata: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True, slots=True)
class Alert:
    """What W&B tells the user by mail or Slack, where the account asks for it."""

    title: str  # cut to the 63 characters that W&B accepts
    text: str
    is_warning: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class RunInfo:
    """What a W&B run is called and filed under, and which artifacts tie it to other runs."""

    key: str  # of the stage; the run id is made from it
    name: str  # readable, such as "n20 on s0 -> okutama"
    job_type: str  # train | evaluate | reduce
    notes: str = ""  # Markdown
    config: Mapping[str, object] = field(default_factory=dict)  # real_count, target, settings, ...
    step_metrics: Sequence[str] = ()  # x axes, such as "train/step" for all that is "train/..."
    tags: Sequence[str] = ()  # cut to the 64 characters that W&B accepts; empty ones are left out
    uses: Sequence[str] = ()  # artifacts that it starts from
    makes: FiledFiles | None = None
    alert: Alert | None = None  # once a row is new on the server

    def __post_init__(self) -> None:
        """Reject a job type that no view of the project filters by."""
        if self.job_type not in JOB_TYPES:
            raise ValueError(f"job_type must be one of {', '.join(JOB_TYPES)}: {self.job_type!r}")


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
        """Write the order as one line of JSON, without its end."""
        return json.dumps(asdict(self), default=str)

    @classmethod
    def from_line(cls, line: str) -> "Order":
        """Read an order that `to_line` has written."""
        content = json.loads(line)
        run = content.pop("run")
        run["makes"] = FiledFiles(**run["makes"]) if run["makes"] else None
        run["alert"] = Alert(**run["alert"]) if run["alert"] else None
        for name in ("folder", "root", "work_folder"):
            content[name] = Path(content[name]) if content[name] else None
        return cls(run=RunInfo(**run), **content)

    def full_summary(self) -> dict[str, Value]:
        """Join the summary of a published stage and what the order adds."""
        try:
            meta = read_meta(self.folder / META)
        except (OSError, ValueError):  # not published, a sweep's folder, or damaged: no summary
            meta = {}
        return {**meta.get("summary", {}), **self.summary}

    def num_steps(self) -> int:
        """Count the steps of a run that equals the folder: rows, and one for media after them.

        Raises: ValueError when history.jsonl is damaged.
        """
        num_rows = len(HistoryReader(self.source / HISTORY).new_rows())
        has_rest = any(entry.row >= num_rows for entry in read_media(self.source))
        return num_rows + int(self.is_finished and has_rest)


def run_id(key: str) -> str:
    """Make the run id of a stage: its key where W&B accepts it, else shortened with a digest."""
    clean = re.sub(r"[^A-Za-z0-9_-]", "-", key)
    if clean == key and len(key) <= MAX_RUN_ID:
        return key
    digest = hashlib.sha256(key.encode()).hexdigest()[:12]
    return f"{clean[: MAX_RUN_ID - 13]}-{digest}"


def artifact_name(name: str) -> str:
    """Replace what W&B does not accept in a name."""
    return re.sub(r"[^A-Za-z0-9_.-]", "-", name)
