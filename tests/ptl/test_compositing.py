from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ptl_sweep.datasets.images import ImageCache
from ptl_sweep.datasets.records import ImageRecord
from ptl_sweep.ptl.compositing import composite, translate_images
from ptl_sweep.ptl.crops import Region, resize
from ptl_sweep.ptl.translators.base import Untranslated
from ptl_sweep.ptl.translators.cyclegan import CycleGan


class Inverted(NamedTuple):
    """A translator that is easy to check: 255 - pixel."""

    reason: str | None = None
    changes_pixels: bool = True

    def translate(self, crops: np.ndarray) -> np.ndarray:
        return 255 - crops

    def save(self, _path: Path) -> None:
        raise AssertionError


@settings(max_examples=30, deadline=None)
@given(
    st.integers(0, 10**6),
    st.integers(-6, 20),
    st.integers(-6, 14),
    st.integers(1, 30),
    st.integers(1, 30),
)
def test_pixels_outside_the_mask_keep_their_value_bit_for_bit(
    seed: int, left: int, top: int, width: int, height: int
) -> None:
    rng = np.random.default_rng(seed)
    image = rng.integers(0, 256, size=(20, 26, 3), dtype=np.uint8)
    mask = rng.choice(np.array([0, 0, 130, 255], dtype=np.uint8), size=(20, 26))
    crop = rng.integers(0, 256, size=(9, 9, 3), dtype=np.uint8)
    region = Region(min(left, 25), min(top, 19), width, height)
    before = image.copy()
    result = composite(image, mask, region, crop)
    assert np.array_equal(image, before)
    y, x = np.mgrid[:20, :26]
    inside = (y >= region.top) & (y < region.top + height)
    inside &= (x >= region.left) & (x < region.left + width)
    changed = (mask > 0) & inside
    assert np.array_equal(result[~changed], image[~changed])
    patch = resize(crop, width, height)
    for row, column in np.argwhere(changed):
        alpha = mask[row, column] / 255
        pasted = patch[row - region.top, column - region.left]
        expected = (1 - alpha) * image[row, column] + alpha * pasted
        assert np.abs(result[row, column] - expected).max() <= 0.501


@pytest.mark.parametrize("crop", ["square", "tight"])
def test_persons_are_translated_in_place_and_boxes_stay(
    crop: str, make_record: Callable[..., ImageRecord], cache: ImageCache, tiny_gan: CycleGan
) -> None:
    record = make_record("a", [[4, 4, 24, 30], [36, 8, 48, 40]])
    [result] = translate_images([record], Inverted(), replace(tiny_gan, crop=crop), cache)
    original, masks = record.pixels.read(), record.pixels.read_masks()
    outside = (masks == 0).all(axis=0)
    assert np.array_equal(result.image[outside], original[outside])
    assert np.array_equal(result.boxes, record.boxes)
    assert result.num_untranslated == 0
    for box in record.boxes.astype(int):  # the middle of the ellipse is one colour
        row, column = (box[1] + box[3]) // 2, (box[0] + box[2]) // 2
        assert np.array_equal(result.image[row, column], 255 - original[row, column])


def test_a_tight_crop_comes_back_to_where_it_was_cut_at_its_own_proportions(
    make_record: Callable[..., ImageRecord], cache: ImageCache, tiny_gan: CycleGan
) -> None:
    class Ramp(Inverted):
        """Brightness rises from the top of each crop to its bottom."""

        def translate(self, crops: np.ndarray) -> np.ndarray:
            rising = np.linspace(0, 255, crops.shape[1]).astype(np.uint8)
            return np.broadcast_to(rising[None, :, None, None], crops.shape).copy()

    record = make_record("a", [[20, 4, 32, 44]])
    [result] = translate_images([record], Ramp(), replace(tiny_gan, crop="tight"), cache)
    mask = record.pixels.read_masks()[0] == 255
    rows, _ = np.nonzero(mask)
    expected = (rows + 0.5 - 4) / 40 * 255
    assert np.abs(result.image[mask].mean(1) - expected).max() < 12


def test_all_persons_of_all_images_share_one_call(
    make_record: Callable[..., ImageRecord], cache: ImageCache, tiny_gan: CycleGan
) -> None:
    records = [
        make_record("a", [[4, 4, 24, 30]]),
        make_record("b", []),
        make_record("c", [[1, 1, 6, 5], [30, 8, 48, 40], [8, 20, 20, 40]]),
    ]
    sizes: list[int] = []

    class Counting(Inverted):
        def translate(self, crops: np.ndarray) -> np.ndarray:
            sizes.append(len(crops))
            return 255 - crops

    results = translate_images(records, Counting(), tiny_gan, cache)
    assert sizes == [3]
    assert [result.num_untranslated for result in results] == [0, 0, 1]
    assert np.array_equal(results[1].image, records[1].pixels.read())
    small = records[2].pixels.read_masks()[0] > 0
    assert np.array_equal(results[2].image[small], records[2].pixels.read()[small])
    for alone, together in zip(records, results, strict=True):
        [single] = translate_images([alone], Inverted(), tiny_gan, cache)
        assert np.array_equal(single.image, together.image)


@pytest.mark.parametrize(("reason", "count"), [(None, 0), ("no real crop", 2)])
def test_identity_changes_no_pixel_and_counts_only_what_it_failed(
    reason: str | None,
    count: int,
    make_record: Callable[..., ImageRecord],
    cache: ImageCache,
    tiny_gan: CycleGan,
) -> None:
    record = make_record("a", [[4, 4, 24, 30], [36, 8, 48, 40]])
    [result] = translate_images([record], Untranslated(reason), tiny_gan, cache)
    assert np.array_equal(result.image, record.pixels.read())
    assert result.num_untranslated == count


def test_a_record_without_one_mask_per_person_is_an_error(
    make_record: Callable[..., ImageRecord], cache: ImageCache, tiny_gan: CycleGan
) -> None:
    record = make_record("a", [[4, 4, 24, 30], [36, 8, 48, 40]])
    one_mask = replace(record.pixels, masks=record.pixels.read_masks()[:1])
    record = replace(record, pixels=one_mask)
    with pytest.raises(ValueError, match="a has 2 boxes and 1 masks"):
        translate_images([record], Inverted(), tiny_gan, cache)
