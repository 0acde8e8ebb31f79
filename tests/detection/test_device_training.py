"""What a training does on another device than the CPU: checked without one.

Meta tensors have shapes and no values, so whatever waits for a device fails on them; fake CUDA
tensors know where they lie, so whatever was left on the host fails beside them.
"""

from collections.abc import Callable, Iterator
from pathlib import Path
from unittest import mock

import numpy as np
import pytest
import torch
from numpy import ndarray
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode

from ptl_sweep.config.schema import TilingConfig, TrainConfig
from ptl_sweep.datasets.images import ImageCache
from ptl_sweep.datasets.records import ImageRecord
from ptl_sweep.datasets.validation import DataError
from ptl_sweep.detection.architectures import architecture_of
from ptl_sweep.detection.detector import Detector
from ptl_sweep.detection.pixels import CropWindow, View
from ptl_sweep.detection.rendering import BatchRenderer, DeviceImages, device_budget
from ptl_sweep.detection.sampling import plan_batch
from ptl_sweep.detection.training import TrainingRun, plans_ahead

META = torch.device("meta")
RESIZED, NATIVE = View((96, 200), TilingConfig()), View(None, TilingConfig())


@pytest.fixture
def records(draw: Callable) -> list[ImageRecord]:
    """Four pictures of three sizes, one without a person."""
    sizes = ((64, 64, 2), (90, 64, 5), (64, 90, 0), (64, 64, 1))
    return [
        draw(seed, width=width, height=height, num_boxes=count)
        for seed, (width, height, count) in enumerate(sizes)
    ]


@pytest.fixture(params=["tiny", "r50", "fcos"])
def build(request: pytest.FixtureRequest) -> Callable[[], Detector]:
    """Builds each architecture, in training, on the device that is the default."""
    config = request.getfixturevalue(f"{request.param}_with")()
    return lambda: architecture_of(config).build(config).train()


@pytest.fixture
def unpinned() -> Iterator[None]:
    """Pinned memory needs a driver."""
    with mock.patch.object(torch.Tensor, "pin_memory", lambda tensor: tensor):
        yield


@pytest.mark.parametrize("crop_size", [None, 48])
@pytest.mark.parametrize("view", [RESIZED, NATIVE])
@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
def test_no_step_needs_a_value_on_the_host(
    records: list[ImageRecord],
    build: Callable[[], Detector],
    training_with: Callable[..., TrainConfig],
    optimizer: str,
    view: View,
    crop_size: int | None,
) -> None:
    """Rendering, forward, losses, backward, clipping and update."""
    config = training_with(
        batch_size=4, optimizer=optimizer, crop_size=crop_size, rotate90_probability=0.5,
        copy_paste=3,
    )  # fmt: skip
    with META:
        detector = build()
    images = DeviceImages(ImageCache(2**26), META, 2**26)
    run = TrainingRun(detector, config, Path("unused"), 5.0)
    for step in range(2):
        plan = plan_batch(records, config, np.random.default_rng(step), view=view)
        run.take_step(BatchRenderer(images, detector.mean).render(plan, crop_size))
    assert all(reading.is_meta and reading.shape == (3,) for reading in run.window)


@pytest.mark.usefixtures("unpinned")
@pytest.mark.parametrize("view", [RESIZED, NATIVE])
def test_every_tensor_of_a_step_lies_on_the_gpu(
    records: list[ImageRecord],
    build: Callable[[], Detector],
    training_with: Callable[..., TrainConfig],
    view: View,
) -> None:
    config = training_with(batch_size=4, rotate90_probability=0.5, copy_paste=3)
    with FakeTensorMode(allow_non_fake_inputs=True):
        with torch.device("cuda"):
            detector = build()
        device = detector.mean.device
        images = DeviceImages(ImageCache(2**26), device, 2**26)
        plan = plan_batch(records, config, np.random.default_rng(0), view=view)
        batch = BatchRenderer(images, detector.mean).render(plan, None)
        losses = detector.losses(*batch)
    for tensor in (batch.images, *batch.boxes, *batch.ignored, *losses):
        assert tensor.device.type == "cuda"
    assert batch.images.is_contiguous(memory_format=torch.channels_last)


