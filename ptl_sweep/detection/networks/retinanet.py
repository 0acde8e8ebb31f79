"""RetinaNet of torchvision for one class (Lin et al. 2017), with a feature per detection."""

from collections.abc import Callable

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torchvision.models.detection._utils import BoxCoder
from torchvision.models.detection.retinanet import RetinaNetHead

from ptl_sweep.config.schema import DetectorConfig
from ptl_sweep.detection.detector import Losses
from ptl_sweep.detection.networks.pyramid import Predictions, PyramidDetector
from ptl_sweep.detection.networks.retinanet_loss import best_anchors, retinanet_losses


def head_of(
    config: DetectorConfig, norm_layer: Callable[[int], nn.Module] | None = None
) -> RetinaNetHead:
    """Torchvision's two towers of four convolutions, for the anchors of this config."""
    num_shapes = len(config.anchor_sizes[0]) * len(config.aspect_ratios)
    return RetinaNetHead(config.channels, num_shapes, num_classes=1, norm_layer=norm_layer)


class RetinaNet(PyramidDetector):
    """Anchors of several shapes a cell, each with a score and a box."""

    def losses(
        self,
        images: Float[Tensor, "b 3 h w"],
        boxes: list[Float[Tensor, "_ 4"]],
        ignored: list[Float[Tensor, "_ 4"]],
    ) -> Losses:
        """Focal loss and smooth L1, as torchvision's, without what lies in ignored regions."""
        prepared = self._prepare(images)
        raw = self._predict(prepared)
        anchors = self._anchors_of(prepared, raw.grids)
        # what autocast computes in fewer digits, convolutions, ends here
        return retinanet_losses(raw.logits.float(), raw.offsets.float(), anchors, boxes, ignored)

    def _predict(self, prepared: Float[Tensor, "b 3 h w"]) -> Predictions:
        classifier, regressor = self.head.classification_head, self.head.regression_head
        logits, offsets, towers, grids = [], [], [], []
        for level in self.backbone(prepared).values():
            tower = classifier.conv(level)
            logits.append(classifier.cls_logits(tower).permute(0, 2, 3, 1).flatten(1))
            offset = regressor.bbox_reg(regressor.conv(level)).permute(0, 2, 3, 1)
            offsets.append(offset.reshape(len(prepared), -1, 4))
            towers.append(tower)
            grids.append((level.shape[2], level.shape[3]))
        return Predictions(torch.cat(logits, 1), torch.cat(offsets, 1), towers, grids)

    def _scores(self, raw: Predictions) -> list[Float[Tensor, "b _"]]:
        levels = torch.split(raw.logits.float(), self._level_sizes(raw.grids), 1)
        return [level.sigmoid() for level in levels]

    def _decoded(
        self, offsets: Float[Tensor, "b c 4"], anchors: Float[Tensor, "b c 4"]
    ) -> Float[Tensor, "b c 4"]:
        return _decoded(offsets, anchors, self.head.regression_head.box_coder)

    def _places_of(
        self, anchors: Float[Tensor, "s 4"], boxes: Float[Tensor, "m 4"], level_sizes: list[int]
    ) -> tuple[Float[Tensor, " m"], Int[Tensor, " m"]]:
        """The anchor that overlaps each box most."""
        del level_sizes  # anchors of all levels compete
        return best_anchors(anchors, boxes)


def _decoded(
    offsets: Float[Tensor, "b c 4"], anchors: Float[Tensor, "b c 4"], coder: BoxCoder
) -> Float[Tensor, "b c 4"]:
    """`BoxCoder.decode` of a batch, to the last digit; no constant is sent to the device."""
    sizes = anchors[..., 2:] - anchors[..., :2]
    weights = coder.weights
    shift = torch.stack([offsets[..., axis] / weights[axis] for axis in (0, 1)], dim=-1)
    scale = torch.stack([offsets[..., axis] / weights[axis] for axis in (2, 3)], dim=-1)
    centres = shift * sizes + (anchors[..., :2] + 0.5 * sizes)
    halves = 0.5 * (scale.clamp(max=coder.bbox_xform_clip).exp() * sizes)
    return torch.cat([centres - halves, centres + halves], dim=-1)
