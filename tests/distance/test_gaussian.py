from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.distance import mahalanobis

from ptl_sweep.distance import gaussian as module
from ptl_sweep.distance.gaussian import (
    Gaussian,
    GaussianRefusal,
    Moments,
    fit_gaussian,
    squared_mahalanobis,
)


def correlated(seed: int, n: int, d: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return rng.normal(size=(n, d)) @ rng.normal(size=(d, d)) + rng.normal(size=d)


def fitted(features: np.ndarray, covariance: str) -> Gaussian:
    gaussian = fit_gaussian(features, covariance)
    assert isinstance(gaussian, Gaussian), gaussian
    return gaussian


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10**6), st.integers(1, 12), st.integers(0, 40))
def test_mean_distance_of_the_fitted_features_is_the_dimension(seed: int, d: int, more: int):
    features = correlated(seed, d + 3 + more, d)
    assert squared_mahalanobis(features, fitted(features, "ml")).mean() == pytest.approx(d)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10**6), st.integers(1, 8))
def test_ml_distances_do_not_change_under_an_invertible_linear_map(seed: int, d: int) -> None:
    rng = np.random.default_rng(seed)
    features, queries = correlated(seed, 40, d), rng.normal(size=(7, d))
    turned, _ = np.linalg.qr(rng.normal(size=(d, d)))
    matrix, shift = turned * rng.uniform(0.2, 5, size=d), rng.normal(size=d)
    mapped = fitted(features @ matrix + shift, "ml")
    before = squared_mahalanobis(queries, fitted(features, "ml"))
    assert np.allclose(squared_mahalanobis(queries @ matrix + shift, mapped), before, rtol=1e-6)


def test_distances_are_those_of_scipy() -> None:
    features, queries = correlated(0, 60, 6), correlated(1, 9, 6)
    inverse = np.linalg.inv(np.cov(features.T, bias=True))
    expected = [mahalanobis(query, features.mean(axis=0), inverse) ** 2 for query in queries]
    assert np.allclose(squared_mahalanobis(queries, fitted(features, "ml")), expected)


@pytest.mark.parametrize(("n", "d"), [(2, 5), (10, 30), (50, 8), (4000, 8)])
def test_oas_is_the_closed_form_of_chen_et_al(n: int, d: int) -> None:
    features = correlated(n, n, d)
    sample = np.cov(features.T, bias=True)
    mean_variance = np.trace(sample) / d
    numerator = np.mean(sample**2) + mean_variance**2
    denominator = (n + 1) * (np.mean(sample**2) - mean_variance**2 / d)
    rho = min(1.0, numerator / denominator)
    shrunk = (1 - rho) * sample + rho * mean_variance * np.eye(d)
    gaussian = fitted(features, "oas")
    assert gaussian.shrinkage == pytest.approx(rho)
    assert gaussian.condition == pytest.approx(np.linalg.cond(shrunk))
    assert np.allclose(gaussian.whitening @ gaussian.whitening.T, np.linalg.inv(shrunk))


def test_oas_becomes_ml_as_features_multiply() -> None:
    features = correlated(3, 50_000, 5)
    queries = features[:50] + 1
    ratio = squared_mahalanobis(queries, fitted(features, "oas")) / squared_mahalanobis(
        queries, fitted(features, "ml")
    )
    assert fitted(features, "oas").shrinkage < 1e-3
    assert np.abs(ratio - 1).max() < 0.02


def test_ledoit_wolf_is_its_definition_over_outer_products() -> None:
    features = correlated(4, 40, 7)
    centred = features - features.mean(axis=0)
    sample = centred.T @ centred / len(features)
    target = np.trace(sample) / 7 * np.eye(7)
    spread = np.sum((sample - target) ** 2)
    error = sum(np.sum((np.outer(x, x) - sample) ** 2) for x in centred) / len(features) ** 2
    assert fitted(features, "ledoit_wolf").shrinkage == pytest.approx(min(error, spread) / spread)


def test_pinv_is_the_pseudo_inverse() -> None:
    features = correlated(5, 6, 20)
    gaussian = fitted(features, "pinv")
    assert gaussian.rank == 5
    expected = np.linalg.pinv(np.cov(features.T, bias=True), hermitian=True, rcond=1e-10)
    assert np.allclose(gaussian.whitening @ gaussian.whitening.T, expected, rtol=1e-5, atol=1e-8)


@pytest.mark.parametrize("covariance", ["oas", "pinv"])
def test_two_features_give_finite_distances(covariance: str) -> None:
    gaussian = fitted(correlated(6, 2, 256), covariance)
    assert np.isfinite(squared_mahalanobis(correlated(7, 5, 256), gaussian)).all()
    assert gaussian.rank == 1


