"""The relative distance beside equal_n: what moves one and not the other, in simulated features."""

import numpy as np
import pytest
from scipy import stats

from ptl_sweep.config.analysis import AnalysisConfig
from ptl_sweep.detection.table import DetectionTable
from ptl_sweep.distance.equal_n import QuadraticForm, mean_quadratic_form
from ptl_sweep.distance.gaussian import GaussianRefusal, StoredFeatures
from ptl_sweep.distance.relative import PersonDistances, fit_relative

D, N = 32, 1000
SETTINGS = AnalysisConfig()
OTHER_WAY = np.where(np.arange(D) % 2, 1.0, -1.0)  # at right angles to a shift of all channels


def usual(rng: np.random.Generator) -> StoredFeatures:
    return StoredFeatures(rng.normal(size=(N, D)), np.arange(N))


def crowded(rng: np.random.Generator) -> StoredFeatures:
    """20 persons an image, who share half of the variance."""
    image = np.arange(N) // 20
    shared, own = rng.normal(size=(N, D))[image], rng.normal(size=(N, D))
    return StoredFeatures((shared + own) / np.sqrt(2), image)


def overfitted(rng: np.random.Generator) -> StoredFeatures:
    return StoredFeatures(0.8 * rng.normal(size=(N, D)), np.arange(N))


def half_shifted(rng: np.random.Generator) -> StoredFeatures:
    """Every second image lies two standard deviations off in every channel."""
    features = rng.normal(size=(N, D))
    features[::2] += 2
    return StoredFeatures(features, np.arange(N))


def by_equal_n(training: StoredFeatures, tests: np.ndarray, rng: np.random.Generator) -> float:
    form = mean_quadratic_form(training, n=50, shrinkage=0.25, num_draws=20, rng=rng)
    assert isinstance(form, QuadraticForm)
    return float(form.distances(tests).mean())


def relative(training: StoredFeatures, tests: np.ndarray, rng: np.random.Generator) -> float:
    fit = fit_relative(training, SETTINGS, validation=rng.normal(size=(2000, D)), rng=rng)
    assert isinstance(fit.form, QuadraticForm), fit
    return float(fit.form.distances(tests).mean() / fit.unit.scale)


def means(make, measure, shift: np.ndarray | float = 0.0) -> float:
    """Over six training sets, of fresh features whose mean has moved by `shift`."""
    rngs = [np.random.default_rng(seed) for seed in range(6)]
    return float(np.mean([measure(make(r), r.normal(size=(2000, D)) + shift, r) for r in rngs]))


@pytest.mark.parametrize(
    ("make", "expected"),
    [(usual, 48), (crowded, 82), (overfitted, 75), (half_shifted, 34)],
)
def test_equal_n_moves_with_the_training_set_although_nothing_separates_target_and_source(
    make, expected: float
) -> None:
    assert means(make, by_equal_n) == pytest.approx(expected, rel=0.03)


@pytest.mark.parametrize("make", [usual, crowded, overfitted, half_shifted])
def test_relative_is_1_for_an_unshifted_target_whatever_the_training_set(make) -> None:
    assert means(make, relative) == pytest.approx(1, rel=0.02)


@pytest.mark.parametrize("make", [usual, crowded, overfitted, half_shifted])
def test_a_shift_of_the_target_is_seen_and_reads_alike_whatever_the_training_set(make) -> None:
    """One standard deviation a channel: D/n of the mean's scatter is in both, so 1 + n/(n + 1).

    Where equal_n reads 97, 153, 152 and 67.
    """
    expected = 1 + SETTINGS.relative_n / (SETTINGS.relative_n + 1)
    assert means(make, relative, OTHER_WAY) == pytest.approx(expected, rel=0.08)


@pytest.mark.parametrize("num", [300, 600, 1200, 2500, 5000])
def test_relative_does_not_change_with_the_number_of_features(num: int) -> None:
    found = [
        relative(
            StoredFeatures(rng.normal(size=(num, D)), np.arange(num)),
            rng.normal(size=(2000, D)),
            rng,
        )
        for rng in map(np.random.default_rng, range(4))
    ]
    assert found == pytest.approx([1] * 4, abs=0.05)


def test_synthetic_images_that_lie_where_the_target_does_bring_it_nearer() -> None:
    """The control: a training set can change the relative distance, by meeting the target."""
    off, on = (means(make, relative, shift=2.0) for make in (usual, half_shifted))
    assert off > 4
    assert on < 1.1


