"""A fake W&B server, and the environment of a process that talks to it and to nothing else."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from helpers.wandb_server.backend import FakeBackend

Environment = dict[str, str]


@pytest.fixture
def backend(tmp_path: Path) -> Iterator[tuple[FakeBackend, Environment]]:
    """A server that is up, and the environment for subprocesses (no netrc, no settings here)."""
    home = tmp_path / "home"
    home.mkdir()
    own = {name: value for name, value in os.environ.items() if not name.startswith("WANDB_")}
    with FakeBackend() as server:
        yield (
            server,
            own
            | {
                "WANDB_BASE_URL": server.url,
                "WANDB_API_KEY": "0" * 40,
                "WANDB_ERROR_REPORTING": "false",
                "WANDB_CACHE_DIR": str(home / "cache"),
                "WANDB_CONFIG_DIR": str(home / "config"),
                "HOME": str(home),
            },
        )
