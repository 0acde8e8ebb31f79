"""A detector from its meta.json alone, and the distance of its detections."""

from collections.abc import Callable
from dataclasses import asdict, replace

import numpy as np
import pytest
import torch
from helpers.sweeps import Sweep

from ptl_sweep.config.schema import ConfigError
from ptl_sweep.detection.detector import Detections
from ptl_sweep.distance.gaussian import StoredFeatures
from ptl_sweep.pipeline.plan import Plan
from ptl_sweep.predict.distance import TrainingDistance
from ptl_sweep.predict.published import PublishedDetector, analysis_of
from ptl_sweep.stages.train import DetectorStage


def publish(plan: Plan, stage: DetectorStage) -> PublishedDetector:
    """A stage without files."""
    with plan.store.claim(stage.key):
        plan.store.publish(stage.key, stage.identity())
    return PublishedDetector.open(plan.store, stage.key)


def test_what_a_stage_was_planned_with_is_read_from_its_meta(tiny_sweep: Sweep) -> None:
    keys = {reading.detector for cell in tiny_sweep.plan.cells for reading in cell.readings}
    assert len(keys) == 2
    for key in keys:
        stage = tiny_sweep.plan.detector_stage(key)
        found = PublishedDetector.open(tiny_sweep.plan.store, key)
        own = replace(stage.detector, name=found.spec.name)
        assert asdict(found.spec) == asdict(own)
        assert asdict(found.inference) == asdict(stage.inference)
        assert found.num_threads == stage.num_threads


@pytest.mark.parametrize(
    ("sha256", "weights"),
    [
        (None, "none"),
        ("0676ba61" + "0" * 56, "imagenet"),
        ("eeacb38b" + "0" * 56, "coco"),  # its batch norm has another epsilon
        ("1" * 64, "a state dict"),
    ],
)
def test_initial_weights_are_known_by_their_checksum(
    sha256: str | None, weights: str, make_plan: Callable[..., Plan]
) -> None:
    plan = make_plan("detector=retinanet_r50", "detector.weights=none", "synthetic=off",
                     "target=field", "real_count=2", "tiling.size=96")  # fmt: skip
    stage = plan.detector_stage(plan.cells[0].readings[0].detector)
    changed = replace(stage, detector=replace(stage.detector, weights_sha256=sha256))
    found = publish(plan, changed)
    assert found.spec.weights == weights
    assert found.spec.config().weights == weights
    assert found.inference.tiling == stage.inference.tiling is not None


def test_an_evaluation_is_no_detector_and_a_foreign_meta_is_refused(tiny_sweep: Sweep) -> None:
    reading = tiny_sweep.plan.cells[0].readings[0]
    with pytest.raises(ConfigError, match="trains no detector"):
        PublishedDetector.open(tiny_sweep.plan.store, reading.evaluate)


def test_a_stage_of_another_version_is_refused(make_plan: Callable[..., Plan]) -> None:
    plan = make_plan("synthetic=off", "target=field", "real_count=2")
    stage = plan.detector_stage(plan.cells[0].readings[0].detector)
    with plan.store.claim(stage.key):
        plan.store.publish(stage.key, {"kind": "train", "spec": {"detector": {}}})
    with pytest.raises(ConfigError, match="published by another version"):
        PublishedDetector.open(plan.store, stage.key)


def test_distances_are_those_of_the_newest_sweep_with_the_stage(
    make_plan: Callable[..., Plan],
) -> None:
    grid = ("synthetic=off", "target=field", "real_count=2")
    plan = make_plan(*grid, "analysis.shrinkage=ledoit_wolf")
    key = plan.cells[0].readings[0].detector
    (plan.root / "sweeps" / "torn").mkdir()
    (plan.root / "sweeps" / "torn" / "plan.json").write_text(f'{{"{key}"')
    assert analysis_of(plan.root, key).shrinkage == "ledoit_wolf"
    assert analysis_of(plan.root, "train-other").shrinkage == "oas"
    make_plan(*grid)
    assert analysis_of(plan.root, key).shrinkage == "oas"


def detections(features: np.ndarray) -> Detections:
    count = len(features)
    whole = torch.zeros(count, dtype=torch.int64)
    return Detections(
        torch.zeros(count, 4), torch.ones(count), torch.from_numpy(features), whole, whole
    )


def test_the_mean_of_the_training_features_has_distance_zero_and_symmetry_holds() -> None:
    rng = np.random.default_rng(0)
    features = rng.normal(size=(200, 4)).astype(np.float32)
    distance = TrainingDistance.of(StoredFeatures(features, np.arange(200) // 4), "oas")
    told = distance.describe()
    assert (told["num_features"], told["num_images"], told["reason"]) == (200, 50, None)
    assert told["training_median"] == pytest.approx(3.36, rel=0.15)  # of chi squared, 4 degrees
    mean = features.mean(0)
    near, one, other = distance.measure(detections(np.stack([mean, mean + 1, mean - 1])))
    assert near < 1e-4
    assert one == pytest.approx(other, rel=0.01)


def test_without_a_gaussian_distances_are_missing_and_the_reason_is_told() -> None:
    one = np.ones((1, 4), dtype=np.float32)
    distance = TrainingDistance.of(StoredFeatures(one, np.zeros(1, dtype=np.int64)), "oas")
    assert np.isnan(distance.measure(detections(one))).all()
    assert distance.describe()["reason"] == "a Gaussian needs 2 training features, there are 1"
