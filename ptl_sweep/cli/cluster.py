"""Verbs for a sweep that runs elsewhere: follow it to its end, end it, read its logs."""

import sys
import time
from collections import deque
from collections.abc import Sequence
from pathlib import Path

from ptl_sweep.cli.arguments import (
    FAILED,
    OK,
    find_sweep,
    parse_sweep_verb,
    verb_parser,
    whole_number,
)
from ptl_sweep.compose.grid import CellId
from ptl_sweep.config.schema import ConfigError
from ptl_sweep.launchers.slurm import commands
from ptl_sweep.launchers.slurm.journal import REDUCE, SLURM_LOGS, JobBook
from ptl_sweep.launchers.slurm.queue import own_ids, view_jobs
from ptl_sweep.launchers.wait import Waiting
from ptl_sweep.pipeline import status
from ptl_sweep.pipeline.graph import Task
from ptl_sweep.pipeline.plan import Plan
from ptl_sweep.terminal import close_match, output, print_json

FOLLOW_S = 1.0  # --follow looks for new lines this often


def wait_verb(arguments: list[str]) -> int:
    """Follow a sweep until its reducer has run; exit code 0 when every cell has a result."""
    parser = verb_parser("wait", wait_verb.__doc__ or "")
    plan, options = parse_sweep_verb(parser, arguments)
    console = output()
    outcome = Waiting(plan, console, is_quiet=options.json).run()
    if options.json:
        print_json({"sweep": plan.name, "ok": outcome.is_ok, "text": outcome.text})
    else:
        console.print(outcome.text, markup=False, soft_wrap=True)
    return OK if outcome.is_ok else FAILED


def cancel_verb(arguments: list[str]) -> int:
    """End the SLURM jobs of one sweep, and of no other; what is published stays."""
    parser = verb_parser("cancel", cancel_verb.__doc__ or "")
    plan, options = parse_sweep_verb(parser, arguments)
    alive = commands.read_queue(own_ids(plan))
    own = [job for id_, job in alive.items() if id_ in own_ids(plan)]
    JobBook(plan.folder).add_cancelled(job.id for job in own)
    commands.cancel(sorted({job.id.partition("_")[0] for job in own}, key=int))
    running = sum(not job.is_pending for job in own)
    if options.json:
        print_json({"sweep": plan.name, "cancelled": [job.id for job in own]})
    elif not own:
        output().print(f"{plan.name} has no job in the queue")
    else:
        output().print(
            f"cancelled {len(own)} jobs of {plan.name}, {running} of them running; what is "
            "published and the checkpoints are kept: the same command goes on from there",
            soft_wrap=True,
        )
    return OK


def logs_verb(arguments: list[str]) -> int:
    """Show the log of a stage, a cell or a task: its last lines, or as it grows."""
    parser = verb_parser("logs", logs_verb.__doc__ or "")
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
    console = output()
    for path in paths:
        console.print(f"==> {path}", markup=False, soft_wrap=True)
        for line in last_lines(path, options.lines):
            console.print(line, markup=False, soft_wrap=True)
    if options.follow:
        _follow(paths[0])
    return OK


def find_task(plan: Plan, words: Sequence[str]) -> Task:
    """The task whose log somebody asks for. Raises: ConfigError."""
    if not words:
        return _most_interesting(plan)
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
    close = sorted(found) or [close_match(name, names) or "`status` shows the keys"]
    raise ConfigError(
        f"{name}: {len(found) or 'no'} tasks of {plan.name} are called that; "
        f"did you mean {', '.join(close[:5])}?"
    )


def _task_of_cell(plan: Plan, words: Sequence[str]) -> Task:
    """Of the one cell that the words describe: what failed, else runs, else its evaluation."""
    wanted = dict(word.split("=", 1) for word in words)
    unknown = sorted(wanted.keys() - set(CellId._fields))
    if unknown:
        raise ConfigError(f"{unknown[0]} is no axis; a cell has {', '.join(CellId._fields)}")
    cells = [
        cell
        for cell in plan.cells
        if all(str(getattr(cell.id, axis)) == value for axis, value in wanted.items())
    ]
    if len(cells) != 1:
        shown = "; ".join(
            " ".join(f"{axis}={value}" for axis, value in cell.id._asdict().items())
            for cell in (cells or plan.cells)[:4]
        )
        raise ConfigError(f"{len(cells)} cells are {' '.join(words)}; for example: {shown}")
    states = status.stage_states(plan, view_jobs(plan))
    last = cells[0].readings[-1]
    line = _ancestors(plan, last.evaluate)
    for state in ("failed", "running"):
        for key in line:
            if states[key] == state:
                return plan.task_of(key)
    done = [key for key in line if states[key] == "published"]
    return plan.task_of(done[-1] if done else line[0])


def _ancestors(plan: Plan, key: str) -> list[str]:
    """A stage and everything that it needs, first things first."""
    line = [key]
    while plan.stages[line[0]].parents:
        line.insert(0, plan.stages[line[0]].parents[0])
    return line


def _most_interesting(plan: Plan) -> Task:
    states = status.stage_states(plan, view_jobs(plan))
    for state in ("failed", "running"):
        for key, found in states.items():
            if found == state:
                return plan.task_of(key)
    return REDUCE


def log_paths(plan: Plan, task: Task) -> list[Path]:
    """The task's own log, and what SLURM itself said about its last job.

    Raises: ConfigError when there is neither.
    """
    jobs = [job for job in JobBook(plan.folder).jobs() if job.task == task.name]
    paths = [plan.log_path(task)]
    if jobs:
        paths.append(plan.folder / SLURM_LOGS / f"{jobs[-1].id}_0_log.out")
    there = [path for path in paths if path.is_file()]
    if not there:
        raise ConfigError(f"{task.name} has not begun: no {paths[0]}")
    return there


def last_lines(path: Path, count: int) -> list[str]:
    """The last lines of a log; all of them for 0."""
    with path.open(errors="replace") as file:
        kept = deque(file, maxlen=min(count, sys.maxsize) or None)
    return [line.rstrip("\n") for line in kept]


def _follow(path: Path) -> None:
    """Print what is added to a log until Ctrl-C."""
    console = output()
    with path.open(errors="replace") as file:
        file.seek(0, 2)
        try:
            while True:
                text = file.read()
                if text:
                    console.print(text, markup=False, soft_wrap=True, end="")
                else:
                    time.sleep(FOLLOW_S)
        except KeyboardInterrupt:
            return
