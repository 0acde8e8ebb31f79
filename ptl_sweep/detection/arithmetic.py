"""In how many digits a training computes its convolutions, and which processor can."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext

import torch

from ptl_sweep.config.schema import ConfigError


def check_precision(precision: str, device_type: str) -> None:
    """Refuse a precision that the processor lacks, or that it would only compute slowly.

    Measured on one Xeon, a step of retinanet_tiny_fine in bfloat16 takes 0.7 of float32's time with
    AMX, 0.95 with AVX512-BF16, 1.6 with AVX-512 alone and 8 with AVX2: the last two are refused.
    Raises: ConfigError.
    """
    if precision == "float32" or device_type == "cuda":
        return
    if precision == "bfloat16" and _has_bfloat16():
        return
    wants = "a CUDA GPU"
    if precision == "bfloat16":
        wants += " or a CPU with AMX or AVX512-BF16"
    raise ConfigError(
        f"train.precision={precision} needs {wants}, and there is none here: set "
        "train.precision=float32, or launcher=slurm where jobs get a GPU"
    )


def _has_bfloat16() -> bool:
    """Whether this CPU multiplies in bfloat16; a torch that cannot say counts as no."""
    known: Mapping[str, object] = getattr(torch.cpu, "get_capabilities", dict)()
    return any(bool(known.get(name)) for name in ("amx_bf16", "avx512_bf16"))


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
