"""The W&B runs of a sweep, one per stage and the reducer's, made equal to what is on disk."""

import hashlib
import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from ptl_sweep.config.schema import TrackingConfig
from ptl_sweep.meta import META
from ptl_sweep.pipeline.plan import Plan
from ptl_sweep.pipeline.wandb_runs import reduce_order, stage_order
from ptl_sweep.store import HISTORY, StoreError, write_atomically
from ptl_sweep.terminal import progress_bar
from ptl_sweep.tracking import Alert, History, Order, Value, mode_of, unreachable
from ptl_sweep.tracking.companion import carry_out
from ptl_sweep.tracking.credentials import has_key
from ptl_sweep.tracking.media import MEDIA
from ptl_sweep.tracking.offline import run_folders, save_space
from ptl_sweep.tracking.server import Server, ServerError, end_service
from ptl_sweep.tracking.syncing import FAILED, LocalRun, SyncOutcome, sync_runs, unsent
from ptl_sweep.vocabulary import DISTANCES, ApT2t

log = logging.getLogger(__name__)

REPORT, ITERATIONS = "report.html", "iterations.parquet"
ALERTED = ("grid/AP50_", "grid/effect_", "grid/verdict_")  # numbers of the alert
WRITTEN = "written"  # folder of tracking/: by run id, what its offline run was made of


def project_sweep(plan: Plan, tracking: TrackingConfig) -> None:
    """Make the sweep's runs equal to its folders, online or as offline files; never raises."""
    mode = mode_of(tracking)
    if mode is None:
        return
    try:
        runs = tracked_runs(plan, tracking, mode)
        if mode == "offline":
            write_offline(runs)
        else:
            _bring_up(plan, tracking, runs)
    except Exception as error:  # what W&B shows must not fail a reduction
        log.warning("W&B lacks runs of this sweep (%s); `sync` brings them up later", error)


def tracked_runs(plan: Plan, tracking: TrackingConfig, mode: str) -> list[LocalRun]:
    """A run for each stage, whether it has begun or not, and the reducer's once there is one.

    Raises: StoreError for a damaged history.
    """
    numbers = evaluation_numbers(plan.folder, plan.settings.score_thresholds)
    runs = []
    for key, stage in plan.stages.items():
        order = replace(stage_order(plan, stage, tracking, mode), summary=numbers.get(key, {}))
        is_running = plan.store.is_running(key)
        runs.append(_run(order, depth=_depth(plan, key), is_running=is_running))
    reduction = reduce_order(plan, result_files(plan.folder), tracking, mode)
    if (plan.folder / HISTORY).is_file():
        reducer = _run(reduction, depth=len(plan.stages))
        runs.append(replace(reducer, order=_with_alert(plan, reduction)))
    return runs


def _with_alert(plan: Plan, order: Order) -> Order:
    """The order that also tells the user how the sweep ended; none while cells are missing."""
    rows = History(plan.folder / HISTORY).rows()
    if not rows or rows[-1].get("grid/cells_missing") != 0:
        return order
    last = rows[-1]
    failed, num_cells = last["grid/cells_failed"], len(plan.cells)
    outcome = f"{failed} of {num_cells} cells failed" if failed else f"all {num_cells} cells done"
    found = [
        f"{name.removeprefix('grid/')}: {f'{value:.3f}' if isinstance(value, float) else value}"
        for name, value in last.items()
        if name.startswith(ALERTED) and value is not None
    ]
    if failed:
        found.insert(0, f"`python -m ptl_sweep status {plan.name}` says why, and what mends it.")
    alert = Alert(title=f"{plan.name}: {outcome}", text="\n".join(found), is_warning=bool(failed))
    return replace(order, run=replace(order.run, alert=alert))


def _run(order: Order, *, depth: int, is_running: bool = False) -> LocalRun:
    try:
        num_steps = order.num_steps()
    except ValueError as error:
        way = f"move {order.source} away" if order.work_folder else f"delete {HISTORY} there"
        raise StoreError(f"{error}; {way} and run the sweep again") from error
    return LocalRun(order=order, num_steps=num_steps, depth=depth, is_running=is_running)


