"""Host work of a training step: all but the network's kernels, which a constant stands for."""

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from case import Case, Setting, Timed
from omegaconf import OmegaConf
from rows.making import detector_config, picture
from rows.watching import StepClock
from torch import Tensor, nn

from ptl_sweep.config.schema import TilingConfig, TrainRecipe, conf_dir
from ptl_sweep.datasets.images import ImageCache
from ptl_sweep.detection.architectures import architecture_of
from ptl_sweep.detection.detector import Detections, Detector, Probes
from ptl_sweep.detection.loss import Losses
from ptl_sweep.detection.pixels import View
from ptl_sweep.detection.training import train_detector

SIZES = ((1360, 765), (1400, 788), (1400, 1050), (1920, 1080), (2000, 1500))  # of VisDrone
NUM_PERSONS = 60
CACHE_BYTES = 2**31


def host_step(setting: Setting) -> Case:
    """Experiment=paper's batch, resize and tiles, of images that are decoded in memory."""
    batch, steps = setting.choose(small=(2, 1), cpu=(16, 2), cuda=(16, 20))
    return Case(
        what=f"host work of a training step, 800 px, batch {batch}, mean of {steps} steps",
        ours=host_work_of_step(setting, batch, steps),
        turns=3,
    )


def host_work_of_step(setting: Setting, batch: int, steps: int) -> Callable[[], Timed]:
    """A training of `steps` steps whose seconds are those of one step's host work.

    It is `train_detector` as it stands, with a constant in place of the network: on a CPU batches
    are drawn, resized and padded between two steps.
    """
    rng = np.random.default_rng(0)
    records = [picture(rng, i, SIZES[i % len(SIZES)], NUM_PERSONS) for i in range(2 * batch)]
    recipe, view = paper_recipe(), paper_view()
    recipe.batch_size = batch
    cache, num_parameters = ImageCache(CACHE_BYTES), num_trained()

    def turn() -> Timed:
        clock = StepClock(setting, steps)
        recipe.num_steps = clock.num_steps
        with tempfile.TemporaryDirectory() as folder:
            train_detector(
                Constant(num_parameters).to(setting.device),
                records,
                recipe,
                seed=0,
                folder=Path(folder),
                cache=cache,
                on_step=lambda *_: None,
                view=view,
                should_stop=clock,
            )
        return Timed(None, clock.seconds)

    return turn


def paper_recipe() -> TrainRecipe:
    """conf/train/paper.yaml in float32: the optimizer's launches are the same in both."""
    values = OmegaConf.load(conf_dir() / "train" / "paper.yaml")
    return OmegaConf.to_object(OmegaConf.merge(OmegaConf.structured(TrainRecipe), values))


def paper_view() -> View:
    """What the detector of experiment=paper sees at once."""
    config = detector_config("retinanet_r50")
    assert config.min_size is not None
    assert config.max_size is not None
    tiling = OmegaConf.load(conf_dir() / "experiment" / "paper.yaml").tiling
    return View((config.min_size, config.max_size), TilingConfig(**tiling))


def num_trained() -> int:
    """Tensors that the optimizer updates."""
    config = detector_config("retinanet_r50")
    with torch.device("meta"):  # nothing is computed
        net = architecture_of(config).build(config)
    return sum(parameter.requires_grad for parameter in net.parameters())


class Constant(Detector):
    """As many trained tensors as the real network, of one number each, and no arithmetic."""

    def __init__(self, num_parameters: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(3, 1, 1))
        self.feature_dim = 1
        self.weights = nn.ParameterList(torch.zeros(1) for _ in range(num_parameters))

    def losses(self, *_: Tensor | list[Tensor]) -> Losses:
        """A sum with a gradient for every tensor."""
        total = torch.cat(list(self.weights)).sum()
        return Losses(total, total.detach())

    def detect(self, *_: Any, **__: Any) -> list[Detections]:
        """Nothing is detected here."""
        raise NotImplementedError

    def detect_and_probe(self, *_: Any) -> tuple[list[Detections], list[Probes]]:
        """Nothing is probed here."""
        raise NotImplementedError
