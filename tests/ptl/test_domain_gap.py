from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch
from helpers.closeness import assert_distances_close
from helpers.untrained import spread_scores
from torch import Tensor, nn
from torch.nn import functional
from torchvision.ops import box_iou

from ptl_sweep.config.schema import (
    DetectorConfig,
    EvaluateConfig,
    GaussianConfig,
    InferenceConfig,
    TilingConfig,
)
from ptl_sweep.datasets.images import ImageCache
from ptl_sweep.datasets.records import ImageRecord
from ptl_sweep.detection.detector import Detections, Detector, Losses, Probes, build_detector
from ptl_sweep.detection.pixels import View
from ptl_sweep.distance.gaussian import Gaussian, squared_mahalanobis
from ptl_sweep.ptl import domain_gap
from ptl_sweep.ptl.crops import cut, square_region
from ptl_sweep.ptl.domain_gap import collect_training_features, measure_domain_gap
from ptl_sweep.ptl.methods.ptl import Ptl


class Told(Detector):
    """Answers by a function of (image index over all calls, image); remembers what it was shown."""

    def __init__(self, answer: Callable[[int, Tensor], Detections]) -> None:
        nn.Module.__init__(self)
        self.register_buffer("mean", torch.zeros(3, 1, 1))
        self.feature_dim = 2
        self.answer = answer
        self.shown: list[Tensor] = []
        self.nms: list[bool] = []

    def losses(self, *_: object) -> Losses:
        raise AssertionError("nothing is trained here")

    def detect_and_probe(self, *_: object) -> tuple[list[Detections], list[Probes]]:
        raise AssertionError("nothing is probed here")

    def detect(self, images: Tensor, _setting: EvaluateConfig, *, nms: bool = True):
        self.nms.append(nms)
        found = []
        for image in images:
            found.append(self.answer(len(self.shown), image))
            self.shown.append(image)
        return found


def found(boxes: list, scores: list, features: list, cells: list | None = None) -> Detections:
    n = len(boxes)
    return Detections(
        torch.tensor(boxes, dtype=torch.float32).reshape(n, 4),
        torch.tensor(scores, dtype=torch.float32).reshape(n),
        torch.tensor(features, dtype=torch.float32).reshape(n, 2),
        torch.zeros(n, dtype=torch.int64),
        torch.tensor(list(range(n)) if cells is None else cells, dtype=torch.int64),
    )


NOTHING = found([], [], [])
UNIT = Gaussian(
    mean=np.zeros(2),
    whitening=np.eye(2),
    kept=np.arange(2),
    num_dropped=0,
    n=10,
    rank=2,
    condition=1.0,
    shrinkage=0.0,
    covariance="ml",
)
SETTING = EvaluateConfig()
WHOLE = View(None, TilingConfig())


def synthetic(**changes: object) -> Ptl:
    defaults = {"images_per_iteration": 1, "temperature": 5.0, "scales": [32, 64], "context": 1.0}
    return Ptl(**(defaults | changes))


def test_training_features_are_confident_detections_on_persons_one_per_cell(
    make_record: Callable[..., ImageRecord], cache: ImageCache
) -> None:
    records = [
        make_record("a", [[10, 10, 20, 30], [40, 10, 50, 30]]),
        make_record("b", []),
        make_record("c", [[0, 0, 10, 10]]),
    ]
    answers = [
        found(
            [
                [10, 10, 20, 30],  # exact
                [10, 11, 20, 30],  # the same cell as above
                [40, 14, 50, 30],  # IoU 0.8 with the second person
                [40, 20, 50, 30],  # IoU 0.5 exactly: not more
                [10, 10, 20, 30],  # too low a score
            ],
            [0.9, 0.8, 0.7, 0.6, 0.01],
            [[1, 1], [2, 2], [3, 3], [4, 4], [5, 5]],
            [7, 7, 8, 9, 10],
        ),
        found([[0, 0, 10, 10]], [0.9], [[6, 6]]),  # no person in this image
        NOTHING,
    ]
    detector = Told(lambda index, _: answers[index])
    result = collect_training_features(
        detector, records, GaussianConfig(), SETTING, cache=cache, view=WHOLE
    )
    assert result.features.tolist() == [[1, 1], [3, 3]]
    assert result.features.dtype == np.float32
    assert result.images.tolist() == [0, 0]
    assert result.scores == pytest.approx([0.9, 0.7])


