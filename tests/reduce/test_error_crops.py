"""A crop shows the detection, and the persons labelled around it, where they are."""

import numpy as np

from ptl_sweep.datasets.records import ImageRecord
from ptl_sweep.reduce.error_crops import BOX_COLOUR, PERSON_COLOUR, SIDE_PX, cut_out


class Grey:
    """A picture without anything in it."""

    def read(self) -> np.ndarray:
        return np.full((200, 200, 3), 120, np.uint8)

    def read_masks(self) -> np.ndarray:
        return np.zeros((0, 200, 200), np.uint8)


def crop(*persons: tuple[float, float, float, float]) -> np.ndarray:
    """The crop of a false positive of 20 x 20 px: 60 x 60 px around it."""
    boxes = np.array(persons, np.float32).reshape(-1, 4)
    record = ImageRecord(
        image_id="a", width=200, height=200, boxes=boxes, ignored=boxes[:0], scene="s",
        pixels=Grey(),
    )  # fmt: skip
    return np.array(cut_out(record, (90.0, 90.0, 110.0, 110.0)))


def drawn(picture: np.ndarray, colour: tuple[int, int, int]) -> list[list[int]]:
    """First and last row and column of a colour."""
    return [[int(one.min()), int(one.max())] for one in np.nonzero((picture == colour).all(-1))]


def test_ground_truth_is_drawn_beside_the_detection() -> None:
    scale = SIDE_PX / 60
    picture = crop((80.0, 75.0, 88.0, 120.0))
    assert drawn(picture, BOX_COLOUR) == [[round(20 * scale), round(40 * scale)]] * 2
    rows, columns = drawn(picture, PERSON_COLOUR)
    assert np.abs(np.subtract(rows, [5 * scale, 50 * scale])).max() <= 1
    assert np.abs(np.subtract(columns, [10 * scale, 18 * scale])).max() <= 1


def test_a_person_outside_the_crop_is_not_drawn() -> None:
    picture = crop((10.0, 10.0, 20.0, 20.0))
    assert not (picture == PERSON_COLOUR).all(-1).any()


def test_the_detection_lies_above_the_ground_truth() -> None:
    alone = crop()
    assert np.array_equal(crop((90.0, 90.0, 110.0, 110.0)), alone)
