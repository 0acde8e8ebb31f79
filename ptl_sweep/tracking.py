"""history.jsonl, the record of a stage's metrics, and its mirror in Weights & Biases.

The mirror may fail without failing a stage: it then warns once and stays off.
"""

import contextlib
import hashlib
import json
import logging
import math
import os
import re
import shutil
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from numbers import Integral
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from jaxtyping import Float, UInt8
from numpy import ndarray

from ptl_sweep.config import TrackingConfig

if TYPE_CHECKING:
    from wandb import Run

log = logging.getLogger(__name__)

Value = float | int | str | None
Row = dict[str, Value]
ImageSource = Path | UInt8[ndarray, "h w 3"]

MAX_RUN_ID = 64  # characters that W&B accepts
MAX_IMAGES = 8  # per call of Mirror.log_images
SETTINGS: dict[str, Any] = {
    "init_timeout": 120,
    "x_service_wait": 120,
    "finish_timeout": 60,
    "x_transaction_log_flush_interval": 2,  # at 15, the default, a killed run leaves nothing
    "x_stats_sampling_interval": 30,
    "disable_git": True,
    "disable_code": True,
    "x_save_requirements": False,
    "console": "off",
    "silent": True,
}
JOB_TYPES = ("train", "evaluate", "reduce")


def _plain(value: float | str | None) -> Value:
    """The value as JSON has it: NaN and infinity become null, NumPy scalars become Python's."""
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, Integral):
        return int(value)
    number = float(value)
    return number if math.isfinite(number) else None


def plain_row(row: Mapping[str, Value]) -> Row:
    """The row as history.jsonl and W&B both hold it."""
    return {name: _plain(value) for name, value in row.items()}


class History:
    """Append-only history.jsonl of one stage: one JSON object per line, one writer."""

    def __init__(self, path: Path) -> None:
        """Open `path`, which need not exist; a last line that a killed writer left torn is cut."""
        self.path = path
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.exists():
            content = path.read_bytes()
            whole = content.rfind(b"\n") + 1
            if whole < len(content):
                log.warning("%s: dropped a torn last line of a killed run", path)
                os.truncate(path, whole)

    def append(self, row: Mapping[str, Value]) -> None:
        """Write one row; it is with the operating system when this returns."""
        with self.path.open("a", encoding="utf-8", newline="\n") as file:
            file.write(json.dumps(plain_row(row), allow_nan=False) + "\n")

    def rows(self) -> list[Row]:
        """All rows, oldest first.

        Raises: ValueError that names the line when one is not a JSON object.
        """
        rows: list[Row] = []
        for number, line in enumerate(self._lines(), start=1):
            try:
                row = json.loads(line)
            except ValueError as error:
                raise ValueError(f"{self.path}:{number}: not JSON ({error})") from error
            if not isinstance(row, dict):
                raise ValueError(f"{self.path}:{number}: not a JSON object: {line[:80]!r}")  # noqa: TRY004
            rows.append(row)
        return rows

    def _lines(self) -> list[bytes]:
        return self.path.read_bytes().splitlines(keepends=True) if self.path.exists() else []


@dataclass(frozen=True, kw_only=True, slots=True)
class RunInfo:
    """What a W&B run is called and filed under."""

    key: str  # of the stage; the run id is made from it
    name: str  # readable, such as "n20 on s0 -> okutama"
    job_type: str  # train | evaluate | reduce
    config: Mapping[str, Any] = field(default_factory=dict)  # flat: real_count, target, seed, ...
    step_metric: str | None = None  # x axis of the charts, such as "train/step"

    def __post_init__(self) -> None:
        """Reject a job type that no view of the project filters by."""
        if self.job_type not in JOB_TYPES:
            raise ValueError(f"job_type must be one of {', '.join(JOB_TYPES)}: {self.job_type!r}")


def run_id(key: str) -> str:
    """The run id of a stage: the key itself where W&B accepts it, else shortened with a digest."""
    clean = re.sub(r"[^A-Za-z0-9_-]", "-", key)
    if clean == key and len(key) <= MAX_RUN_ID:
        return key
    digest = hashlib.sha256(key.encode()).hexdigest()[:12]
    return f"{clean[: MAX_RUN_ID - 13]}-{digest}"


