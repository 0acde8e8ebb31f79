"""A run made again from history.jsonl, when no W&B folder on disk holds its rows.

`python -m ptl_sweep.tracking.rebuilding` reads one such run as JSON from standard input: W&B keeps
its settings per process.
"""

import json
import os
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

from ptl_sweep.config.schema import TrackingConfig
from ptl_sweep.tracking.history import Row, Value
from ptl_sweep.tracking.mirror import Mirror
from ptl_sweep.tracking.run_info import RunInfo
from ptl_sweep.tracking.starting import start_run


def order(
    config: TrackingConfig,
    *,
    sweep: str,
    run: RunInfo,
    rows: Sequence[Row],
    summary: Mapping[str, Value],
) -> str:
    """What the process reads."""
    content = {"config": asdict(config), "sweep": sweep, "run": asdict(run)}
    return json.dumps({**content, "rows": list(rows), "summary": dict(summary)})


def rebuild(text: str) -> None:
    """Send the rows that the server lacks, then the summary, and end the run."""
    content = json.loads(text)
    os.environ.pop("WANDB_MODE", None)  # a login node may set it for its jobs
    with tempfile.TemporaryDirectory(prefix="ptl-sweep-") as folder:
        run = start_run(
            TrackingConfig(**content["config"]),
            root=Path(folder),
            sweep=content["sweep"],
            run=RunInfo(**content["run"]),
            mode="online",
        )
        with Mirror(run) as mirror:
            mirror.replay(content["rows"])
            if content["summary"]:
                mirror.summary(content["summary"])


if __name__ == "__main__":
    rebuild(sys.stdin.read())
