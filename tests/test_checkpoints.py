"""A checkpoint that cannot be taken up costs the work it held, and nothing else."""

import logging
import os
import stat
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch

from ptl_sweep.checkpoints import (
    DAMAGED,
    read_checkpoint,
    remove_checkpoint,
    save_checkpoint,
    save_weights,
)

CPU = torch.device("cpu")


def training(width: int = 4, steps: int = 0) -> tuple[torch.nn.Module, torch.optim.Adam]:
    """A network and an optimizer that has a state once it has taken steps."""
    net = torch.nn.Linear(3, width)
    optimizer = torch.optim.Adam(net.parameters())
    for _ in range(steps):
        net(torch.ones(1, 3)).sum().backward()
        optimizer.step()
    return net, optimizer


def state_of(net: torch.nn.Module, optimizer: torch.optim.Adam, step: int) -> dict[str, Any]:
    return {"step": step, "net": net.state_dict(), "optimizer": optimizer.state_dict(), "pool": []}


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    path = tmp_path / "work" / "checkpoint.pt"
    save_checkpoint(path, state_of(*training(steps=2), 2) | {"pool": [torch.ones(2)]})
    return path


def test_what_was_saved_is_read_though_optimizer_and_pools_have_grown(saved: Path) -> None:
    state = read_checkpoint(saved, state_of(*training(), 0), CPU)
    assert state is not None
    assert state["step"] == 2
    assert len(state["optimizer"]["state"]) == 2
    assert [path.name for path in saved.parent.iterdir()] == ["checkpoint.pt"]


def half(content: bytes) -> bytes:
    return content[: len(content) // 2]


@pytest.mark.parametrize(
    "damage", [lambda _: b"", lambda c: bytes(len(c)), half, lambda _: b'{"step": 3}'],
    ids=["empty", "zeros", "torn", "json"],
)  # fmt: skip
def test_a_damaged_checkpoint_is_set_aside_with_a_warning(
    saved: Path, damage: Any, caplog: pytest.LogCaptureFixture
) -> None:
    content = damage(saved.read_bytes())
    saved.write_bytes(content)
    with caplog.at_level(logging.WARNING):
        assert read_checkpoint(saved, state_of(*training(), 0), CPU) is None
    assert str(saved) in caplog.text
    assert "starting anew" in caplog.text
    aside = saved.with_name(f"checkpoint.pt{DAMAGED}")
    assert aside.read_bytes() == content
    assert read_checkpoint(saved, {}, CPU) is None
    remove_checkpoint(saved)
    assert list(saved.parent.iterdir()) == []


@pytest.mark.parametrize(
    ("foreign", "word"),
    [
        ({"step": 1}, "lacks net"),
        (state_of(*training(width=5, steps=1), 1), "state.net.weight is no tensor of shape (4, 3)"),
        (state_of(*training(steps=1), 1) | {"optimizer": 3}, "state.optimizer lacks state"),
        (state_of(*training(steps=1), 1) | {"pool": torch.ones(2)}, "state.pool is no list"),
        ([1, 2], "state lacks step"),
    ],
)
def test_a_checkpoint_of_something_else_is_set_aside(
    saved: Path, foreign: Any, word: str, caplog: pytest.LogCaptureFixture
) -> None:
    torch.save(foreign, saved)
    with caplog.at_level(logging.WARNING):
        assert read_checkpoint(saved, state_of(*training(), 0), CPU) is None
    assert word in caplog.text


@pytest.mark.parametrize("umask", [0o022, 0o027, 0o077])
def test_checkpoints_and_weights_are_for_all_whom_the_umask_lets_read(
    umask: int, tmp_path: Path
) -> None:
    net, optimizer = training(steps=1)
    before = os.umask(umask)
    try:
        save_checkpoint(tmp_path / "checkpoint.pt", state_of(net, optimizer, 1))
        save_weights(tmp_path / "model.safetensors", net)
    finally:
        os.umask(before)
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in tmp_path.iterdir()}
    assert modes == dict.fromkeys(("checkpoint.pt", "model.safetensors"), 0o666 & ~umask)


def test_weights_are_the_bytes_that_safetensors_writes(tmp_path: Path) -> None:
    net = torch.nn.Conv2d(3, 4, 3).to(memory_format=torch.channels_last)
    save_weights(tmp_path / "ours", net)
    weights = {name: value.contiguous() for name, value in net.state_dict().items()}
    safetensors.torch.save_file(weights, tmp_path / "theirs")
    assert (tmp_path / "ours").read_bytes() == (tmp_path / "theirs").read_bytes()
