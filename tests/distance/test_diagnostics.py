import numpy as np
import pytest
from scipy import integrate, stats

from ptl_sweep.config.analysis import AnalysisConfig
from ptl_sweep.distance.diagnostics import (
    diagnose,
    hotelling_quantile,
    mardia_kurtosis,
    num_components,
    shares_below,
)
from ptl_sweep.distance.gaussian import GaussianRefusal, StoredFeatures, fit_gaussian
from ptl_sweep.distance.train2test import expected_raw_distance, fit_measures
from ptl_sweep.study.schemas import GAUSSIANS
from ptl_sweep.vocabulary import Condition

ELSEWHERE = (  # columns of another Gaussian, and of the scores
    "relative_n", "relative_unit", "num_relative", "num_scores", "score_error", "score_check",
)  # fmt: skip


def diagnosed(
    features: np.ndarray, validation: np.ndarray | None, equal_n: int | None = None
) -> dict:
    training = StoredFeatures(features, np.arange(len(features)) // 4)
    rng = np.random.default_rng(0)
    measures = fit_measures(
        training, AnalysisConfig(), equal_n=equal_n, validation=validation, rng=rng
    )
    return diagnose(measures, training, validation)


def normal(seed: int, num: int, dimension: int = 6) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(num, dimension)) * np.arange(1, dimension + 1)


@pytest.mark.parametrize(("n", "dimension"), [(12, 3), (30, 10), (6, 4)])
def test_quantiles_hold_for_simulated_fresh_data(n: int, dimension: int) -> None:
    rng, num = np.random.default_rng(1), 20_000
    training = rng.normal(size=(num, n, dimension))  # a training set and one fresh feature each
    fresh = rng.normal(size=(num, dimension)) - training.mean(axis=1)
    centred = training - training.mean(axis=1, keepdims=True)
    covariance = np.einsum("rni,rnj->rij", centred, centred) / n
    distance = np.einsum("ri,ri->r", fresh, np.linalg.solve(covariance, fresh[..., None])[..., 0])
    for level in (0.5, 0.9, 0.99):
        share = (distance <= hotelling_quantile(level, n, dimension)).mean()
        assert share == pytest.approx(level, abs=3 * np.sqrt(level * (1 - level) / num)), level


def test_the_law_has_the_mean_that_method_md_derives() -> None:
    mean, _ = integrate.quad(lambda level: hotelling_quantile(level, 40, 6), 0, 1, limit=200)
    assert mean == pytest.approx(expected_raw_distance(40, 6), rel=1e-4)


def test_with_many_features_the_law_is_chi_squared() -> None:
    assert hotelling_quantile(0.9, 10**7, 5) == pytest.approx(stats.chi2.ppf(0.9, 5), rel=1e-5)
    assert np.isnan(hotelling_quantile(0.9, 5, 5))


def test_shares_of_unseen_data_are_the_levels() -> None:
    shares = shares_below(fit_gaussian(normal(2, 4000), "ml"), normal(3, 4000))
    assert shares == pytest.approx((0.5, 0.9, 0.99), abs=0.03)


def test_shares_worked_by_hand() -> None:
    fit = fit_gaussian(np.array([[-1.0], [1.0]] * 10), "ml")  # d = x^2, 20 features
    edge = 21 / 19 * stats.f.ppf([0.5, 0.9, 0.99], 1, 19)
    features = np.sqrt(np.array([edge[0] - 0.01, edge[0] + 0.01, edge[1] + 0.01, edge[2] + 1]))
    assert shares_below(fit, features[:, None]) == (0.25, 0.5, 0.75)


def test_shares_need_a_gaussian_and_features() -> None:
    fit = fit_gaussian(normal(2, 40), "ml")
    for gaussian, features in (
        (fit, None), (fit, np.zeros((0, 6))), (GaussianRefusal("few", 2), normal(3, 9)),
    ):  # fmt: skip
        assert np.isnan(shares_below(gaussian, features)).all()


