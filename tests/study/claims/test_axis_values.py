"""Claims of a sweep with axes: every value by itself, adjusted for how many there are."""

import jaxtyping
import numpy as np
import polars as pl
import pytest
from helpers.demo_study import THRESHOLDS, demo_study
from helpers.null_grids import COUNTS, TARGETS, Levels, levels, sd

from ptl_sweep.config.analysis import EQUAL_COUNTS
from ptl_sweep.report.verdicts.answers import answers
from ptl_sweep.report.verdicts.effects import effects
from ptl_sweep.study.claims.axis_values import Arm, effects_of_arms
from ptl_sweep.study.claims.claim import Claim, Verdict
from ptl_sweep.study.claims.effects import PairedCells, effect
from ptl_sweep.study.claims.flips import step_down_p
from ptl_sweep.study.claims.table import Statement, Thresholds, claims
from ptl_sweep.study.groups import over_foreign_targets
from ptl_sweep.study.summary import summarise

POINTS = Thresholds(THRESHOLDS, EQUAL_COUNTS)
STEPS = (100, 200)
TEMPERATURES = (1, 5, 10)
NUM_ARMS = len(STEPS) * len(TEMPERATURES)


@pytest.fixture(scope="module")
def rows() -> pl.DataFrame:
    """Cells of 2 train.num_steps, with one off and 3 synthetic.temperature each, all different."""
    cells = demo_study(with_gaps=False, synthetics=("off", "on")).rows
    parts = []
    for steps in STEPS:
        source = cells.with_columns(
            pl.lit(steps).alias("steps"),
            pl.format("{}, train.num_steps={}", "dataset", pl.lit(steps)).alias("dataset"),
            pl.col("AP50") + 0.0003 * steps,
        )
        parts.append(source.filter(synthetic="off").with_columns(t=pl.lit(None, pl.Int64)))
        parts += [
            source.filter(synthetic="on").with_columns(
                pl.lit(f"on, temperature={t}").alias("synthetic"),
                # another gain for every value, seed and target: pooling would show
                pl.col("AP50") + 0.004 * t * (1 + pl.col("seed")) + 1e-5 * t * steps,
                t=pl.lit(t, pl.Int64),
            )
            for t in TEMPERATURES
        ]
    return pl.concat(parts)


def gains(rows: pl.DataFrame, steps: int, temperature: int, *keys: str) -> pl.DataFrame:
    """Mean change of AP50 by seed, straight from the cells that say these values."""
    own = rows.filter(pl.col("steps") == steps)
    place = ["real_count", "target", "seed"]
    pairs = own.filter(t=temperature).join(own.filter(synthetic="off"), on=place, suffix="_off")
    changed = pairs.with_columns(change=pl.col("AP50") - pl.col("AP50_off"))
    return changed.group_by("seed", *keys).agg(pl.col("change").mean()).sort("seed", *keys)


def test_every_value_is_compared_with_the_off_of_its_own_steps(rows: pl.DataFrame) -> None:
    table = claims(rows, POINTS)
    whole = table.filter(statement=Statement.EFFECT, part="")
    assert len(whole) == NUM_ARMS
    summary = over_foreign_targets(lambda cells: summarise(cells, THRESHOLDS), rows)
    for steps in STEPS:
        for temperature in TEMPERATURES:
            place = pl.col("dataset").str.ends_with(f"train.num_steps={steps}")
            arm = f"on, temperature={temperature}"
            found = whole.filter(place, treated=arm, reference="off").row(0, named=True)
            by_hand = gains(rows, steps, temperature)["change"].to_numpy()
            assert found["value"] == pytest.approx(by_hand.mean())
            assert found["sd"] == pytest.approx(by_hand.std(ddof=1))
            over_all = summary.filter(
                place, pl.col("real_count").is_null(), synthetic=arm, metric="AP50", target="(all)"
            )
            assert over_all["effect"].to_list() == pytest.approx([by_hand.mean()])