@pytest.mark.parametrize(("detections", "nms"), [("nms", True), ("pre_nms", False)])
def test_the_config_says_whether_nms_comes_first(
    detections: str, nms: bool, make_record: Callable[..., ImageRecord], cache: ImageCache
) -> None:
    detector = Told(lambda _index, _image: NOTHING)
    config = GaussianConfig(detections=detections)
    result = collect_training_features(
        detector, [make_record("a", [[1, 1, 9, 9]])], config, SETTING, cache=cache, view=WHOLE
    )
    assert detector.nms == [nms]
    assert result.features.shape == (0, 2)


def test_the_gap_is_the_smallest_distance_over_scales_and_persons(
    make_record: Callable[..., ImageRecord], cache: ImageCache
) -> None:
    pool = [
        make_record("a", [[10, 10, 30, 30]]),
        make_record("b", []),
        make_record("c", [[5, 5, 25, 25], [30, 20, 50, 40]]),
        make_record("d", [[8, 8, 28, 28]]),
    ]
    lengths = {32: iter([3.0, 4.0, 1.5, None]), 64: iter([2.0, None, 5.0, None])}

    def answer(index: int, image: Tensor) -> Detections:
        side = image.shape[2]
        length = next(lengths[side])
        return NOTHING if length is None else found([[0, 0, side, side]], [0.5], [[length, 0]])

    gap = measure_domain_gap(Told(answer), UNIT, pool, synthetic(), SETTING, cache=cache)
    assert gap.tolist() == [4.0, np.inf, 2.25, np.inf]


def test_the_best_scored_detection_that_overlaps_counts(
    make_record: Callable[..., ImageRecord], cache: ImageCache
) -> None:
    pool = [make_record("a", [[10, 10, 20, 30]])]  # in its square: x 5..15 of 20, rescaled by 1.6
    truth = [8.0, 0.0, 24.0, 32.0]
    answer = found(
        [[24, 0, 32, 32], [8, 4, 24, 32], truth],
        [0.9, 0.6, 0.3],
        [[1, 0], [3, 0], [2, 0]],
    )
    detector = Told(lambda _index, _image: answer)
    config = synthetic(scales=[32])
    assert measure_domain_gap(detector, UNIT, pool, config, SETTING, cache=cache) == [9.0]


@pytest.mark.parametrize("scale", [32, 48])
@pytest.mark.parametrize("context", [1.0, 1.5])
def test_the_detector_is_shown_the_person_resized_with_its_box(
    scale: int, context: float, make_record: Callable[..., ImageRecord], cache: ImageCache
) -> None:
    record = make_record("a", [[22, 10, 34, 30]])
    white = record.pixels.image.copy()
    white[:] = 0
    white[10:30, 22:34] = 255
    record = replace(record, pixels=replace(record.pixels, image=white))

    def answer(index: int, image: Tensor) -> Detections:
        y, x = (image[0] > 0.5).nonzero().T
        return found([[x.min(), y.min(), x.max() + 1, y.max() + 1]], [0.9], [[1, 1]])

    config = synthetic(scales=[scale], context=context)
    detector = Told(answer)
    assert measure_domain_gap(detector, UNIT, [record], config, SETTING, cache=cache) == [2.0]
    assert detector.shown[0].shape == (3, scale, scale)
    assert detector.shown[0].min() >= 0
    assert detector.shown[0].max() <= 1
    covered = float((detector.shown[0][0] > 0.5).float().mean())
    assert covered == pytest.approx(12 * 20 / (20 * context) ** 2, rel=0.1)


