"""Precisions: which processor computes them, and for how long they hold."""

import pytest
import torch

from ptl_sweep.config.schema import ConfigError
from ptl_sweep.detection.arithmetic import arithmetic, check_precision


def test_the_precision_holds_for_a_step_and_no_longer() -> None:
    before = torch.backends.cudnn.allow_tf32
    device = torch.device("cpu")
    product = torch.ones(2, 2)
    for precision, allowed, kind in (
        ("float32", False, torch.float32),
        ("tf32", True, torch.float32),
        ("bfloat16", True, torch.bfloat16),
    ):
        with arithmetic(precision, device):
            assert torch.backends.cudnn.allow_tf32 == allowed
            assert (product @ product).dtype == kind
        assert torch.backends.cudnn.allow_tf32 == before
        assert (product @ product).dtype == torch.float32


@pytest.mark.parametrize(
    ("precision", "device", "capability", "wants"),
    [
        ("float32", "cpu", "DEFAULT", None),
        ("tf32", "cuda", "AVX2", None),
        ("bfloat16", "cuda", "AVX2", None),
        ("bfloat16", "cpu", "AVX512", None),
        ("bfloat16", "cpu", "AVX2", "a CUDA GPU or a CPU with AVX-512"),
        ("bfloat16", "cpu", "DEFAULT", "a CUDA GPU or a CPU with AVX-512"),
        ("tf32", "cpu", "AVX512", "a CUDA GPU"),
    ],
)
def test_a_precision_is_refused_where_the_processor_lacks_it(
    precision: str, device: str, capability: str, wants: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: capability)
    if wants is None:
        check_precision(precision, device)
        return
    with pytest.raises(ConfigError, match=rf"needs {wants}, .* train\.precision=float32"):
        check_precision(precision, device)
