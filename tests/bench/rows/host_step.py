"""Host work of a training step: all but the kernels, which cost little on pictures this small."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from case import Case, Setting
from omegaconf import OmegaConf
from rows.making import detector_config, picture
from torch import Tensor, nn

from ptl_sweep.config.schema import TilingConfig, TrainRecipe, conf_dir
from ptl_sweep.datasets.images import ImageCache
from ptl_sweep.detection.architectures import architecture_of
from ptl_sweep.detection.detector import Detections, Detector, Losses, Probes
from ptl_sweep.detection.networks.retinanet_loss import retinanet_losses
from ptl_sweep.detection.pixels import View
from ptl_sweep.detection.rendering import BatchRenderer, DeviceImages
from ptl_sweep.detection.sampling import plan_batch
from ptl_sweep.detection.training import TrainingRun

SIZES = ((136, 77), (140, 79), (140, 105), (192, 108), (200, 150))  # of VisDrone, by 10
NUM_PERSONS = 60
CACHE_BYTES = 2**28
CPU = torch.device("cpu")
NUM_ANCHORS = 64


def host_step(setting: Setting) -> Case:
    """Experiment=paper's batch, resize and tiles, a tenth as wide, of images decoded in memory."""
    batch, steps = setting.choose(small=(2, 1), cpu=(16, 20), cuda=(16, 20))
    return Case(
        what=f"host work of {steps} training steps, batch {batch}",
        ours=host_work_of_steps(batch, steps),
        turns=5,
    )


def host_work_of_steps(batch: int, steps: int) -> Callable[[], None]:
    """Plan, render, losses, backward and update with hardly a pixel: NumPy, Python, the calls.

    As many calls as at full size, each with so little to compute that a GPU would be done before
    the next: what the host takes while a GPU works, and the kernels of a tenth of the side beside.
    """
    rng = np.random.default_rng(0)
    records = [picture(rng, i, SIZES[i % len(SIZES)], NUM_PERSONS) for i in range(2 * batch)]
    recipe, view = paper_recipe(), paper_view()
    recipe.batch_size, recipe.precision = batch, "float32"  # bfloat16 asks for CUDA
    network = Constant(num_trained()).train()
    run = TrainingRun(network, recipe, Path("unused"), checkpoint_minutes=5.0)
    images = DeviceImages(ImageCache(CACHE_BYTES), CPU, 0)
    renderer = BatchRenderer(images, network.mean)

    def turn() -> None:
        for step in range(steps):
            plan = plan_batch(records, recipe, np.random.default_rng([0, step]), view=view)
            run.take_step(renderer.render(plan, recipe.crop_size))
        run.window.clear()

    return turn


def paper_recipe() -> TrainRecipe:
    """conf/train/paper.yaml."""
    values = OmegaConf.load(conf_dir() / "train" / "paper.yaml")
    return OmegaConf.to_object(OmegaConf.merge(OmegaConf.structured(TrainRecipe), values))


def paper_view() -> View:
    """What the detector of experiment=paper sees at once, a tenth as wide."""
    config = detector_config("retinanet_r50")
    assert config.min_size is not None
    assert config.max_size is not None
    tiling = OmegaConf.load(conf_dir() / "experiment" / "paper.yaml").tiling
    tiles = TilingConfig(size=tiling.size // 10, overlap=tiling.overlap // 10)
    return View((config.min_size // 10, config.max_size // 10), tiles)


def num_trained() -> int:
    """Tensors that the optimizer updates."""
    config = detector_config("retinanet_r50")
    with torch.device("meta"):
        net = architecture_of(config).build(config)
    return sum(parameter.requires_grad for parameter in net.parameters())


class Constant(Detector):
    """As many trained tensors as the real network, and the outputs of its heads without it."""

    def __init__(self, num_parameters: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(3, 1, 1))
        self.register_buffer("anchors", torch.zeros(NUM_ANCHORS, 4))
        self.feature_dim = 1
        self.weights = nn.ParameterList(torch.zeros(1) for _ in range(num_parameters))

    def losses(self, images: Tensor, boxes: list[Tensor], ignored: list[Tensor]) -> Losses:
        """The real losses, with a gradient for every tensor."""
        total = torch.cat(list(self.weights)).sum()
        logits = total.expand(len(images), NUM_ANCHORS)
        offsets = total.expand(len(images), NUM_ANCHORS, 4)
        return retinanet_losses(logits, offsets, self.anchors, boxes, ignored)

    def detect(self, *_: Any, **__: Any) -> list[Detections]:
        """Nothing is detected here."""
        raise NotImplementedError

    def detect_and_probe(self, *_: Any) -> tuple[list[Detections], list[Probes]]:
        """Nothing is probed here."""
        raise NotImplementedError
