"""The resize rule of torchvision, and which images are cut into tiles."""

import numpy as np
import pytest
import torch
from helpers.closeness import assert_elementwise_close
from torchvision.models.detection.transform import GeneralizedRCNNTransform

from ptl_sweep.config.schema import TilingConfig
from ptl_sweep.detection.pixels import View, load_image, resized_size


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


def test_an_image_is_cut_when_its_longer_side_exceeds_the_tile() -> None:
    view = View((32, 64), TilingConfig(size=100, overlap=16))
    assert [view.tile_side(*size) for size in ((100, 100), (101, 20), (20, 101))] == [
        None,
        100,
        100,
    ]
    assert View((32, 64), TilingConfig()).tile_side(6000, 4000) is None