def test_mardia_is_the_mean_of_squared_products_of_every_feature_with_itself() -> None:
    features = np.random.default_rng(4).gamma(2.0, size=(25, 3))
    m, k = features.shape
    precision = np.linalg.inv(np.cov(features.T, bias=True))
    products = np.zeros((m, m))
    for i in range(m):
        for j in range(m):
            one, other = features[i] - features.mean(0), features[j] - features.mean(0)
            products[i, j] = one @ precision @ other
    expected = (np.diag(products) ** 2).mean() / (k * (k + 2) * (m - 1) / (m + 1))
    assert mardia_kurtosis(features).ratio == pytest.approx(expected)


def test_mardia_in_one_channel_is_the_kurtosis() -> None:
    values, m = np.random.default_rng(5).gamma(2.0, size=9), 9
    kurtosis, expected = stats.kurtosis(values, fisher=False), 3 * (m - 1) / (m + 1)
    variance = 24 * m * (m - 2) * (m - 3) / ((m + 1) ** 2 * (m + 3) * (m + 5))  # Anscombe, Glynn
    found = mardia_kurtosis(values[:, None])
    assert found.ratio == pytest.approx(kurtosis / expected)
    assert found.z == pytest.approx((kurtosis - expected) / np.sqrt(variance))


@pytest.mark.parametrize(("m", "k"), [(40, 2), (50, 5), (30, 20)])
def test_mardia_is_standardised_exactly_for_gaussian_data(m: int, k: int) -> None:
    rng = np.random.default_rng(6)
    found = [mardia_kurtosis(rng.normal(size=(m, k))) for _ in range(1500)]
    z = np.array([one.z for one in found])
    assert np.mean([one.ratio for one in found]) == pytest.approx(1, abs=0.02)
    assert z.mean() == pytest.approx(0, abs=4 / np.sqrt(1500))
    assert z.std() == pytest.approx(1, abs=0.12)


def test_heavy_tails_raise_mardia() -> None:
    rng = np.random.default_rng(7)
    heavy = rng.normal(size=(2000, 5)) / np.sqrt(rng.chisquare(6, (2000, 1)) / 6)  # t, 6 d.f.
    found = mardia_kurtosis(heavy)
    assert found.ratio > 1.2
    assert found.z > 5


def test_mardia_does_not_change_under_invertible_linear_maps() -> None:
    rng = np.random.default_rng(8)
    features, mixing = rng.gamma(2.0, size=(60, 4)), rng.normal(size=(4, 4)) + 2 * np.eye(4)
    assert mardia_kurtosis(features @ mixing + 9) == pytest.approx(mardia_kurtosis(features))


def test_mardia_needs_features_that_span_their_channels() -> None:
    for features in (normal(9, 8), normal(9, 40)[:, [0, 1, 1]], normal(9, 40) * [1, 1, 1, 1, 1, 0]):
        assert np.isnan(mardia_kurtosis(features)).all()
    assert not np.isnan(mardia_kurtosis(normal(9, 9))).any()


def test_a_tenth_of_the_features_but_at_least_two_components_within_the_rank() -> None:
    assert [num_components(m, 48) for m in (5, 29, 30, 479, 5000)] == [2, 2, 3, 47, 48]
    assert num_components(100, 1) == 1


def test_the_row_has_the_columns_of_the_table_and_its_numbers() -> None:
    features = np.concatenate([normal(10, 200), np.zeros((200, 1))], axis=1)
    validation = np.concatenate([normal(11, 100), np.zeros((100, 1))], axis=1)
    row = diagnosed(features, validation, equal_n=60)
    assert (*row, *ELSEWHERE) == tuple(GAUSSIANS)[6:]
    assert (row["n"], row["num_images"], row["num_channels"], row["num_dropped"]) == (200, 50, 6, 1)
    assert (row["rank"], row["equal_n"], row["calibration"]) == (6, 60, "validation")
    assert row["num_calibration"] == 100
    assert row["raw_unshifted"] == pytest.approx(6 * 201 / 192)
    oas = fit_gaussian(features, "oas")
    assert (row["condition"], row["shrinkage"]) == (oas.condition, oas.shrinkage)
    # the components are the leading ones of the training features: all of 100 // 10, so all six
    assert row["mardia"] == pytest.approx(mardia_kurtosis(validation[:, :6]).ratio)
    assert row["warning"] is None


