"""Flips and quarter turns: pixels as NumPy moves them, boxes with the pixels."""

from collections import Counter
from collections.abc import Callable
from itertools import product

import numpy as np
import pytest
import torch
from helpers.batches import draw_batch

from ptl_sweep.config.schema import TilingConfig, TrainConfig
from ptl_sweep.datasets.images import ImageCache
from ptl_sweep.detection.pixels import View
from ptl_sweep.detection.symmetry import Symmetry, draw_symmetry

HEIGHT, WIDTH = 30, 50
ALL = [Symmetry(*one) for one in product((False, True), (False, True), (0, 1, 3))]


@pytest.mark.parametrize("symmetry", ALL)
def test_pixels_move_as_numpy_moves_them(symmetry: Symmetry) -> None:
    picture = np.random.default_rng(0).random((3, HEIGHT, WIDTH))
    expected = picture
    if symmetry.mirrored:
        expected = np.flip(expected, 2)
    if symmetry.turned_over:
        expected = np.flip(expected, 1)
    expected = np.rot90(expected, symmetry.quarter_turns, (1, 2))
    moved = symmetry.of_picture(torch.from_numpy(picture))
    np.testing.assert_array_equal(moved.numpy(), expected)
    assert symmetry.sides(HEIGHT, WIDTH) == expected.shape[1:]


@pytest.mark.parametrize("symmetry", ALL)
def test_boxes_follow_the_pixels(symmetry: Symmetry) -> None:
    boxes = np.array([[3, 5, 11, 25], [40, 0, 50, 2]], dtype=np.float32)
    moved = symmetry.of_boxes(boxes, HEIGHT, WIDTH)
    assert moved.dtype == np.float32
    for box, after in zip(boxes.astype(int), moved.astype(int), strict=True):
        picture = torch.zeros(1, HEIGHT, WIDTH)
        picture[:, box[1] : box[3], box[0] : box[2]] = 1
        rows, columns = symmetry.of_picture(picture)[0].nonzero(as_tuple=True)
        seen = [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]
        np.testing.assert_array_equal(after, [int(value) for value in seen])


def test_flips_and_turns_of_a_half_each_reach_all_eight_symmetries_of_a_square() -> None:
    config = TrainConfig(vertical_flip_probability=0.5, rotate90_probability=0.5)
    rng = np.random.default_rng(0)
    square = torch.arange(9.0).reshape(1, 3, 3)
    seen = Counter(
        tuple(draw_symmetry(config, rng).of_picture(square).flatten().tolist()) for _ in range(4000)
    )
    assert len(seen) == 8
    assert min(seen.values()) > 400  # 500 expected, standard deviation 21


@pytest.mark.parametrize("chance", [0.0, 0.3, 1.0])
def test_turns_have_their_chance_and_go_either_way(chance: float) -> None:
    config = TrainConfig(rotate90_probability=chance)
    rng = np.random.default_rng(1)
    turns = Counter(draw_symmetry(config, rng).quarter_turns for _ in range(4000))
    assert turns[0] / 4000 == pytest.approx(1 - chance, abs=0.03)
    assert turns[1] == pytest.approx(turns[3], abs=200)
    assert set(turns) <= {0, 1, 3}


def test_what_has_no_chance_takes_no_random_number() -> None:
    rng, plain = np.random.default_rng(5), np.random.default_rng(5)
    draw_symmetry(TrainConfig(), rng)
    plain.random()
    assert rng.bit_generator.state == plain.bit_generator.state


def test_a_batch_of_turned_pictures_is_as_large_as_they_are_then(
    draw: Callable, cache: ImageCache
) -> None:
    config = TrainConfig(batch_size=2, rotate90_probability=1.0)
    batch = draw_batch(
        [draw(seed, width=64, height=40, noise=0.0) for seed in range(2)],
        config,
        np.random.default_rng(0),
        cache=cache,
        view=View(None, TilingConfig()),
        fill=torch.zeros(3, 1, 1),
    )
    assert batch.images.shape == (2, 3, 64, 40)
    for image, boxes in zip(batch.images, batch.boxes, strict=True):
        inside = torch.zeros(64, 40, dtype=torch.bool)
        for x1, y1, x2, y2 in boxes.round().int().tolist():
            inside[y1:y2, x1:x2] = True
        assert torch.equal(image[0] > 0.5, inside)
