"""A command in a process of its own, which writes down its memory and open files as it goes on."""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from helpers.local_runs import with_helpers
from ptl_sweep.__main__ import main
from ptl_sweep.meta import META, parse_meta
from ptl_sweep.pipeline.plan import STAGES
from ptl_sweep.reduce import run as reduction
from ptl_sweep.stages.base import Stage
from ptl_sweep.store import Store
from ptl_sweep.tracking import History

PAGE_KB = os.sysconf("SC_PAGESIZE") // 1024
PROGRAM = "import sys; from helpers.growth import go_on; go_on(*sys.argv[1:])"
EVENTS: dict[str, tuple[Any, str]] = {
    "row of the history": (History, "append"),  # every 20 steps of a training
    "stage": (Store, "publish"),
    "reduction": (reduction, "reduce_sweep"),
}


def growth(
    arguments: list[str], table: Path, event: str, times: int = 1, like: Path | None = None
) -> np.ndarray:
    """Memory in kB and number of open files after each event of a command that is run in a child.

    `times`: how often the child runs it. `like`: a store whose stages are copied instead of
    computed, the first of each kind.
    """
    given = [str(table), event, str(times), str(like or "")]
    command = [sys.executable, "-c", PROGRAM, *given, *arguments]
    done = subprocess.run(
        command, env=with_helpers(os.environ), cwd=table.parent, capture_output=True, check=False
    )
    assert done.returncode == 0, done.stderr.decode()[-2000:]
    return np.loadtxt(table, ndmin=2)


def slope(values: np.ndarray) -> float:
    """Growth from one event to the next over the second half, by a linear fit."""
    late = values[len(values) // 2 :]
    return float(np.polyfit(np.arange(len(late)), late, 1)[0])


def go_on(table: str, event: str, times: str, like: str, *arguments: str) -> None:
    """What the child does."""
    for kind in STAGES.values() if like else ():
        kind.run = _copied(Path(like))  # type: ignore[method-assign]
    owner, name = EVENTS[event]
    setattr(owner, name, _noting(getattr(owner, name), Path(table)))
    sys.exit(max(main(arguments) for _ in range(int(times))))


def _copied(store: Path) -> Callable[[Stage, Any], Any]:
    def run(stage: Stage, ctx: Any) -> Any:
        first = min(store.glob(f"{stage.kind}-*/{META}")).parent
        shutil.copytree(
            first, ctx.folder, ignore=lambda *_: [META, "attempts.jsonl"], dirs_exist_ok=True
        )
        return parse_meta(first / META)["summary"]

    return run


def _noting(real: Callable[..., Any], table: Path) -> Callable[..., Any]:
    def call(*arguments: Any, **options: Any) -> Any:
        result = real(*arguments, **options)
        memory = int(Path("/proc/self/statm").read_text().split()[1]) * PAGE_KB
        with table.open("a") as file:
            file.write(f"{memory} {len(list(Path('/proc/self/fd').iterdir())) - 1}\n")
        return result

    return call
