import numpy as np
import pytest

from ptl_sweep.study.claims.claim import Verdict
from ptl_sweep.study.claims.effects import (
    PairedCells,
    effect,
    effects_by_target,
    slopes_per_doubling,
)

SEEDS, COUNTS, TARGETS = tuple(range(6)), (10, 20, 40), ("field", "karst")


def cells(treated: np.ndarray | float = 0.0, reference: np.ndarray | float = 0.0) -> PairedCells:
    shape = (len(SEEDS), len(COUNTS), len(TARGETS))
    return PairedCells(
        seeds=SEEDS,
        counts=COUNTS,
        targets=TARGETS,
        treated=np.broadcast_to(treated, shape).astype(float),
        reference=np.broadcast_to(reference, shape).astype(float),
    )


def varied(mean: float) -> np.ndarray:
    """Effects of each seed around `mean`, for every cell."""
    return mean + np.array([-0.2, -0.1, 0.0, 0.0, 0.1, 0.2])[:, None, None]


def test_the_effect_is_one_number_a_seed() -> None:
    found = effect(cells(varied(1.0) + np.array([5.0, -5.0]), np.array([5.0, -5.0])))
    assert (found.value, found.num_seeds) == (pytest.approx(1.0), 6)
    assert found.verdict is Verdict.FOUND


def test_a_contrast_turned_around_changes_its_sign_only() -> None:
    there, back = effect(cells(varied(1.0))), effect(cells(reference=varied(1.0)))
    assert (back.value, back.p, back.low) == pytest.approx((-there.value, there.p, -there.high))


def test_a_missing_cell_leaves_its_seed_out_of_the_pooled_effect_and_of_its_target() -> None:
    treated = np.broadcast_to(varied(1.0), (6, 3, 2)).copy()
    treated[2, 0, 1] = np.nan
    assert effect(cells(treated)).num_seeds == 5
    by_target = effects_by_target(cells(treated))
    assert [by_target[name].num_seeds for name in TARGETS] == [6, 5]


def test_targets_are_judged_as_one_family() -> None:
    found = effects_by_target(cells(varied(0.0) + np.array([1.0, 0.0])))
    assert [one.verdict for one in found.values()] == [Verdict.FOUND, Verdict.NONE]
    assert {one.family for one in found.values()} == {"targets"}


def test_slopes_are_per_doubling() -> None:
    levels = np.array([[1.0, 3.0, 5.0], [4.0, 3.0, 2.0]])
    assert slopes_per_doubling(COUNTS, levels) == pytest.approx([2.0, -1.0])
    fitted = [np.polyfit(np.log2((10, 50, 80)), row, 1)[0] for row in levels**2]
    assert slopes_per_doubling((10, 50, 80), levels**2) == pytest.approx(fitted)


def test_one_count_has_no_slope() -> None:
    assert np.isnan(slopes_per_doubling((10,), np.ones((2, 1)))).all()


def test_more_real_images_are_the_change_from_the_smallest_to_the_largest_count() -> None:
    found = cells(reference=np.array([1.0, 9.0, 4.0])[:, None]).real_images_effect()
    assert found == dict.fromkeys(SEEDS, 3.0)


def test_one_count_says_nothing_of_more_real_images() -> None:
    one = PairedCells(
        seeds=(0,),
        counts=(10,),
        targets=("a",),
        treated=np.zeros((1, 1, 1)),
        reference=np.zeros((1, 1, 1)),
    )
    assert np.isnan(one.real_images_effect()[0])


def test_cells_of_another_shape_are_refused() -> None:
    with pytest.raises(ValueError, match="treated has shape"):
        PairedCells(
            seeds=SEEDS,
            counts=COUNTS,
            targets=TARGETS,
            treated=np.zeros((6, 3, 1)),
            reference=np.zeros((6, 3, 1)),
        )


def test_counts_must_rise() -> None:
    with pytest.raises(ValueError, match="counts must rise"):
        PairedCells(
            seeds=(0,),
            counts=(20, 10),
            targets=("a",),
            treated=np.zeros((1, 2, 1)),
            reference=np.zeros((1, 2, 1)),
        )
