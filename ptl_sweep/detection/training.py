"""Trains one detector for a fixed number of steps; interrupted or not, with the same result.

The batch of a step depends on the seed and the step alone and nothing else is random, so a
checkpoint is the weights, the optimizer and the step.
"""

import logging
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from math import cos, pi
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ptl_sweep.checkpoints import read_checkpoint, save_checkpoint
from ptl_sweep.config.schema import ConfigError, TrainRecipe
from ptl_sweep.datasets.images import ImageCache
from ptl_sweep.datasets.records import ImageRecord
from ptl_sweep.detection.arithmetic import arithmetic, check_precision
from ptl_sweep.detection.detector import Detector
from ptl_sweep.detection.pixels import View
from ptl_sweep.detection.rendering import Batch, BatchRenderer, DeviceImages, device_budget
from ptl_sweep.detection.sampling import PlannedSample, plan_batch

LOG_EVERY = 20  # steps
PLANNED_AHEAD = 2  # batches whose images are decoded while a GPU works on the one before
CHECKPOINT_NAME = "checkpoint.pt"
_INITIAL_DIVISOR = 10.0  # onecycle starts at learning_rate / 10 ...
_FINAL_DIVISOR = 20.0  # ... and ends 20 times below that
_LONGEST_WARMUP = 0.3  # of a onecycle training

logger = logging.getLogger(__name__)


class TrainingDiverged(RuntimeError):  # noqa: N818 (name agreed with the sweep)
    """A loss or gradient became infinite or NaN; the message says where and what to change."""


class Interrupted(Exception):  # noqa: N818 (no error: the checkpoint is written)
    """Training was asked to stop; the same call goes on from the checkpoint."""


def never() -> bool:
    """Default of `should_stop`."""
    return False


def train_detector(  # noqa: PLR0913 (what a training is made of; all by name but three)
    detector: Detector,
    records: Sequence[ImageRecord],
    config: TrainRecipe,
    *,
    seed: int,
    folder: Path,
    cache: ImageCache,
    on_step: Callable[[int, dict[str, float]], None],
    view: View,
    device_cache_mb: int | None = None,
    checkpoint_minutes: float = 5.0,
    should_stop: Callable[[], bool] = never,
) -> None:
    """Train in place, on the device where the detector is, and leave it in eval mode.

    `on_step(step, metrics)` is called after every 20th step and the last one. A checkpoint in
    `folder` is resumed; after that, steps between it and the interruption are reported again.
    A GPU holds `device_cache_mb` of the training images; None: an eighth of its free memory.
    Raises: TrainingDiverged; Interrupted when `should_stop` says so; ConfigError for a precision
    that the processor lacks or an empty training set.
    """
    device = detector.mean.device
    _check(config, records, device)
    run = TrainingRun(detector, config, folder / CHECKPOINT_NAME, checkpoint_minutes)
    run.resume()
    detector.train()

    images = DeviceImages(cache, device, device_budget(device_cache_mb, device))
    renderer = BatchRenderer(images, detector.mean)

    def planned(step: int) -> list[PlannedSample]:
        rng = np.random.default_rng([seed, step])
        return plan_batch(records, config, rng, view=view)

    for plan in plans_ahead(planned, run.step, config.num_steps, images):
        if should_stop():
            run.save()
            raise Interrupted(f"stopped after step {run.step}; checkpoint {run.checkpoint}")
        batch = renderer.render(plan, config.crop_size)
        run.take_step(batch)
        if run.step % LOG_EVERY == 0 or run.step == config.num_steps:
            on_step(run.step, run.metrics())
        run.save_when_due()
    run.save()
    detector.eval()


def learning_rate(config: TrainRecipe, step: int) -> float:
    """Learning rate of the step that follows `step` finished ones.

    constant: linear warm-up, then constant. onecycle: cosine up, then cosine down, as
    torch.optim.lr_scheduler.OneCycleLR (Smith and Topin 2018).
    """
    peak = config.learning_rate
    if config.schedule == "constant":
        return peak * min(1.0, (step + 1) / max(1, config.warmup_steps))
    rise = min(_LONGEST_WARMUP * config.num_steps, float(config.warmup_steps)) - 1
    start = peak / _INITIAL_DIVISOR
    if step <= rise:
        return _cosine(start, peak, step / rise if rise > 0 else 1.0)
    return _cosine(peak, start / _FINAL_DIVISOR, (step - rise) / (config.num_steps - 1 - rise))


def _cosine(start: float, end: float, share: float) -> float:
    return end + (start - end) / 2 * (1 + cos(pi * share))


def _check(config: TrainRecipe, records: Sequence[ImageRecord], device: torch.device) -> None:
    if not records:
        raise ConfigError("the training set holds no image")
    check_precision(config.precision, device.type)


