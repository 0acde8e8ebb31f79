"""Distances beside Mahalanobis, against scipy and against what they are made for."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.spatial.distance import cdist

from ptl_sweep.detection.table import DetectionTable
from ptl_sweep.distance import other_distances
from ptl_sweep.distance.gaussian import StoredFeatures, fit_gaussian, squared_mahalanobis
from ptl_sweep.distance.other_distances import NUM_NEIGHBOURS, OtherDistances, fit_others

RNG = np.random.default_rng(3)


@pytest.fixture
def training(random_table: DetectionTable) -> StoredFeatures:
    width = random_table.features.shape[1]
    return StoredFeatures(RNG.normal(1, 1, (90, width)).astype(np.float32), np.arange(90) // 3)


def fitted(
    training: StoredFeatures, table: DetectionTable | None, num_real: int | None = None
) -> OtherDistances:
    own = fit_gaussian(training.features, "oas")
    return fit_others(training, own, table, shrinkage="oas", num_real=num_real)


def moved(table: DetectionTable, features: np.ndarray) -> DetectionTable:
    """The same target whose persons have other features."""
    return replace(table, truths=replace(table.truths, features=features))


def unit(features: np.ndarray) -> np.ndarray:
    return features / np.linalg.norm(features.astype(float), axis=1, keepdims=True)


def test_the_neighbour_is_the_fifth_nearest_of_all_pairs_whatever_the_blocks(
    training: StoredFeatures, random_table: DetectionTable, monkeypatch: pytest.MonkeyPatch
) -> None:
    persons = random_table.truths.features
    every = np.sort(cdist(unit(persons), unit(training.features)), axis=1)
    fit = fitted(training, random_table).neighbours
    found = fit.distances(persons)
    np.testing.assert_allclose(found, every[:, NUM_NEIGHBOURS - 1], rtol=1e-9)
    monkeypatch.setattr(other_distances, "BLOCK_CELLS", 700)
    np.testing.assert_allclose(fit.distances(persons), found, rtol=1e-12)


def test_it_is_a_multiple_of_that_of_the_sources_validation_persons(
    training: StoredFeatures, random_table: DetectionTable
) -> None:
    fit = fitted(training, random_table)
    assert fit.means(random_table)["d_knn"] == pytest.approx(1)
    opposite = moved(random_table, -np.ones_like(random_table.truths.features))
    near = moved(random_table, np.ones_like(random_table.truths.features))
    far, close = (fit.means(one)["d_knn"] for one in (opposite, near))
    assert close < 1 < far


def test_neighbours_are_real_images_features_alone(
    training: StoredFeatures, random_table: DetectionTable
) -> None:
    """The virtual images behind them lie where the persons of the target lie."""
    virtual = np.repeat(random_table.truths.features[:1], 60, axis=0).astype(np.float32)
    both = StoredFeatures(
        np.concatenate([training.features, virtual]),
        np.concatenate([training.images, 30 + np.arange(60)]),
    )
    there = moved(random_table, np.repeat(virtual[:1], random_table.num_truths, axis=0))
    alone, beside, among = (
        fitted(*one).means(there)["d_knn"]
        for one in ((training, random_table), (both, random_table, 30), (both, random_table))
    )
    assert beside == alone
    assert among < 0.01 * alone


def test_relative_mahalanobis_is_the_difference_of_two_distances(
    training: StoredFeatures, random_table: DetectionTable
) -> None:
    persons = random_table.truths.features
    anything = random_table.features.astype(np.float32)
    near, any_ = (
        squared_mahalanobis(persons, fit_gaussian(one, "oas"))
        for one in (training.features, anything)
    )
    found = fitted(training, random_table).means(random_table)["d_rmd"]
    assert found == pytest.approx((near - any_).mean())


def test_what_moves_everything_alike_does_not_make_persons_farther_than_anything(
    random_table: DetectionTable,
) -> None:
    """Trained on what is detected anywhere, a target lies 0 from it, however far it lies."""
    same = StoredFeatures(
        random_table.features.astype(np.float32), np.arange(len(random_table.features))
    )
    far = moved(random_table, random_table.truths.features + 50)
    assert fitted(same, random_table).means(far)["d_rmd"] == pytest.approx(0, abs=1e-6)


def test_too_few_real_features_say_so_and_take_nothing_else_away(
    training: StoredFeatures, random_table: DetectionTable
) -> None:
    few = fitted(training, random_table, num_real=1)
    found = few.means(random_table)
    assert np.isnan(found["d_knn"])
    assert np.isfinite(found["d_rmd"])
    assert few.reasons() == ("no d_knn: 5 features of real images are needed, there are 3",)
    assert fitted(training, random_table).reasons() == ()


def test_without_persons_or_validation_there_is_no_number(
    training: StoredFeatures, random_table: DetectionTable
) -> None:
    none = replace(
        random_table.truths,
        **{
            name: getattr(random_table.truths, name)[:0]
            for name in ("image", "boxes", "level", "cell", "anchor_iou", "features")
        },
    )
    empty = fitted(training, random_table).means(replace(random_table, truths=none))
    unknown = fitted(training, None).means(random_table)
    for found in (empty, unknown):
        assert all(np.isnan(value) for value in found.values())
