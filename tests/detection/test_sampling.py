"""Crops, ignored regions, flips, colours and batches."""

from collections.abc import Callable
from itertools import product

import numpy as np
import pytest
import torch
from helpers.batches import draw_batch, draw_sample
from hypothesis import given, settings
from hypothesis import strategies as st

from ptl_sweep.config.schema import TilingConfig, TrainConfig
from ptl_sweep.datasets.images import ImageCache
from ptl_sweep.detection.pixels import CropWindow, View, load_image
from ptl_sweep.detection.sampling import (
    cut_boxes,
    draw_gain,
    draw_images,
    draw_window,
)

NONE = np.zeros((0, 4))
WHOLE, TILES = TilingConfig(), TilingConfig(size=64, overlap=16)
NATIVE = View(None, WHOLE)
FILL = torch.tensor([0.45, 0.44, 0.42]).view(3, 1, 1)


@settings(max_examples=200, deadline=None)
@given(
    seed=st.integers(0, 10**6),
    width=st.integers(20, 200),
    height=st.integers(20, 200),
    fraction=st.sampled_from([0.0, 1.0]),
)
def test_crop_lies_on_the_image_and_holds_the_person(
    seed: int, width: int, height: int, fraction: float
) -> None:
    rng = np.random.default_rng(seed)
    corner = rng.uniform(0, 1, 2) * [width - 12, height - 12]
    person = np.concatenate([corner, corner + rng.uniform(2, 12, 2)])
    window = draw_window(person[None], CropWindow(0, 0, width, height), 64, fraction, rng)
    assert (window.width, window.height) == (min(64, width), min(64, height))
    assert 0 <= window.left <= width - window.width
    assert 0 <= window.top <= height - window.height
    if fraction == 1:
        boxes, ignored = cut_boxes(person[None], NONE, window)
        sides = person[2:] - person[:2]
        np.testing.assert_allclose(boxes[0, 2:] - boxes[0, :2], sides, atol=1e-4)
        assert len(ignored) == 0


def test_crops_show_the_person_at_every_offset() -> None:
    rng = np.random.default_rng(0)
    person = np.array([[50.0, 50.0, 60.0, 60.0]])
    image = CropWindow(0, 0, 200, 200)
    lefts = {draw_window(person, image, 32, 1.0, rng).left for _ in range(600)}
    assert lefts == set(range(28, 51))


def test_person_less_than_half_visible_is_ignored_and_more_is_clipped() -> None:
    persons = np.array(
        [
            [-6.0, 0, 4, 10],
            [-4.0, 0, 6, 10],
            [40.0, 40, 50, 50],
            [0.0, 0, 0.5, 10],
            [20, 20, 30, 30],
        ]
    )
    region = np.array([[-5.0, -5, 5, 5], [90.0, 90, 99, 99]])
    boxes, ignored = cut_boxes(persons + 10, region + 10, CropWindow(10, 10, 32, 32))
    np.testing.assert_array_equal(boxes, [[0, 0, 6, 10], [20, 20, 30, 30]])
    np.testing.assert_array_equal(ignored, [[0, 0, 5, 5], [0, 0, 4, 10], [0, 0, 0.5, 10]])
    assert boxes.dtype == ignored.dtype == np.float32


def test_boxes_follow_the_pixels_through_tile_resize_crop_and_flip(
    draw: Callable, cache: ImageCache
) -> None:
    record = draw(4, width=120, height=90, num_boxes=1, noise=0.0)
    crops = TrainConfig(crop_size=48, positive_fraction=1.0)
    whole = TrainConfig(positive_fraction=1.0)
    for config, tiling in ((crops, WHOLE), (whole, WHOLE), (whole, TILES), (crops, TILES)):
        for seed, resize in product(range(8), (None, (180, 400))):
            rng = np.random.default_rng(seed)
            sample = draw_sample(record, config, rng, cache=cache, view=View(resize, tiling))
            ((x1, y1, x2, y2),) = sample.boxes.round().astype(int)
            bright = sample.image[0] > 0.5
            assert bright[y1 + 1 : y2 - 1, x1 + 1 : x2 - 1].all()
            assert abs(int(bright.sum()) - (x2 - x1) * (y2 - y1)) <= 2 * (x2 - x1 + y2 - y1)


