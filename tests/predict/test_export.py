"""`export`: the file opens without the store, and finds what `predict` finds."""

import json
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.torch
import torch
from helpers.closeness import assert_scored_boxes_close
from helpers.stores import contents
from helpers.sweeps import Sweep
from helpers.untrained import calibrate, spread_scores
from PIL import Image

from ptl_sweep.detection.detector import build_detector
from ptl_sweep.detection.initial_weights.published import COCO_FCOS, COCO_RETINANET
from ptl_sweep.pipeline.plan import Plan

PAGE = Path(__file__).resolve().parent.parent.parent / "docs" / "predict.md"
R50_STRIDES = [8, 16, 32, 64, 128]
STRIDES = {"retinanet_r50": R50_STRIDES, "fcos_r50": R50_STRIDES, "retinanet_tiny": [8, 16]}
R50 = ("detector.weights=none", "synthetic=off", "target=field")
COCO = {"retinanet_r50": COCO_RETINANET, "fcos_r50": COCO_FCOS}


def example(architecture: str) -> str:
    """The block of the documentation that loads this architecture."""
    found = re.findall(r"^```python\n(.*?)^```", PAGE.read_text(), re.M | re.S)
    loading = [block for block in found if "torch.load" in block]
    (stock,) = [block for block in loading if "ptl_sweep" not in block]
    (own,) = [block for block in loading if "ptl_sweep" in block]
    return stock if architecture.endswith("_r50") else own


def publish_r50(plan: Plan, images: torch.Tensor, weights: str) -> str:
    """A ResNet-50 that nobody trained, as a stage that began from these weights."""
    stage = plan.detector_stage(plan.cells[0].readings[0].detector)
    published = COCO[stage.detector.architecture]
    sha256 = f"{published.sha256_prefix:0<64}" if weights == "coco" else None
    spec = replace(stage.detector, weights=weights, weights_sha256=sha256)
    stage = replace(stage, detector=spec)
    built = build_detector(spec.config(), torch.Generator().manual_seed(0))
    if sha256 is not None:  # frozen; a variance that shows the epsilon
        built.backbone.body.bn1.running_var.fill_(1e-4)
    detector = calibrate(spread_scores(built), images)
    with plan.store.claim(stage.key) as folder:
        safetensors.torch.save_file(detector.state_dict(), folder / "model.safetensors")
        features = np.random.default_rng(0).normal(size=(40, 256)).astype(np.float32)
        np.savez(folder / "training_features.npz", features=features, images=np.arange(40))
        plan.store.publish(stage.key, stage.identity())
    return stage.key


def picture(path: Path) -> Path:
    """Noise over patches, 150 px wide and 110 px high."""
    rng = np.random.default_rng(1)
    patches = np.kron(rng.integers(0, 200, (11, 15, 3)), np.ones((10, 10, 1)))
    noisy = patches + rng.normal(0, 20, (110, 150, 3))
    Image.fromarray(noisy.clip(0, 255).astype(np.uint8)).save(path, quality=95)
    return path


def boxes_of(path: Path) -> tuple[torch.Tensor, torch.Tensor]:
    rows = json.loads(path.read_text())
    sized = torch.tensor([row["bbox"] for row in rows])
    corners = torch.cat([sized[:, :2], sized[:, :2] + sized[:, 2:]], dim=1)
    return corners, torch.tensor([row["score"] for row in rows])


