from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from helpers.translations import fit_run, num_parameters, same_weights
from omegaconf import OmegaConf
from torch import Tensor

from ptl_sweep.config.schema import TranslatorConfig, conf_dir
from ptl_sweep.ptl.adversarial import TrainedGenerator, Training, adam, draw_batch
from ptl_sweep.ptl.fastcut import (
    FastCutNetworks,
    build_fastcut,
    nce_loss,
    train_fastcut,
    train_step,
)
from ptl_sweep.ptl.networks import CycleNetworks
from ptl_sweep.ptl.patch_nce import PatchProjections
from ptl_sweep.ptl.translators.cyclegan import CycleGan
from ptl_sweep.ptl.translators.fastcut import FastCut


@pytest.fixture
def tiny_cut(tiny_config: TranslatorConfig) -> FastCut:
    """The smallest FastCUT that trains."""
    return FastCut.read(replace(tiny_config, method="fastcut"), {})


def new(config: FastCut) -> Training[FastCutNetworks]:
    """A training that has not begun."""
    networks = build_fastcut(config, torch.Generator().manual_seed(0))
    return Training(
        networks, adam(networks.generators, config), adam(networks.discriminators, config)
    )


def images(seed: int, n: int = 2, side: int = 16) -> Tensor:
    return torch.rand(n, 3, side, side, generator=torch.Generator().manual_seed(seed)) * 2 - 1


def test_the_choice_is_the_recipe_of_the_paper() -> None:
    values = OmegaConf.load(conf_dir() / "translator" / "fastcut.yaml")
    schema = OmegaConf.structured(TranslatorConfig)
    config = FastCut.of(OmegaConf.to_object(OmegaConf.merge(schema, values)), 1)
    assert (config.lambda_nce, config.nce_temperature) == (10, 0.07)
    assert (config.num_patches, config.projection_dim) == (256, 256)
    assert (config.learning_rate, config.batch_size) == (2e-4, 1)
    weight = torch.nn.Parameter(torch.zeros(1))
    assert adam([weight], config).defaults["betas"] == (0.5, 0.999)


def test_there_is_one_generator_one_discriminator_and_no_way_back() -> None:
    config = TranslatorConfig(name="f", method="fastcut")
    with torch.device("meta"):
        networks = FastCutNetworks(FastCut.read(config, {}))
        cycle = CycleNetworks(CycleGan.read(config, {}))
    assert [name for name, _ in networks.named_children()] == ["to_real", "judge_real", "project"]
    assert num_parameters(networks.to_real) == num_parameters(cycle.to_real) == 7_837_699
    assert num_parameters(networks.judge_real) == num_parameters(cycle.judge_real)
    widths = (3, 128, 256, 256, 256)  # pixels, two strided convolutions, two residual blocks
    projections = sum(width * 256 + 256 + 256 * 256 + 256 for width in widths)
    assert num_parameters(networks.project) == projections
    trained = [*networks.generators, *networks.discriminators]
    assert sum(one.numel() for one in trained) == num_parameters(networks)


def test_one_step_moves_every_network(tiny_cut: FastCut) -> None:
    training, start = new(tiny_cut), new(tiny_cut).networks
    losses = train_step(training, images(0), images(1), tiny_cut, np.random.default_rng(0))
    assert list(losses) == [
        "translate/loss_adversarial", "translate/loss_nce", "translate/loss_discriminator",
    ]  # fmt: skip
    for name, network in training.networks.named_children():
        assert not same_weights(network, start.get_submodule(name)), name


def test_each_network_follows_its_own_losses(tiny_cut: FastCut) -> None:
    """Without a step, the gradients left behind are those of the losses by hand."""
    training, by_hand = new(tiny_cut), new(tiny_cut).networks
    for optimizer in (training.generator_optimizer, training.discriminator_optimizer):
        optimizer.param_groups[0]["lr"] = 0.0
    virtual, real = images(0), images(1)
    train_step(training, virtual, real, tiny_cut, np.random.default_rng(0))

    rng = np.random.default_rng(0)
    mirror = bool(rng.random() < 0.5)
    fake = by_hand.to_real(virtual.flip(3) if mirror else virtual)
    nce = nce_loss(by_hand, virtual, fake, mirror=mirror, config=tiny_cut, rng=rng)
    wanted = (by_hand.judge_real(fake) - 1).square().mean() + 10 * nce
    judged = (by_hand.judge_real(real) - 1).square().mean() / 2
    judged = judged + by_hand.judge_real(fake.detach()).square().mean() / 2
    gradients = torch.autograd.grad(wanted, by_hand.generators)
    gradients += torch.autograd.grad(judged, by_hand.discriminators)
    ours = [*training.networks.generators, *training.networks.discriminators]
    for one, gradient in zip(ours, gradients, strict=True):
        assert torch.allclose(one.grad, gradient, rtol=1e-3, atol=1e-6)