def test_mardia_looks_at_the_leading_components_of_the_training_features() -> None:
    rng = np.random.default_rng(12)
    spread = np.array([0.01, 10, 0.1, 5, 0.02])
    validation = rng.normal(size=(25, 5)) * spread
    validation[:, [0, 2, 4]] **= 3  # not Gaussian where the training features hardly vary
    row = diagnosed(rng.normal(size=(5000, 5)) * spread, validation)
    expected = mardia_kurtosis(validation[:, [1, 3]]).ratio
    assert row["mardia"] == pytest.approx(expected, rel=0.02)


def test_gaussian_features_bring_no_warning() -> None:
    rows = [diagnosed(normal(2 * s, 400), normal(2 * s + 1, 300)) for s in range(20)]
    assert [row["warning"] for row in rows] == [None] * 20
    assert {row["gaussian_check"] for row in rows} == {Condition.HOLDS}


def test_a_shift_and_heavy_tails_are_warned_about() -> None:
    row = diagnosed(normal(13, 400), normal(14, 300) + np.arange(1, 7))
    assert row["gaussian_check"] is Condition.FAILS
    shifted = row["warning"]
    assert "of the validation true positives lie where a Gaussian has 50% of them" in shifted
    assert "tails" not in shifted
    rng = np.random.default_rng(15)
    heavy = rng.normal(size=(1400, 6)) / np.sqrt(rng.chisquare(5, (1400, 1)) / 5)
    assert "tails are not Gaussian" in diagnosed(heavy[:400], heavy[400:])["warning"]


def test_too_little_data_are_named_instead_of_judged() -> None:
    far = diagnosed(normal(17, 400), normal(16, 29) + 100)
    assert far["warning"] == "too few to judge: 29 validation true positives, 30 are needed"
    assert far["gaussian_check"] is Condition.NOT_JUDGED
    nothing = diagnosed(normal(17, 400), None)
    assert nothing["warning"] == "too few to judge: no validation split was evaluated"
    assert nothing["gaussian_check"] is Condition.NOT_JUDGED
    assert np.isnan([nothing["below_50"], nothing["mardia"], nothing["calibration_scale"]]).all()


def test_too_few_training_features_and_dead_channels_are_named() -> None:
    few = diagnosed(normal(18, 8), normal(19, 50))
    assert few["warning"].startswith("no raw Gaussian: the ML covariance needs more than D + 2 = 8")
    assert few["gaussian_check"] is Condition.NOT_JUDGED  # by the kurtosis alone
    assert np.isnan([few["raw_unshifted"], few["below_99"]]).all()
    assert np.isfinite([few["mardia"], few["condition"]]).all()
    alive = np.array([1, 1, 1, 1, 0, 0])
    dead = diagnosed(normal(20, 90) * alive, normal(21, 90))
    assert "2 of 6 channels are dead" in dead["warning"]
    assert dead["gaussian_check"] is Condition.FAILS
    one_dead = np.array([1, 1, 1, 1, 1, 0])
    assert diagnosed(normal(20, 90) * one_dead, normal(21, 90))["warning"] is None


def test_without_any_gaussian_the_row_is_still_complete() -> None:
    row = diagnosed(np.ones((9, 4)), np.ones((40, 4)))
    assert (*row, *ELSEWHERE) == tuple(GAUSSIANS)[6:]
    assert row["warning"] == "no Gaussian: no channel varies over the 9 training features"
    assert (row["n"], row["equal_n"], row["num_calibration"]) == (9, None, 0)
    assert row["gaussian_check"] is Condition.FAILS
    assert np.isnan([row["rank"], row["num_channels"], row["mardia"], row["below_90"]]).all()
