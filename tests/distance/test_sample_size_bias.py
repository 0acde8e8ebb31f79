import numpy as np
import pytest

from ptl_sweep.distance.sample_size_bias import SPECTRA, DriftRow, image_of_features, simulate

COUNTS = (300, 600, 1200, 2500, 5000)


@pytest.fixture(scope="module")
def rows() -> list[DriftRow]:
    return simulate(256, COUNTS, np.random.default_rng(0))


def series(rows: list[DriftRow], variant: str, spectrum: str, *, shifted: bool) -> np.ndarray:
    chosen = [row for row in rows if (row.spectrum, row.shifted) == (spectrum, shifted)]
    return np.array([getattr(row, variant) for row in chosen])


def movement(values: np.ndarray) -> float:
    """By what share the largest is above the smallest."""
    return values.max() / values.min() - 1


@pytest.mark.parametrize("spectrum", SPECTRA)
@pytest.mark.parametrize("shifted", [False, True])
def test_equal_n_moves_by_less_than_5_percent(rows, spectrum: str, shifted: bool) -> None:
    found = series(rows, "equal_n", spectrum, shifted=shifted)
    assert len(found) == len(COUNTS)
    assert movement(found) < 0.05


def test_the_raw_distance_falls_as_derived(rows) -> None:
    for spectrum in SPECTRA:
        for shifted in (False, True):
            raw = series(rows, "raw", spectrum, shifted=shifted)
            derived = series(rows, "expected_raw", spectrum, shifted=shifted)
            np.testing.assert_allclose(raw[2:], derived[2:], rtol=0.05)
            assert raw[0] > 5 * raw[-1]


def test_shrinkage_does_not_remove_the_drift(rows) -> None:
    assert movement(series(rows, "shrunk", "1/k", shifted=False)) > 0.3
    assert movement(series(rows, "shrunk", "exponential", shifted=False)) > 0.1
    assert movement(series(rows, "shrunk", "flat", shifted=False)) < 0.05  # nothing to estimate


def test_the_same_shift_reads_larger_calibrated_with_more_features(rows) -> None:
    for spectrum, least in (("1/k", 0.05), ("exponential", 0.2)):
        calibrated = series(rows, "calibrated", spectrum, shifted=True)
        assert calibrated[-1] / calibrated[0] - 1 > least
        unshifted = series(rows, "calibrated", spectrum, shifted=False)
        np.testing.assert_allclose(unshifted, 1, atol=0.03)


def test_every_measure_sees_the_shift(rows) -> None:
    for spectrum in SPECTRA:
        for variant in ("raw", "shrunk", "calibrated", "equal_n"):
            near = series(rows, variant, spectrum, shifted=False)
            far = series(rows, variant, spectrum, shifted=True)
            assert (far > 1.04 * near).all(), (spectrum, variant)


def test_the_shrunk_mean_of_unshifted_data_rises_and_falls_with_n() -> None:
    found = simulate(256, (30, 200, 600), np.random.default_rng(1))
    shrunk = series(found, "shrunk", "1/k", shifted=False)
    # docs/method.md, section 2; single training sets of 30 and 200 features scatter by 7 and 6 %
    np.testing.assert_allclose(shrunk, [362, 432, 350], rtol=0.1)
    assert shrunk[1] > 1.15 * shrunk[0]
    assert shrunk[1] > 1.15 * shrunk[2]
    for variant in ("raw", "expected_raw"):
        assert np.isnan(series(found, variant, "1/k", shifted=False)[:2]).all()


def test_the_same_generator_gives_the_same_rows() -> None:
    one, other = (simulate(6, (20, 40), np.random.default_rng(2)) for _ in range(2))
    np.testing.assert_equal(one, other)  # NaN where a count has no equal_n
    assert {row.spectrum for row in one} == set(SPECTRA)
    assert one != simulate(6, (20, 40), np.random.default_rng(3))


def test_images_hold_one_to_forty_features() -> None:
    images = image_of_features(5000, np.random.default_rng(4))
    sizes = np.bincount(images)[:-1]  # the last one is cut
    assert len(images) == 5000
    assert (sizes.min(), sizes.max()) == (1, 40)
    assert (np.diff(images) >= 0).all()
