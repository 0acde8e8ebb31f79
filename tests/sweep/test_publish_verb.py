"""`publish`: workspace and report speak of what the stages log, and are saved where runs are."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.wandb
ALWAYS = {"train/loss", "train/images_per_second", "ptl/gap_median", "ptl/effective_sample_size"}


def strings_of(content: Any) -> Iterator[str]:
    if isinstance(content, str):
        yield content
    elif isinstance(content, dict):
        for key, value in content.items():
            yield from strings_of([key, value])
    elif isinstance(content, list):
        for value in content:
            yield from strings_of(value)


def publish(sweep: Any, *flags: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """In a process of its own: W&B's settings are one per process."""
    own = {name: value for name, value in os.environ.items() if not name.startswith("WANDB_")}
    command = [sys.executable, "-m", "ptl_sweep", "publish", *flags, f"sweep.root={sweep.root}"]
    return subprocess.run(
        command,
        check=False,
        capture_output=True,
        text=True,
        cwd=sweep.root,
        env=own | {"HOME": str(sweep.root)} | environment,
    )


@pytest.fixture
def written(tiny_sweep: Any, copy_of: Any) -> dict[str, Any]:
    """What --dry-run writes, without an account."""
    sweep = copy_of(tiny_sweep)
    done = publish(sweep, "--dry-run", "--json")
    assert done.returncode == 0, done.stderr
    paths = json.loads(done.stdout)
    return {name: json.loads(Path(paths[name]).read_text()) for name in ("workspace", "report")}


def test_the_workspace_has_its_sections_over_the_runs_of_the_sweep(
    written: dict[str, Any], tiny_sweep: Any
) -> None:
    names = set(strings_of(written["workspace"]))
    assert {"Results", "PTL", "Evaluation", "System"} <= names
    assert any(tiny_sweep.plan.name in name for name in names)
    assert {"ptl/iteration", "train/step"} <= names


def test_panels_show_metrics_that_the_stages_log(written: dict[str, Any], tiny_sweep: Any) -> None:
    names = set(strings_of(written["workspace"]))
    logged = {
        name
        for path in tiny_sweep.plan.store.root.glob("*/history.jsonl")
        for line in path.read_text().splitlines()
        for name in json.loads(line)
    }
    curves = {name for name in names if name.startswith(("train/", "ptl/", "translate/"))}
    media = {"ptl/transformed", "ptl/selected_pool"}
    on_cuda = {"train/gpu_memory_mb", "translate/gpu_memory_mb"}
    assert curves >= ALWAYS
    assert curves - media - on_cuda <= logged


def test_the_report_says_what_the_numbers_say_beside_what_was_published(
    written: dict[str, Any],
) -> None:
    text = "\n".join(strings_of(written["report"]))
    assert "toy" in text
    assert "2211.01778" in text
    for metric in ("AP50", "AP_t2t_010_shrunk", "t2t_tp_mean_shrunk"):
        assert metric in text
    assert "real_count" in text


def test_without_an_account_saving_is_a_mistake_that_names_the_dry_run(
    tiny_sweep: Any, copy_of: Any
) -> None:
    done = publish(copy_of(tiny_sweep))
    assert done.returncode == 2
    assert "--dry-run" in done.stderr
    assert "Traceback" not in done.stderr
