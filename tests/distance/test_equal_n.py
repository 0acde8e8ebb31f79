import numpy as np
import pytest

from ptl_sweep.distance import gaussian as gaussian_module
from ptl_sweep.distance.equal_n import QuadraticForm, draw_by_image, mean_quadratic_form
from ptl_sweep.distance.gaussian import GaussianRefusal, StoredFeatures


def form_of(features: np.ndarray, images: np.ndarray, **changed) -> QuadraticForm:
    options = {"n": 20, "shrinkage": 0.25, "num_draws": 7, "rng": np.random.default_rng(3)}
    form = mean_quadratic_form(StoredFeatures(features, images), **(options | changed))
    assert isinstance(form, QuadraticForm), form
    return form


def reason(features: np.ndarray, images: np.ndarray, n: int) -> str:
    refusal = mean_quadratic_form(
        StoredFeatures(features, images),
        n=n,
        shrinkage=0.25,
        num_draws=3,
        rng=np.random.default_rng(0),
    )
    assert isinstance(refusal, GaussianRefusal)
    assert refusal.n == len(features)
    return refusal.reason


@pytest.fixture
def training() -> tuple[np.ndarray, np.ndarray]:
    """60 correlated 5-d features far from zero, on 9 images of 1 to 18 features."""
    rng = np.random.default_rng(0)
    features = 100 + rng.normal(size=(60, 5)) @ rng.normal(size=(5, 5))
    return features, np.repeat(np.arange(9), [1, 18, 3, 7, 4, 11, 2, 9, 5])


def by_loop(features, images, tests, *, n, shrinkage, num_draws, rng) -> np.ndarray:
    """The mean over draws, one Gaussian after the other."""
    total = np.zeros(len(tests))
    for _ in range(num_draws):
        drawn = features[draw_by_image(images, n, rng)]
        covariance = np.cov(drawn.T, bias=True)
        dimension = len(covariance)
        target = np.trace(covariance) / dimension * np.eye(dimension)
        precision = np.linalg.inv((1 - shrinkage) * covariance + shrinkage * target)
        for row, test in enumerate(tests):
            total[row] += (test - drawn.mean(axis=0)) @ precision @ (test - drawn.mean(axis=0))
    return total / num_draws


@pytest.mark.parametrize("shrinkage", [0.01, 0.25, 1.0])
def test_one_form_gives_the_mean_over_explicit_draws(training, shrinkage: float) -> None:
    tests = 100 + np.random.default_rng(1).normal(0, 3, (30, 5))
    form = form_of(*training, shrinkage=shrinkage)
    expected = by_loop(
        *training, tests, n=20, shrinkage=shrinkage, num_draws=7, rng=np.random.default_rng(3)
    )
    np.testing.assert_allclose(form.distances(tests), expected, rtol=1e-9)
    assert (form.n, form.num_draws, form.shrinkage) == (20, 7, shrinkage)
    assert form.offset > 0


def test_two_images_worked_by_hand() -> None:
    features = np.array([[0.0], [2.0], [10.0], [12.0]])  # means 1 and 11, both of variance 1
    form = form_of(features, np.array([7, 7, 2, 2]), n=2, num_draws=200)
    at_1, between, at_11 = form.distances(np.array([[1.0], [6.0], [11.0]]))
    assert between == pytest.approx(25)  # as far from either
    share = at_11 / 100  # of the draws that were the first image
    assert 0.35 < share < 0.65
    assert at_1 == pytest.approx((1 - share) * 100)
    assert form.centre == pytest.approx(1 * share + 11 * (1 - share))
    assert form.offset == pytest.approx(share * (1 - share) * 100)


def test_shrinkage_worked_by_hand() -> None:
    features = np.array([[3.0, 1.0], [3.0, -1.0], [-3.0, 1.0], [-3.0, -1.0]])
    form = form_of(features, np.arange(4), n=4, shrinkage=0.5)
    # S = diag(9, 1), tr/2 = 5: half of each is diag(7, 3)
    assert form.distances(np.array([[7.0, 0], [0, 3], [7, 3]])) == pytest.approx([7, 3, 10])
    assert form.offset == pytest.approx(0, abs=1e-12)


def test_with_exactly_n_features_nothing_is_random(training) -> None:
    features, images = training
    order = np.random.default_rng(5).permutation(60)
    one = form_of(features, images, n=60)
    other = form_of(features[order], images[order], n=60, rng=np.random.default_rng(99))
    assert one.num_draws == other.num_draws == 1
    np.testing.assert_allclose(one.distances(features), other.distances(features), rtol=1e-9)


