"""How close two float32 results must be that were computed in different orders.

Addition of floats is not associative. A convolution, a matrix product or a sum adds in an order
that depends on the kernel: on the vector width of the processor (SSE, AVX2, AVX-512), on the size
of the batch, on where a tile begins. exp and log are approximated differently in the vectorised
body of a loop and in its tail. So a second route to the same quantity (stock torchvision, another
batch size, tiles) may differ in the last digits on one processor and agree on another: what a test
may demand is stated here, once, each with its reason.

What we promise bit for bit (a resumed training, the same seed twice, a cached result, another
launcher) runs the same kernels on the same shapes and is compared with torch.equal, not with this.

UNIT below is the spacing of float32 relative to a number: 2**-23, 1.2e-7. Each tolerance is some
ten times the largest difference that was seen between the two routes, on the AVX2 and the plain
kernels of torch: room for a processor that nobody tried, and far below what a wrong formula does.
"""

import numpy as np
import torch
from numpy import ndarray
from torch import Tensor

from ptl_sweep.detection.detector import Detections

UNIT = torch.finfo(torch.float32).eps

# Boxes of up to 1,000 px: one unit there is 1e-4 px. An offset comes out of a network some 10 units
# off and is multiplied by the side of an anchor. Seen: 1.2e-4 px. No metric of ours can tell.
BOX_PX = 1e-3

# Scores are sigmoids of logits that are some 10 units off. Seen: 1.2e-6.
SCORE = 1e-5

# Activations after a tower of convolutions, relative to the largest of them: sums of some 1,000
# products of either sign, so that a small activation carries the rounding of large summands, and
# each layer adds its own. Seen: 1.8e-6.
ACTIVATION = 2e-5

# One elementwise formula with exp, log or a division, or one interpolation: a few units, relative
# to the largest value, because the terms of a difference cancel. Seen: 0.1 units, but the log of
# another library may be off by one or two.
ELEMENTWISE = 4 * UNIT

# A sum of positive terms over all anchors (a loss): nothing cancels. Seen: 0.6 units.
LOSS = 8 * UNIT

# A gradient went through the network twice, and its entries are sums of terms that cancel: relative
# to the largest entry of the same parameter. Seen: 1.1e-6.
GRADIENT = 1e-5

# Squared Mahalanobis distances are computed in float64, of float32 features: what these are off,
# squared. Seen: 6e-7.
DISTANCE = 1e-5

# Pixels of 8 bits: a value next to a half is rounded up by one kernel and down by another.
PIXEL = 1


def assert_boxes_close(found: Tensor | ndarray, expected: Tensor | ndarray) -> None:
    """xyxy in pixels, row by row, within BOX_PX."""
    one, other = torch.as_tensor(found), torch.as_tensor(expected)
    torch.testing.assert_close(one, other, rtol=0, atol=BOX_PX)


def assert_activations_close(found: Tensor, expected: Tensor) -> None:
    """Logits or features, within ACTIVATION of the largest of them."""
    _assert_close_to_the_largest(found, expected, ACTIVATION)


def assert_elementwise_close(found: Tensor, expected: Tensor, *, largest: float = 0.0) -> None:
    """One formula per element, within ELEMENTWISE of the largest value or of `largest`, where an
    intermediate is larger than any result.
    """
    _assert_close_to_the_largest(found, expected, ELEMENTWISE, largest)


def assert_losses_close(found: Tensor, expected: Tensor) -> None:
    """Sums of positive terms, within LOSS of themselves."""
    torch.testing.assert_close(found, expected, rtol=LOSS, atol=0)


def assert_gradients_close(found: Tensor, expected: Tensor) -> None:
    """The gradient of one parameter, within GRADIENT of its largest entry."""
    _assert_close_to_the_largest(found, expected, GRADIENT, 1e-8)


def assert_distances_close(found: ndarray, expected: ndarray) -> None:
    """Squared Mahalanobis distances of float32 features, within DISTANCE of themselves."""
    np.testing.assert_allclose(found, expected, rtol=DISTANCE, atol=0)


def assert_pixels_close(found: ndarray, expected: ndarray) -> None:
    """Pixels of 8 bits that a network made, within PIXEL."""
    assert found.dtype == expected.dtype == np.uint8
    np.testing.assert_allclose(found.astype(int), expected.astype(int), rtol=0, atol=PIXEL)


def _assert_close_to_the_largest(
    found: Tensor, expected: Tensor, tolerance: float, largest: float = 0.0
) -> None:
    scale = max(largest, float(expected.detach().abs().max()) if expected.numel() else 0.0)
    torch.testing.assert_close(found, expected, rtol=0, atol=tolerance * scale)


def near(boxes: Tensor, others: Tensor) -> Tensor:
    """(n, m): whether box n of the first is box m of the others, within BOX_PX."""
    return (boxes[:, None] - others).abs().amax(2) <= BOX_PX


def alike(found: Detections, expected: Detections) -> Tensor:
    """(n, m): whether n of the first is m of the others in box, score and feature.

    Levels and cells are left out: those of tiles are counted from tile to tile.
    """
    same = _same_place(found.boxes, found.scores, expected.boxes, expected.scores)
    if same.numel() == 0:
        return same
    scale = max(float(one.features.abs().max()) for one in (found, expected))
    apart = (found.features[:, None] - expected.features).abs().amax(2)
    return same & (apart <= ACTIVATION * scale)


def assert_detections_close(found: Detections, expected: Detections) -> None:
    """Each of the one is one of the other with its box, score and feature.

    Both must be sorted by score. Their orders are not compared: scores that differ by less than
    their rounding may swap.
    """
    _assert_sorted_pairs(found.scores, expected.scores, alike(found, expected))


def assert_scored_boxes_close(
    boxes: Tensor, scores: Tensor, expected_boxes: Tensor, expected_scores: Tensor
) -> None:
    """As assert_detections_close, for a reference that knows no features."""
    same = _same_place(boxes, scores, expected_boxes, expected_scores)
    _assert_sorted_pairs(scores, expected_scores, same)


def _same_place(boxes: Tensor, scores: Tensor, others: Tensor, their_scores: Tensor) -> Tensor:
    return near(boxes, others) & ((scores[:, None] - their_scores).abs() <= SCORE)


def _assert_sorted_pairs(scores: Tensor, expected: Tensor, same: Tensor) -> None:
    assert len(scores) == len(expected)
    assert (scores.diff() <= 0).all()
    assert (expected.diff() <= 0).all()
    assert same.any(1).all(), f"{int((~same.any(1)).sum())} of {len(scores)} are not expected"
    assert same.any(0).all(), f"{int((~same.any(0)).sum())} of {len(expected)} are missing"
