"""Persons of real training images, pasted on others: copy-paste for boxes instead of masks.

Ghiasi et al. (CVPR 2021) paste instances along their masks. Real persons here have boxes alone, so
a person is cut with a margin in which it fades out, as Dwibedi et al. (ICCV 2017) blend theirs.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float
from numpy import ndarray
from torch import Tensor

from ptl_sweep.datasets.records import ImageRecord
from ptl_sweep.detection.pixels import CropWindow, View, resized_size

MARGIN = 0.15  # of the longer side of a person's box, and at least ...
MIN_MARGIN = 2.0  # ... so many pixels, where a pasted person fades out; ours
NUM_TRIES = 10  # places that are tried before a person is left out; ours
MIN_SIDE = 4.0  # pixels on the sample; smaller persons are not pasted; ours


class PlannedPaste(NamedTuple):
    """One person, where it is cut out, and where it comes to lie."""

    record: ImageRecord
    part: CropWindow  # the person and its margin, stored pixels
    target: CropWindow  # the same on the sample, before it is flipped or turned
    margin: tuple[float, float]  # below which it fades out: along y and x, pixels of the sample
    box: Float[ndarray, " 4"]  # the person on the sample, xyxy pixels


class Donors:
    """Real images with persons, and the scale at which training sees each."""

    def __init__(self, records: Sequence[ImageRecord], view: View) -> None:
        self._records = [one for one in records if not one.synthetic and len(one.boxes)]
        self._view = view

    def draw(
        self,
        largest: int,
        persons: Float[ndarray, "n 4"],
        sides: tuple[int, int],
        rng: np.random.Generator,
    ) -> list[PlannedPaste]:
        """Nought to `largest` persons for a sample of this height and width, each as likely.

        Nobody covers a person of the sample or another one that was pasted; who finds no room is
        left out.
        """
        taken, pastes = persons, []
        for _ in range(rng.integers(largest + 1) if self._records else 0):
            paste = self._placed(self._cut(rng), taken, sides, rng)
            if paste is not None:
                pastes.append(paste)
                taken = np.concatenate([taken, paste.box[None]])
        return pastes

    def _cut(self, rng: np.random.Generator) -> PlannedPaste:
        """A person of a random image, not placed yet: at the corner of the sample."""
        record = self._records[rng.integers(len(self._records))]
        box = record.boxes[rng.integers(len(record.boxes))].astype(np.float64)
        margin = max(MIN_MARGIN, MARGIN * float((box[2:] - box[:2]).max()))
        low = np.floor((box[:2] - margin).clip(0)).astype(int)
        high = np.ceil(np.minimum(box[2:] + margin, [record.width, record.height])).astype(int)
        part = CropWindow(*low.tolist(), *(high - low).tolist())
        scale = self._scale(record)
        width, height = np.rint((high - low) * scale).clip(1).astype(int).tolist()
        placed = (box - np.tile(low, 2)) * np.tile([width, height] / (high - low), 2)
        fading = (margin * float(scale[1]), margin * float(scale[0]))
        return PlannedPaste(record, part, CropWindow(0, 0, width, height), fading, placed)

    def _scale(self, record: ImageRecord) -> Float[ndarray, " 2"]:
        """Pixels of a sample for one of the image, along x and y."""
        side = self._view.tile_side(record.height, record.width) or max(record.height, record.width)
        height, width = min(side, record.height), min(side, record.width)
        seen = resized_size(height, width, self._view.resize)
        return np.array([seen[1] / width, seen[0] / height])

    def _placed(
        self,
        paste: PlannedPaste,
        taken: Float[ndarray, "n 4"],
        sides: tuple[int, int],
        rng: np.random.Generator,
    ) -> PlannedPaste | None:
        """The same at a free place; None without one, or where it is larger than the sample."""
        window, box = paste.target, paste.box
        size = np.array([window.width, window.height])
        room = sides[::-1] - size
        if (room < 0).any() or (box[2:] - box[:2] < MIN_SIDE).any():
            return None
        for corner in rng.integers(room + 1, size=(NUM_TRIES, 2)):
            covered = (taken[:, :2] < corner + size) & (corner < taken[:, 2:])
            if not covered.all(1).any():
                target = window._replace(left=int(corner[0]), top=int(corner[1]))
                return paste._replace(target=target, box=box + np.tile(corner, 2))
        return None


def paste_person(
    picture: Float[Tensor, "3 h w"], person: Float[Tensor, "3 p q"], paste: PlannedPaste
) -> None:
    """Blend a person, resized to its place, into a picture, in place."""
    rows, columns = (
        _fading(length, margin, picture.device)
        for length, margin in zip(person.shape[1:], paste.margin, strict=True)
    )
    down, across = paste.target.slices
    place = picture[:, down, across]
    place.lerp_(person, rows[:, None] * columns)


def _fading(length: int, margin: float, device: torch.device) -> Float[Tensor, " length"]:
    """Weight of each pixel along one side: rises over the margin at both ends, 1 between them."""
    centre = torch.arange(length, device=device) + 0.5
    return (torch.minimum(centre, length - centre) / margin).clamp(max=1)
