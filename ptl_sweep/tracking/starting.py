"""Starting a mirror: W&B's settings, online or offline, and what a server that is away costs."""

import logging
import os
import re
import shutil
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ptl_sweep.config.schema import TrackingConfig
from ptl_sweep.tracking import unreachable
from ptl_sweep.tracking.history import Value
from ptl_sweep.tracking.mirror import Mirror, end_service
from ptl_sweep.tracking.run_info import MAX_TAG, RunInfo, run_id

if TYPE_CHECKING:
    from wandb import Run

log = logging.getLogger(__name__)

SETTINGS: dict[str, Any] = {
    "init_timeout": 120,
    "x_service_wait": 120,
    "finish_timeout": 60,
    "x_transaction_log_flush_interval": 2,  # at 15, the default, a killed run leaves nothing
    "x_stats_sampling_interval": 30,
    "disable_git": True,
    "disable_code": True,
    "x_save_requirements": False,
    "console": "off",
    "silent": True,
}


def open_mirror(
    config: TrackingConfig,
    *,
    root: Path,
    sweep: str,
    run: RunInfo,
    rows: Iterable[Mapping[str, Value]] = (),
) -> Mirror:
    """The mirror of one stage, with the `rows` of its history sent; `root` takes W&B's files.

    WANDB_MODE in the environment wins over the config, save for `tracking.mode=off`.
    A server that does not answer gives an offline run, for `sync` later; the stages of the
    next 15 minutes below the same root then do not ask it.
    """
    mode = mode_of(config)
    if mode is None:
        return Mirror()
    if mode == "online" and unreachable.is_known(root):
        mode = "offline"
    for attempt in dict.fromkeys((mode, "offline")):
        begun = time.monotonic()
        try:
            mirror = Mirror(start_run(config, root=root, sweep=sweep, run=run, mode=attempt))
        except Exception as error:  # the mirror must not fail a stage, whatever W&B raises
            log.warning("W&B mirror: no %s run (%r); history.jsonl goes on", attempt, error)
            if attempt == "online" and time.monotonic() - begun >= setting("init_timeout"):
                unreachable.remember(root, error)  # a refusal comes sooner, and is asked for anew
            end_service()
        else:
            if attempt == "online":
                unreachable.forget(root)
            mirror.replay(rows)
            return mirror
    return Mirror()


def start_run(config: TrackingConfig, *, root: Path, sweep: str, run: RunInfo, mode: str) -> "Run":
    """Start or resume the run. Offline, earlier segments go: the new one holds every row."""
    import wandb

    root = root.absolute()
    data = root / "data"  # offline artifacts are staged here; W&B does nothing when it is missing
    data.mkdir(parents=True, exist_ok=True)
    os.environ["WANDB_DIR"], os.environ["WANDB_DATA_DIR"] = str(root), str(data)
    identity = run_id(run.key)
    if mode in ("offline", "dryrun"):
        delete_segments(root, identity)
    started = wandb.init(
        entity=config.entity,
        project=config.project,
        group=sweep,
        job_type=run.job_type,
        id=identity,
        name=run.name,
        tags=[tag[:MAX_TAG] for tag in run.tags if tag],
        config=dict(run.config),
        dir=str(root),
        resume="allow",
        settings={"mode": mode, **_settings()},
    )
    for step in run.step_metrics:
        started.define_metric(step, hidden=True)
        started.define_metric(f"{step.partition('/')[0]}/*", step_metric=step)
    if not started.offline:
        log.info("W&B run %s: %s", run.name, started.url)
    return started


def mode_of(config: TrackingConfig) -> str | None:
    """As W&B calls it; None where nothing is mirrored."""
    mode = os.environ.get("WANDB_MODE", config.mode)
    return None if config.mode == "off" or mode == "disabled" else mode


def setting(name: str) -> float:
    """A setting in seconds, from the user's environment or ours."""
    try:
        return float(os.environ[f"WANDB_{name.upper()}"])
    except (KeyError, ValueError):  # W&B refuses what is no number, which costs no time
        return float(SETTINGS[name])


def _settings() -> dict[str, Any]:
    """Ours, save for those that the user's environment has, such as WANDB_INIT_TIMEOUT.

    The API key is never among them: W&B reads it from the environment or from netrc.
    """
    return {
        name: value for name, value in SETTINGS.items() if f"WANDB_{name.upper()}" not in os.environ
    }


def delete_segments(root: Path, identity: str) -> None:
    """Remove the offline folders of earlier attempts at this run, and of no other."""
    pattern = re.compile(rf"offline-run-\d{{8}}_\d{{6}}-{identity}")
    for folder in (root / "wandb").glob("offline-run-*"):
        if pattern.fullmatch(folder.name):
            shutil.rmtree(folder)
