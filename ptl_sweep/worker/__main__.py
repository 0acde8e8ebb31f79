"""A worker process: ``python -m ptl_sweep.worker SWEEP_FOLDER TASK``."""

import logging
import sys
from pathlib import Path

from ptl_sweep.config.schema import ConfigError
from ptl_sweep.pipeline.plan import load_plan
from ptl_sweep.worker.running import run_task, task_named

USER_MISTAKE = 2  # exit code; the others are in `ExitCode`

log = logging.getLogger("ptl_sweep.worker")


def main(folder: str, task_name: str) -> int:
    """Run a task of the sweep in `folder`; returns an exit code."""
    logging.basicConfig(
        level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s"
    )
    plan = load_plan(Path(folder))
    try:
        task = task_named(plan, task_name)
    except ConfigError as error:
        log.error("%s", error)  # noqa: TRY400 a mistake of the caller needs no traceback
        return USER_MISTAKE
    return int(run_task(plan, task))


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:3]))
