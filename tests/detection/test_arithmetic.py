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
    ("precision", "device", "has", "wants"),
    [
        ("float32", "cpu", {}, None),
        ("tf32", "cuda", {}, None),
        ("bfloat16", "cuda", {}, None),
        ("bfloat16", "cpu", {"amx_bf16": True}, None),
        ("bfloat16", "cpu", {"amx_bf16": False, "avx512_bf16": True}, None),
        ("bfloat16", "cpu", {"avx512_f": True}, "a CUDA GPU or a CPU with AMX or AVX512-BF16"),
        ("bfloat16", "cpu", {}, "a CUDA GPU or a CPU with AMX or AVX512-BF16"),
        ("tf32", "cpu", {"amx_bf16": True}, "a CUDA GPU"),
    ],
)
def test_a_precision_is_refused_where_the_processor_lacks_it_or_only_imitates_it(
    precision: str,
    device: str,
    has: dict[str, bool],
    wants: str | None,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: has)
    if wants is None:
        check_precision(precision, device)
        return
    with pytest.raises(ConfigError, match=rf"needs {wants}, .* train\.precision=float32"):
        check_precision(precision, device)


def test_a_torch_that_does_not_know_its_processor_refuses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(torch.cpu, "get_capabilities")
    with pytest.raises(ConfigError, match="AVX512-BF16"):
        check_precision("bfloat16", "cpu")
