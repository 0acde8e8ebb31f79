import math
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from ptl_sweep.checkpoints import save_weights
from ptl_sweep.config.schema import TranslatorConfig
from ptl_sweep.detection.training import Interrupted
from ptl_sweep.ptl.cyclegan import (
    CHECKPOINT_NAME,
    ImagePool,
    Training,
    TranslationDiverged,
    draw_batch,
    to_unit,
    train_cyclegan,
    train_step,
)
from ptl_sweep.ptl.networks import CycleNetworks, build_networks, discriminator_network
from ptl_sweep.ptl.translators.base import FitRun
from ptl_sweep.ptl.translators.cyclegan import CycleGan


def gan(**changes: Any) -> CycleGan:
    return CycleGan.of(TranslatorConfig(name="c", **changes), iteration=1)


class StoppedError(Exception):
    pass


def setting(folder: Path, **changes: Any) -> FitRun:
    fields = {
        "seed": 3,
        "folder": folder,
        "warm_start": None,
        "on_step": lambda _step, _losses: None,
        "device": torch.device("cpu"),
        "checkpoint_minutes": 5.0,
        "should_stop": lambda: False,
    }
    return FitRun(**(fields | changes))


def crops(seed: int, n: int = 5, side: int = 18) -> np.ndarray:
    coarse = np.random.default_rng(seed).integers(0, 255, size=(n, 6, 6, 3), dtype=np.uint8)
    return coarse.repeat(side // 6, axis=1).repeat(side // 6, axis=2)


def same(first: CycleNetworks, second: CycleNetworks) -> bool:
    left, right = first.state_dict(), second.state_dict()
    return left.keys() == right.keys() and all(torch.equal(left[k], right[k]) for k in left)


def parameters(network: torch.nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


def test_at_full_size_the_networks_are_those_of_the_authors() -> None:
    """Known sizes of resnet_6blocks (7.84 M) and the 70x70 PatchGAN (2.77 M), 64 channels."""
    with torch.device("meta"):
        networks = CycleNetworks(gan())
    assert parameters(networks.judge_real) == 2_764_737
    assert parameters(networks.to_real) == 7_837_699
    assert not any("running" in name for name in networks.state_dict())


@pytest.mark.parametrize(("crop", "field"), [(128, 70), (72, 70), (64, 34), (32, 16), (16, 16)])
def test_the_discriminator_sees_the_largest_patch_that_fits(crop: int, field: int) -> None:
    config = gan(load_size=crop, crop_size=crop, base_channels=4)
    judge = discriminator_network(config)
    for module in judge:  # InstanceNorm couples all pixels, so it is left out here
        if isinstance(module, torch.nn.InstanceNorm2d):
            module.forward = lambda x: x  # type: ignore[method-assign]
    image = torch.rand(1, 3, 2 * crop, 2 * crop, requires_grad=True)
    verdict = judge(image)
    verdict[0, 0, verdict.shape[2] // 2, verdict.shape[3] // 2].backward()
    touched = image.grad[0].abs().sum(0).nonzero()
    assert (touched.max(0).values - touched.min(0).values + 1).tolist() == [field, field]


@pytest.mark.parametrize("crop", [16, 32, 64, 68])
def test_the_generator_keeps_the_size_and_the_range(crop: int) -> None:
    config = gan(load_size=crop, crop_size=crop, base_channels=4, num_residual_blocks=1)
    networks = build_networks(config, torch.Generator().manual_seed(0))
    out = networks.to_real(torch.rand(1, 3, crop, crop) * 2 - 1)
    assert out.shape == (1, 3, crop, crop)
    assert out.abs().max() <= 1


def test_weights_depend_on_the_generator_alone(tiny_gan: CycleGan) -> None:
    before = torch.get_rng_state()
    first = build_networks(tiny_gan, torch.Generator().manual_seed(1))
    assert torch.equal(before, torch.get_rng_state())
    torch.rand(7)
    assert same(first, build_networks(tiny_gan, torch.Generator().manual_seed(1)))
    assert not same(first, build_networks(tiny_gan, torch.Generator().manual_seed(2)))
    wide = build_networks(replace(tiny_gan, base_channels=16), torch.Generator().manual_seed(1))
    weights = torch.cat([p.flatten() for n, p in wide.named_parameters() if n.endswith("weight")])
    assert float(weights.detach().std()) == pytest.approx(0.02, rel=0.02)


def test_batches_are_cut_and_mirrored_pieces_of_the_crops(tiny_gan: CycleGan) -> None:
    source = crops(0)
    config = replace(tiny_gan, batch_size=40)
    batch = draw_batch(torch.from_numpy(source), config, np.random.default_rng(5))
    assert batch.shape == (40, 3, 16, 16)
    views = to_unit(torch.from_numpy(source))
    pieces = [
        piece
        for view in views
        for top in range(3)
        for left in range(3)
        for piece in [view[:, top : top + 16, left : left + 16]]
    ]
    plain = [any(torch.equal(image, piece) for piece in pieces) for image in batch]
    mirrored = [any(torch.equal(image.flip(2), piece) for piece in pieces) for image in batch]
    assert all(p or m for p, m in zip(plain, mirrored, strict=True))
    assert any(plain)
    assert any(mirrored)


def test_the_image_pool_swaps_half_of_the_fakes_for_older_ones() -> None:
    pool, rng = ImagePool(10), np.random.default_rng(0)
    first = torch.arange(10.0).view(10, 1, 1, 1).expand(10, 3, 2, 2)
    assert torch.equal(pool.exchange(first, rng), first)
    later = torch.arange(10.0, 1010.0).view(-1, 1, 1, 1).expand(-1, 3, 2, 2)
    shown = pool.exchange(later, rng)
    swapped = (shown != later)[:, 0, 0, 0].float().mean()
    assert swapped == pytest.approx(0.5, abs=0.06)
    assert (shown[:, 0, 0, 0] <= later[:, 0, 0, 0]).all()
    assert len(pool.images) == 10


def test_a_pool_of_size_zero_shows_the_fakes_themselves() -> None:
    fakes = torch.rand(3, 3, 2, 2)
    assert ImagePool(0).exchange(fakes, np.random.default_rng(0)) is fakes


@pytest.mark.parametrize("stop_after", [1, 4])
def test_an_interrupted_training_ends_as_an_undisturbed_one(
    stop_after: int,
    tiny_gan: CycleGan,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    source, target = crops(0), crops(1)
    whole = train_cyclegan(tiny_gan, source, target, setting(tmp_path / "whole"))

    monkeypatch.setattr("ptl_sweep.ptl.cyclegan.LOG_EVERY", 1)
    steps: list[int] = []

    def stop(step: int, losses: dict[str, float]) -> None:
        steps.append(step)
        if step == stop_after + 1:
            raise StoppedError

    folder = tmp_path / "part"
    with pytest.raises(StoppedError):
        train_cyclegan(
            tiny_gan, source, target, setting(folder, on_step=stop, checkpoint_minutes=0)
        )
    torch.rand(5)
    rest: list[int] = []
    resumed = train_cyclegan(
        tiny_gan,
        source,
        target,
        setting(folder, on_step=lambda step, _: rest.append(step)),
    )
    assert rest == list(range(stop_after + 1, 7))
    assert same(whole, resumed)
    assert [path.name for path in folder.iterdir()] == [CHECKPOINT_NAME]


def test_a_finished_training_is_not_done_again(tiny_gan: CycleGan, tmp_path: Path) -> None:
    first = train_cyclegan(tiny_gan, crops(0), crops(1), setting(tmp_path))

    def never(step: int, losses: dict[str, float]) -> None:
        raise AssertionError

    assert same(
        first, train_cyclegan(tiny_gan, crops(0), crops(1), setting(tmp_path, on_step=never))
    )


def test_a_warm_start_continues_from_saved_networks(tiny_gan: CycleGan, tmp_path: Path) -> None:
    before = build_networks(tiny_gan, torch.Generator().manual_seed(9))
    save_weights(tmp_path / "before.safetensors", before)
    no_steps = replace(tiny_gan, num_warm_steps=0)
    warm = setting(tmp_path / "a", warm_start=tmp_path / "before.safetensors")
    assert same(before, train_cyclegan(no_steps, crops(0), crops(1), warm))
    steps: list[int] = []
    warm = warm._replace(folder=tmp_path / "b", on_step=lambda step, _: steps.append(step))
    assert not same(before, train_cyclegan(tiny_gan, crops(0), crops(1), warm))
    assert steps == [tiny_gan.num_warm_steps]


def test_losses_are_reported_every_20_steps_and_at_the_last(
    tiny_gan: CycleGan, tmp_path: Path
) -> None:
    seen: dict[int, dict[str, float]] = {}
    config = replace(tiny_gan, num_steps=43, crop_size=16, batch_size=1)
    train_cyclegan(config, crops(0), crops(1), setting(tmp_path, on_step=seen.__setitem__))
    assert list(seen) == [20, 40, 43]
    assert {name.split("/")[0] for name in seen[20]} == {"translate"}
    assert all(math.isfinite(value) for losses in seen.values() for value in losses.values())


def test_cycle_and_identity_losses_fall(tiny_gan: CycleGan, tmp_path: Path) -> None:
    seen: dict[int, dict[str, float]] = {}
    config = replace(tiny_gan, num_steps=60, learning_rate=3e-3, base_channels=8)
    train_cyclegan(config, crops(0), crops(1), setting(tmp_path, on_step=seen.__setitem__))
    for name in ("translate/loss_cycle", "translate/loss_identity"):
        assert seen[60][name] < 0.9 * seen[20][name]


def test_a_loss_that_is_not_finite_stops_with_advice_and_saves_nothing(
    tiny_gan: CycleGan, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(verdict: Tensor, wanted: float) -> Tensor:
        return verdict.sum() * math.nan

    monkeypatch.setattr("ptl_sweep.ptl.cyclegan._squared_error", broken)
    with pytest.raises(TranslationDiverged, match=r"step 1 .*lower translator\.learning_rate"):
        train_cyclegan(
            tiny_gan, crops(0), crops(1), setting(tmp_path / "run", checkpoint_minutes=0)
        )
    assert not (tmp_path / "run").exists()


def test_a_training_that_is_told_to_stop_goes_on_from_its_checkpoint(
    tiny_gan: CycleGan, tmp_path: Path
) -> None:
    source, target = crops(0), crops(1)
    config = replace(tiny_gan, num_steps=4)
    (tmp_path / "whole").mkdir()
    (tmp_path / "stopped").mkdir()
    whole = train_cyclegan(config, source, target, setting(tmp_path / "whole"))
    with pytest.raises(Interrupted, match="step 1 of 4"):
        train_cyclegan(
            config, source, target, setting(tmp_path / "stopped", should_stop=lambda: True)
        )
    resumed = train_cyclegan(config, source, target, setting(tmp_path / "stopped"))
    assert same(whole, resumed)


def test_no_step_needs_a_value_on_the_host(tiny_gan: CycleGan) -> None:
    """Meta tensors have shapes and no values: whatever waits for a GPU fails on them."""
    meta = torch.device("meta")
    with meta:
        networks = CycleNetworks(tiny_gan)
    # fused, as in a training, Adam knows no meta tensors
    adam = partial(torch.optim.Adam, foreach=True)
    training = Training(
        networks,
        adam(networks.generators),
        adam(networks.discriminators),
        ImagePool(4),
        ImagePool(4),
    )
    stored = torch.zeros(5, 18, 18, 3, dtype=torch.uint8, device=meta)
    rng = np.random.default_rng(0)
    for _ in range(3):
        virtual, real = (draw_batch(stored, tiny_gan, rng) for _ in range(2))
        losses = train_step(training, virtual, real, tiny_gan, rng)
    assert len(losses) == 4
    assert all(loss.is_meta for loss in losses.values())
