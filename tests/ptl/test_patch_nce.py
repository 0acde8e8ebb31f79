import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import logsumexp
from torch.nn import functional

from ptl_sweep.config.schema import TranslatorConfig
from ptl_sweep.ptl.networks import generator_network
from ptl_sweep.ptl.patch_nce import (
    PatchProjections,
    draw_places,
    encoder_features,
    encoder_layers,
    patch_nce,
)
from ptl_sweep.ptl.translators.fastcut import FastCut


def recipe(**changes: int) -> FastCut:
    return FastCut.read(TranslatorConfig(name="f", method="fastcut", **changes), {})


def unit_vectors(seed: int, *shape: int) -> torch.Tensor:
    found = torch.randn(shape, generator=torch.Generator().manual_seed(seed))
    return functional.normalize(found, dim=-1)


def simplex(num: int) -> torch.Tensor:
    """As many unit vectors, all equally far from each other, whose sum is zero."""
    return functional.normalize(torch.eye(num) - 1 / num, dim=1)


@given(st.integers(1, 3), st.integers(2, 9), st.integers(1, 5), st.sampled_from([0.07, 0.5, 2.0]))
def test_the_loss_is_the_cross_entropy_of_the_authors_code(
    batch: int, num: int, dim: int, temperature: float
) -> None:
    """Positive first, then all similarities of the picture, its own place filled with -10."""
    queries, keys = unit_vectors(0, batch, num, dim), unit_vectors(1, batch, num, dim)
    losses = []
    for q, k in zip(queries.double().numpy(), keys.double().numpy(), strict=True):
        for place in range(num):
            negatives = k @ q[place]
            positive = negatives[place]
            negatives[place] = -10.0
            logits = np.array([positive, *negatives]) / temperature
            losses.append(logsumexp(logits) - logits[0])
    rtol = 1e-5 if temperature < 1 else 1e-2  # exp(-10 / 2) is not as small as exp(-10 / 0.07)
    found = float(patch_nce(queries, keys, temperature))
    assert found == pytest.approx(np.mean(losses), rel=rtol, abs=1e-5)


@given(st.integers(2, 8), st.integers(0, 50), st.sampled_from([0.07, 0.5]))
def test_nothing_is_smaller_than_the_loss_of_queries_that_equal_their_positives(
    num: int, seed: int, temperature: float
) -> None:
    """Exact where the keys are a simplex: there no direction but the positive's is special."""
    keys = simplex(num)[None]
    least = float(patch_nce(keys, keys, temperature))
    assert least <= float(patch_nce(unit_vectors(seed, 1, num, num), keys, temperature)) + 1e-6
    near = functional.normalize(keys + 0.1 * unit_vectors(seed, 1, num, num), dim=2)
    assert least <= float(patch_nce(near, keys, temperature)) + 1e-6
    assert least < float(patch_nce(keys.roll(1, dims=1), keys, temperature))


def test_no_gradient_reaches_the_keys() -> None:
    queries, keys = (unit_vectors(seed, 2, 5, 3).requires_grad_() for seed in (0, 1))
    patch_nce(queries, keys, 0.07).backward()  # type: ignore[no-untyped-call]
    assert keys.grad is None
    assert queries.grad is not None
    assert queries.grad.abs().sum() > 0


def test_negatives_come_from_the_same_picture() -> None:
    queries, keys = unit_vectors(0, 3, 6, 4), unit_vectors(1, 3, 6, 4)
    alone = [float(patch_nce(queries[i : i + 1], keys[i : i + 1], 0.07)) for i in range(3)]
    assert float(patch_nce(queries, keys, 0.07)) == pytest.approx(np.mean(alone), rel=1e-5)


def test_projections_are_unit_vectors_of_the_features_at_the_places() -> None:
    project = PatchProjections([3, 5], 7)
    features = [torch.randn(2, 3, 4, 6), torch.randn(2, 5, 2, 3)]
    places = [torch.tensor([23, 0, 7]), torch.tensor([5, 2])]
    found = project(features, places)
    assert [tuple(one.shape) for one in found] == [(2, 3, 7), (2, 2, 7)]
    assert all(torch.allclose(one.norm(dim=2), torch.ones(1)) for one in found)
    at_7 = project.layers[0](features[0][1, :, 1, 1])  # row 1, column 1 of rows of six
    assert torch.allclose(found[0][1, 2], at_7 / at_7.norm(), atol=1e-6)


def test_places_differ_and_are_all_of_a_layer_with_fewer() -> None:
    features = [torch.zeros(2, 3, 8, 8), torch.zeros(2, 4, 3, 3)]
    first, second = draw_places(features, 16, np.random.default_rng(0))
    assert len(set(first.tolist())) == 16
    assert set(first.tolist()) <= set(range(64))
    assert sorted(second.tolist()) == list(range(9))
    again, _ = draw_places(features, 16, np.random.default_rng(0))
    other, _ = draw_places(features, 16, np.random.default_rng(1))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


@pytest.mark.parametrize(
    ("crop", "blocks", "channels"),
    [(128, 6, [128, 256, 256, 256]), (32, 3, [128, 128, 128]), (32, 1, [128, 128])],
)
def test_features_are_pixels_strided_convolutions_and_the_first_and_fifth_block(
    crop: int, blocks: int, channels: list[int]
) -> None:
    config = recipe(load_size=crop, crop_size=crop, num_residual_blocks=blocks)
    with torch.device("meta"):
        generator = generator_network(config)
    layers = encoder_layers(generator)
    assert list(layers.values()) == channels
    named = [type(generator[place]).__name__ for place in layers]
    halvings = 2 if crop == 128 else 1
    assert named == ["Conv2d"] * halvings + ["GeneratorBlock"] * (len(layers) - halvings)
    of_blocks = [place for place in layers if type(generator[place]).__name__ == "GeneratorBlock"]
    assert of_blocks[-1] - of_blocks[0] == min(4, blocks - 1)


def test_features_are_the_outputs_of_the_whole_generator_at_its_layers() -> None:
    config = recipe(load_size=16, crop_size=16, base_channels=4, num_residual_blocks=2)
    generator = generator_network(config)
    layers = encoder_layers(generator)
    outputs: list[torch.Tensor] = []
    for place in layers:
        generator[place].register_forward_hook(lambda _module, _given, out: outputs.append(out))
    images = torch.rand(2, 3, 16, 16)
    generator(images)
    whole = list(outputs)  # the encoder alone calls the hooks again
    found = encoder_features(generator, tuple(layers), images)
    assert found[0] is images
    assert all(torch.equal(a, b) for a, b in zip(found[1:], whole, strict=True))