def test_effects_are_adjusted_for_the_number_of_values_and_their_targets(
    rows: pl.DataFrame,
) -> None:
    table = claims(rows, POINTS)
    rng = np.random.default_rng(0)
    each = [gains(rows, n, t)["change"].to_numpy() for n in STEPS for t in TEMPERATURES]
    wanted = step_down_p(np.stack(each, axis=1), rng)
    whole = table.filter(statement=Statement.EFFECT, part="")
    assert set(whole["family"]) == {f"{NUM_ARMS} values of train.num_steps x temperature"}
    assert whole["p_family"].to_list() == pytest.approx(wanted.tolist())
    on_targets = table.filter(statement=Statement.TARGET_EFFECT)
    num = on_targets.height
    assert num == NUM_ARMS * on_targets["target"].n_unique()
    assert set(on_targets["family"]) == {
        f"{num} targets at {NUM_ARMS} values of train.num_steps x temperature"
    }


def test_values_are_contrasted_within_their_steps_only(rows: pl.DataFrame) -> None:
    own = claims(rows, POINTS).filter(statement=Statement.CONTRAST)
    by_source = own.group_by("dataset").len()
    assert by_source["len"].to_list() == [3, 3]  # pairs of three temperatures
    assert set(own["family"]) == {"contrasts"}


def test_no_row_of_any_statement_is_about_several_values(rows: pl.DataFrame) -> None:
    table = claims(rows, POINTS)
    arms = {f"on, temperature={t}" for t in TEMPERATURES}
    assert set(table["treated"].drop_nulls()) == arms
    assert set(table["dataset"]) == set(rows["dataset"])


def test_sentences_name_the_values_and_for_how_many_they_are_adjusted(rows: pl.DataFrame) -> None:
    table = claims(rows, POINTS)
    summary = over_foreign_targets(lambda cells: summarise(cells, THRESHOLDS), rows)
    found = answers(table, summary)
    assert len({one.sentence for one in found}) == NUM_ARMS
    for one in found:
        assert "ynthetic images (on, temperature=" in one.sentence
        assert ", train.num_steps=" in one.sentence
        assert f"adjusted for {NUM_ARMS} values of train.num_steps x temperature" in one.test
    by_target = [text for text in effects(table) if text.startswith(("AP50 by", "No evidence"))]
    assert all(f"at {NUM_ARMS} values of" in text for text in by_target if "target" in text[:60])


def test_without_axes_an_effect_stands_alone() -> None:
    own = demo_study(with_gaps=False).rows
    whole = claims(own, POINTS).filter(statement=Statement.EFFECT, part="")
    assert set(whole["family"].fill_null("")) == {""}


REPETITIONS = 400


def of_values(found: Levels) -> dict[Arm, PairedCells]:
    """Every arm but the first as a value of an axis, against the first."""
    return {
        ("town", f"on, temperature={arm}"): PairedCells(
            seeds=tuple(range(len(found))), counts=COUNTS[: found.shape[1]], targets=TARGETS,
            treated=found[..., arm], reference=found[..., 0],
        )
        for arm in range(1, found.shape[3])
    }  # fmt: skip


def claimed(shift_sd: float) -> dict[str, float]:
    """Shares of 400 studies of six seeds and six values, the first moved, with such a claim."""
    rng = np.random.default_rng(0)
    counts = dict.fromkeys(("any", "any target", "any alone", "first"), 0)
    for _ in range(REPETITIONS):
        found = levels(6, 3, rng, arms=7)
        found[..., 1] += shift_sd * sd(PairedCells.pooled_effect)
        cells = of_values(found)
        judged = effects_of_arms(cells)
        by_target = [claim for one in judged.values() for claim in one.by_target.values()]
        counts["any"] += any_found([one.whole for one in judged.values()])
        counts["any target"] += any_found(by_target)
        counts["any alone"] += any_found([effect(one) for one in cells.values()])
        counts["first"] += any_found([next(iter(judged.values())).whole])
    return {name: num / REPETITIONS for name, num in counts.items()}


def any_found(judged: list[Claim]) -> bool:
    return any(one.verdict is Verdict.FOUND for one in judged)


def test_among_six_values_that_change_nothing_one_is_claimed_in_at_most_six_percent(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Control: judged alone, one is claimed far more often; an effect of 3 sd is found."""
    # shape checks, which the tests above have, take most of the time of thousands of arms
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)
    nothing = claimed(0)
    assert nothing["any"] <= 0.06
    assert nothing["any target"] <= 0.06
    assert nothing["any alone"] > 0.08
    assert claimed(3)["first"] >= 0.8
