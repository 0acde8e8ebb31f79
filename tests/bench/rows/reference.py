"""Torchvision's RetinaNet, trained as references/detection/train.py of its repository does it:
a DataLoader with workers, images moved one by one, the loss read in every step, SGD.
"""

import os
from typing import Any

import numpy as np
import torch
from case import Setting, Timed
from PIL import Image
from rows.watching import StepClock
from torch import Tensor
from torch.utils.data import DataLoader, Dataset
from torchvision.models import resnet50
from torchvision.models.detection import RetinaNet
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.models.detection.backbone_utils import BackboneWithFPN
from torchvision.ops import FrozenBatchNorm2d
from torchvision.ops.feature_pyramid_network import LastLevelP6P7
from torchvision.transforms.functional import convert_image_dtype, pil_to_tensor

from ptl_sweep.config.schema import DetectorConfig
from ptl_sweep.datasets.records import ImageRecord
from ptl_sweep.detection.detector import Detector
from ptl_sweep.detection.training import LOG_EVERY

MOMENTUM, WEIGHT_DECAY, LEARNING_RATE = 0.9, 1e-4, 1e-5
Example = tuple[Tensor, dict[str, Tensor]]


class Pictures(Dataset[Example]):
    """Decoded pictures with boxes, again and again."""

    def __init__(self, records: list[ImageRecord], length: int) -> None:
        self.pictures = [Image.fromarray(record.pixels.read()) for record in records]
        self.boxes = [record.boxes for record in records]
        self.length = length

    def __len__(self) -> int:
        """As many as a turn sees."""
        return self.length

    def __getitem__(self, index: int) -> Example:
        """The reference's transforms: to a tensor, to float."""
        which = index % len(self.pictures)
        image = convert_image_dtype(pil_to_tensor(self.pictures[which]), torch.float32)
        boxes = torch.from_numpy(np.array(self.boxes[which]))
        return image, {"boxes": boxes, "labels": torch.zeros(len(boxes), dtype=torch.int64)}


class Reference:
    """The stock detector with the weights of ours, from these in every turn."""

    def __init__(
        self,
        ours: Detector,
        config: DetectorConfig,
        records: list[ImageRecord],
        setting: Setting,
        steps: int,
        *,
        amp: bool = False,
    ) -> None:
        self.start = {name: value.clone() for name, value in ours.state_dict().items()}
        self.net = stock_retinanet(config)
        self.net.load_state_dict(self.start)
        for name, parameter in ours.named_parameters():
            self.net.get_parameter(name).requires_grad_(parameter.requires_grad)
        self.net.to(setting.device).train()
        self.records, self.setting, self.steps, self.amp = records, setting, steps, amp

    def turn(self) -> Timed:
        """Losses of classes and boxes, mean over the first steps; seconds of one step."""
        self.net.load_state_dict(self.start)
        trained = [p for p in self.net.parameters() if p.requires_grad]
        optimizer = torch.optim.SGD(trained, LEARNING_RATE, MOMENTUM, weight_decay=WEIGHT_DECAY)
        scaler = torch.amp.GradScaler(self.setting.device, enabled=self.amp)
        clock = StepClock(self.setting, self.steps)
        seen: list[list[float]] = []
        for images, targets in self._loader(clock.num_steps):
            clock()
            losses = self._losses(images, targets)
            total = sum(losses.values())
            seen.append([losses[name].item() for name in ("classification", "bbox_regression")])
            optimizer.zero_grad()
            scaler.scale(total).backward()
            scaler.step(optimizer)
            scaler.update()
        return Timed(tuple(np.mean(seen[:LOG_EVERY], axis=0)), clock.seconds)

    def _losses(
        self, images: tuple[Tensor, ...], targets: tuple[dict[str, Tensor], ...]
    ) -> dict[str, Tensor]:
        device = self.setting.device
        moved = [image.to(device) for image in images]
        wanted = [{name: value.to(device) for name, value in one.items()} for one in targets]
        with torch.autocast(device, enabled=self.amp):
            losses: dict[str, Tensor] = self.net(moved, wanted)
        return losses

    def _loader(self, num_steps: int) -> DataLoader[Example]:
        batch = len(self.records)
        workers = min(self.setting.choose(small=0, cpu=4, cuda=8), os.cpu_count() or 1)
        pictures = Pictures(self.records, batch * num_steps)
        return DataLoader(pictures, batch, num_workers=workers, collate_fn=_zipped)


def _zipped(examples: list[Example]) -> tuple[Any, ...]:
    return tuple(zip(*examples, strict=True))


def stock_retinanet(config: DetectorConfig) -> RetinaNet:
    """What `retinanet_resnet50_fpn` builds around weights from ImageNet, for one class."""
    body = resnet50(weights=None, norm_layer=FrozenBatchNorm2d)
    layers = {"layer2": "0", "layer3": "1", "layer4": "2"}
    pyramid = LastLevelP6P7(256, 256)
    backbone = BackboneWithFPN(body, layers, [512, 1024, 2048], 256, extra_blocks=pyramid)
    sizes = tuple(tuple(level) for level in config.anchor_sizes)
    anchors = AnchorGenerator(sizes, (tuple(config.aspect_ratios),) * len(sizes))
    return RetinaNet(
        backbone,
        num_classes=1,
        anchor_generator=anchors,
        min_size=config.min_size,
        max_size=config.max_size,
    )
