"""FCOS of torchvision for one class (Tian et al. 2019), with a feature per detection."""

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional

from ptl_sweep.detection.detector import Losses
from ptl_sweep.detection.networks.fcos_loss import Outputs, decode_boxes, fcos_losses
from ptl_sweep.detection.networks.fcos_matching import locations_of, nearest_locations
from ptl_sweep.detection.networks.pyramid import Predictions, PyramidDetector


class FCOS(PyramidDetector):
    """One location a cell: a score, the distances to four sides, and how central it is.

    An anchor is the square of the level's size around the location, as torchvision writes it.
    """

    def losses(
        self,
        images: Float[Tensor, "b 3 h w"],
        boxes: list[Float[Tensor, "_ 4"]],
        ignored: list[Float[Tensor, "_ 4"]],
    ) -> Losses:
        """Focal loss, and GIoU with centerness, as torchvision's, but for ignored regions."""
        prepared = self._prepare(images)
        raw = self._predict(prepared)
        anchors = self._anchors_of(prepared, raw.grids)
        assert raw.centerness is not None
        # what autocast computes in fewer digits, convolutions, ends here
        outputs = Outputs(raw.logits.float(), raw.offsets.float(), raw.centerness.float())
        locations = locations_of(anchors, self._level_sizes(raw.grids))
        return fcos_losses(outputs, locations, boxes, ignored)

    def _predict(self, prepared: Float[Tensor, "b 3 h w"]) -> Predictions:
        classifier, regressor = self.head.classification_head, self.head.regression_head
        logits, offsets, centerness, towers, grids = [], [], [], [], []
        for level in self.backbone(prepared).values():
            tower, box_tower = classifier.conv(level), regressor.conv(level)
            logits.append(classifier.cls_logits(tower).flatten(1))
            distances = functional.relu(regressor.bbox_reg(box_tower)).permute(0, 2, 3, 1)
            offsets.append(distances.flatten(1, 2))
            centerness.append(regressor.bbox_ctrness(box_tower).flatten(1))
            towers.append(tower)
            grids.append((level.shape[2], level.shape[3]))
        joined = [torch.cat(parts, 1) for parts in (logits, offsets, centerness)]
        return Predictions(joined[0], joined[1], towers, grids, joined[2])

    def _scores(self, raw: Predictions) -> list[Float[Tensor, "b _"]]:
        """sqrt(p * centerness), torchvision's; the paper ranks by the product itself."""
        assert raw.centerness is not None
        score = (raw.logits.float().sigmoid() * raw.centerness.float().sigmoid()).sqrt()
        return list(torch.split(score, self._level_sizes(raw.grids), 1))

    def _decoded(
        self, offsets: Float[Tensor, "b c 4"], anchors: Float[Tensor, "b c 4"]
    ) -> Float[Tensor, "b c 4"]:
        x, y = ((anchors[..., :2] + anchors[..., 2:]) / 2).unbind(-1)
        return decode_boxes(offsets, x, y, anchors[..., 2] - anchors[..., 0])

    def _places_of(
        self, anchors: Float[Tensor, "s 4"], boxes: Float[Tensor, "m 4"], level_sizes: list[int]
    ) -> tuple[Float[Tensor, " m"], Int[Tensor, " m"]]:
        """The location that would learn each box if it were alone."""
        return nearest_locations(locations_of(anchors, level_sizes), boxes)