def test_a_sample_of_a_large_image_is_a_tile_and_seen_as_inference_sees_tiles(
    draw: Callable, cache: ImageCache
) -> None:
    record = draw(0, width=200, height=50)
    config = TrainConfig(flip_probability=0.0)
    pixels = load_image(cache.read(record), None)
    starts = set()
    for seed in range(20):
        rng = np.random.default_rng(seed)
        tile = draw_sample(record, config, rng, cache=cache, view=View(None, TILES)).image
        assert tile.shape == (3, 50, 64)
        starts |= {x for x in range(137) if torch.equal(pixels[:, :, x : x + 64], tile)}
        rng = np.random.default_rng(seed)
        view = View((100, 160), TILES)
        assert draw_sample(record, config, rng, cache=cache, view=view).image.shape == (3, 100, 128)
    assert len(starts) > 10


def test_images_up_to_the_tile_size_and_crops_are_drawn_as_without_tiles(
    draw: Callable, cache: ImageCache
) -> None:
    for config, size in ((TrainConfig(), 64), (TrainConfig(crop_size=32), 200)):
        records = [draw(seed, width=size) for seed in range(6)]
        one, other = (
            draw_batch(
                records,
                config,
                np.random.default_rng(0),
                cache=cache,
                view=View((96, 400), tiling),
                fill=FILL,
            )
            for tiling in (WHOLE, TILES)
        )
        assert torch.equal(one.images, other.images)
        assert all(torch.equal(a, b) for a, b in zip(one.boxes, other.boxes, strict=True))


def test_tiles_are_placed_around_a_person_for_a_share_of_the_draws(
    draw: Callable, cache: ImageCache
) -> None:
    record = draw(0, width=2000, height=64, num_boxes=1)
    share = []
    for fraction in (0.0, 0.6, 1.0):
        config = TrainConfig(positive_fraction=fraction)
        samples = [
            draw_sample(
                record, config, np.random.default_rng(i), cache=cache, view=View(None, TILES)
            )
            for i in range(100)
        ]
        share.append(np.mean([len(sample.boxes) for sample in samples]))
    assert share[0] < 0.15
    assert 0.45 < share[1] < 0.75
    assert share[2] == 1


def test_smaller_images_are_padded_with_the_mean_colour(draw: Callable, cache: ImageCache) -> None:
    records = [draw(0, width=40, height=64), draw(1, width=64, height=40)]
    config = TrainConfig(batch_size=2, flip_probability=0.0)
    rng = np.random.default_rng(0)
    batch = draw_batch(records, config, rng, cache=cache, view=NATIVE, fill=FILL)
    assert batch.images.shape == (2, 3, 64, 64)
    wide, high = (batch.images[0], batch.images[1])
    if not torch.equal(wide[:, 50], FILL[:, 0].expand(3, 64)):
        wide, high = high, wide
    assert torch.equal(wide[:, 40:], FILL.expand(3, 24, 64))
    assert torch.equal(high[:, :, 40:], FILL.expand(3, 64, 24))
    cropped = TrainConfig(batch_size=2, crop_size=80)
    batch = draw_batch(records, cropped, rng, cache=cache, view=NATIVE, fill=FILL)
    assert batch.images.shape == (2, 3, 80, 80)


def test_images_repeat_only_when_there_are_too_few(draw: Callable, cache: ImageCache) -> None:
    records = [draw(seed) for seed in range(4)]
    for count, distinct in ((4, 4), (9, None)):
        config = TrainConfig(batch_size=count, flip_probability=0.0)
        rng = np.random.default_rng(1)
        batch = draw_batch(records, config, rng, cache=cache, view=NATIVE, fill=FILL)
        assert len(batch.images) == count
        different = {tuple(image.flatten()[:50].tolist()) for image in batch.images}
        assert distinct is None or len(different) == distinct