def test_the_contrast_sends_no_gradient_to_the_picture_before_translation(
    tiny_cut: FastCut,
) -> None:
    networks = new(tiny_cut).networks
    virtual, fake = images(0).requires_grad_(), images(1).requires_grad_()
    rng = np.random.default_rng(0)
    nce_loss(networks, virtual, fake, mirror=False, config=tiny_cut, rng=rng).backward()
    assert virtual.grad is None
    assert fake.grad is not None
    assert fake.grad.abs().sum() > 0


def test_features_of_a_mirrored_picture_are_mirrored_back(
    tiny_cut: FastCut, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With pixels as the only features, mirroring a picture and its features changes nothing."""
    monkeypatch.setattr("ptl_sweep.ptl.fastcut.encoder_features", lambda _net, _places, x: [x])
    networks = new(tiny_cut).networks
    networks.project = PatchProjections([3], 8)
    virtual, fake = images(0), images(1)

    def loss(picture: Tensor, *, mirror: bool) -> float:
        rng = np.random.default_rng(0)
        found = nce_loss(networks, virtual, picture, mirror=mirror, config=tiny_cut, rng=rng)
        return found.item()

    assert loss(fake.flip(3), mirror=True) == loss(fake, mirror=False)
    assert loss(fake.flip(3), mirror=False) != pytest.approx(loss(fake, mirror=False), rel=1e-3)


def test_half_of_the_steps_translate_mirrored_pictures(
    tiny_cut: FastCut, monkeypatch: pytest.MonkeyPatch
) -> None:
    training, virtual = new(tiny_cut), images(0)
    told: list[bool] = []
    seen: list[bool] = []

    def no_contrast(_net: Any, _virtual: Tensor, fake: Tensor, **rest: Any) -> Tensor:
        told.append(rest["mirror"])
        return fake.mean() * 0

    def look(_module: torch.nn.Module, given: tuple[Tensor]) -> None:
        seen.append(torch.equal(given[0], virtual.flip(3)))

    monkeypatch.setattr("ptl_sweep.ptl.fastcut.nce_loss", no_contrast)
    training.networks.to_real.register_forward_pre_hook(look)
    for step in range(60):
        train_step(training, virtual, images(1), tiny_cut, np.random.default_rng([0, step]))
    assert seen == told
    assert 22 <= sum(told) <= 38


def test_it_learns_a_change_of_colour_that_it_is_not_told(
    tiny_cut: FastCut, tmp_path: Path
) -> None:
    """Other blocks in source and target: no picture is there in both colours."""

    def crops(seed: int) -> np.ndarray:
        rng = np.random.default_rng(seed)
        grey = rng.integers(60, 120, size=(40, 6, 6, 1)) + rng.integers(-9, 10, (40, 6, 6, 3))
        return grey.repeat(3, axis=1).repeat(3, axis=2).astype(np.uint8)

    shift = np.array([80, 0, -40])
    config = replace(
        tiny_cut, num_steps=60, batch_size=4, learning_rate=2e-3, base_channels=8,
        num_patches=64, projection_dim=32,
    )  # fmt: skip
    target = (crops(1) + shift).astype(np.uint8)
    fitted = TrainedGenerator(train_fastcut(config, crops(0), target, fit_run(tmp_path)))
    held_out = crops(2)[:, :16, :16]
    error = np.abs(fitted.translate(held_out) - (held_out + shift)).mean()
    assert error < 0.75 * np.abs(shift).mean()


def test_no_step_needs_a_value_on_the_host(tiny_cut: FastCut) -> None:
    """Meta tensors have shapes and no values: whatever waits for a GPU fails on them."""
    meta = torch.device("meta")
    with meta:
        networks = FastCutNetworks(tiny_cut)
    # fused, as in a training, Adam knows no meta tensors
    by_each = partial(torch.optim.Adam, foreach=True)
    training = Training(networks, by_each(networks.generators), by_each(networks.discriminators))
    stored = torch.zeros(5, 18, 18, 3, dtype=torch.uint8, device=meta)
    rng = np.random.default_rng(0)
    for _ in range(3):
        virtual, real = (draw_batch(stored, tiny_cut, rng) for _ in range(2))
        losses = train_step(training, virtual, real, tiny_cut, rng)
    assert len(losses) == 3
    assert all(loss.is_meta for loss in losses.values())
