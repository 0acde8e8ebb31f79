"""The W&B runs that short offline stages have left to whoever comes after them."""

from pathlib import Path

from ptl_sweep.terminal import progress_bar
from ptl_sweep.tracking import Recorder


def record_leftovers(root: Path) -> None:
    """Write them below `root` (`outputs/tracking`), with a progress bar; never raises."""
    with Recorder() as recorder, progress_bar() as bar:
        task = bar.add_task("writing W&B runs", total=None)
        for _ in recorder.record_leftovers(root):
            bar.advance(task)
