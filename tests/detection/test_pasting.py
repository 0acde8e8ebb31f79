"""Copy-paste: who is pasted where, at which size, and what becomes of the pixels."""

from collections import Counter
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch
from helpers.batches import draw_batch, renderer_of
from hypothesis import given, settings
from hypothesis import strategies as st

from ptl_sweep.config.schema import TilingConfig, TrainConfig
from ptl_sweep.datasets.images import ImageCache
from ptl_sweep.datasets.records import ImageRecord
from ptl_sweep.detection.pasting import MARGIN, Donors, PlannedPaste, paste_person
from ptl_sweep.detection.pixels import CropWindow, View
from ptl_sweep.detection.sampling import plan_batch

NATIVE = View(None, TilingConfig())
NOBODY = np.zeros((0, 4))
PASTED = TrainConfig(batch_size=4, copy_paste=3, flip_probability=0.0)


class Unread:
    """Pixels that a plan does not look at."""

    def read(self) -> np.ndarray:
        raise NotImplementedError

    def read_masks(self) -> np.ndarray:
        raise NotImplementedError


GIVER = ImageRecord(
    image_id="giver",
    width=64,
    height=50,
    boxes=np.array([[0, 3, 9, 21], [50.5, 30, 64, 47.25], [20, 20, 23, 40]], dtype=np.float32),
    ignored=np.zeros((0, 4), dtype=np.float32),
    scene="0",
    pixels=Unread(),
)


@pytest.fixture
def donors(draw: Callable) -> list[ImageRecord]:
    """Six real pictures with two persons each."""
    return [draw(seed, width=80, height=60, noise=0.0) for seed in range(6)]


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 10**6), width=st.integers(20, 150), height=st.integers(20, 150),
    num_persons=st.integers(0, 6),
)  # fmt: skip
def test_nobody_is_covered_and_everybody_lies_on_the_sample(
    seed: int, width: int, height: int, num_persons: int
) -> None:
    rng = np.random.default_rng(seed)
    corners = rng.uniform(0, 1, (num_persons, 2)) * [width - 10, height - 10]
    persons = np.concatenate([corners, corners + rng.uniform(2, 10, (num_persons, 2))], 1)
    sides = (height, width)
    pastes = Donors([GIVER], NATIVE).draw(5, persons, sides, rng)
    taken = list(persons)
    for paste in pastes:
        target = paste.target
        assert 0 <= target.left <= width - target.width
        assert 0 <= target.top <= height - target.height
        x1, y1, x2, y2 = paste.box
        assert target.left <= x1 < x2 <= target.left + target.width
        assert target.top <= y1 < y2 <= target.top + target.height
        for box in taken:
            apart_x = box[2] <= target.left or target.left + target.width <= box[0]
            apart_y = box[3] <= target.top or target.top + target.height <= box[1]
            assert apart_x or apart_y
        taken.append(paste.box)


def test_nought_to_the_largest_number_is_pasted_each_as_often(donors: list[ImageRecord]) -> None:
    rng = np.random.default_rng(0)
    source = Donors(donors, NATIVE)
    numbers = Counter(len(source.draw(3, NOBODY, (2000, 2000), rng)) for _ in range(2000))
    assert set(numbers) == {0, 1, 2, 3}
    assert all(count == pytest.approx(500, abs=100) for count in numbers.values())


def test_virtual_pictures_neither_give_nor_take(donors: list[ImageRecord]) -> None:
    virtual = [replace(one, image_id=f"v{i}", synthetic=True) for i, one in enumerate(donors)]
    config = replace(PASTED, real_fraction=0.5)
    seen = 0
    for step in range(60):
        rng = np.random.default_rng(step)
        for sample in plan_batch([*donors, *virtual], config, rng, view=NATIVE):
            assert not (sample.pastes and sample.record.synthetic)
            assert not any(paste.record.synthetic for paste in sample.pastes)
            seen += len(sample.pastes)
    assert seen > 50
    only = plan_batch(virtual, PASTED, np.random.default_rng(0), view=NATIVE)
    assert not any(sample.pastes for sample in only)


