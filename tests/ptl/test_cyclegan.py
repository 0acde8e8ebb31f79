from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from helpers.translations import blocky_crops, fit_run, num_parameters, same_weights

from ptl_sweep.config.schema import TranslatorConfig
from ptl_sweep.ptl.adversarial import draw_batch
from ptl_sweep.ptl.cyclegan import CycleTraining, ImagePool, train_cyclegan, train_step
from ptl_sweep.ptl.networks import CycleNetworks, build_networks, discriminator_network
from ptl_sweep.ptl.translators.cyclegan import CycleGan


def gan(**changes: Any) -> CycleGan:
    return CycleGan.of(TranslatorConfig(name="c", **changes), iteration=1)


def test_at_full_size_the_networks_are_those_of_the_authors() -> None:
    """Known sizes of resnet_6blocks (7.84 M) and the 70x70 PatchGAN (2.77 M), 64 channels."""
    with torch.device("meta"):
        networks = CycleNetworks(gan())
    assert num_parameters(networks.judge_real) == 2_764_737
    assert num_parameters(networks.to_real) == 7_837_699
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
    assert same_weights(first, build_networks(tiny_gan, torch.Generator().manual_seed(1)))
    assert not same_weights(first, build_networks(tiny_gan, torch.Generator().manual_seed(2)))
    wide = build_networks(replace(tiny_gan, base_channels=16), torch.Generator().manual_seed(1))
    weights = torch.cat([p.flatten() for n, p in wide.named_parameters() if n.endswith("weight")])
    assert float(weights.detach().std()) == pytest.approx(0.02, rel=0.02)


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


def test_cycle_and_identity_losses_fall(tiny_gan: CycleGan, tmp_path: Path) -> None:
    seen: dict[int, dict[str, float]] = {}
    config = replace(tiny_gan, num_steps=60, learning_rate=3e-3, base_channels=8)
    train_cyclegan(
        config, blocky_crops(0), blocky_crops(1), fit_run(tmp_path, on_step=seen.__setitem__)
    )
    for name in ("translate/loss_cycle", "translate/loss_identity"):
        assert seen[60][name] < 0.9 * seen[20][name]


def test_no_step_needs_a_value_on_the_host(tiny_gan: CycleGan) -> None:
    """Meta tensors have shapes and no values: whatever waits for a GPU fails on them."""
    meta = torch.device("meta")
    with meta:
        networks = CycleNetworks(tiny_gan)
    # fused, as in a training, Adam knows no meta tensors
    adam = partial(torch.optim.Adam, foreach=True)
    training = CycleTraining(
        networks,
        adam(networks.generators),
        adam(networks.discriminators),
        real_pool=ImagePool(4),
        virtual_pool=ImagePool(4),
    )
    stored = torch.zeros(5, 18, 18, 3, dtype=torch.uint8, device=meta)
    rng = np.random.default_rng(0)
    for _ in range(3):
        virtual, real = (draw_batch(stored, tiny_gan, rng) for _ in range(2))
        losses = train_step(training, virtual, real, tiny_gan, rng)
    assert len(losses) == 4
    assert all(loss.is_meta for loss in losses.values())
