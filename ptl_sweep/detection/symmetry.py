"""Flips and quarter turns of a training picture: drawn once, applied to boxes and pixels."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float
from numpy import ndarray
from torch import Tensor

from ptl_sweep.config.schema import TrainRecipe


class Symmetry(NamedTuple):
    """What is done to a picture, in this order."""

    mirrored: bool = False  # left and right change places
    turned_over: bool = False  # above and below change places
    quarter_turns: int = 0  # by 90 degrees anticlockwise, as numpy.rot90: 0, 1 or 3

    def sides(self, height: int, width: int) -> tuple[int, int]:
        """Height and width of a picture afterwards, pixels."""
        return (width, height) if self.quarter_turns % 2 else (height, width)

    def of_boxes(
        self, boxes: Float[ndarray, "n 4"], height: int, width: int
    ) -> Float[ndarray, "n 4"]:
        """Where boxes of a picture of this size lie afterwards, xyxy pixels."""
        if self.mirrored:
            boxes = _flipped(boxes, 0, width)
        if self.turned_over:
            boxes = _flipped(boxes, 1, height)
        for _ in range(self.quarter_turns):
            boxes = _flipped(boxes, 0, width)[:, [1, 0, 3, 2]]
            height, width = width, height
        return boxes

    def of_picture(self, picture: Float[Tensor, "c h w"]) -> Float[Tensor, "c h2 w2"]:
        """The picture afterwards; a view of the same pixels where nothing is done."""
        axes = [axis for axis, on in ((2, self.mirrored), (1, self.turned_over)) if on]
        flipped = picture.flip(axes) if axes else picture
        return flipped.rot90(self.quarter_turns, (1, 2)) if self.quarter_turns else flipped


def draw_symmetry(config: TrainRecipe, rng: np.random.Generator) -> Symmetry:
    """Each of the three with its chance; turns to the left are as likely as to the right.

    What has no chance takes no random number: trainings without it stay the same.
    """
    mirrored = rng.random() < config.flip_probability
    vertical, turning = config.vertical_flip_probability, config.rotate90_probability
    turned_over = bool(vertical) and rng.random() < vertical
    turns = bool(turning) and rng.random() < turning
    return Symmetry(mirrored, turned_over, int(rng.choice((1, 3))) if turns else 0)


def _flipped(boxes: Float[ndarray, "n 4"], axis: int, length: int) -> Float[ndarray, "n 4"]:
    """Mirrored along x (axis 0) or y (axis 1) of an image so long there."""
    mirrored = boxes.copy()
    mirrored[:, axis], mirrored[:, axis + 2] = length - boxes[:, axis + 2], length - boxes[:, axis]
    return mirrored
