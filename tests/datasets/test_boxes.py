"""Areas and overlaps of boxes."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy import ndarray

from ptl_sweep.datasets.boxes import box_iou, covered_area, mostly_inside


def pixel_boxes(seed: int, count: int, side: int = 24) -> ndarray:
    rng = np.random.default_rng(seed)
    corner = rng.integers(0, side - 1, (count, 2))
    return np.concatenate([corner, corner + rng.integers(1, 10, (count, 2))], 1).astype(float)


def test_iou_of_known_boxes() -> None:
    boxes = np.array([[0.0, 0.0, 2.0, 2.0], [5.0, 5.0, 5.0, 5.0]])
    others = np.array([[1.0, 0.0, 3.0, 2.0], [5.0, 5.0, 5.0, 5.0]])
    np.testing.assert_allclose(box_iou(boxes, others), [[1 / 3, 0], [0, 0]])


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 10**6), num_boxes=st.integers(0, 6), num_regions=st.integers(0, 6))
def test_covered_area_counts_the_pixels_of_the_union(
    seed: int, num_boxes: int, num_regions: int
) -> None:
    boxes, regions = pixel_boxes(seed, num_boxes), pixel_boxes(seed + 1, num_regions)
    raster = np.zeros((40, 40))
    for x1, y1, x2, y2 in regions.astype(int):
        raster[y1:y2, x1:x2] = 1
    expected = [raster[y1:y2, x1:x2].sum() for x1, y1, x2, y2 in boxes.astype(int)]
    np.testing.assert_array_equal(covered_area(boxes, regions), np.array(expected))


def test_half_of_a_box_under_two_overlapping_regions_is_mostly_inside() -> None:
    boxes = np.array([[0.0, 0.0, 10.0, 10.0], [0.0, 0.0, 10.0, 12.0], [3.0, 3.0, 3.0, 3.0]])
    regions = np.array([[0.0, 0.0, 10.0, 4.0], [0.0, 2.0, 10.0, 5.0]])
    assert mostly_inside(boxes, regions).tolist() == [True, False, False]
