"""Where the host would wait for a GPU, counted on a machine that has none."""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

READS = ("cpu", "item", "numpy", "tolist", "__bool__", "__int__", "__float__")
# Operations whose result has a size that the device must tell first.
SIZED_BY_VALUES = {
    "aten::_local_scalar_dense",
    "aten::_unique2",
    "aten::bincount",
    "aten::masked_select",
    "aten::nonzero",
    "aten::repeat_interleave.Tensor",
    "torchvision::nms",
}


class _Operations(TorchDispatchMode):
    def __init__(self, waits: Counter[str]) -> None:
        super().__init__()
        self.waits = waits

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        kwargs = kwargs or {}
        name = func.name()
        if name in SIZED_BY_VALUES or _is_masked(name, args) or _is_blocking_copy(name, kwargs):
            self.waits[name] += 1
        return func(*args, **kwargs)


def _is_masked(name: str, args: tuple[Any, ...]) -> bool:
    """Indexing by a mask, which is a nonzero in disguise."""
    if name not in ("aten::index.Tensor", "aten::index_put_", "aten::_index_put_impl_"):
        return False
    return any(one is not None and one.dtype in (torch.bool, torch.uint8) for one in args[1])


def _is_blocking_copy(name: str, kwargs: dict[str, Any]) -> bool:
    return (
        name == "aten::_to_copy" and bool(kwargs.get("device")) and not kwargs.get("non_blocking")
    )


@contextmanager
def counted_waits() -> Iterator[Counter[str]]:
    """Counts, by operation, what reads values of a tensor or needs one to know a size."""
    waits: Counter[str] = Counter()

    def counting(name: str) -> Any:
        method = getattr(Tensor, name)

        def read(self: Tensor, *args: Any, **kwargs: Any) -> Any:
            waits[name] += 1
            return method(self, *args, **kwargs)

        return read

    with pytest.MonkeyPatch.context() as patch, _Operations(waits):
        for name in READS:
            patch.setattr(Tensor, name, counting(name))
        yield waits


def on_fake_cuda(module: nn.Module) -> nn.Module:
    """The module with its weights on a GPU that need not exist; only inside a FakeTensorMode."""
    for part in module.modules():
        for name, weight in part._parameters.items():
            if weight is not None:
                part._parameters[name] = nn.Parameter(weight.detach().to("cuda"))
        for name, value in part._buffers.items():
            if value is not None:
                part._buffers[name] = value.to("cuda")
    return module
