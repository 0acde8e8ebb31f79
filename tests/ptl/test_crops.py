from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from ptl_sweep.datasets.images import ImageCache
from ptl_sweep.datasets.records import ImageRecord
from ptl_sweep.ptl.crops import Region, cut, person_crops, person_region, resize, square_region


@given(
    st.floats(0, 60), st.floats(0, 40), st.floats(1, 70), st.floats(1, 50), st.sampled_from([1, 2])
)
def test_a_region_holds_the_box_and_stays_inside_when_it_fits(
    x: float, y: float, width: float, height: float, context: float
) -> None:
    box = np.array([x, y, min(x + width, 64), min(y + height, 48)])
    region = square_region(box, context, 64, 48)
    longest = max(np.ceil(box[2:]) - np.floor(box[:2]))
    assert region.side == max(1, np.ceil(context * longest))
    for start, low, high, length in ((region.left, 0, 2, 64), (region.top, 1, 3, 48)):
        assert start <= box[low]
        assert start + region.side >= box[high]
        if region.side <= length:
            assert 0 <= start <= length - region.side


def test_context_widens_the_square_around_its_centre() -> None:
    assert square_region(np.array([10.0, 12.0, 14.0, 20.0]), 1.5, 64, 48) == Region(6, 10, 12, 12)


@given(st.floats(0, 60), st.floats(0, 40), st.floats(1, 70), st.floats(1, 50))
def test_a_tight_region_is_every_pixel_that_the_box_touches(
    x: float, y: float, width: float, height: float
) -> None:
    box = np.array([x, y, min(x + width, 64), min(y + height, 48)])
    region = person_region(box, "tight", 64, 48)
    assert (region.left, region.top) == (int(box[0]), int(box[1]))
    assert region.left + region.width - 1 < box[2] <= region.left + region.width <= 64
    assert region.top + region.height - 1 < box[3] <= region.top + region.height <= 48


def test_a_square_region_has_its_context_and_a_tight_one_has_none() -> None:
    box = np.array([10.0, 12.0, 18.0, 32.0])
    assert person_region(box, "square", 64, 48) == square_region(box, 1.25, 64, 48)
    assert person_region(box, "tight", 64, 48) == Region(10, 12, 8, 20)


def test_beyond_a_small_image_its_edge_is_repeated() -> None:
    image = np.arange(2 * 6 * 3, dtype=np.uint8).reshape(2, 6, 3)
    region = square_region(np.array([0.0, 0.0, 6.0, 2.0]), 1.0, 6, 2)
    assert region == Region(0, -2, 6, 6)
    expected = np.pad(image, ((2, 2), (0, 0), (0, 0)), mode="edge")
    assert np.array_equal(cut(image, region), expected)


def test_resize_is_bilinear_with_antialiasing() -> None:
    stripes = np.zeros((16, 16, 3), dtype=np.uint8)
    stripes[::2] = 200
    assert abs(resize(stripes, 4).astype(int) - 100).max() <= 15
    assert np.array_equal(
        resize(stripes, 24), Image.fromarray(stripes).resize((24, 24), Image.Resampling.BILINEAR)
    )


def test_every_person_gives_one_crop_and_says_whose(
    make_record: Callable[..., ImageRecord], cache: ImageCache
) -> None:
    records = [
        make_record("a", [[2, 2, 22, 30], [30, 10, 40, 40]]),
        make_record("b", []),
        make_record("c", [[5, 5, 45, 25]]),
    ]
    crops = person_crops(records, side=16, min_crop_px=8, cache=cache)
    assert crops.pixels.shape == (3, 16, 16, 3)
    assert crops.images.tolist() == [0, 0, 2]
    assert crops.persons.tolist() == [0, 1, 0]
    region = square_region(records[2].boxes[0], 1.25, 64, 48)
    assert np.array_equal(crops.pixels[2], resize(cut(cache.read(records[2]), region), 16))
    tight = person_crops(records, side=16, min_crop_px=8, cache=cache, crop="tight")
    alone = Image.fromarray(cache.read(records[2])[5:25, 5:45])
    assert np.array_equal(tight.pixels[2], alone.resize((16, 16), Image.Resampling.BILINEAR))


def test_small_and_constant_crops_are_left_out_and_counted(
    make_record: Callable[..., ImageRecord], cache: ImageCache
) -> None:
    record = make_record("a", [[2, 2, 8, 7], [20, 10, 40, 40]])
    flat = make_record("b", [[20, 10, 40, 40]])
    flat = replace(flat, pixels=replace(flat.pixels, image=np.full((48, 64, 3), 90, np.uint8)))
    crops = person_crops([record, flat], side=16, min_crop_px=16, cache=cache)
    assert (len(crops), crops.num_too_small, crops.num_constant) == (1, 1, 1)
    assert (crops.images.tolist(), crops.persons.tolist()) == ([0], [1])


def test_no_person_gives_an_empty_set(cache: ImageCache) -> None:
    assert person_crops([], side=16, min_crop_px=8, cache=cache).pixels.shape == (0, 16, 16, 3)


@pytest.mark.parametrize("side", [7, 12])
def test_a_crop_of_the_right_size_is_not_touched(side: int) -> None:
    crop = np.random.default_rng(0).integers(0, 255, size=(side, side, 3), dtype=np.uint8)
    assert resize(crop, side) is crop
