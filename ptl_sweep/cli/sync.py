"""`sync`: what a sweep's W&B runs lack on the server is brought there, and counted.

Offline runs come up, and so do rows that the server refused of online ones. Exit code 1 when a run
that can be read is not on the server.
"""

import fcntl
import json
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path

from rich.markup import escape
from rich.table import Table

from ptl_sweep.cli.arguments import FAILED, OK, parse_sweep_verb, verb_parser
from ptl_sweep.config.schema import Config, ConfigError
from ptl_sweep.pipeline.plan import Plan, config_of
from ptl_sweep.reduce.leftover_runs import record_leftovers
from ptl_sweep.stages.wandb_runs import reduce_run, stage_run
from ptl_sweep.store import HISTORY, StoreError
from ptl_sweep.terminal import output, print_json, progress_bar, wrap
from ptl_sweep.tracking import Row, Value, syncing, unreachable
from ptl_sweep.tracking.server import Server, ServerError, base_url, has_key
from ptl_sweep.tracking.syncing import LocalRun, Outcome, Uploader

AT_ONCE = 4  # runs that upload at the same time; ours
NO_KEY = (
    "no W&B key for {url}: set WANDB_API_KEY, or put it into netrc with `wandb login`; "
    "no file of this project takes it"
)


def sync_verb(arguments: list[str]) -> int:
    """Bring a sweep's W&B runs to the server and count their rows there; safe to repeat."""
    parser = verb_parser("sync", sync_verb.__doc__ or "")
    parser.add_argument("--project", help="default: tracking.project of the sweep")
    parser.add_argument("--entity", help="default: tracking.entity, else that of the key")
    plan, options = parse_sweep_verb(parser, arguments)
    config = config_of(plan, 0)
    runs = local_runs(plan)
    require_something(plan, config, runs)
    if not has_key():
        raise ConfigError(NO_KEY.format(url=base_url()))
    project = options.project or config.tracking.project
    entity = options.entity or config.tracking.entity
    root = plan.root / "tracking"
    with alone(root):
        record_leftovers(root)  # of a sweep that was not reduced yet
        outcomes = sync_runs(plan, runs, project=project, entity=entity)
    if options.json:
        found = [asdict(outcome) for outcome in outcomes]
        print_json({"sweep": plan.name, "server": base_url(), "project": project, "runs": found})
    else:
        show(outcomes)
    return FAILED if any(o.state == syncing.FAILED for o in outcomes) else OK


@contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Keep a second `sync` off, which would send the same rows. Raises: ConfigError."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "sync.lock").open("a") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise ConfigError(f"another sync of {folder} is at work; wait for it") from error
        yield


def require_something(plan: Plan, config: Config, runs: Sequence[LocalRun]) -> None:
    """A sweep that never was to be tracked is a mistake, not work. Raises: ConfigError."""
    folder = plan.root / "tracking" / "wandb"
    if config.tracking.mode == "off" and not any(folder.glob("*run-*")):
        raise ConfigError(
            f"{plan.name} was run with tracking=off: nothing to sync\n"
            "run it with tracking=offline or tracking=online"
        )
    if not runs:
        raise ConfigError(f"{plan.name} has no stages: nothing to sync")


def local_runs(plan: Plan) -> list[LocalRun]:
    """A run for each stage, whether it has begun or not, and the reducer's."""
    runs = [
        LocalRun(
            info=stage_run(plan, stage, config_of(plan, plan.stage_config[key])),
            rows=_rows(plan, key),
            summary=_summary(plan, key),
            is_running=plan.store.is_running(key),
        )
        for key, stage in plan.stages.items()
    ]
    reductions = plan.folder / HISTORY
    rows = _rows_of(reductions, f"delete {reductions}")
    return [*runs, LocalRun(info=reduce_run(plan), rows=rows)]


def _rows(plan: Plan, key: str) -> list[Row]:
    """Of the published stage or the one in work; a line that a kill tore is none.

    Raises: StoreError when another line is not JSON.
    """
    folder = plan.store.path(key) if plan.store.is_published(key) else plan.store.work_folder(key)
    return _rows_of(folder / HISTORY, f"move {folder} away")


def _rows_of(path: Path, mend: str) -> list[Row]:
    try:
        lines = path.read_bytes().splitlines(keepends=True)
    except FileNotFoundError:
        return []
    return [_row(path, i, line, mend) for i, line in enumerate(lines, 1) if line.endswith(b"\n")]


def _row(path: Path, number: int, line: bytes, mend: str) -> Row:
    try:
        return dict(json.loads(line))
    except (ValueError, TypeError) as error:
        what = f"{path}:{number}: not JSON ({error}); {mend} and run the sweep again"
        raise StoreError(what) from error


def _summary(plan: Plan, key: str) -> dict[str, Value]:
    if not plan.store.is_published(key):
        return {}
    try:
        return dict(plan.store.meta(key).get("summary", {}))
    except StoreError:
        return {}


def sync_runs(
    plan: Plan, runs: Sequence[LocalRun], *, project: str, entity: str | None
) -> list[Outcome]:
    """One outcome for each run that has anything on disk, in the order of the plan."""
    root = plan.root / "tracking"
    try:
        server = Server(project=project, entity=entity)
    except ServerError as error:
        return [_unsent(run, str(error)) for run in runs if run.rows or _has_files(root, run)]
    try:
        unreachable.forget(root)  # the next stages need not wait to ask it again
        uploader = Uploader(root=root, sweep=plan.name, server=server)
        found = dict(_at_once(uploader.sync, runs))
    finally:
        server.close()
    return [outcome for run in runs if (outcome := found[run.id]) is not None]


def _at_once(
    sync: Callable[[LocalRun], Outcome | None], runs: Sequence[LocalRun]
) -> Iterator[tuple[str, Outcome | None]]:
    """Run id and outcome, as they end, with a progress bar on standard error."""
    with progress_bar() as bar, ThreadPoolExecutor(AT_ONCE) as pool:
        task = bar.add_task("syncing", total=len(runs))
        jobs = {pool.submit(sync, run): run.id for run in runs}
        try:
            for job in as_completed(jobs):
                bar.advance(task)
                yield jobs[job], job.result()
        finally:  # when interrupted, those at work end and no other begins
            pool.shutdown(cancel_futures=True)


def _has_files(root: Path, run: LocalRun) -> bool:
    return any((root / "wandb").glob(f"*run-*-{run.id}"))


def _unsent(run: LocalRun, why: str) -> Outcome:
    return Outcome(
        run=run.id, name=run.info.name, rows=len(run.rows), state=syncing.FAILED, why=why
    )


def show(outcomes: Sequence[Outcome]) -> None:
    """The table, a line for each folder that was passed over, and the sum."""
    console = output()
    table = Table(box=None, pad_edge=False)
    for column in ("run", "rows here", "before", "after", "state"):
        table.add_column(column, justify="left" if column in ("run", "state") else "right")
    for o in outcomes:
        state = f"{o.state}: {o.why}" if o.why else o.state
        table.add_row(o.name, str(o.rows), _count(o.before), _count(o.after), escape(state))
    console.print(table)
    for line in (line for o in outcomes for line in o.unreadable):
        console.print(wrap(f"skipped {line}"), markup=False, soft_wrap=True)
    states = [o.state for o in outcomes]
    counts = [f"{states.count(state)} {state}" for state in syncing.STATES if state in states]
    console.print(f"runs    {', '.join(counts) or 'none has anything on disk'}", markup=False)


def _count(num_rows: int | None) -> str:
    return "-" if num_rows is None else str(num_rows)