def target(table: DetectionTable, **changed: object) -> PersonDistances:
    options = {"validation": np.random.default_rng(1).normal(size=(40, 6))} | changed
    rng = np.random.default_rng(0)
    training = StoredFeatures(rng.normal(0, 1.1, (120, 6)), np.arange(120) // 4)
    settings = options.pop("settings", SETTINGS)
    return fit_relative(training, settings, rng=rng, **options).of(table)


def test_the_source_itself_reads_1(random_table: DetectionTable) -> None:
    found = target(random_table, validation=np.asarray(random_table.truths.features))
    assert len(found.squared) == random_table.num_truths
    assert found.relative.mean() == pytest.approx(1)


def test_minus_log_p_is_that_of_the_density_up_to_its_constant() -> None:
    rng = np.random.default_rng(2)
    features, tests = rng.normal(size=(8, 3)) @ rng.normal(size=(3, 3)), rng.normal(size=(5, 3))
    fit = fit_relative(StoredFeatures(features, np.arange(8)), SETTINGS, validation=tests, rng=rng)
    assert isinstance(fit.form, QuadraticForm)
    covariance = np.cov(features.T, bias=True)
    covariance = 0.75 * covariance + 0.25 * np.trace(covariance) / 3 * np.eye(3)
    density = stats.multivariate_normal(features.mean(axis=0), covariance)
    persons = PersonDistances(fit.form.distances(tests), fit.unit.scale, fit.form.log_det)
    expected = -density.logpdf(tests) - 1.5 * np.log(2 * np.pi)
    np.testing.assert_allclose(persons.neg_log_p, expected, rtol=1e-9)


def test_minus_log_p_rises_where_a_spread_training_set_lets_all_distances_fall() -> None:
    """With many more features than channels; else its log det says little of the spread."""
    tests, many = np.random.default_rng(3).normal(size=(500, D)), AnalysisConfig(relative_n=400)

    def mean_distance_and_neg_log_p(make) -> tuple[float, float]:
        rng = np.random.default_rng(4)
        fit = fit_relative(make(rng), many, validation=tests, rng=rng)
        return fit.unit.scale, (fit.unit.scale + fit.form.log_det) / 2

    tight, spread = map(mean_distance_and_neg_log_p, (usual, half_shifted))
    assert spread[0] < tight[0]
    assert spread[1] > tight[1]


def test_columns_differ_by_the_mean_of_the_differences_person_by_person(
    random_table: DetectionTable,
) -> None:
    off = target(random_table)
    on = target(random_table, settings=AnalysisConfig(relative_n=20, equal_n_shrinkage=0.8))
    columns = on.means()["d_relative"] - off.means()["d_relative"]
    assert (on.relative - off.relative).mean() == pytest.approx(columns, abs=1e-12)
    assert abs(columns) > 1e-3


def test_a_missing_distance_is_nan_and_says_why(random_table: DetectionTable) -> None:
    for validation, reason in (
        (None, "no validation split was evaluated"),
        (np.zeros((0, 6)), "no ground truth on the validation split"),
    ):
        training = StoredFeatures(np.random.default_rng(0).normal(size=(20, 6)), np.arange(20))
        fit = fit_relative(training, SETTINGS, validation=validation, rng=np.random.default_rng(0))
        assert fit.unit.reason == reason
        found = fit.of(random_table).means()
        assert np.isnan(found["d_relative"])
        assert np.isfinite(found["neg_log_p"])


def test_too_few_images_are_refused_however_many_persons_they_hold(
    random_table: DetectionTable,
) -> None:
    training = StoredFeatures(np.random.default_rng(0).normal(size=(70, 6)), np.arange(70) // 10)
    validation = np.ones((3, 6))
    fit = fit_relative(training, SETTINGS, validation=validation, rng=np.random.default_rng(0))
    assert isinstance(fit.form, GaussianRefusal)
    assert fit.unit.reason == ("8 training features are needed, at most 1 an image; there are 7")
    assert all(np.isnan(value) for value in fit.of(random_table).means().values())
    two = AnalysisConfig(relative_per_image=2)
    fit = fit_relative(training, two, validation=validation, rng=np.random.default_rng(0))
    assert fit.unit.reason is None


def test_a_target_without_persons_has_no_distance() -> None:
    found = PersonDistances(np.zeros(0), 1.0, 0.0)
    assert np.isnan(found.means()["d_relative"])