def test_without_a_real_fraction_every_image_is_as_likely_and_the_random_numbers_are_the_same() -> (
    None
):
    synthetic = np.arange(12) >= 4
    for images, fraction in ((synthetic, None), (np.zeros(12, bool), None), (synthetic[:4], 0.25)):
        for count in (5, 40):
            config = TrainConfig(batch_size=count, real_fraction=fraction)
            rng, plain = np.random.default_rng(2), np.random.default_rng(2)
            expected = plain.choice(len(images), count, replace=len(images) < count)
            np.testing.assert_array_equal(draw_images(images, config, rng), expected)
            assert rng.bit_generator.state == plain.bit_generator.state


@pytest.mark.parametrize("fraction", [0.0, 0.25, 0.3, 0.55, 1.0])
def test_real_images_have_their_share_of_the_batches_whatever_their_number(fraction: float) -> None:
    config = TrainConfig(batch_size=6, real_fraction=fraction)
    for num_real, num_synthetic in ((3, 80), (80, 3)):
        synthetic = np.arange(num_real + num_synthetic) >= num_real
        rng = np.random.default_rng(3)
        batches = np.stack([draw_images(synthetic, config, rng) for _ in range(2000)])
        real = (~synthetic[batches]).sum(1)
        assert set(real) == {int(np.floor(6 * fraction)), int(np.ceil(6 * fraction))}
        assert real.mean() / 6 == pytest.approx(fraction, abs=0.01)
        if 0 < fraction < 1:
            assert set(batches.flat) == set(range(len(synthetic)))


def test_images_repeat_in_a_share_only_when_there_are_too_few() -> None:
    config = TrainConfig(batch_size=8, real_fraction=0.5)
    rng = np.random.default_rng(4)
    for _ in range(50):
        chosen = draw_images(np.arange(44) >= 4, config, rng)
        assert len(set(chosen)) == 8
    assert len(set(draw_images(np.arange(44) >= 3, config, rng))) < 8


def test_a_vertical_flip_turns_the_picture_and_its_boxes_over(
    draw: Callable, cache: ImageCache
) -> None:
    record = draw(4, width=120, height=90, num_boxes=2)
    upright, turned = (
        draw_sample(
            record,
            TrainConfig(flip_probability=0.0, vertical_flip_probability=share),
            np.random.default_rng(0),
            cache=cache,
            view=NATIVE,
        )
        for share in (0.0, 1.0)
    )
    assert torch.equal(turned.image, upright.image.flip(1))
    np.testing.assert_array_equal(turned.boxes[:, [0, 2]], upright.boxes[:, [0, 2]])
    np.testing.assert_array_equal(turned.boxes[:, [1, 3]], 90 - upright.boxes[:, [3, 1]])


def test_without_vertical_flips_the_random_numbers_are_the_same(
    draw: Callable, cache: ImageCache
) -> None:
    rng, plain = np.random.default_rng(5), np.random.default_rng(5)
    config = TrainConfig(flip_probability=1.0, colour_jitter=0.2)
    sample = draw_sample(draw(4), config, rng, cache=cache, view=NATIVE)
    assert plain.random() < 1
    pixels = load_image(cache.read(draw(4)), None).flip(2)
    gain = torch.from_numpy(draw_gain(0.2, plain)).float()
    assert torch.equal(sample.image, (pixels * gain[:, None, None]).clamp(0, 1))
    assert rng.bit_generator.state == plain.bit_generator.state


def test_jitter_is_a_gain_per_channel_within_its_bounds() -> None:
    gains = np.stack([draw_gain(0.1, np.random.default_rng(seed)) for seed in range(200)])
    assert gains.shape == (200, 3)
    assert ((gains >= 0.81) & (gains <= 1.21)).all()
    assert gains.min() < 0.86
    assert gains.max() > 1.16
    assert draw_gain(0.0, np.random.default_rng(0)) is None


def test_padding_keeps_its_colour_beside_recoloured_pictures(
    draw: Callable, cache: ImageCache
) -> None:
    records = [draw(0, width=40, height=64), draw(1, width=64, height=40)]
    config = TrainConfig(batch_size=2, colour_jitter=0.5)
    batch = draw_batch(
        records, config, np.random.default_rng(0), cache=cache, view=NATIVE, fill=FILL
    )
    padded = [(image == FILL).all(0).sum() for image in batch.images]
    assert padded == [64 * 24, 64 * 24]