def _depth(plan: Plan, key: str) -> int:
    """Stages before this one in its chain."""
    return max((1 + _depth(plan, parent) for parent in plan.stages[key].parents), default=0)


def result_files(folder: Path) -> list[str]:
    """The files that the reducer's run keeps as an artifact."""
    tables = sorted(path.name for path in folder.glob("*.csv"))
    return [*tables, *(name for name in (REPORT,) if (folder / name).is_file())]


def evaluation_numbers(folder: Path, thresholds: Sequence[float]) -> dict[str, dict[str, Value]]:
    """AP_t2t and distances by key of the evaluate stage, as the reducer measured them.

    Those that hang on no other detector of the sweep; empty before the first reduction.
    """
    import polars as pl

    path = folder / ITERATIONS
    if not path.is_file():
        return {}
    shown = (
        *(ApT2t(score).name for score in thresholds),
        *(one._replace(variant="shrunk").name for one in DISTANCES),
        "t2t_auroc",
    )
    table = pl.read_parquet(path).filter(status="ok").select("evaluate_key", *shown)
    return {row.pop("evaluate_key"): row for row in table.to_dicts()}


def write_offline(runs: Sequence[LocalRun]) -> None:
    """Write W&B's offline files of the runs that have none of the present state, in one process.

    `wandb leet` shows them and `wandb sync` sends them; `sync` does not need them.
    """
    todo = [run for run in runs if not (run.is_empty or run.is_running or _is_written(run.order))]
    if not todo:
        return
    with _bar("writing W&B runs", len(todo)) as advance:
        problems = carry_out([run.order for run in todo], on_done=advance)
    save_space(run.order for run in todo if problems[run.id] is None)
    for run in todo:
        if problems[run.id] is None:
            _mark(run.order).parent.mkdir(exist_ok=True)
            write_atomically(_mark(run.order), _digest(run.order).encode())
        else:
            log.warning("W&B: no offline run of %s (%s)", run.order.run.name, problems[run.id])


def _is_written(order: Order) -> bool:
    """Whether the offline run on disk was made of the same files."""
    if not run_folders(order.root, order.run_id):
        return False
    try:
        return _mark(order).read_text() == _digest(order)
    except OSError:
        return False


def _mark(order: Order) -> Path:
    return order.root / WRITTEN / order.run_id


def _digest(order: Order) -> str:
    """Of all that the run is made of: meta.json names the files of a stage by their digests."""
    found = hashlib.sha256(repr(sorted(order.summary.items())).encode())
    for name in (HISTORY, META, MEDIA):
        path = order.source / name
        found.update(path.read_bytes() if path.is_file() else b"-")
    return found.hexdigest()


def _bring_up(plan: Plan, tracking: TrackingConfig, runs: Sequence[LocalRun]) -> None:
    """As `sync`, but a server that is known to be away is not asked again."""
    root = plan.root / "tracking"
    if unreachable.is_known(root):
        return
    if not has_key():
        log.warning("W&B has no key: set WANDB_API_KEY, then `sync` brings up this sweep's runs")
        return
    failed = [o for o in brought_up(tracking, runs) if o.state == FAILED]
    for outcome in failed:
        log.warning("W&B: %s is not there (%s); `sync` tries again", outcome.name, outcome.why)


def brought_up(tracking: TrackingConfig, runs: Sequence[LocalRun]) -> list[SyncOutcome]:
    """One outcome for each run that has anything on disk, in the order of the plan."""
    try:
        server = Server(project=tracking.project, entity=tracking.entity)
    except ServerError as error:
        return [unsent(run, str(error)) for run in runs if not run.is_empty]
    try:
        placed = [replace(run, order=replace(run.order, entity=server.entity)) for run in runs]
        with _bar("syncing", len(runs)) as advance:
            return sync_runs(placed, server, advance)
    finally:
        end_service()


@contextmanager
def _bar(title: str, total: int) -> Iterator[Callable[[], None]]:
    """A progress bar on standard error; yields what advances it."""
    with progress_bar() as bar:
        task = bar.add_task(title, total=total)
        yield lambda: bar.advance(task)
