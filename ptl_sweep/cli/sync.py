"""`sync`: what a sweep's W&B runs lack on the server is brought there from the store, and counted.

Exit code 1 when a run that can be read is not on the server.
"""

import fcntl
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path

from rich.markup import escape
from rich.table import Table

from ptl_sweep.cli.arguments import FAILED, OK, command_parser, parse_sweep
from ptl_sweep.config.schema import Config, ConfigError
from ptl_sweep.reduce.tracked_runs import brought_up, tracked_runs
from ptl_sweep.terminal import output, print_json, say
from ptl_sweep.tracking import mode_of, syncing
from ptl_sweep.tracking.credentials import base_url, has_key, key_problem
from ptl_sweep.tracking.syncing import SyncOutcome

NO_KEY = (
    "no W&B key for {url}: set WANDB_API_KEY, or put it into netrc with `wandb login`; "
    "no file of this project takes it"
)
BAD_KEY = "\n  fix: copy it anew from your settings at {url}, or tracking=offline and `sync` later"
STAYS_OFFLINE = "W&B     no key, so runs stay offline; once WANDB_API_KEY is set, `sync` sends them"


def sync_command(arguments: list[str]) -> int:
    """Bring a sweep's W&B runs to the server and count their rows there; safe to repeat."""
    parser = command_parser(sync_command)
    parser.add_argument("--project", help="default: tracking.project of the sweep")
    parser.add_argument("--entity", help="default: tracking.entity, else that of the key")
    plan, options = parse_sweep(parser, arguments)
    tracking = plan.settings.tracking
    if not plan.stages:
        raise ConfigError(f"{plan.name} has no stages: nothing to sync")
    tracking = replace(
        tracking,
        mode="online",
        project=options.project or tracking.project,
        entity=options.entity or tracking.entity,
    )
    runs = tracked_runs(plan, tracking, "online")
    require_key()
    with alone(plan.root / "tracking"):
        outcomes = brought_up(tracking, runs)
    if options.json:
        where = {"sweep": plan.name, "server": base_url(), "project": tracking.project}
        print_json({**where, "runs": [asdict(outcome) for outcome in outcomes]})
    else:
        show(outcomes)
    return FAILED if any(o.state == syncing.FAILED for o in outcomes) else OK


def require_key(way_out: str = "") -> None:
    """Raise ConfigError, which ends with `way_out`, unless there is a key that W&B may take."""
    if not has_key():
        raise ConfigError(NO_KEY.format(url=base_url()) + way_out)
    problem = key_problem()
    if problem is not None:
        raise ConfigError(problem + BAD_KEY.format(url=base_url()))


def settle_mode(cells: Sequence[Config]) -> None:
    """Keep a sweep that is to be online without a key offline, and say so.

    Raises: ConfigError for a key that W&B would refuse for its form.
    """
    if mode_of(cells[0].tracking) != "online":
        return
    if has_key():
        require_key()
        return
    if "WANDB_MODE" in os.environ:  # it outranks the configuration, here and in workers
        os.environ["WANDB_MODE"] = "offline"
    for config in cells:
        config.tracking = replace(config.tracking, mode="offline")
    say(STAYS_OFFLINE)


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


def show(outcomes: Sequence[SyncOutcome]) -> None:
    """Print a row for each run, and the sum."""
    table = Table(box=None, pad_edge=False)
    for column in ("run", "rows here", "before", "after", "state"):
        table.add_column(column, justify="left" if column in ("run", "state") else "right")
    for o in outcomes:
        state = f"{o.state}: {o.why}" if o.why else o.state
        table.add_row(o.name, str(o.rows), _count(o.before), _count(o.after), escape(state))
    output().print(table)
    states = [o.state for o in outcomes]
    counts = [f"{states.count(state)} {state}" for state in syncing.STATES if state in states]
    say(f"runs    {', '.join(counts) or 'none has anything on disk'}")


def _count(num_rows: int | None) -> str:
    return "-" if num_rows is None else str(num_rows)