class Mirror:
    """One W&B run, in which history row i is step i; made by `open_mirror`, used as a context.

    No method raises: the first failure is logged as a warning and turns the mirror off.
    """

    def __init__(self, run: "Run | None" = None) -> None:
        """Mirror into `run`, or nowhere."""
        self._run = run
        self._num_rows = 0  # rows given so far, sent or not
        self._media: dict[str, Any] = {}  # sent with the next row, so that steps stay rows

    @property
    def is_on(self) -> bool:
        """Whether rows still reach W&B."""
        return self._run is not None

    def log(self, row: Mapping[str, Value]) -> None:
        """Send the next row of the history, unless the server has it from before a restart."""

        def send(run: "Run") -> None:
            if self._num_rows >= run.starting_step:
                run.log(plain_row(row) | self._media)
                self._media = {}
            self._num_rows += 1

        self._guarded("a row", send)

    def log_images(
        self, name: str, images: Sequence[tuple[ImageSource, Float[ndarray, "n 4"]]]
    ) -> None:
        """Show at most 8 images with their ground-truth boxes (xyxy pixels), with the next row."""

        def send(_run: "Run") -> None:
            self._media[name] = [_with_boxes(*image) for image in images[:MAX_IMAGES]]

        self._guarded("images", send)

    def summary(self, values: Mapping[str, Value]) -> None:
        """Set the numbers that the table of runs shows."""
        self._guarded("the summary", lambda run: run.summary.update(plain_row(values)))

    def table(self, name: str, columns: Sequence[str], rows: Iterable[Sequence[Value]]) -> None:
        """Log a table, with the next row; each is an artifact, so two or three a run."""

        def send(_run: "Run") -> None:
            import wandb

            cells = [[_plain(value) for value in row] for row in rows]
            self._media[name] = wandb.Table(list(columns), cells, allow_mixed_types=True)

        self._guarded("a table", send)

    def artifact(self, name: str, kind: str, paths: Sequence[Path]) -> None:
        """File `paths` (never changed afterwards: they are not copied) as one artifact."""

        def send(run: "Run") -> None:
            import wandb

            artifact = wandb.Artifact(re.sub(r"[^A-Za-z0-9_.-]", "-", name), kind)
            for path in paths:
                artifact.add_file(str(path), policy="immutable", skip_cache=True)
            run.log_artifact(artifact)

        self._guarded("an artifact", send)

    def finish(self, *, failed: bool = False) -> None:
        """End the run; media that no row followed make a last step, unless the stage failed."""

        def send(run: "Run") -> None:
            if self._media and not failed:
                run.log(self._media)
            run.finish(exit_code=int(failed))

        self._guarded("the end", send)
        self._run = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.finish(failed=error is not None)

    def _guarded(self, what: str, send: "Callable[[Run], None]") -> None:
        if self._run is None:
            return
        run = self._run
        try:
            send(run)
        except Exception as error:  # the mirror must not fail a stage, whatever W&B raises
            self._run = None
            _end(run)
            log.warning(
                "W&B mirror off: could not send %s (%r); history.jsonl goes on", what, error
            )


def open_mirror(
    config: TrackingConfig,
    *,
    root: Path,
    sweep: str,
    run: RunInfo,
    rows: Iterable[Mapping[str, Value]] = (),
) -> Mirror:
    """The mirror of one stage, with the `rows` of its history sent; `root` takes W&B's files.

    WANDB_MODE in the environment wins over the config, save for `tracking.mode=off`.
    A server that does not answer gives an offline run, for `wandb sync` later.
    """
    mode = os.environ.get("WANDB_MODE", config.mode)
    if config.mode == "off" or mode == "disabled":
        return Mirror()
    for attempt in dict.fromkeys((mode, "offline")):
        try:
            mirror = Mirror(_start_run(config, root=root, sweep=sweep, run=run, mode=attempt))
        except Exception as error:  # the mirror must not fail a stage, whatever W&B raises
            log.warning("W&B mirror: no %s run (%r); history.jsonl goes on", attempt, error)
            _end_service()
        else:
            for row in rows:
                mirror.log(row)
            return mirror
    return Mirror()


def _start_run(config: TrackingConfig, *, root: Path, sweep: str, run: RunInfo, mode: str) -> "Run":
    """Start or resume the run. Offline, earlier segments go: the new one holds every row."""
    import wandb

    root = root.absolute()
    data = root / "data"  # offline artifacts are staged here; W&B does nothing when it is missing
    data.mkdir(parents=True, exist_ok=True)
    os.environ["WANDB_DIR"], os.environ["WANDB_DATA_DIR"] = str(root), str(data)
    identity = run_id(run.key)
    if mode in ("offline", "dryrun"):
        _delete_segments(root, identity)
    started = wandb.init(
        entity=config.entity,
        project=config.project,
        group=sweep,
        job_type=run.job_type,
        id=identity,
        name=run.name,
        config=dict(run.config),
        dir=str(root),
        resume="allow",
        settings={"mode": mode, **SETTINGS},
    )
    if run.step_metric is not None:
        started.define_metric(run.step_metric, hidden=True)
        started.define_metric("*", step_metric=run.step_metric)
    if not started.offline:
        log.info("W&B run %s: %s", run.name, started.url)
    return started


def _end(run: "Run") -> None:
    try:
        run.finish(exit_code=1)
    except Exception:  # W&B's service itself may be what died
        _end_service()


def _end_service() -> None:
    """End W&B's service, dead or stuck in a start that timed out; the next run gets one."""
    with contextlib.suppress(Exception):
        import wandb

        wandb.teardown()


def _delete_segments(root: Path, identity: str) -> None:
    """Remove the offline folders of earlier attempts at this run, and of no other."""
    pattern = re.compile(rf"offline-run-\d{{8}}_\d{{6}}-{identity}")
    for folder in (root / "wandb").glob("offline-run-*"):
        if pattern.fullmatch(folder.name):
            shutil.rmtree(folder)


def _with_boxes(image: ImageSource, boxes: Float[ndarray, "n 4"]) -> Any:
    import wandb

    corners = [
        dict(zip(("minX", "minY", "maxX", "maxY"), box, strict=True)) for box in boxes.tolist()
    ]
    data = [{"position": position, "domain": "pixel", "class_id": 0} for position in corners]
    layer = {"ground_truth": {"box_data": data, "class_labels": {0: "person"}}}
    return wandb.Image(str(image) if isinstance(image, Path) else image, boxes=layer)
