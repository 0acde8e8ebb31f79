"""Weight files: where they must lie, what they must be, and that they end up in the network."""

import hashlib
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from helpers.closeness import assert_activations_close
from safetensors.torch import save_file
from torchvision.models import ResNet50_Weights, resnet50
from torchvision.models.detection import (
    FCOS_ResNet50_FPN_Weights,
    RetinaNet_ResNet50_FPN_Weights,
    fcos_resnet50_fpn,
    retinanet_resnet50_fpn,
)
from torchvision.ops import FrozenBatchNorm2d

from ptl_sweep.config.schema import ConfigError
from ptl_sweep.detection.architectures.retinanet_r50 import ResNet50RetinaNet
from ptl_sweep.detection.detector import build_detector
from ptl_sweep.detection.initial_weights import files as weights
from ptl_sweep.detection.initial_weights.files import (
    WeightsFile,
    resolve_weights,
    weights_path,
    weights_sha256,
)
from ptl_sweep.detection.initial_weights.loading import load_weights
from ptl_sweep.detection.initial_weights.published import (
    COCO_FCOS,
    COCO_RETINANET,
    IMAGENET_R50,
    PUBLISHED,
    PublishedWeights,
)
from ptl_sweep.store import sha256_of


def save(path: Path, state: dict[str, torch.Tensor]) -> WeightsFile:
    torch.save(state, path)
    return WeightsFile(path, sha256_of(path))


def generator() -> torch.Generator:
    return torch.Generator().manual_seed(0)


def test_addresses_are_those_of_torchvision() -> None:
    assert IMAGENET_R50.url == ResNet50_Weights.IMAGENET1K_V1.url
    assert COCO_RETINANET.url == RetinaNet_ResNet50_FPN_Weights.COCO_V1.url
    assert COCO_FCOS.url == FCOS_ResNet50_FPN_Weights.COCO_V1.url
    for published in PUBLISHED:
        assert published.file_name.endswith(f"-{published.sha256_prefix}.pth")


def test_planning_with_weights_needs_no_torch() -> None:
    code = "import sys, ptl_sweep.detection.initial_weights.files; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_random_weights_need_no_file(tiny_with: Callable, tmp_path: Path) -> None:
    assert weights_path(tiny_with(), tmp_path) is None
    assert resolve_weights(tiny_with(), tmp_path) is None
    assert weights_sha256(tiny_with(), tmp_path) is None


