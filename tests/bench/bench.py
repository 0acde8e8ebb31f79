"""Our kernels against the stock ones on this machine, in one run; `make bench` prints the table.

Each pair is first checked to give the same numbers, then timed in turns; the best turn counts.
"""

import contextlib
import io
import time
from collections.abc import Callable
from typing import NamedTuple

import looking
import numpy as np
import reducing
import torch
import tracking_cost
from omegaconf import OmegaConf
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval
from scanning import scanning
from scipy.spatial.distance import cdist
from torchvision.models.detection import retinanet_resnet50_fpn

from ptl_sweep.compose.compose import compose_grid
from ptl_sweep.config.schema import DatasetConfig, DetectorConfig, conf_dir
from ptl_sweep.datasets.miniature import read_miniature
from ptl_sweep.detection.detector import build_detector
from ptl_sweep.detection.loss import retinanet_losses
from ptl_sweep.detection.matching import IOU_THRESHOLDS, match_image
from ptl_sweep.distance.gaussian import fit_gaussian, squared_mahalanobis
from ptl_sweep.metrics.average_precision import average_precision, ranking
from ptl_sweep.metrics.bootstrap import RankedHits, block_weights, resampled_ap
from ptl_sweep.pipeline.plan import plan_sweep

STRIDES = (8, 16, 32, 64, 128)
MAX_DETECTIONS = 100


class Line(NamedTuple):
    """One line of the table."""

    what: str
    ours: float  # seconds
    stock: float | None  # seconds; None: nothing to compare with
    note: str = ""


def best_times(*functions: Callable[[], object], turns: int = 3) -> list[float]:
    """Shortest time of each function, seconds, called in turns after one warm-up each."""
    for function in functions:
        function()
    best = [float("inf")] * len(functions)
    for _ in range(turns):
        for index, function in enumerate(functions):
            start = time.perf_counter()
            function()
            best[index] = min(best[index], time.perf_counter() - start)
    return best


def random_boxes(rng: np.random.Generator, count: int, width: int, height: int) -> np.ndarray:
    """Boxes of 8 to 58 px inside the image, xyxy float32."""
    size = rng.uniform(8, 58, (count, 2))
    corner = rng.uniform(0, 1, (count, 2)) * (np.array([width, height]) - size)
    return np.concatenate([corner, corner + size], axis=1).astype(np.float32)


