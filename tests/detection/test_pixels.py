"""The resize rule of torchvision, and which images are cut into tiles."""

import numpy as np
import pytest
import torch
from helpers.closeness import assert_elementwise_close
from torchvision.models.detection.transform import GeneralizedRCNNTransform

from ptl_sweep.config.schema import TilingConfig
from ptl_sweep.detection.pixels import View, _packed, _unpacked, load_image, on_cpu, resized_size


@pytest.mark.parametrize("size", [(50, 70), (70, 50), (40, 200), (64, 64)])
@pytest.mark.parametrize("limits", [(64, 96), (33, 1000)])
def test_resize_is_torchvisions(size: tuple[int, int], limits: tuple[int, int]) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (*size, 3), dtype=np.uint8)
    transform = GeneralizedRCNNTransform(*limits, [0.0] * 3, [1.0] * 3).eval()
    image = torch.from_numpy(pixels).permute(2, 0, 1).float() / 255
    expected, _ = transform.resize(image)
    found = load_image(pixels, limits)
    assert found.shape[1:] == resized_size(*size, limits)
    assert_elementwise_close(found, expected)


def test_native_resolution_is_a_division_by_255() -> None:
    pixels = np.arange(2 * 3 * 3, dtype=np.uint8).reshape(2, 3, 3)
    pixels.setflags(write=False)
    expected = pixels.transpose(2, 0, 1).astype(np.float32) / np.float32(255)
    np.testing.assert_array_equal(load_image(pixels, None).numpy(), expected)


def test_many_tensors_travel_as_one_and_come_back_as_they_were() -> None:
    """Of every element size in no order, odd lengths, without elements, not contiguous."""
    generator = torch.Generator().manual_seed(0)
    sent = [
        torch.rand(3, 5, generator=generator) > 0.5,
        torch.randint(-(2**62), 2**62, (3,), generator=generator),
        torch.rand(7, generator=generator),
        torch.zeros(0, 4),
        torch.randint(0, 256, (5,), generator=generator, dtype=torch.uint8),
        torch.rand(4, 6, generator=generator).t(),
        torch.rand(3, 3, generator=generator, dtype=torch.float64)[:, 1],
        torch.tensor(float("nan")),
    ]
    come = _unpacked(_packed(sent), sent)
    for one, two in zip(sent, come, strict=True):
        assert one.dtype == two.dtype
        torch.testing.assert_close(two, one, rtol=0, atol=0, equal_nan=True)
    assert _unpacked(_packed(sent[:1]), sent[:1])[0].equal(sent[0])


def test_what_is_on_the_cpu_is_not_copied() -> None:
    sent = [torch.zeros(3), torch.ones(2)]
    assert [one.data_ptr() for one in on_cpu(sent)] == [one.data_ptr() for one in sent]


def test_an_image_is_cut_when_its_longer_side_exceeds_the_tile() -> None:
    view = View((32, 64), TilingConfig(size=100, overlap=16))
    assert [view.tile_side(*size) for size in ((100, 100), (101, 20), (20, 101))] == [
        None,
        100,
        100,
    ]
    assert View((32, 64), TilingConfig()).tile_side(6000, 4000) is None