@pytest.mark.parametrize(
    ("network", "published"),
    [
        ("r50_with", IMAGENET_R50),
        ("r50_with", COCO_RETINANET),
        ("fcos_r50_with", IMAGENET_R50),
        ("fcos_r50_with", COCO_FCOS),
    ],
)
def test_missing_file_names_its_address_and_its_place(
    network: str, published: PublishedWeights, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    config = request.getfixturevalue(network)(weights=published.name)
    with pytest.raises(ConfigError) as caught:
        resolve_weights(config, tmp_path)
    assert published.url in str(caught.value)
    assert str(tmp_path / published.file_name) in str(caught.value)


def test_another_file_of_that_name_is_refused(r50_with: Callable, tmp_path: Path) -> None:
    (tmp_path / COCO_RETINANET.file_name).write_bytes(b"cut short")
    with pytest.raises(ConfigError, match="SHA-256"):
        resolve_weights(r50_with(weights="coco"), tmp_path)


def test_sha256_of_the_file_is_returned(
    r50_with: Callable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    digest = hashlib.sha256(b"weights").hexdigest()
    published = PublishedWeights(
        "imagenet", f"https://example.org/r50-{digest[:8]}.pth", digest[:8]
    )
    monkeypatch.setattr(ResNet50RetinaNet, "published_weights", (published,))
    (tmp_path / published.file_name).write_bytes(b"weights")
    assert weights_sha256(r50_with(weights="imagenet"), tmp_path) == digest


def test_imagenet_weights_fill_the_body(r50_with: Callable, tmp_path: Path) -> None:
    source = resnet50(weights=None)
    with torch.no_grad():
        source.bn1.running_mean.fill_(0.25)
    config = r50_with(weights="imagenet")
    detector = build_detector(config, generator())
    fpn = detector.backbone.fpn.inner_blocks[0][0].weight.clone()
    load_weights(detector, config, save(tmp_path / "r50.pth", source.state_dict()))
    expected = source.state_dict()
    for name, value in detector.backbone.body.state_dict().items():
        assert torch.equal(value, expected[name])
    assert torch.equal(detector.backbone.fpn.inner_blocks[0][0].weight, fpn)


def test_coco_weights_keep_the_person_alone(r50_with: Callable, tmp_path: Path) -> None:
    source = retinanet_resnet50_fpn(weights=None, weights_backbone=None, num_classes=91).eval()
    with torch.no_grad():
        source.head.classification_head.cls_logits.bias.normal_(generator=generator())
    config = r50_with(weights="coco", anchor_sizes=[[32.0, 40.0, 50.0]] * 5)
    detector = build_detector(config, generator())
    load_weights(detector, config, save(tmp_path / "coco.pth", source.state_dict()))
    eps = {m.eps for m in detector.modules() if isinstance(m, FrozenBatchNorm2d)}
    assert eps == {0.0}
    for module in source.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.eps = 0.0
    images = torch.rand(1, 3, 64, 64, generator=generator())
    with torch.no_grad():
        features = list(source.backbone((images - detector.mean) / detector.std).values())
        expected = source.head(features)["cls_logits"][..., 1]
        raw = detector._predict(detector._prepare(images))
    assert_activations_close(raw.logits, expected)


def test_coco_weights_of_fcos_keep_the_person_alone(
    fcos_r50_with: Callable, tmp_path: Path
) -> None:
    source = fcos_resnet50_fpn(weights=None, weights_backbone=None, num_classes=91).eval()
    with torch.no_grad():
        source.head.classification_head.cls_logits.bias.normal_(generator=generator())
    config = fcos_r50_with(weights="coco")
    detector = build_detector(config, generator())
    load_weights(detector, config, save(tmp_path / "coco.pth", source.state_dict()))
    images = torch.rand(1, 3, 64, 64, generator=generator())
    with torch.no_grad():
        features = list(source.backbone((images - detector.mean) / detector.std).values())
        expected = source.head(features)
        raw = detector._predict(detector._prepare(images))
    assert_activations_close(raw.logits, expected["cls_logits"][..., 1])
    assert_activations_close(raw.offsets, expected["bbox_regression"])
    assert_activations_close(raw.centerness, expected["bbox_ctrness"][..., 0])


def test_coco_weights_of_the_other_family_are_refused(
    fcos_r50_with: Callable, tmp_path: Path
) -> None:
    source = retinanet_resnet50_fpn(weights=None, weights_backbone=None, num_classes=91)
    config = fcos_r50_with(weights="coco")
    file = save(tmp_path / "coco.pth", source.state_dict())
    with pytest.raises(ConfigError, match="does not fit fcos_r50"):
        load_weights(build_detector(config, generator()), config, file)


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_state_dict_of_a_detector_is_read_back(
    tiny_with: Callable, tmp_path: Path, suffix: str
) -> None:
    source = build_detector(tiny_with(), torch.Generator().manual_seed(9))
    path = tmp_path / f"tiny{suffix}"
    if suffix == ".pth":
        torch.save(source.state_dict(), path)
    else:
        save_file(source.state_dict(), path)
    config = tiny_with(weights=str(path))
    detector = build_detector(config, generator())
    file = resolve_weights(config, tmp_path / "unused")
    assert file is not None
    load_weights(detector, config, file)
    expected = source.state_dict()
    assert all(torch.equal(value, expected[n]) for n, value in detector.state_dict().items())


@pytest.mark.parametrize("content", [b"no weights", b""])
def test_unreadable_file_is_a_config_error(
    tiny_with: Callable, tmp_path: Path, content: bytes
) -> None:
    for name in ("broken.pth", "broken.safetensors"):
        path = tmp_path / name
        path.write_bytes(content)
        config = tiny_with(weights=str(path))
        with pytest.raises(ConfigError, match="no state dict"):
            load_weights(build_detector(config, generator()), config, WeightsFile(path, ""))


def test_weights_of_another_network_are_refused(tiny_with: Callable, tmp_path: Path) -> None:
    wide = build_detector(tiny_with(channels=64), generator())
    file = save(tmp_path / "wide.pth", wide.state_dict())
    config = tiny_with(weights=str(file.path))
    with pytest.raises(ConfigError, match="does not fit retinanet_tiny"):
        load_weights(build_detector(config, generator()), config, file)


def test_files_that_would_run_code_are_refused(tiny_with: Callable, tmp_path: Path) -> None:
    path = tmp_path / "code.pth"
    torch.save({"hook": subprocess.run}, path)
    config = tiny_with(weights=str(path))
    with pytest.raises(ConfigError, match="no state dict"):
        load_weights(build_detector(config, generator()), config, WeightsFile(path, ""))


def test_a_file_is_hashed_once_however_many_stages_ask(
    r50_with: Callable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[Path] = []

    def counted(path: Path) -> str:
        read.append(path)
        return sha256_of(path)

    monkeypatch.setattr(weights, "sha256_of", counted)
    path = tmp_path / "own.pth"
    path.write_bytes(b"one")
    config = r50_with(weights=str(path))
    first = {weights_sha256(config, tmp_path) for _ in range(50)}
    assert len(first) == len(read) == 1
    path.write_bytes(b"another")
    assert weights_sha256(config, tmp_path) not in first
    assert len(read) == 2
