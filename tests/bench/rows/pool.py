"""Gaps of a pool of virtual images, against one image after the other."""

import math

import numpy as np
import torch
from case import Case, Setting
from machine import flops_of
from numpy import ndarray
from rows.making import detector, detector_config, picture
from scipy.spatial.distance import mahalanobis
from torch import nn
from torchvision.ops import box_iou
from torchvision.transforms.functional import resize

from ptl_sweep.config.schema import InferenceConfig
from ptl_sweep.datasets.images import ImageCache
from ptl_sweep.datasets.records import ImageRecord
from ptl_sweep.detection.detector import Detector
from ptl_sweep.distance.gaussian import Gaussian, fit_gaussian
from ptl_sweep.ptl.domain_gap import MIN_IOU, measure_domain_gap
from ptl_sweep.ptl.methods.ptl import Ptl

SIZE = (640, 480)
CACHE_BYTES = 2**32


def pool(setting: Setting) -> Case:
    """One person an image; every scale of eq. 4 is a pass of its own."""
    num_images, scales, name = setting.choose(
        small=(4, [32, 48], "retinanet_tiny"),
        cpu=(64, [64, 96], "retinanet_tiny"),
        cuda=(512, [128, 256, 384, 512], "retinanet_r50"),
    )
    given = Pool(setting, num_images, scales, name)
    return Case(
        what=f"gaps of {num_images} images with a person each, {len(scales)} scales, {name}",
        ours=given.ours,
        peers={"one by one": given.one_by_one},
        agree=same_gaps,
        turns=3,
        flops=given.flops,
    )


class Pool:
    """A detector that finds persons without having learnt to, a Gaussian, pictures of noise."""

    def __init__(self, setting: Setting, num_images: int, scales: list[int], name: str) -> None:
        rng = np.random.default_rng(0)
        self.net = restless(detector(detector_config(name))).to(setting.device)
        self.records = [picture(rng, number, SIZE, 1) for number in range(num_images)]
        self.inference = InferenceConfig(score_threshold=0.0, max_detections=3000)
        self.cache, self.device = ImageCache(CACHE_BYTES), setting.device
        self.method = Ptl(images_per_iteration=1, temperature=5.0, scales=scales, context=1.0)
        dimension = self.net.feature_dim
        fitted = fit_gaussian(rng.normal(size=(8 * dimension, dimension)), "oas")
        assert isinstance(fitted, Gaussian)
        self.gaussian = fitted

    def ours(self) -> ndarray:
        """Gap of every image."""
        return measure_domain_gap(
            self.net, self.gaussian, self.records, self.method, self.inference, cache=self.cache
        )

    @torch.no_grad()
    def one_by_one(self) -> ndarray:
        """The same as a loop over images and scales, as one would write it down from the paper."""
        return np.array([self._gap(record) for record in self.records])

    def _gap(self, record: ImageRecord) -> float:
        precision = self.gaussian.whitening @ self.gaussian.whitening.T
        crop, box = square_around(record)
        gap = math.inf
        for side in self.method.scales:
            pixels = torch.from_numpy(crop).to(self.device).permute(2, 0, 1).float() / 255
            image = resize(pixels, [side, side], antialias=True)
            (found,) = self.net.detect(image[None], self.inference)
            truth = torch.from_numpy(box * (side / len(crop))).to(found.boxes)
            hits = (box_iou(found.boxes, truth[None])[:, 0] > MIN_IOU).nonzero()
            if len(hits):
                feature = found.features[hits[0, 0]].double().cpu().numpy()
                distance = mahalanobis(feature[self.gaussian.kept], self.gaussian.mean, precision)
                gap = min(gap, distance**2)
        return gap

    def flops(self) -> float:
        """Of one forward pass per image and scale."""
        per_image = 0.0
        for side in self.method.scales:
            image = torch.zeros(1, 3, side, side, device=self.device)
            per_image += flops_of(lambda image=image: self.net.detect(image, self.inference))
        return per_image * len(self.records)


def square_around(record: ImageRecord) -> tuple[ndarray, ndarray]:
    """The square of the longer side of the only person, inside the image; the box in it."""
    (box,) = record.boxes
    left, top, right, bottom = math.floor(box[0]), math.floor(box[1]), *map(math.ceil, box[2:])
    side = max(right - left, bottom - top)
    x = min(max(math.floor((left + right - side) / 2), 0), record.width - side)
    y = min(max(math.floor((top + bottom - side) / 2), 0), record.height - side)
    crop = record.pixels.read()[y : y + side, x : x + side]
    return np.ascontiguousarray(crop), box - np.array([x, y, x, y], np.float32)


def restless(net: Detector) -> Detector:
    """Scores that differ from anchor to anchor: at build they are all 0.01."""
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for module in net.head.modules():  # type: ignore[union-attr]
            if isinstance(module, nn.Conv2d):
                fan_in = module.weight[0].numel()
                module.weight.normal_(0, (2 / fan_in) ** 0.5, generator=generator)
        net.head.regression_head.bbox_reg.weight.mul_(0.01)  # type: ignore[union-attr]
    return net.eval()


def same_gaps(ours: ndarray, theirs: ndarray) -> None:
    """Equal but for rounding, by which two nearly equal scores may change places; most finite."""
    assert np.isfinite(theirs).mean() > 0.5, "the detector finds hardly any person"
    close = np.isclose(ours, theirs, rtol=1e-3)
    assert close.mean() >= 0.97, f"{(~close).sum()} of {len(close)} gaps differ"