def test_a_draw_is_n_features_of_whole_images_but_the_last(training) -> None:
    _, images = training
    sizes = np.bincount(images)
    rng = np.random.default_rng(2)
    for n in (2, 20, 59, 60):
        rows = draw_by_image(images, n, rng)
        assert len(set(rows.tolist())) == n
        drawn, counts = np.unique(images[rows], return_counts=True)
        assert (counts < sizes[drawn]).sum() <= 1


@pytest.mark.parametrize("per_image", [1, 2, 20])
def test_no_image_gives_more_than_its_share_and_its_rows_are_drawn_equally_often(
    training, per_image: int
) -> None:
    _, images = training
    shares = np.minimum(np.bincount(images), per_image)
    rng, times = np.random.default_rng(9), np.zeros(60)
    for _ in range(2000):
        rows = draw_by_image(images, 60, rng, per_image)
        np.testing.assert_array_equal(np.bincount(images[rows], minlength=9), shares)
        times[rows] += 1
    expected = 2000 * (shares / np.bincount(images))[images]
    assert np.abs(times - expected).max() < 120  # sd 22 at most


def test_every_image_comes_first_and_every_row_is_cut_equally_often() -> None:
    images = np.repeat([4, 1, 9], 10)
    rng = np.random.default_rng(4)
    times = np.zeros(30)
    for _ in range(3000):
        times[draw_by_image(images, 5, rng)] += 1
    # a row is drawn with probability 1/6: sd 20 of 3000
    assert np.abs(times - 500).max() < 90


def test_distances_do_not_change_under_rotation_scale_and_shift(training) -> None:
    features, images = training
    rotation, _ = np.linalg.qr(np.random.default_rng(6).normal(size=(5, 5)))
    tests = features[:9] + 4

    def moved(values: np.ndarray) -> np.ndarray:
        return values @ rotation * 0.01 - 17

    np.testing.assert_allclose(
        form_of(moved(features), images).distances(moved(tests)),
        form_of(features, images).distances(tests),
        rtol=1e-8,
    )


def test_distances_go_with_their_features(training, monkeypatch: pytest.MonkeyPatch) -> None:
    features, images = training
    form = form_of(features, images)
    order = np.random.default_rng(7).permutation(60)
    whole = form.distances(features)
    np.testing.assert_allclose(form.distances(features[order]), whole[order], rtol=1e-12)
    monkeypatch.setattr(gaussian_module, "BLOCK_ROWS", 7)
    np.testing.assert_allclose(form.distances(features), whole, rtol=1e-12)


def test_half_precision_features_are_computed_in_float64(training) -> None:
    features, images = training
    half = features.astype(np.float16)
    found = form_of(half, images).distances(half)
    assert found.dtype == np.float64
    exact = half.astype(np.float64)
    np.testing.assert_array_equal(found, form_of(exact, images).distances(exact))


def test_channels_that_vary_anywhere_are_kept_although_dead_in_a_subset(training) -> None:
    features, images = training
    rare = np.where(images == 2, features[:, 0], 0.0)[:, None]  # alive on one image of three
    dead = np.full((60, 1), 4.0)
    wide = np.concatenate([features, dead, rare], axis=1)
    seed = next(
        seed
        for seed in range(99)
        if 2 not in images[draw_by_image(images, 20, np.random.default_rng(seed))]
    )
    form = form_of(wide, images, num_draws=1, rng=np.random.default_rng(seed))
    np.testing.assert_array_equal(form.kept, [0, 1, 2, 3, 4, 6])
    assert np.isfinite(form.distances(wide)).all()


def test_a_refusal_says_why() -> None:
    features = np.random.default_rng(8).normal(size=(10, 3))
    images = np.arange(10)
    assert reason(features, images, 11) == "equal_n needs 11 training features, there are 10"
    assert "2 training features" in reason(features, images, 1)
    assert "no channel varies" in reason(np.full((10, 3), 0.1), images, 5)
    copies = np.where(images[:, None] == 9, features, 0.1)
    assert "no spread" in reason(copies, np.minimum(images, 1), 2)


def test_what_cannot_be_computed_raises(training) -> None:
    features, images = training
    with pytest.raises(ValueError, match="shrinkage"):
        form_of(features, images, shrinkage=0.0)
    features[3, 2] = np.nan
    with pytest.raises(ValueError, match="diverged"):
        form_of(features, images)
