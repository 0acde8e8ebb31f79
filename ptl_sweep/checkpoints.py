"""Weights and checkpoints: written in one rename; checkpoints are taken up only when whole."""

import logging
import os
import pickle
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import safetensors.torch
import torch
from torch import Tensor, nn

logger = logging.getLogger(__name__)

DAMAGED = ".damaged"  # of a checkpoint that was set aside


def save_checkpoint(path: Path, state: Mapping[str, Any]) -> None:
    """Write tensors and numbers; a killed job or a power cut leaves the old file or the new one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with _replaced(path) as file:
        torch.save(dict(state), file)


def save_weights(path: Path, network: nn.Module) -> None:
    """Write the weights of a network as safetensors, for all whom the umask lets read.

    What safetensors writes by itself has mode 0600 whatever the umask: colleagues cannot use it.
    """
    weights = {name: value.contiguous() for name, value in network.state_dict().items()}
    with _replaced(path) as file:
        file.write(safetensors.torch.save(weights))


@contextmanager
def _replaced(path: Path) -> Iterator[IO[bytes]]:
    """Open a file beside `path` that takes its place, on the disk, at the end of the block."""
    partial = path.with_suffix(f"{path.suffix}.partial")
    with partial.open("wb") as file:
        yield file
        file.flush()
        os.fsync(file.fileno())
    partial.replace(path)


def read_checkpoint(
    path: Path, like: Mapping[str, Any], device: torch.device
) -> dict[str, Any] | None:
    """Read a checkpoint with at least what `like` holds, the state at the beginning; runs no code.

    None without one. An empty, torn or foreign file is set aside with a warning, and None: the same
    stage begun anew ends with the same numbers, and a file that nobody can read would stop it for
    ever.
    """
    if not path.is_file():
        return None
    try:
        state = torch.load(path, map_location=device, weights_only=True)
        problem = next(_differences(like, state), "")
    except (pickle.UnpicklingError, RuntimeError, EOFError, ValueError, KeyError) as error:
        problem = str(error).splitlines()[0] if str(error) else type(error).__name__
    if problem:
        aside = path.with_suffix(f"{path.suffix}{DAMAGED}")
        path.replace(aside)
        logger.warning(
            "%s is no checkpoint of this stage (%s): set aside as %s, starting anew",
            path, problem, aside.name,
        )  # fmt: skip
        return None
    return dict(state)


def remove_checkpoint(path: Path) -> None:
    """Remove a checkpoint, and one that was set aside: the stage is done."""
    for name in (path, path.with_suffix(f"{path.suffix}{DAMAGED}")):
        name.unlink(missing_ok=True)


def _differences(like: object, found: object, name: str = "state") -> Iterator[str]:
    """Where `found` lacks something of `like`, or has it in another shape."""
    if isinstance(like, Tensor):
        if not isinstance(found, Tensor) or found.shape != like.shape:
            yield f"{name} is no tensor of shape {tuple(like.shape)}"
        return
    parts: Mapping[object, object] = _parts(like)
    own = _parts(found)
    if isinstance(like, list) and (not isinstance(found, list) or (like and len(own) != len(like))):
        yield f"{name} is no list of {len(like)}"
        return
    for key, value in parts.items():
        if key in own:
            yield from _differences(value, own[key], f"{name}.{key}")
        else:
            yield f"{name} lacks {key}"


def _parts(value: object) -> Mapping[object, object]:
    """What a mapping or a list holds, by key or place; nothing of anything else."""
    if isinstance(value, Mapping):
        return value
    return dict(enumerate(value)) if isinstance(value, list) else {}
