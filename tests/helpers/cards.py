"""A machine with the GPUs that a test wants: an nvidia-smi that lists them."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

SetUp = Callable[[str], None]


@pytest.fixture
def nvidia_smi(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> SetUp:
    """Put a program of that name first in PATH, which runs the lines of shell that it is given."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.setenv("PATH", str(folder), prepend=os.pathsep)

    def make(lines: str) -> None:
        path = folder / "nvidia-smi"
        path.write_text(f"#!/bin/sh\n{lines}\n")
        path.chmod(0o755)

    return make


@pytest.fixture
def gpus(nvidia_smi: SetUp) -> Callable[[int], list[str]]:
    """Give this machine so many GPUs; returns their names."""

    def make(count: int) -> list[str]:
        names = [f"GPU-{index}abc-def" for index in range(count)]
        lines = [f"GPU {i}: NVIDIA H100 (UUID: {name})" for i, name in enumerate(names)]
        nvidia_smi("\n".join(f"echo '{line}'" for line in lines))
        return names

    return make