def crop_by_crop(
    detector: Detector,
    gaussian: Gaussian,
    pool: list[ImageRecord],
    method: Ptl,
    setting: InferenceConfig,
) -> np.ndarray:
    """The gap of each image, its persons cut, resized and looked for one by one.

    All crops share a forward pass, for the size of a batch may change the last digits.
    """
    gap = np.full(len(pool), np.inf)
    persons = []
    for index, record in enumerate(pool):
        for box in record.boxes:
            region = square_region(box, method.context, record.width, record.height)
            corner = np.array([region.left, region.top] * 2, dtype=np.float32)
            persons.append((index, cut(record.pixels.read(), region), box - corner))
    for side in method.scales:
        images = [
            functional.interpolate(
                torch.from_numpy(crop).permute(2, 0, 1)[None].float() / 255,
                (side, side),
                mode="bilinear",
                antialias=True,
            )
            for _, crop, _ in persons
        ]
        owners, features = [], []
        answers = detector.detect(torch.cat(images), setting)
        for (index, crop, box), one in zip(persons, answers, strict=True):
            truth = torch.from_numpy(box * (side / len(crop)))[None]
            hits = (box_iou(one.boxes, truth)[:, 0] > 0.5).nonzero()[:, 0].tolist()
            if hits:
                owners.append(index)
                features.append(one.features[hits[0]].numpy())
        if owners:
            np.minimum.at(gap, owners, squared_mahalanobis(np.stack(features), gaussian))
    return gap


@pytest.mark.parametrize("seed", range(6))
def test_the_gap_is_that_of_crops_cut_resized_and_matched_one_by_one(
    seed: int, make_record: Callable[..., ImageRecord], cache: ImageCache
) -> None:
    """To the last digit; persons at borders, in crowds, and none at all."""
    rng = np.random.default_rng(seed)
    pool = []
    for number in range(7):
        size = rng.integers(6, 40, size=(rng.integers(0, 4), 2))
        corner = np.minimum(rng.integers(-8, 60, size=size.shape).clip(0), (64, 48) - size)
        fraction = rng.uniform(0, 1, size=(len(size), 4)) * (seed % 2)
        boxes = np.concatenate([corner, corner + size], axis=1) + fraction
        limits = np.array([64, 48, 64, 48])
        pool.append(make_record(f"{seed}{number}", boxes.clip(0, limits).tolist()))
    config = DetectorConfig(
        name="t",
        architecture="retinanet_tiny",
        weights="none",
        anchor_sizes=[[12, 20], [28, 40]],
        aspect_ratios=[0.5, 1.0, 2.0],
        channels=16,
    )
    detector = spread_scores(build_detector(config, torch.Generator().manual_seed(seed)))
    setting = InferenceConfig(score_threshold=0.3, max_detections=(500, 5)[seed % 2])
    method = synthetic(scales=[32, 48], context=1.0 + seed / 4)
    gaussian = replace(
        UNIT, mean=rng.normal(size=16), whitening=rng.normal(size=(16, 16)), kept=np.arange(16)
    )
    gap = measure_domain_gap(detector, gaussian, pool, method, setting, cache=cache)
    with torch.no_grad():
        expected = crop_by_crop(detector, gaussian, pool, method, setting)
    assert np.isfinite(expected).any()
    np.testing.assert_array_equal(gap, expected)
    nothing = replace(setting, score_threshold=1.0)
    silent = measure_domain_gap(detector, gaussian, pool, method, nothing, cache=cache)
    assert np.isinf(silent).all()


def test_chunks_and_batches_change_nothing_with_a_real_detector(
    make_record: Callable[..., ImageRecord], cache: ImageCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = DetectorConfig(
        name="t",
        architecture="retinanet_tiny",
        weights="none",
        anchor_sizes=[[16], [32]],
        aspect_ratios=[0.5, 1.0, 2.0],
        channels=16,
    )
    detector = build_detector(config, torch.Generator().manual_seed(0))
    pool = [make_record(name, [[10, 10, 30, 34], [36, 4, 50, 30]]) for name in "abcde"]
    rng = np.random.default_rng(0)
    gaussian = replace(
        UNIT, mean=rng.normal(size=16), whitening=rng.normal(size=(16, 16)), kept=np.arange(16)
    )
    setting = replace(SETTING, score_threshold=0.0)
    arguments = (detector, gaussian, pool, synthetic(context=1.2), setting)
    whole = measure_domain_gap(*arguments, cache=cache)
    assert np.isfinite(whole).all()
    monkeypatch.setattr(domain_gap, "RECORDS_PER_CHUNK", 2)
    monkeypatch.setattr(domain_gap, "PIXELS_PER_FORWARD", 3 * 32 * 32)
    assert_distances_close(measure_domain_gap(*arguments, cache=cache), whole)
