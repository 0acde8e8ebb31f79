"""Commands for a sweep that runs elsewhere: follow it to its end, end it, read its logs."""

import contextlib
import os
import sys
import time
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from ptl_sweep.cli.arguments import (
    FAILED,
    OK,
    cells_of,
    cells_shown,
    command_parser,
    find_sweep,
    parse_sweep,
    whole_number,
)
from ptl_sweep.cli.waiting import Waiting
from ptl_sweep.config.schema import ConfigError
from ptl_sweep.launchers.slurm import commands
from ptl_sweep.launchers.slurm.journal import REDUCE, JobBook, slurm_log
from ptl_sweep.launchers.slurm.queue import own_ids, view_jobs
from ptl_sweep.pipeline import status
from ptl_sweep.pipeline.graph import Task
from ptl_sweep.pipeline.plan import Plan
from ptl_sweep.pipeline.status import StageState
from ptl_sweep.terminal import answer, close_match, output, print_json, say

FOLLOW_S = 1.0  # --follow looks for new lines this often


def wait_command(arguments: list[str]) -> int:
    """Follow a sweep until its reducer has run; exit code 0 when every cell has a result."""
    parser = command_parser(wait_command)
    plan, options = parse_sweep(parser, arguments)
    outcome = Waiting(plan, output(), is_quiet=options.json).run()
    content = {"sweep": plan.name, "ok": outcome.is_ok, "text": outcome.text}
    answer(content, outcome.text, as_json=options.json)
    return OK if outcome.is_ok else FAILED


def cancel_command(arguments: list[str]) -> int:
    """End the SLURM jobs of one sweep, and of no other; what is published stays."""
    parser = command_parser(cancel_command)
    plan, options = parse_sweep(parser, arguments)
    ids = own_ids(plan)
    own = [job for id_, job in commands.read_queue(ids).items() if id_ in ids]
    JobBook(plan.folder).add_cancelled(job.id for job in own)
    commands.cancel(sorted({job.id.partition("_")[0] for job in own}, key=int))
    running = sum(not job.is_pending for job in own)
    text = (
        f"cancelled {len(own)} jobs of {plan.name}, {running} of them running; what is published "
        "and the checkpoints are kept: the same command goes on from there"
        if own
        else f"{plan.name} has no job in the queue"
    )
    content = {"sweep": plan.name, "cancelled": [job.id for job in own]}
    answer(content, text, as_json=options.json)
    return OK


def logs_command(arguments: list[str]) -> int:
    """Show the log of a stage, a cell or a task: its last lines, or as it grows."""
    parser = command_parser(logs_command)
    parser.add_argument(
        "what",
        nargs="*",
        help="key or name of a stage or task, `reduce`, or a cell as real_count=20 synthetic=on "
        "target=field; default: what failed first, else what runs",
    )
    parser.add_argument("--sweep", help="name or folder; default: the newest")
    parser.add_argument(
        "--lines", type=whole_number, default=40, help="how many; 0: all (default 40)"
    )
    parser.add_argument("--follow", action="store_true", help="go on until Ctrl-C")
    options = parser.parse_args([a for a in arguments if not a.startswith("sweep.root=")])
    root = [a for a in arguments if a.startswith("sweep.root=")]
    plan = find_sweep(options.sweep, root)
    task = find_task(plan, options.what)
    paths = log_paths(plan, task)
    if options.json:
        print_json({"task": task.name, "logs": [str(path) for path in paths]})
        return OK
    for path in paths:
        say("\n".join([f"==> {path}", *last_lines(path, options.lines)]))
    if options.follow:
        _follow(paths[0])
    return OK


def find_task(plan: Plan, words: Sequence[str]) -> Task:
    """Find the task whose log the words ask for. Raises: ConfigError."""
    if not words:
        states = status.stage_states(plan, view_jobs(plan))
        key = _active(states, states)
        return plan.task_of(key) if key else REDUCE
    if list(words) == [REDUCE.name]:
        return REDUCE
    if all("=" in word for word in words):
        return _task_of_cell(plan, words)
    name = " ".join(words)
    found = {
        task.name: task
        for task in plan.tasks
        if task.name.startswith(name) or any(key.startswith(name) for key in task.stages)
    }
    if len(found) == 1:
        return next(iter(found.values()))
    names = [*plan.stages, *(task.name for task in plan.tasks)]
    close = sorted(found) or list(filter(None, [close_match(name, names)]))
    hint = f"did you mean {', '.join(close[:5])}?" if close else "`status --json` lists the keys"
    raise ConfigError(f"{name}: {len(found) or 'no'} tasks of {plan.name} are called that; {hint}")


def _task_of_cell(plan: Plan, words: Sequence[str]) -> Task:
    """Find what failed in the cell that the words describe, else what runs, else what ran last."""
    cells = cells_of(plan, words)
    if len(cells) != 1:
        shown = cells_shown(cells or plan.cells)
        raise ConfigError(f"{len(cells)} cells are {' '.join(words)}; for example: {shown}")
    states = status.stage_states(plan, view_jobs(plan))
    line = _ancestors(plan, cells[0].readings[-1].evaluate)
    done = [key for key in line if states[key] is StageState.PUBLISHED]
    return plan.task_of(_active(line, states) or (done[-1] if done else line[0]))


def _ancestors(plan: Plan, key: str) -> list[str]:
    """List a stage and everything that it needs, in the order in which they run."""
    line = [key]
    while plan.stages[line[0]].parents:
        line.insert(0, plan.stages[line[0]].parents[0])
    return line


def _active(keys: Iterable[str], states: Mapping[str, StageState]) -> str | None:
    """Find the first stage that failed, else the first that runs."""
    order = (StageState.FAILED, StageState.RUNNING)
    found = [key for key in keys if states[key] in order]
    return min(found, key=lambda key: order.index(states[key]), default=None)


def log_paths(plan: Plan, task: Task) -> list[Path]:
    """Find the task's own log, and what SLURM itself said about its last job.

    Raises: ConfigError when there is neither.
    """
    jobs = [job for job in JobBook(plan.folder).jobs() if job.task == task.name]
    paths = [plan.log_path(task)]
    if jobs:
        paths.append(slurm_log(plan.folder, jobs[-1].id))
    there = [path for path in paths if path.is_file()]
    if not there:
        raise ConfigError(f"{task.name} has not begun: no {paths[0]}")
    return there


def last_lines(path: Path, count: int) -> list[str]:
    """Read the last lines of a log; all of them for 0."""
    with path.open(errors="replace") as file:
        kept = deque(file, maxlen=min(count, sys.maxsize) or None)
    return [line.rstrip("\n") for line in kept]


def _follow(path: Path) -> None:
    """Print what is added to a log until Ctrl-C."""
    console = output()
    with path.open(errors="replace") as file:
        file.seek(0, os.SEEK_END)
        with contextlib.suppress(KeyboardInterrupt):
            while True:
                text = file.read()
                if text:
                    console.print(text, markup=False, soft_wrap=True, end="")
                else:
                    time.sleep(FOLLOW_S)