@pytest.mark.parametrize(
    ("n", "d", "covariance", "part"),
    [
        (0, 4, "oas", "needs 2"),
        (1, 4, "oas", "needs 2"),
        (6, 4, "ml", "more than D + 2 = 6"),
        (2, 9, "ledoit_wolf", "rank 1 of 9"),
    ],
)
def test_too_few_features_are_refused_with_a_reason(
    n: int, d: int, covariance: str, part: str
) -> None:
    refusal = fit_gaussian(correlated(8, n, d), covariance)
    assert isinstance(refusal, GaussianRefusal)
    assert refusal.n == n
    assert part in refusal.reason


def test_ml_exists_from_d_plus_3_features_on() -> None:
    assert fitted(correlated(9, 7, 4), "ml").rank == 4


def test_collinear_channels_refuse_ml_and_not_oas() -> None:
    features = correlated(10, 50, 4)
    features[:, 3] = features[:, 0] + features[:, 1]
    refusal = fit_gaussian(features, "ml")
    assert isinstance(refusal, GaussianRefusal)
    assert "rank 3 of 4" in refusal.reason
    assert fitted(features, "oas").rank == 3


def test_features_without_any_variance_are_refused() -> None:
    refusal = fit_gaussian(np.full((30, 4), 0.1, dtype=np.float32), "oas")
    assert isinstance(refusal, GaussianRefusal)
    assert "no channel varies" in refusal.reason


def test_channels_without_variance_are_left_out_of_every_distance() -> None:
    features = correlated(11, 90, 5)
    with_dead = np.insert(features, [2, 4], [0.0, 0.1], axis=1)
    gaussian = fitted(with_dead, "ml")
    assert gaussian.num_dropped == 2
    assert gaussian.kept.tolist() == [0, 1, 3, 4, 6]
    with_dead[:, 2] = 99
    assert np.allclose(
        squared_mahalanobis(with_dead, gaussian),
        squared_mahalanobis(features, fitted(features, "ml")),
    )


def test_diverged_features_and_unknown_covariances_are_errors() -> None:
    with pytest.raises(ValueError, match="diverged"):
        fit_gaussian(np.array([[0.0, np.nan], [1.0, 2.0]]), "oas")
    with pytest.raises(ValueError, match="must be one of ml, oas"):
        fit_gaussian(correlated(0, 9, 2), "diagonal")


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 10**6), st.lists(st.integers(0, 9), min_size=1, max_size=6))
def test_merged_moments_are_those_of_all_features(seed: int, counts: list[int]) -> None:
    parts = [correlated(seed + i, n, 3) + 50 for i, n in enumerate(counts)]
    merged = Moments.empty(3)
    for part in parts:
        one = Moments.empty(3)
        one.update(part)
        merged.merge(one)
    together = np.concatenate(parts)
    assert merged.n == len(together)
    if len(together):
        centred = together - together.mean(axis=0)
        assert np.allclose(merged.mean, together.mean(axis=0))
        assert np.allclose(merged.scatter, centred.T @ centred, atol=1e-8)


def test_blocks_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    features = correlated(12, 50, 4)
    whole = {name: fitted(features, name) for name in module.COVARIANCES}
    distances = {name: squared_mahalanobis(features, whole[name]) for name in whole}
    monkeypatch.setattr(module, "BLOCK_ROWS", 7)
    for name, gaussian in whole.items():
        assert fitted(features, name).shrinkage == pytest.approx(gaussian.shrinkage)
        assert np.allclose(squared_mahalanobis(features, gaussian), distances[name], rtol=1e-12)


def test_float32_features_are_computed_in_float64() -> None:
    features = (correlated(13, 300, 12) + 100).astype(np.float32)
    gaussian = fitted(features, "ml")
    exact = fitted(features.astype(np.float64), "ml")
    distances = squared_mahalanobis(features, gaussian)
    assert distances.dtype == np.float64
    assert np.array_equal(distances, squared_mahalanobis(features.astype(np.float64), exact))


@pytest.mark.parametrize("covariance", module.COVARIANCES)
def test_a_saved_gaussian_comes_back_equal(covariance: str, tmp_path: Path) -> None:
    gaussian = fitted(correlated(14, 30, 5), covariance)
    gaussian.save(tmp_path / "gaussian.npz")
    loaded = Gaussian.load(tmp_path / "gaussian.npz")
    for name in Gaussian.__slots__:
        assert np.array_equal(getattr(loaded, name), getattr(gaussian, name)), name
    assert isinstance(loaded.n, int)
    assert isinstance(loaded.covariance, str)


def test_fresh_features_of_the_same_law_are_further_by_the_finite_sample_artefact() -> None:
    n, d, rng = 80, 16, np.random.default_rng(15)
    means = []
    for _ in range(150):
        gaussian = fitted(rng.normal(size=(n, d)), "ml")
        means.append(squared_mahalanobis(rng.normal(size=(400, d)), gaussian).mean())
    assert np.mean(means) == pytest.approx(d * (n + 1) / (n - d - 2), rel=0.03)