def loss(height: int, width: int, batch: int, num_boxes: int) -> Line:
    """Forward and backward of the losses, given the heads' outputs."""
    rng, generator = np.random.default_rng(0), torch.Generator().manual_seed(0)
    stock_net = retinanet_resnet50_fpn(weights=None, weights_backbone=None, num_classes=1).train()
    grids = [[-(-height // stride), -(-width // stride)] for stride in STRIDES]
    strides = [[torch.tensor(stride), torch.tensor(stride)] for stride in STRIDES]
    anchors = torch.cat(stock_net.anchor_generator.grid_anchors(grids, strides))
    logits = (torch.randn(batch, len(anchors), generator=generator) - 4.6).requires_grad_()
    offsets = (torch.randn(batch, len(anchors), 4, generator=generator) * 0.1).requires_grad_()
    boxes = [torch.from_numpy(random_boxes(rng, num_boxes, width, height)) for _ in range(batch)]
    targets = [{"boxes": b, "labels": torch.zeros(len(b), dtype=torch.long)} for b in boxes]
    nothing = [torch.zeros(0, 4)] * batch

    def stock() -> torch.Tensor:
        outputs = {"cls_logits": logits[..., None], "bbox_regression": offsets}
        total = sum(stock_net.compute_loss(targets, outputs, [anchors] * batch).values())
        torch.autograd.grad(total, [logits, offsets])
        return total.detach()

    def ours() -> torch.Tensor:
        losses = retinanet_losses(logits, offsets, anchors, boxes, nothing)
        total = losses.classification + losses.box_regression
        torch.autograd.grad(total, [logits, offsets])
        return total.detach()

    # float32 sums over up to 200,000 anchors, in another order: hundreds of units, not one formula
    torch.testing.assert_close(ours(), stock(), rtol=1e-4, atol=1e-5)
    mine, theirs = best_times(ours, stock)
    return Line(f"loss {width}x{height}, {batch} images, {num_boxes} persons each", mine, theirs)


def distances(num_features: int, dimension: int) -> Line:
    """Squared Mahalanobis distances against scipy's cdist."""
    rng = np.random.default_rng(0)
    mixing = rng.normal(size=(dimension, dimension))
    gaussian = fit_gaussian(rng.normal(size=(4 * dimension, dimension)) @ mixing, "ml")
    features = (rng.normal(size=(num_features, dimension)) @ mixing).astype(np.float32)
    precision = gaussian.whitening @ gaussian.whitening.T
    mean = gaussian.mean[None]

    def stock() -> np.ndarray:
        return cdist(features.astype(np.float64), mean, "mahalanobis", VI=precision)[:, 0] ** 2

    def ours() -> np.ndarray:
        return squared_mahalanobis(features, gaussian)

    np.testing.assert_allclose(ours(), stock(), rtol=1e-6)
    mine, theirs = best_times(ours, stock)
    return Line(f"distances of {num_features} features, D = {dimension}", mine, theirs)


class Evaluation:
    """Random detections of random persons, in the form that each evaluator reads."""

    def __init__(self, num_images: int, num_truths: int) -> None:
        rng = np.random.default_rng(0)
        self.truths, self.boxes, self.scores = [], [], []
        for _ in range(num_images):
            truths = random_boxes(rng, num_truths, 1344, 800)
            found = truths[: num_truths * 4 // 5]
            found = found + rng.normal(0, 2, found.shape).astype(np.float32)
            false = random_boxes(rng, MAX_DETECTIONS - len(found), 1344, 800)
            self.truths.append(truths)
            self.boxes.append(np.concatenate([found, false]))
            scores = [rng.beta(4, 2, len(found)), rng.beta(2, 5, len(false))]
            self.scores.append(np.concatenate(scores))

    def ours(self) -> float:
        """AP@[.5:.95] of our matcher."""
        none = np.zeros((0, 4), np.float32)
        matches = [
            match_image(boxes, scores, truths, none, IOU_THRESHOLDS)
            for boxes, scores, truths in zip(self.boxes, self.scores, self.truths, strict=True)
        ]
        hits = np.concatenate([match.truth >= 0 for match in matches], axis=1)
        scores = np.concatenate(self.scores)
        counts = [len(boxes) for boxes in self.boxes]
        image = np.repeat(np.arange(len(counts)), counts)
        index = np.concatenate([np.arange(count) for count in counts])
        order = ranking(-scores, scores, image, index)
        num_truths = sum(len(truths) for truths in self.truths)
        return float(np.mean([average_precision(hit[order], num_truths) for hit in hits]))

    def stock(self) -> float:
        """The same by pycocotools, one area range."""
        with contextlib.redirect_stdout(io.StringIO()):
            truth = COCO()
            truth.dataset = self._coco_dataset()
            truth.createIndex()
            evaluation = COCOeval(truth, truth.loadRes(self._coco_results()), "bbox")
            evaluation.params.maxDets = [1, 10, MAX_DETECTIONS]
            evaluation.params.areaRng = [[0, 1e10]]
            evaluation.params.areaRngLbl = ["all"]
            evaluation.evaluate()
            evaluation.accumulate()
        return float(evaluation.eval["precision"][:, :, 0, 0, -1].mean())

    def _coco_dataset(self) -> dict:
        boxes = [(image, box) for image, truths in enumerate(self.truths) for box in _xywh(truths)]
        annotations = [
            {"id": number, "image_id": image, "category_id": 1, "bbox": box, "iscrowd": 0}
            | {"area": box[2] * box[3]}
            for number, (image, box) in enumerate(boxes, start=1)
        ]
        images = [{"id": image} for image in range(len(self.truths))]
        categories = [{"id": 1, "name": "person"}]
        return {"images": images, "annotations": annotations, "categories": categories, "info": {}}

    def _coco_results(self) -> list[dict]:
        return [
            {"image_id": image, "category_id": 1, "bbox": box, "score": float(score)}
            for image, (boxes, scores) in enumerate(zip(self.boxes, self.scores, strict=True))
            for box, score in zip(_xywh(boxes), scores, strict=True)
        ]


def _xywh(boxes: np.ndarray) -> list[list[float]]:
    exact = boxes.astype(np.float64)
    return np.concatenate([exact[:, :2], exact[:, 2:] - exact[:, :2]], axis=1).tolist()


def evaluation(num_images: int, num_truths: int) -> Line:
    """Matching and AP@[.5:.95] against pycocotools."""
    data = Evaluation(num_images, num_truths)
    np.testing.assert_allclose(data.ours(), data.stock(), atol=1e-6)
    mine, theirs = best_times(data.ours, data.stock, turns=2)
    return Line(f"AP of {num_images} images, {MAX_DETECTIONS} detections each", mine, theirs)


def training_step(batch: int) -> Line:
    """One update of retinanet_tiny on 128 px images."""
    schema = OmegaConf.structured(DetectorConfig)
    values = OmegaConf.load(conf_dir() / "detector" / "retinanet_tiny.yaml")
    config = OmegaConf.to_object(OmegaConf.merge(schema, values))
    detector = build_detector(config, torch.Generator().manual_seed(0)).train()
    optimizer = torch.optim.AdamW(detector.parameters())
    rng = np.random.default_rng(0)
    images = torch.from_numpy(rng.random((batch, 3, 128, 128), dtype=np.float32))
    boxes = [torch.from_numpy(random_boxes(rng, 4, 128, 128)) for _ in range(batch)]
    nothing = [torch.zeros(0, 4)] * batch

    def step() -> None:
        losses = detector.losses(images, boxes, nothing)
        optimizer.zero_grad()
        torch.autograd.backward(losses.classification + losses.box_regression)
        optimizer.step()

    (mine,) = best_times(step, turns=5)
    return Line(f"training step of retinanet_tiny, batch {batch}", mine, None)


def rendering(num_images: int) -> Line:
    """Pictures of the miniature world, drawn without its cache."""

    def draw(world_seed: int) -> None:
        config = DatasetConfig(
            name="bench",
            reader="miniature",
            domain="town",
            num_images=num_images,
            world_seed=world_seed,
        )
        read_miniature(config, "train")

    draw(1001)
    start = time.perf_counter()
    draw(1002)
    seconds = time.perf_counter() - start
    what = f"rendering {num_images} miniature images"
    return Line(what, seconds, None, f"{num_images / seconds:.0f} images/s")


def bootstrap(num_images: int, per_image: int) -> Line:
    """1,000 resamples of the test images for the AP difference of two detectors."""
    rng = np.random.default_rng(0)
    image = np.repeat(np.arange(num_images), per_image)
    truths = np.full(num_images, 15)
    weights = block_weights(np.arange(num_images), 1000, rng)
    detectors = []
    for _ in range(2):
        order = rng.permutation(len(image))
        detectors.append(RankedHits(rng.random(len(image)) < 0.1, image[order]))

    def difference() -> np.ndarray:
        first, second = (resampled_ap(ranked, truths, weights) for ranked in detectors)
        return first - second

    (mine,) = best_times(difference, turns=1)
    num = num_images * per_image
    return Line(f"1,000 resamples of {num_images} images, 2 x {num:,} detections", mine, None)


def planning() -> Line:
    """Compose and plan the 96 cells of the paper grid; nothing is on disk."""
    (seconds,) = best_times(lambda: plan_sweep(compose_grid(["experiment=paper"]), "bench"))
    return Line("plan of the paper grid, 96 cells", seconds, None)


def main() -> None:
    """Run all and print the table."""
    torch.set_num_threads(1)
    print(f"{'one thread':54} {'ours ms':>9} {'stock ms':>9} {'ratio':>6}", flush=True)
    benches = [
        lambda: loss(512, 512, 4, 20),
        lambda: loss(512, 512, 4, 100),
        lambda: loss(800, 1344, 2, 60),
        lambda: distances(20_000, 256),
        lambda: evaluation(200, 40),
        lambda: training_step(8),
        lambda: rendering(48),
        lambda: bootstrap(2000, 100),
        planning,
    ]
    for bench in benches:
        line = bench()
        stock = "" if line.stock is None else f"{line.stock * 1e3:9.1f}"
        ratio = "" if line.stock is None else f"{line.stock / line.ours:6.1f}"
        row = f"{line.what:54} {line.ours * 1e3:9.1f} {stock:9} {ratio:6} {line.note}"
        print(row.rstrip(), flush=True)
    for scan in scanning():
        print(f"{scan.what:54} {scan.seconds * 1e3:9.1f}", flush=True)
    for look in looking.looking():
        print(looking.shown(look), flush=True)
    print(reducing.shown(reducing.reducing()), flush=True)
    print(tracking_cost.shown(tracking_cost.tracking_cost()), flush=True)


if __name__ == "__main__":
    main()
