"""The folder of submitit's scripts and pickles: one whose name SLURM keeps, for its owner alone.

A job loads the pickle of its call before any code of ours runs, so whoever can write there can run
code as the person who submits.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ptl_sweep.config.schema import ConfigError
from ptl_sweep.launchers.slurm.journal import SLURM_LOGS
from ptl_sweep.pipeline.plan import Plan

WRITABLE_BY_OTHERS = 0o022


def check_log_folder(plan: Plan) -> None:
    """Refuse a folder with %, which sbatch replaces in the name of a log. Raises: ConfigError."""
    folder = plan.folder.resolve()
    if "%" in str(folder):
        raise ConfigError(
            f"{folder} holds %, which SLURM replaces in the names of logs: choose a sweep.root "
            "(or a working folder) without it"
        )


def make_log_folder(plan: Plan) -> Path:
    """Create the folder, or take write permission on it, and on its files, from everybody else.

    Raises: ConfigError when it belongs to somebody else or stays writable; OSError.
    """
    folder = plan.folder.resolve() / SLURM_LOGS
    folder.mkdir(parents=True, exist_ok=True)
    for path in (folder, *folder.glob("*.pkl")):
        found = path.lstat()
        if found.st_uid != os.geteuid():
            raise ConfigError(
                f"{path} belongs to another user (uid {found.st_uid}), who could exchange the "
                "calls that your jobs load from it: submit with a sweep.name or sweep.root of "
                "your own"
            )
        if found.st_mode & WRITABLE_BY_OTHERS and not path.is_symlink():
            path.chmod(found.st_mode & 0o777 & ~WRITABLE_BY_OTHERS)
    if folder.stat().st_mode & WRITABLE_BY_OTHERS:
        raise ConfigError(
            f"{folder} stays writable for others, who could exchange the calls that your jobs "
            "load from it: choose a sweep.root on a file system that knows permissions"
        )
    return folder


@contextmanager
def private_files() -> Iterator[None]:
    """Files that are created in the block can be written by their owner alone."""
    before = os.umask(0)
    os.umask(before | WRITABLE_BY_OTHERS)
    try:
        yield
    finally:
        os.umask(before)
