"""A training step of ours, against torchvision's RetinaNet as its reference script trains it.

Both start from the same weights, see the same images and boxes (without flips, so that losses can
be compared), and update by the same SGD.
"""

import copy
import tempfile
from pathlib import Path

import numpy as np
import torch
from case import Case, Setting, Timed
from machine import flops_of
from rows.making import NOBODY, detector, detector_config, picture, random_boxes
from rows.reference import Reference
from rows.watching import StepClock
from torch import Tensor

from ptl_sweep.config.schema import DetectorConfig, TilingConfig, TrainRecipe
from ptl_sweep.datasets.images import ImageCache
from ptl_sweep.datasets.records import ImageRecord
from ptl_sweep.detection.pixels import View, resized_size
from ptl_sweep.detection.training import train_detector

ANCHORS = [[float(int(x * 2 ** (i / 3))) for i in range(3)] for x in (32, 64, 128, 256, 512)]
LEARNING_RATE = 1e-5  # so small that the losses of both stay comparable over a turn
NO_CLIPPING = 1e6  # the reference clips no gradient
CACHE_BYTES = 2**31


def train_step(setting: Setting) -> Case:
    """100 persons an image."""
    return _training(setting, 100)


def train_step_20(setting: Setting) -> Case:
    """20 persons an image."""
    return _training(setting, 20)


def _training(setting: Setting, num_persons: int) -> Case:
    batch, size, min_size, steps = setting.choose(
        small=(1, (128, 96), 64, 1), cpu=(2, (512, 384), 256, 1), cuda=(16, (1360, 765), 800, 20)
    )
    rng = np.random.default_rng(0)
    records = [picture(rng, i, size, num_persons) for i in range(batch)]
    config = detector_config(
        "retinanet_r50",
        anchor_sizes=ANCHORS,
        aspect_ratios=[0.5, 1.0, 2.0],
        min_size=min_size,
        max_size=1333 * min_size // 800,
    )
    ours = Ours(config, records, setting, steps)
    peers = {"torchvision": Reference(ours.net, config, records, setting, steps).turn}
    if setting.device == "cuda":
        peers["torchvision AMP"] = Reference(
            ours.net, config, records, setting, steps, amp=True
        ).turn
    # both differ by rounding on a CPU; on a card by their precision
    tolerance = 0.05 if setting.device == "cuda" else 1e-3
    return Case(
        what=f"R50-FPN, {min_size} px, batch {batch}, {num_persons} persons, mean of {steps} steps",
        ours=ours.turn,
        peers=peers,
        agree=lambda a, b: np.testing.assert_allclose(a, b, rtol=tolerance),
        turns=3,
        warm_up=not setting.small,
        flops=lambda: flops_of(ours.forward_and_backward),
    )


class Ours:
    """`train_detector`, from the same weights in every turn."""

    def __init__(
        self, config: DetectorConfig, records: list[ImageRecord], setting: Setting, steps: int
    ) -> None:
        self.net = detector(config)
        self.records, self.setting, self.steps = records, setting, steps
        assert config.min_size is not None
        assert config.max_size is not None
        self.view = View((config.min_size, config.max_size), TilingConfig())
        self.cache = ImageCache(CACHE_BYTES)

    def turn(self) -> Timed:
        """Losses of classes and boxes, mean over the first steps; seconds of one step."""
        clock = StepClock(self.setting, self.steps)
        reports: list[dict[str, float]] = []
        with tempfile.TemporaryDirectory() as folder:
            train_detector(
                copy.deepcopy(self.net).to(self.setting.device),
                self.records,
                self._recipe(clock.num_steps),
                seed=0,
                folder=Path(folder),
                cache=self.cache,
                on_step=lambda _, report: reports.append(report),
                view=self.view,
                should_stop=clock,
            )
        losses = reports[0]["train/loss_classification"], reports[0]["train/loss_box"]
        return Timed(losses, clock.seconds)

    def _recipe(self, num_steps: int) -> TrainRecipe:
        return TrainRecipe(
            num_steps=num_steps,
            batch_size=len(self.records),
            learning_rate=LEARNING_RATE,
            warmup_steps=0,
            clip_norm=NO_CLIPPING,
            flip_probability=0.0,
            precision="bfloat16" if self.setting.device == "cuda" else "float32",
        )

    def forward_and_backward(self) -> None:
        """What a step computes on a batch of this size."""
        device, record = self.setting.device, self.records[0]
        size = resized_size(record.height, record.width, self.view.resize)
        net = copy.deepcopy(self.net).to(device).train()
        images = torch.rand(len(self.records), 3, *size, device=device)
        boxes = [torch.from_numpy(one.boxes).to(device) for one in self.records]
        losses = net.losses(images, boxes, [box[:0] for box in boxes])
        torch.autograd.backward(losses.classification + losses.box_regression)


def tiny_step(setting: Setting) -> Case:
    """One update of the miniature world's detector on 128 px images, by AdamW."""
    batch = setting.choose(small=1, cpu=8)
    net = detector(detector_config("retinanet_tiny")).train()
    optimizer = torch.optim.AdamW(net.parameters())
    rng = np.random.default_rng(0)
    images = torch.from_numpy(rng.random((batch, 3, 128, 128), dtype=np.float32))
    boxes = [torch.from_numpy(random_boxes(rng, 4, 128, 128)) for _ in range(batch)]
    nothing = [torch.from_numpy(NOBODY)] * batch

    def step() -> Tensor:
        losses = net.losses(images, boxes, nothing)
        optimizer.zero_grad()
        total = losses.classification + losses.box_regression
        torch.autograd.backward(total)
        optimizer.step()
        return total.detach()

    return Case(what=f"update of retinanet_tiny, 128 px, batch {batch}", ours=step)
