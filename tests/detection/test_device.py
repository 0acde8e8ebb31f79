"""Inference on a GPU, on a machine without one: shapes, devices, and where the host waits."""

from collections import Counter
from collections.abc import Callable, Iterator
from functools import partial
from operator import methodcaller

import numpy as np
import pytest
import torch
from helpers.waits import counted_waits, on_fake_cuda
from torch import Tensor
from torch._subclasses import FakeTensorMode

from ptl_sweep.config.schema import DetectorConfig, EvaluateConfig, TilingConfig
from ptl_sweep.datasets.images import ImageCache
from ptl_sweep.datasets.records import ImageRecord
from ptl_sweep.detection import detector as choosing
from ptl_sweep.detection.architectures import architecture_of
from ptl_sweep.detection.detector import Detections, Detector
from ptl_sweep.detection.inference import detect_and_probe_records
from ptl_sweep.detection.networks import pyramid
from ptl_sweep.detection.pixels import View
from ptl_sweep.distance.gaussian import Gaussian
from ptl_sweep.ptl import domain_gap

SETTING = EvaluateConfig(score_thresholds=[0.05, 0.1, 0.5], score_threshold=0.05)
CUDA = torch.device("cuda")


@pytest.fixture
def fake_cuda(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(Tensor, "pin_memory", lambda self: self)  # no fake of it exists
    with FakeTensorMode(), torch.no_grad():
        yield


@pytest.fixture(params=["tiny_with", "r50_with", "fcos_with", "fcos_r50_with"])
def config(request: pytest.FixtureRequest) -> DetectorConfig:
    return request.getfixturevalue(request.param)()


def fake_detections(counts: list[int], width: int) -> list[Detections]:
    return [
        Detections(
            torch.empty(n, 4, device=CUDA),
            torch.empty(n, device=CUDA),
            torch.empty(n, width, device=CUDA),
            torch.zeros(n, dtype=torch.int64, device=CUDA),
            torch.zeros(n, dtype=torch.int64, device=CUDA),
        )
        for n in counts
    ]


@pytest.mark.usefixtures("fake_cuda")
def test_nothing_waits_from_the_pixels_to_the_candidates_of_a_batch(
    config: DetectorConfig,
) -> None:
    detector = on_fake_cuda(architecture_of(config).build(config).eval())
    images = torch.empty(3, 3, 96, 128, device=CUDA)
    prepared = detector._prepare(images)
    raw = detector._predict(prepared)
    anchors = detector._anchors_of(prepared, raw.grids)  # once for images of a size
    with counted_waits() as waits:
        raw = detector._predict(detector._prepare(images))
        boxes, scores, indices = detector._candidates(raw, anchors, (96, 128), SETTING)
        chosen = torch.zeros(7, dtype=torch.int64, device=CUDA)
        features, levels, cells = detector._features_of(raw, chosen, indices[chosen, chosen])
    assert waits == {}
    per_level = [height * width * detector.num_shapes for height, width in raw.grids]
    count = sum(min(one, SETTING.candidates_per_level) for one in per_level)
    assert boxes.shape == (3, count, 4)
    assert scores.shape == indices.shape == (3, count)
    assert features.shape == (7, detector.feature_dim)
    for one in (boxes, scores, indices, features, levels, cells):
        assert one.device.type == "cuda"


@pytest.mark.usefixtures("fake_cuda")
def test_nothing_but_the_choice_of_detections_waits_when_persons_are_probed(
    config: DetectorConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The choice is made beforehand: three detections of the first image, none, and one."""
    detector = on_fake_cuda(architecture_of(config).build(config).eval())
    images = torch.empty(3, 3, 96, 128, device=CUDA)
    wanted = [torch.empty(num, 4, device=CUDA) for num in (2, 0, 5)]
    images_of = torch.zeros(4, dtype=torch.int64, device=CUDA)
    best = choosing.Best(images_of, images_of, [3, 0, 1])
    monkeypatch.setattr(pyramid, "best_of_batch", lambda *_, **__: best)
    detector.detect(images, SETTING)  # makes the anchors
    with counted_waits() as waits:
        found, probed = detector.detect_and_probe(images, wanted, SETTING)
    assert waits == {}
    assert [len(one.scores) for one in found] == [3, 0, 1]
    assert [len(one.iou) for one in probed] == [2, 0, 5]
    fields = [field for one in (*found, *probed) for field in one]
    assert {field.device.type for field in fields} == {"cuda"}


@pytest.mark.usefixtures("fake_cuda")
@pytest.mark.parametrize("counts", [[3, 0, 4], [0, 0, 0]])
def test_nothing_waits_from_the_detections_of_crops_to_the_best_of_each_person(
    counts: list[int],
) -> None:
    crops = [torch.zeros(s, s, 3, dtype=torch.uint8, device=CUDA) for s in (20, 31, 20)]
    truths = torch.empty(3, 4, device=CUDA)
    with counted_waits() as waits:
        hit, features = domain_gap._best_hits(fake_detections(counts, 48), truths)
    assert waits == {}
    assert hit.shape == (3,)
    assert features.shape == (3, 48)
    assert hit.device.type == features.device.type == "cuda"
    images = domain_gap._resized(crops, 48)
    assert images.shape == (3, 3, 48, 48)
    assert images.device.type == "cuda"


@pytest.fixture
def treated_as_on_cuda(monkeypatch: pytest.MonkeyPatch) -> None:
    """Batches go the way on the CPU that they go on a GPU."""
    monkeypatch.setattr(choosing, "_best_each", choosing._best_together)


def waits_of(run: Callable[[], object]) -> Counter[str]:
    with counted_waits() as waits:
        run()
    return waits


@pytest.mark.usefixtures("treated_as_on_cuda")
def test_the_host_waits_as_often_for_many_persons_of_a_block_as_for_one(tiny: Detector) -> None:
    rng = np.random.default_rng(0)
    gaussian = Gaussian(
        mean=np.zeros(48),
        whitening=np.eye(48),
        kept=np.arange(48),
        num_dropped=0,
        n=100,
        rank=48,
        condition=1.0,
        shrinkage=0.0,
        covariance="ml",
    )

    def block(num: int) -> Callable[[], object]:
        sides = rng.integers(20, 60, num)
        crops = [torch.randint(0, 256, (s, s, 3), dtype=torch.uint8) for s in sides.tolist()]
        boxes = np.stack([[2, 2, s - 2, s - 2] for s in sides]).astype(np.float32)
        persons = domain_gap._CutPersons(np.arange(num), crops, boxes)
        gap = np.full(num, np.inf)
        return lambda: domain_gap._update_min_gap(
            gap, tiny, gaussian, persons, side=32, inference=SETTING
        )

    block(1)()  # makes the anchors
    with torch.no_grad():
        few, many = (waits_of(block(num)) for num in (1, 40))
    assert few == many
    assert few["torchvision::nms"] == 1
    assert few["tolist"] == 2  # detections above the threshold, and what NMS leaves of each image
    assert few["numpy"] == 2  # two arrays of one transfer
    assert sum(few.values()) == 5


@pytest.mark.usefixtures("treated_as_on_cuda")
def test_the_host_waits_as_often_for_a_batch_of_evaluation_as_for_one_image(
    tiny: Detector, draw: Callable[..., ImageRecord], cache: ImageCache
) -> None:
    def batch(num: int) -> Callable[[], object]:
        records = [draw(seed, num_boxes=seed % 4) for seed in range(num)]
        setting = EvaluateConfig(
            score_thresholds=[0.05, 0.1, 0.5], score_threshold=0.05, batch_size=8
        )
        view = View(None, TilingConfig())
        return lambda: list(
            detect_and_probe_records(tiny, records, setting, cache=cache, view=view)
        )

    batch(1)()
    few, many = (waits_of(batch(num)) for num in (1, 8))
    assert few == many
    assert few == {"torchvision::nms": 1, "tolist": 2}


def test_waits_are_noticed() -> None:
    """Each kind; a copy that does not block is none."""
    values = torch.arange(4)
    kinds: list[Callable[[Tensor], object]] = [
        lambda one: one[one > 1],
        lambda one: one.masked_select(one > 1),
        lambda one: one.max().item(),
        lambda one: int(one.max()),
        *map(methodcaller, ("tolist", "cpu", "numpy", "nonzero", "unique", "bincount")),
        methodcaller("repeat_interleave", values),
    ]
    for kind in kinds:
        assert waits_of(partial(kind, values))
    assert not waits_of(lambda: values[values[:2]] + 1)


@pytest.mark.usefixtures("fake_cuda")
def test_blocking_copies_are_noticed() -> None:
    values: Tensor = torch.zeros(3)
    assert waits_of(lambda: values.to(CUDA))
    assert not waits_of(lambda: values.to(CUDA, non_blocking=True))
