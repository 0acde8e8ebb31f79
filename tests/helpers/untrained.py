"""Detectors that nobody trained, whose scores and boxes differ (at build all scores are 0.01)."""

import torch

from ptl_sweep.detection.detector import Detector


def spread_scores(detector: Detector) -> Detector:
    """Random head weights large enough that scores and boxes differ."""
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for module in detector.head.modules():
            if isinstance(module, torch.nn.Conv2d):
                fan_in = module.weight[0].numel()
                module.weight.normal_(0, (2 / fan_in) ** 0.5, generator=generator)
        offsets = detector.head.regression_head.bbox_reg.weight
        offsets.mul_(0.1)
        detector.head.classification_head.cls_logits.bias.fill_(-1.0)
        if hasattr(detector.head.regression_head, "bbox_ctrness"):  # distances, cut off at zero
            detector.head.regression_head.bbox_reg.bias.fill_(1.0)
    return detector


def calibrate(detector: Detector, images: torch.Tensor) -> Detector:
    """Batch norm statistics of these images, and logits and offsets of a natural spread."""
    norms = [m for m in detector.modules() if isinstance(m, torch.nn.BatchNorm2d)]
    for norm in norms:
        norm.momentum = None
    with torch.no_grad():
        detector.backbone.train()(images)
        detector.eval()
        raw = detector._predict(detector._prepare(images))
        head = detector.head
        head.classification_head.cls_logits.weight.div_(raw.logits.std())
        head.regression_head.bbox_reg.weight.mul_(0.3 / raw.offsets.std())
    return detector
