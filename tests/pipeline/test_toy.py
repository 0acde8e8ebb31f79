"""Results of the embedded miniature world say so, and what of them is it."""

from collections.abc import Callable

import pytest

from ptl_sweep.pipeline.plan import Plan
from ptl_sweep.pipeline.plan_text import plan_text
from ptl_sweep.pipeline.toy import BUILT_IN, POOL, WORLD, toy_note

MakePlan = Callable[..., Plan]
REAL = ("real_count=2", "dataset=visdrone", "target=okutama", "dataset.root=a", "target.root=b")


@pytest.mark.parametrize(
    ("words", "note"),
    [
        (("real_count=2", "synthetic=on"), f"{WORLD} {BUILT_IN}"),
        (("real_count=2", "synthetic=off"), WORLD),
        (("real_count=2", "synthetic=on", "pool=cutouts", "pool.root=c"), WORLD),
        ((*REAL, "synthetic=on"), POOL),
        ((*REAL, "synthetic=on", "pool=archangel", "pool.root=c"), ""),
        ((*REAL, "synthetic=off"), ""),
    ],
)
def test_the_note_names_what_of_the_sweep_is_the_toy(
    make_plan: MakePlan, words: tuple[str, ...], note: str
) -> None:
    assert toy_note(make_plan(*words)) == note


def test_a_toy_pool_beside_real_pictures_is_said_before_anything_is_computed(
    make_plan: MakePlan,
) -> None:
    shown = " ".join(plan_text(make_plan(*REAL, "synthetic=on")).split())
    assert f"note {POOL}" in shown
    assert "note" not in plan_text(make_plan("real_count=2", "synthetic=on"))