@pytest.mark.parametrize(
    ("architecture", "weights", "sides"),
    [
        ("retinanet_r50", "none", [None, None]),
        ("retinanet_r50", "none", [128, 160]),
        ("retinanet_r50", "coco", [None, None]),
        ("fcos_r50", "coco", [None, None]),
        ("retinanet_tiny", "none", []),
    ],
)
def test_the_documented_loader_finds_what_predict_finds(
    architecture: str,
    weights: str,
    sides: list[int | None],
    make_plan: Callable[..., Plan],
    tiny_sweep: Sweep,
    run: Any,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    file = picture(tmp_path / "picture.jpg")
    root, key = tiny_sweep.root, "train-"
    if sides:
        names = ("detector.min_size", "detector.max_size")
        sizes = [f"{name}={side or 'null'}" for name, side in zip(names, sides, strict=True)]
        words = (f"detector={architecture}", *R50, *sizes, "real_count=2")
        plan = make_plan(*words, "evaluate.max_detections=60")
        pixels = torch.from_numpy(np.asarray(Image.open(file)) / np.float32(255))
        images = pixels.permute(2, 0, 1)[None].repeat(2, 1, 1, 1)
        root, key = plan.root, publish_r50(plan, images, weights)
    where = f"sweep.root={root}"
    assert run("predict", key, "picture.jpg", "--out", "out", where).code == 0
    assert run("export", key, "person.pt", where).code == 0
    found: dict[str, Any] = {}
    exec(compile(example(architecture), PAGE.name, "exec"), found)
    expected_boxes, expected_scores = boxes_of(tmp_path / "out" / "results.json")
    assert len(expected_scores) > 10
    assert_scored_boxes_close(found["boxes"], found["scores"], expected_boxes, expected_scores)
    assert found["saved"]["geometry"]["strides"] == STRIDES[architecture]


def test_the_file_holds_tensors_and_plain_values_and_says_where_it_is_from(
    run: Any, tiny_sweep: Sweep, tmp_path: Path
) -> None:
    path = tmp_path / "person.pt"
    outcome = run("export", "ptl-", str(path), "--json", f"sweep.root={tiny_sweep.root}")
    told = json.loads(outcome.output)
    saved = torch.load(path, weights_only=True)
    stage = tiny_sweep.plan.detector_stage(told["stage"])
    assert saved["provenance"]["stage"] == stage.key
    assert saved["provenance"]["commit"] == tiny_sweep.plan.store.meta(stage.key)["commit"]
    assert saved["classes"] == ["person"]
    assert saved["detector"]["anchor_sizes"] == stage.detector.anchor_sizes
    assert saved["torchvision"]["detections_per_img"] == stage.inference.max_detections
    assert saved["format"] == "ptl_sweep.detector/1"
    assert told["bytes"] == path.stat().st_size
    stored = tiny_sweep.plan.store.path(stage.key) / "model.safetensors"
    weights = safetensors.torch.load_file(stored)
    assert weights.keys() == saved["state_dict"].keys()
    assert all(torch.equal(value, saved["state_dict"][name]) for name, value in weights.items())


def test_an_export_is_repeated_in_place_and_replaces_nothing_else(
    run: Any, tiny_sweep: Sweep, tmp_path: Path
) -> None:
    where = f"sweep.root={tiny_sweep.root}"
    path = tmp_path / "person.pt"
    assert run("export", "train-", str(path), where).code == 0
    before = path.read_bytes()
    assert run("export", "train-", str(path), where).code == 0
    assert path.read_bytes() == before
    torch.save({"weights": torch.zeros(1)}, tmp_path / "other.pt")
    (tmp_path / "notes.txt").write_text("mine")
    kept = contents(tmp_path)
    for stage, name, problem in (
        ("ptl-", "person.pt", "no export of ptl-"),
        ("train-", "other.pt", "no export of train-"),
        ("train-", "notes.txt", "no export of train-"),
        ("train-", ".", "is no file"),
        ("train-", "nowhere/person.pt", "is no folder"),
    ):
        outcome = run("export", stage, str(tmp_path / name), where)
        assert outcome.code == 2
        assert problem in outcome.errors
        assert "fix: " in outcome.errors
    assert contents(tmp_path) == kept


def test_a_damaged_model_is_not_exported(
    run: Any, tiny_sweep: Sweep, copy_of: Callable, flip_byte: Callable, tmp_path: Path
) -> None:
    sweep = copy_of(tiny_sweep)
    (stage,) = (sweep.root / "store").glob("train-*[0-9a-f]")
    flip_byte(stage / "model.safetensors")
    outcome = run("export", "train-", str(tmp_path / "a.pt"), f"sweep.root={sweep.root}")
    assert outcome.code == 1
    assert f"{stage / 'model.safetensors'} is not the file that was published" in outcome.errors
    assert not (tmp_path / "a.pt").exists()
