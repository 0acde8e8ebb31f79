"""In how many digits a training computes its convolutions, and which processor can."""

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext

import torch

from ptl_sweep.config.schema import ConfigError


def check_precision(precision: str, device_type: str) -> None:
    """Refuse a precision that the processor lacks, or that it would only compute slowly.

    bfloat16 takes 0.7 of float32's time on a CPU with AMX and several times as long on one without
    AVX-512. Raises: ConfigError.
    """
    if precision == "float32" or device_type == "cuda":
        return
    if precision == "bfloat16" and torch.backends.cpu.get_cpu_capability().startswith("AVX512"):
        return
    wants = "a CUDA GPU" if precision == "tf32" else "a CUDA GPU or a CPU with AVX-512"
    raise ConfigError(
        f"train.precision={precision} needs {wants}, and there is none here: set "
        "train.precision=float32, or launcher=slurm where jobs get a GPU"
    )


@contextmanager
def arithmetic(precision: str, device: torch.device) -> Iterator[None]:
    """Convolutions in float32 exactly, or on CUDA in TF32 with the other precisions.

    The networks have no other products. bfloat16 is autocast's: weights and losses stay float32.
    """
    before = torch.backends.cudnn.allow_tf32
    torch.backends.cudnn.allow_tf32 = precision != "float32"
    mixed = torch.autocast(device.type, torch.bfloat16) if precision == "bfloat16" else None
    try:
        with mixed or nullcontext():
            yield
    finally:
        torch.backends.cudnn.allow_tf32 = before