def test_a_person_has_the_size_that_its_own_picture_gives_it(draw: Callable) -> None:
    """Pictures of 40 and 80 px are both seen at 160: the same box is four and two times as large.

    Tiles of 32 px, seen at 160, make it five times as large, wherever pictures are larger.
    """
    rng = np.random.default_rng(0)
    expected = {40: (4, 5), 80: (2, 5), 20: (8, 8)}
    for side, scales in expected.items():
        box = np.array([[6.0, 4, 12, 12]], np.float32)
        record = replace(draw(0, width=side, height=side, num_boxes=0), boxes=box)
        for tiling, scale in zip((TilingConfig(), TilingConfig(size=64)), scales, strict=True):
            if tiling.size is not None:
                tiling.size = 32
            donor = Donors([record], View((160, 400), tiling))
            pastes = [paste for _ in range(9) for paste in donor.draw(1, NOBODY, (300, 300), rng)]
            assert pastes
            for paste in pastes:
                sides = paste.box[2:] - paste.box[:2]
                np.testing.assert_allclose(sides, [6 * scale, 8 * scale])


def test_a_person_keeps_its_pixels_and_fades_out_in_the_margin() -> None:
    picture, person = torch.zeros(3, 40, 40), torch.rand(3, 20, 16) + 0.5
    before = person.clone()
    target = CropWindow(5, 9, 16, 20)
    box = np.array([9.0, 13, 17, 25])
    paste = PlannedPaste(GIVER, target, target, (4.0, 4.0), box)
    paste_person(picture, person, paste)
    torch.testing.assert_close(picture[:, 13:25, 9:17], before[:, 4:16, 4:12])
    outside = torch.ones(40, 40, dtype=torch.bool)
    outside[9:29, 5:21] = False
    assert not picture[:, outside].any()
    weights = (picture[:, 9:29, 5:21] / before)[0]
    ramp = torch.tensor([0.125, 0.375, 0.625, 0.875])
    torch.testing.assert_close(weights[:4, 8], ramp)
    torch.testing.assert_close(weights[10, :4], ramp)
    torch.testing.assert_close(weights[-4:, 8], ramp.flip(0))
    torch.testing.assert_close(weights[:4, :4], ramp[:, None] * ramp)


def test_the_margin_belongs_to_the_longer_side_of_the_person(donors: list[ImageRecord]) -> None:
    rng = np.random.default_rng(3)
    for paste in Donors(donors, NATIVE).draw(200, NOBODY, (5000, 5000), rng):
        longer = (paste.box[2:] - paste.box[:2]).max()
        assert paste.margin == pytest.approx((max(2, MARGIN * longer),) * 2)


@pytest.mark.parametrize("crop_size", [None, 48])
def test_boxes_follow_the_pixels_of_pasted_persons_through_flips_and_turns(
    donors: list[ImageRecord], cache: ImageCache, crop_size: int | None
) -> None:
    """The pictures are two colours: bright is where a box is, but for the margin."""
    config = replace(
        PASTED, crop_size=crop_size, flip_probability=0.5, vertical_flip_probability=0.5,
        rotate90_probability=0.5,
    )  # fmt: skip
    for step in range(20):
        batch = draw_batch(
            donors, config, np.random.default_rng(step), cache=cache, view=NATIVE,
            fill=torch.zeros(3, 1, 1),
        )  # fmt: skip
        for image, boxes, ignored in zip(batch.images, batch.boxes, batch.ignored, strict=True):
            inside = torch.zeros(image.shape[1:], dtype=torch.bool)
            for x1, y1, x2, y2 in boxes.round().int().tolist():
                assert (image[0, y1 + 1 : y2 - 1, x1 + 1 : x2 - 1] > 0.5).all()
                inside[max(0, y1 - 3) : y2 + 3, max(0, x1 - 3) : x2 + 3] = True
            for x1, y1, x2, y2 in ignored.round().int().tolist():
                inside[max(0, y1 - 1) : y2 + 1, max(0, x1 - 1) : x2 + 1] = True
            # a neighbour of the one that was cut may be in its margin
            assert (image[0][~inside] > 0.5).float().mean() < 0.02


def test_without_it_the_random_numbers_are_the_same(
    donors: list[ImageRecord], cache: ImageCache
) -> None:
    config = replace(PASTED, copy_paste=0)
    rng = np.random.default_rng(7)
    plain = plan_batch(donors, config, np.random.default_rng(7), view=NATIVE)
    assert not any(sample.pastes for sample in plain)
    again = plan_batch(donors, config, rng, view=NATIVE)
    state = rng.bit_generator.state
    expected = np.random.default_rng(7)
    expected.choice(6, 4, replace=False)
    expected.random(4)  # of the flips
    assert state == expected.bit_generator.state
    one, other = (renderer_of(cache, torch.zeros(3, 1, 1)).render(p, None) for p in (plain, again))
    assert torch.equal(one.images, other.images)