class _Kernels(TorchDispatchMode):
    """Counts what is asked of the device."""

    calls = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        self.calls += 1
        return func(*args, **(kwargs or {}))


def test_the_number_of_kernels_of_the_losses_does_not_grow_with_persons(
    build: Callable[[], Detector],
) -> None:
    """A CPU takes as many at once as fit its caches; everything else takes them all."""
    with META:
        detector = build()
    images = torch.zeros(4, 3, 96, 96, device=META)
    region = [torch.ones(1, 4, device=META)] * 4
    detector.losses(images, region, region)  # makes the anchors
    counts = []
    for persons in (1, 50):
        with _Kernels() as kernels:
            detector.losses(images, [torch.ones(persons, 4, device=META)] * 4, region)
        counts.append(kernels.calls)
    assert counts[0] == counts[1]


class _Counted:
    """Pixels that count how often they are read."""

    def __init__(self, value: int) -> None:
        self.value = value
        self.reads = 0

    def read(self) -> ndarray:
        self.reads += 1
        if self.value < 0:
            raise DataError("broken.jpg is not an image")
        return np.full((10, 20, 3), self.value, dtype=np.uint8)

    def read_masks(self) -> ndarray:
        raise NotImplementedError


def counted(value: int) -> ImageRecord:
    none = np.zeros((0, 4), dtype=np.float32)
    return ImageRecord(
        image_id=str(value),
        width=20,
        height=10,
        boxes=none,
        ignored=none,
        scene="s",
        pixels=_Counted(value),
    )


def test_a_device_keeps_what_fits_and_reads_the_rest_from_the_host() -> None:
    records = [counted(value) for value in range(4)]
    images = DeviceImages(ImageCache(0), META, 2 * 600 + 599)
    for _ in range(3):
        for record in records:
            assert images.part(record, CropWindow(3, 2, 5, 4)).shape == (3, 4, 5)
    assert [record.pixels.reads for record in records] == [1, 1, 3, 3]
    assert images.num_bytes == 1200


def test_without_a_gpu_nothing_is_held_twice() -> None:
    assert device_budget(None, torch.device("cpu")) == 0
    assert device_budget(500, torch.device("cpu")) == 0
    assert device_budget(500, torch.device("cuda")) == 500 * 2**20


def test_what_is_expected_is_decoded_once_and_its_fault_is_raised_where_it_is_read() -> None:
    good, bad = counted(7), counted(-1)
    cache = ImageCache(10**6)
    cache.expect([good, bad, good])
    cache.expect([good])
    assert (cache.read(good) == 7).all()
    cache.expect([good])
    assert (cache.read(good) == 7).all()
    assert good.pixels.reads == 1
    with pytest.raises(DataError, match="broken"):
        cache.read(bad)
    with pytest.raises(DataError, match="broken"):
        cache.read(bad)


@pytest.mark.parametrize(("start", "stop"), [(0, 7), (3, 4), (5, 5)])
def test_plans_come_in_order_and_their_images_are_expected_before_they_are_needed(
    start: int, stop: int
) -> None:
    expected: list[int] = []

    class Images(DeviceImages):
        def expect(self, records: object) -> None:
            expected.append(len(list(records)))

    images = Images(ImageCache(0), META, 0)
    records = [counted(1)]
    config = TrainConfig(batch_size=1)
    seen = []

    def planned(step: int) -> list:
        seen.append(step)
        return plan_batch(records, config, np.random.default_rng(step), view=NATIVE)

    for number, _ in enumerate(plans_ahead(planned, start, stop, images)):
        assert len(expected) == min(number + 3, stop - start)
    assert seen == list(range(start, stop))