def plans_ahead(
    planned: Callable[[int], list[PlannedSample]], start: int, stop: int, images: DeviceImages
) -> Iterator[list[PlannedSample]]:
    """Plans of the steps in order; images of the next ones are expected meanwhile."""
    waiting: deque[list[PlannedSample]] = deque()
    for step in range(start, stop + PLANNED_AHEAD):
        if step < stop:
            waiting.append(planned(step))
            images.expect(record for sample in waiting[-1] for record in sample.sources)
        if step >= start + PLANNED_AHEAD:
            yield waiting.popleft()


class TrainingRun:
    """Weights, optimizer and step of one training, and what was not yet reported."""

    def __init__(
        self, detector: Detector, config: TrainRecipe, checkpoint: Path, checkpoint_minutes: float
    ) -> None:
        self.detector = detector
        self.config = config
        self.checkpoint = checkpoint
        self.checkpoint_minutes = checkpoint_minutes
        self.device = detector.mean.device
        self.parameters = [p for p in detector.parameters() if p.requires_grad]
        self.optimizer = _optimizer(self.parameters, config)
        self.step = 0
        # classification loss, box loss and gradient norm of the steps since the last report
        self.window: list[Tensor] = []
        self._window_started = self._saved = time.monotonic()
        self._timed_steps = 0

    def take_step(self, batch: Batch) -> None:
        """One update; nothing here waits for the device."""
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate(self.config, self.step)
        self.optimizer.zero_grad()
        with arithmetic(self.config.precision, self.device):
            losses = self.detector.losses(*batch)
            torch.autograd.backward(losses.classification + losses.box_regression)
        norm = nn.utils.clip_grad_norm_(self.parameters, self.config.clip_norm)
        self.optimizer.step()
        self.window.append(torch.stack([*losses, norm]).detach())
        self.step += 1
        self._timed_steps += 1

    def metrics(self) -> dict[str, float]:
        """Means since the last report. Raises: TrainingDiverged."""
        classification, box, _ = self._finite_window().mean(0).tolist()
        seconds = time.monotonic() - self._window_started
        speed = self._timed_steps * self.config.batch_size / max(seconds, 1e-9)
        self.window = []
        self._window_started, self._timed_steps = time.monotonic(), 0
        return {
            "train/loss": classification + box,
            "train/loss_classification": classification,
            "train/loss_box": box,
            "train/learning_rate": learning_rate(self.config, self.step - 1),
            "train/images_per_second": speed,
        }

    def _finite_window(self) -> Tensor:
        """The window on the CPU, k x 3. Raises: TrainingDiverged."""
        window = torch.stack(self.window).cpu() if self.window else torch.zeros(0, 3)
        bad = (~window.isfinite().all(1)).nonzero().flatten().tolist()
        if bad:
            step = self.step - len(window) + bad[0] + 1
            classification, box, norm = window[bad[0]].tolist()
            raise TrainingDiverged(
                f"step {step} of {self.config.num_steps}: classification loss {classification}, "
                f"box loss {box}, gradient norm {norm} at learning rate "
                f"{learning_rate(self.config, step - 1):.2e}; lower train.learning_rate "
                f"({self.config.learning_rate}) or train.clip_norm ({self.config.clip_norm}), or "
                f"raise train.warmup_steps ({self.config.warmup_steps})"
            )
        return window

    def save_when_due(self) -> None:
        """Save when `checkpoint_minutes` have passed since the last time."""
        if time.monotonic() - self._saved >= 60 * self.checkpoint_minutes:
            self.save()

    def save(self) -> None:
        """Write the checkpoint in one rename. Raises: TrainingDiverged instead of keeping NaN."""
        state = self._state() | {"window": self._finite_window()}
        save_checkpoint(self.checkpoint, state)
        self._saved = time.monotonic()

    def _state(self) -> dict[str, Any]:
        return {
            "step": self.step,
            "detector": self.detector.state_dict(),
            "optimizer": self.optimizer.state_dict(),
        }

    def resume(self) -> None:
        """Take up the checkpoint when there is one."""
        like = self._state() | {"window": None}
        state = read_checkpoint(self.checkpoint, like, self.device)
        if state is None:
            return
        self.detector.load_state_dict(state["detector"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.step = state["step"]
        self.window = list(state["window"])
        logger.info("resumed at step %d from %s", self.step, self.checkpoint)


def _optimizer(parameters: list[nn.Parameter], config: TrainRecipe) -> torch.optim.Optimizer:
    """Few kernels for all parameters; on a CPU with the digits of one after the other."""
    fused = parameters[0].is_cuda
    rate, decay = config.learning_rate, config.weight_decay
    if config.optimizer == "adamw":
        return torch.optim.AdamW(
            parameters, rate, weight_decay=decay, fused=fused, foreach=not fused
        )
    return torch.optim.SGD(
        parameters, rate, momentum=0.9, weight_decay=decay, fused=fused, foreach=not fused
    )
