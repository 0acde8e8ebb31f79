"""Which location learns which box, against torchvision's FCOS; where a box should be found."""

from itertools import pairwise

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence
from torchvision.models.detection import FCOS
from torchvision.ops import box_iou

from ptl_sweep.detection.networks import loss
from ptl_sweep.detection.networks.fcos_matching import (
    Locations,
    locations_of,
    match_locations,
    nearest_locations,
)
from ptl_sweep.detection.networks.loss import BACKGROUND

STRIDES = (8, 16, 32)
SIDE = 256  # pixels
LEVEL_SIZES = [(SIDE // stride) ** 2 for stride in STRIDES]


def squares(sizes: tuple[int, ...] = STRIDES) -> Tensor:
    """torchvision's anchors: squares of one size a level, centred on multiples of its stride."""
    levels = []
    for stride, size in zip(STRIDES, sizes, strict=True):
        steps = torch.arange(0.0, SIDE, stride)
        y, x = torch.meshgrid(steps, steps, indexing="ij")
        centres = torch.stack([x, y, x, y], -1).reshape(-1, 4)
        levels.append(centres + size / 2 * torch.tensor([-1.0, -1.0, 1.0, 1.0]))
    return torch.cat(levels)


def locations(sizes: tuple[int, ...] = STRIDES) -> Locations:
    return locations_of(squares(sizes), LEVEL_SIZES)


def boxes_from(seed: int, count: int, *, whole: bool = False) -> Tensor:
    """Sides of 2 to 200 pixels, most of them short."""
    generator = torch.Generator().manual_seed(seed)
    sides = 2 * 100 ** torch.rand(count, 2, generator=generator)
    corner = torch.rand(count, 2, generator=generator) * SIDE - sides / 2
    boxes = torch.cat([corner, corner + sides], 1)
    return boxes.round() + torch.tensor([0.0, 0.0, 1.0, 1.0]) if whole else boxes


class _Matches(torch.nn.Module):
    """Stands for the head, and keeps what it is told."""

    def compute_loss(self, *told: object) -> object:
        return told[-1]


def stock_matches(boxes: Tensor, anchors: Tensor) -> Tensor:
    """Of torchvision, in float64: its float32 cannot tell areas that are nearly the same."""
    backbone = torch.nn.Identity()
    backbone.out_channels = 32
    stock = FCOS(backbone, 1, head=_Matches())
    target = {"boxes": boxes.double(), "labels": torch.zeros(len(boxes), dtype=torch.long)}
    (found,) = stock.compute_loss([target], {}, [anchors.double()], LEVEL_SIZES)
    return found


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 10**6),
    count=st.integers(1, 40),
    sizes=st.sampled_from([(8, 16, 32), (4, 8, 16), (6, 8, 16)]),
)
def test_matches_are_those_of_torchvision(seed: int, count: int, sizes: tuple[int, ...]) -> None:
    """Exactly, on whole pixels: sums and products of them are not rounded."""
    boxes = boxes_from(seed, count, whole=True)
    fewer = boxes[: count // 2]
    padded = pad_sequence([boxes, fewer, boxes[:0]], batch_first=True)
    found = match_locations(locations(sizes), padded)
    assert torch.equal(found[0], stock_matches(boxes, squares(sizes)))
    assert torch.equal(found[1], stock_matches(fewer, squares(sizes)))
    assert (found[2] == BACKGROUND).all()


@pytest.mark.parametrize("smaller", [24.0, 39.9])
def test_the_smaller_of_two_boxes_is_learnt_where_both_could_be(smaller: float) -> None:
    """Also where the areas differ by less than torchvision can tell."""
    large = torch.tensor([[44.0, 44.0, 84.0, 84.0]])
    small = torch.tensor([[64 - smaller / 2, 44.0, 64 + smaller / 2, 84.0]])
    centre = 8 * (SIDE // 8) + 8  # of the finest level: the cell at (64, 64)
    for boxes, expected in ((torch.cat([large, small]), 1), (torch.cat([small, large]), 0)):
        assert match_locations(locations(), boxes[None])[0, centre] == expected


def test_matches_do_not_depend_on_the_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    boxes = boxes_from(1, 40)
    whole, places = match_locations(locations(), boxes[None]), nearest_locations(locations(), boxes)
    monkeypatch.setitem(loss._PAIRS_PER_CHUNK, "cpu", 1)
    assert len(list(locations().chunks(40))) > 1
    assert torch.equal(match_locations(locations(), boxes[None]), whole)
    for again, before in zip(nearest_locations(locations(), boxes), places, strict=True):
        assert torch.equal(again, before)


def test_a_box_is_looked_up_at_the_nearest_location_that_learns_it_when_alone() -> None:
    boxes = boxes_from(2, 200)
    _, found = nearest_locations(locations(), boxes)
    centres = torch.stack([locations().x, locations().y], 1)
    num_learnt = 0
    for box, index in zip(boxes, found, strict=True):
        learns = (stock_matches(box[None], squares()) == 0).nonzero()[:, 0]
        if len(learns):
            away = (centres[learns] - (box[:2] + box[2:]) / 2).square().sum(1)
            assert index == learns[away.argmin()]
            num_learnt += 1
    assert 100 < num_learnt < 200


def test_a_box_between_all_locations_is_looked_up_next_to_it_on_the_level_of_its_size() -> None:
    boxes = torch.tensor([[17.0, 18.0, 19.0, 20.0], [65.0, 10.0, 70.0, 140.0]])
    assert (match_locations(locations(), boxes[None]) == BACKGROUND).all()
    _, (first, second) = nearest_locations(locations(), boxes)
    assert (locations().x[first], locations().y[first]) == (16, 16)
    assert first < LEVEL_SIZES[0]
    assert (locations().x[second], locations().y[second]) == (64, 80)
    assert LEVEL_SIZES[0] <= second < LEVEL_SIZES[0] + LEVEL_SIZES[1]


def test_iou_of_a_probe_is_that_of_the_box_moved_to_its_location() -> None:
    boxes = boxes_from(3, 50)
    iou, index = nearest_locations(locations(), boxes)
    centres = torch.stack([locations().x, locations().y], 1)[index]
    half = (boxes[:, 2:] - boxes[:, :2]) / 2
    moved = torch.cat([centres - half, centres + half], 1)
    torch.testing.assert_close(iou, box_iou(boxes, moved).diagonal(), rtol=1e-4, atol=1e-6)


def test_without_boxes_nothing_is_learnt_and_nothing_looked_up() -> None:
    assert (match_locations(locations(), torch.zeros(1, 0, 4)) == BACKGROUND).all()
    assert [len(part) for part in nearest_locations(locations(), torch.zeros(0, 4))] == [0, 0]


def test_the_ranges_of_the_levels_leave_no_size_out() -> None:
    bounds = sorted({(low.item(), high.item()) for low, high in zip(*locations()[3:], strict=True)})
    assert bounds[0][0] == 0
    assert all(low <= high for (_, high), (low, _) in pairwise(bounds))
    assert bounds[-1][1] == float("inf")
