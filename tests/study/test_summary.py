import csv
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow.parquet as pq
import pytest
from scipy import stats

from ptl_sweep.metrics.bootstrap import Replicates
from ptl_sweep.study.equivalent import real_equivalents
from ptl_sweep.study.groups import by_group, paired_effects
from ptl_sweep.study.schemas import frame_of, results_schema
from ptl_sweep.study.statistics import sign_flip_p
from ptl_sweep.study.summary import means_and_effects, summarise
from ptl_sweep.study.tables import write_table
from ptl_sweep.vocabulary import ALL_TARGETS, Group

THRESHOLDS = (0.01, 0.1, 0.5)


def results_of(rows: list) -> pl.DataFrame:
    return frame_of(rows, results_schema(THRESHOLDS))


def summary_of(rows: list, *words: object) -> pl.DataFrame:
    return summarise(results_of(rows), THRESHOLDS, *words)


def find_summary(summary: pl.DataFrame, metric: str, group: Group) -> dict:
    same = (pl.col(name).eq_missing(value) for name, value in group._asdict().items())
    (row,) = summary.filter(*same, metric=metric).to_dicts()
    return row


def cell(count: int, synthetic: str, target: str, seed: int, ap50: float | None) -> dict:
    row = {"dataset": "town", "real_count": count, "synthetic": synthetic, "target": target}
    status = "failed" if ap50 is None else "ok"
    value = np.nan if ap50 is None else ap50
    return row | {
        "seed": seed, "status": status, "AP50": value, "AP": value / 2,
        "AP_t2t_001_shrunk": value / 3, "AP_t2t_010_shrunk": value / 4,
        "AP_t2t_050_shrunk": value / 5, "t2t_tp_mean_shrunk": 100 * value,
        "t2t_tp_mean_equal_n": 90 * value,
    }  # fmt: skip


def grid(num_seeds: int, counts=(20, 50), targets=("field", "yard"), gain: float = 0.1) -> list:
    rng = np.random.default_rng(0)
    return [
        cell(count, synthetic, target, seed, 0.2 + 0.02 * rng.random() + gain * (synthetic == "on"))
        for synthetic in ("off", "on")
        for count in counts
        for target in targets
        for seed in range(num_seeds)
    ]


def values(rows: list, synthetic: str, count: int, target: str) -> np.ndarray:
    key = (synthetic, count, target)
    return np.array(
        [r["AP50"] for r in rows if (r["synthetic"], r["real_count"], r["target"]) == key]
    )


def test_summary_of_a_cell_is_the_t_interval_over_seeds() -> None:
    rows = grid(4)
    found = means_and_effects(summary_of(rows), "AP50")[Group("town", 20, "off", "field")]
    own = values(rows, "off", 20, "field")
    low, high = stats.t.interval(0.95, 3, own.mean(), stats.sem(own))
    assert found.mean == pytest.approx((own.mean(), own.std(ddof=1), low, high, 4))


def test_the_effect_is_paired_by_seed() -> None:
    rows = grid(4)
    rows.reverse()  # the order of rows must not decide what is paired
    summary, group = summary_of(rows), Group("town", 50, "on", "yard")
    difference = values(rows, "on", 50, "yard") - values(rows, "off", 50, "yard")
    expected = stats.ttest_1samp(difference, 0).confidence_interval(0.95)
    found = means_and_effects(summary, "AP50")[group].effect
    assert found.mean == pytest.approx(difference.mean())
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high))
    assert find_summary(summary, "AP50", group)["p"] == 2 / 2**4


def test_the_pooled_effect_flips_signs_per_seed() -> None:
    """8 differences, but only 4 independent ones: the smallest p is 2^-3, not 2^-7."""
    summary = summary_of(grid(4, counts=(20,)))
    pooled = find_summary(summary, "AP50", Group("town", None, "on", ALL_TARGETS))
    assert pooled["num_pairs"] == 4
    assert pooled["p"] == 2 / 2**4
    assert pooled["note"] == "cannot reach 0.05 with 4 seeds"


def test_the_mean_over_targets_is_taken_within_the_seed() -> None:
    rows = grid(3)
    row = find_summary(summary_of(rows), "AP50", Group("town", 20, "on", ALL_TARGETS))
    per_seed = (values(rows, "on", 20, "field") + values(rows, "on", 20, "yard")) / 2
    assert row["mean"] == pytest.approx(per_seed.mean())
    assert row["sd"] == pytest.approx(per_seed.std(ddof=1))


def test_a_failed_cell_takes_its_seed_out_of_the_averages_only() -> None:
    rows = [row for row in grid(3) if (row["target"], row["seed"]) != ("field", 2)]
    rows += [
        cell(count, kind, "field", 2, None if (kind, count) == ("on", 20) else 0.3)
        for kind in ("off", "on")
        for count in (20, 50)
    ]
    summary = summary_of(rows)

    def num(count: int | None, target: str) -> object:
        return find_summary(summary, "AP50", Group("town", count, "on", target))["num_pairs"]

    assert num(20, "field") == 2
    assert num(20, "yard") == 3
    assert num(20, ALL_TARGETS) == 2
    assert num(50, ALL_TARGETS) == 3
    assert num(None, ALL_TARGETS) == 2


def test_a_cell_that_failed_for_every_seed_leaves_no_complete_average() -> None:
    rows = [
        row | {"AP50": np.nan, "status": "failed"}
        if (row["synthetic"], row["target"]) == ("on", "yard")
        else row
        for row in grid(3, counts=(20,))
    ]
    row = find_summary(summary_of(rows), "AP50", Group("town", 20, "on", ALL_TARGETS))
    assert (row["num_seeds"], row["num_pairs"]) == (0, 0)
    assert row["note"] == "no pair with off; real_equivalent needs 3 real counts, there are 1"


def test_holm_counts_the_cells_of_one_metric() -> None:
    summary = summary_of(grid(8))
    row = find_summary(summary, "AP50", Group("town", 20, "on", "yard"))
    assert row["p"] == 2 / 2**8
    assert row["p_holm"] == pytest.approx(4 * 2 / 2**8)
    pooled = find_summary(summary, "AP50", Group("town", 20, "on", ALL_TARGETS))
    assert np.isnan(pooled["p_holm"])


@pytest.mark.parametrize(
    ("num_seeds", "note"),
    [
        (1, "cannot reach 0.05 with 1 seed"),
        (5, "cannot reach 0.05 with 5 seeds"),
        (6, "Holm over 4 tests cannot reach 0.05 with 6 seeds"),
        (8, ""),
    ],
)
def test_the_note_says_when_the_test_has_no_power(num_seeds: int, note: str) -> None:
    row = find_summary(summary_of(grid(num_seeds)), "AP", Group("town", 20, "on", "field"))
    assert row["note"] == note


def test_distances_are_not_tested_across_gaussian_n() -> None:
    summary = summary_of(grid(8))
    row = find_summary(summary, "t2t_tp_mean_shrunk", Group("town", 20, "on", "field"))
    assert np.isnan(row["p"])
    assert row["note"] == "not comparable across gaussian_n, so not tested"


def test_distances_at_equal_n_are_tested() -> None:
    row = find_summary(summary_of(grid(8)), "t2t_tp_mean_equal_n", Group("town", 20, "on", "field"))
    assert row["p"] == 2 / 2**8
    assert row["effect"] == pytest.approx(9, rel=0.1)
    assert row["note"] == ""


def test_a_real_count_that_only_off_has_moves_no_effect() -> None:
    """Curves for the real-image equivalent have more counts than synthetic was run at."""
    rows = grid(3)
    more = [
        cell(200, "off", target, seed, 0.9) for target in ("field", "yard") for seed in range(3)
    ]
    pooled = Group("town", None, "on", ALL_TARGETS)
    few, many = (means_and_effects(summary_of(r), "AP50")[pooled] for r in (rows, [*rows, *more]))
    assert many.effect == few.effect
    assert many.effect.mean == pytest.approx(0.1, abs=0.02)


def replicates_of(rows: list, num_blocks: dict, num: int = 300) -> dict:
    """A resample moves both cells of a pair by the same luck and each by its own."""
    rng = np.random.default_rng(6)
    common = {target: rng.normal(0, 0.05, num) for target in num_blocks}
    found = {}
    for row in rows:
        values = row["AP50"] + common[row["target"]] + rng.normal(0, 0.01, num)
        key = tuple(row[name] for name in ("dataset", "real_count", "synthetic", "target", "seed"))
        three = np.stack([values] * 3)
        found[key] = Replicates(values, three, three, num_blocks[row["target"]])
    return found


def test_image_interval_is_the_percentile_interval_of_the_mean_paired_effect() -> None:
    rows = grid(4)
    replicates = replicates_of(rows, {"field": 300, "yard": 40})
    summary = summary_of(rows, replicates)
    for count, target in ((20, "field"), (20, ALL_TARGETS), (None, ALL_TARGETS)):
        own = find_summary(summary, "AP50", Group("town", count, "on", target))
        counts = (20, 50) if count is None else (count,)
        targets = ("field", "yard") if target == ALL_TARGETS else (target,)
        effects = np.mean(
            [
                replicates["town", c, "on", t, seed].AP50
                - replicates["town", c, "off", t, seed].AP50
                for c in counts
                for t in targets
                for seed in range(4)
            ],
            axis=0,
        )
        ordered = np.sort(effects)
        assert (own["image_low"], own["image_high"]) == pytest.approx((ordered[7], ordered[292]))
        assert own["image_sd"] == pytest.approx(effects.std(ddof=1))
        assert own["num_blocks"] == sum({"field": 300, "yard": 40}[t] for t in targets)
        assert own["image_sd"] < 0.01  # the luck that a pair shares has cancelled


def test_chance_of_seeds_and_of_test_images_stand_apart() -> None:
    rows = grid(4)
    group = Group("town", 20, "on", "field")
    summaries = summary_of(rows), summary_of(rows, replicates_of(rows, {"field": 99, "yard": 99}))
    bare, row = (find_summary(summary, "AP50", group) for summary in summaries)
    without, with_images = (means_and_effects(one, "AP50")[group] for one in summaries)
    assert with_images.effect == without.effect
    assert np.isnan([bare["image_low"], bare["image_high"], bare["image_sd"]]).all()
    assert row["image_sd"] > 0


def test_few_blocks_are_marked_and_change_no_p_value() -> None:
    rows = grid(8)
    summary = summary_of(rows, replicates_of(rows, {"field": 300, "yard": 10}))
    notes = {
        target: find_summary(
            summary, "AP50", Group("town", None if "(" in target else 20, "on", target)
        )
        for target in ("field", "yard", ALL_TARGETS)
    }
    assert "few blocks" not in notes["field"]["note"]
    assert "few blocks (10)" in notes["yard"]["note"]
    assert notes[ALL_TARGETS]["note"] == "few blocks (10)"  # of 310: those of the poorer target
    assert notes["yard"]["p"] == notes["field"]["p"] == 2 / 2**8
    other = find_summary(summary, "AP", Group("town", 20, "on", "yard"))
    assert np.isnan(other["image_low"])
    assert other["note"] == ""


def test_equivalents_stand_in_the_rows_of_ap50() -> None:
    rows = grid(4, counts=(20, 50, 100), gain=0.0)
    for row in rows:
        row["AP50"] += 0.001 * row["real_count"]
    replicates = replicates_of(rows, {"field": 99, "yard": 99})
    summary = summary_of(rows, replicates, np.random.default_rng(2))
    expected = {one.group: one for one in real_equivalents(results_of(rows), replicates)}
    for group, one in expected.items():
        row = find_summary(summary, "AP50", group)
        assert row["real_equivalent"] == pytest.approx(one.real_equivalent)
        assert row["replacement_ratio"] == row["real_equivalent"] / group.real_count
        assert row["real_equivalent_low"] <= row["real_equivalent"] <= row["real_equivalent_high"]
        assert row["replacement_ratio_low"] == row["real_equivalent_low"] / group.real_count
    pooled = find_summary(summary, "AP50", Group("town", None, "on", ALL_TARGETS))
    assert np.isnan(pooled["real_equivalent"])


def test_outside_the_counts_is_written_as_zero_and_infinity(tmp_path: Path) -> None:
    rows = [
        cell(count, "off", "field", 0, ap50) for count, ap50 in ((20, 0.2), (50, 0.3), (100, 0.4))
    ]
    rows += [cell(20, "on", "field", 0, 0.5), cell(50, "on", "field", 0, 0.1)]
    path = write_table(summary_of(rows), tmp_path, "summary")
    with path.open(newline="") as file:
        written = {
            row["real_count"]: row
            for row in csv.DictReader(file)
            if (row["synthetic"], row["target"], row["metric"]) == ("on", "field", "AP50")
        }
    assert (written["20"]["real_equivalent"], written["20"]["replacement_ratio"]) == ("inf", "inf")
    assert (written["50"]["real_equivalent"], written["50"]["replacement_ratio"]) == ("0.0", "0.0")
    assert written["20"]["real_equivalent_low"] == ""
    stored = pq.read_table(path.with_suffix(".parquet"))
    assert str(stored["num_blocks"].type) == "int64"
    assert np.inf in stored["real_equivalent"].to_pylist()


def seeded_grid(effect_in_sd: float, rng: np.random.Generator) -> list:
    """4 counts x 3 targets x 6 seeds. A seed's cells share luck: of the model and of its effect.

    The paired effect, averaged within a seed, has sd 0.02 over seeds.
    """
    shared_sd, own_sd = 0.016, 0.012 * 12**0.5
    rows = []
    for seed in range(6):
        model, luck = rng.normal(0, 0.05), rng.normal(0, shared_sd)
        for count in (20, 50, 100, 200):
            for target in ("field", "karst", "yard"):
                off = 0.3 + model + 0.02 * rng.normal()
                effect = effect_in_sd * 0.02 + luck + rng.normal(0, own_sd)
                rows += [
                    {"dataset": "town", "real_count": count, "synthetic": synthetic,
                     "target": target, "seed": seed, "AP50": value}
                    for synthetic, value in (("off", off), ("on", off + effect))
                ]  # fmt: skip
    return rows


def pooled_p_values(effect_in_sd: float, num: int = 400) -> np.ndarray:
    """p of the pooled test, by the steps of `summarise` that lead to it."""
    rng = np.random.default_rng(17)
    pooled = Group("town", None, "on", ALL_TARGETS)
    found = [
        paired_effects(by_group(pl.DataFrame(seeded_grid(effect_in_sd, rng)), "AP50"))[pooled]
        for _ in range(num)
    ]
    return np.array([sign_flip_p(one) for one in found])


def test_the_steps_of_the_simulations_are_those_of_the_summary() -> None:
    rows = seeded_grid(1.0, np.random.default_rng(17))
    row = find_summary(summary_of(rows), "AP50", Group("town", None, "on", ALL_TARGETS))
    assert row["p"] == pooled_p_values(1.0, num=1)[0]
    assert row["num_pairs"] == 6


def test_without_an_effect_the_pooled_test_rarely_finds_one() -> None:
    """Six seeds reach p = 2 / 64 only: 3.1 %."""
    rate = np.mean(pooled_p_values(0.0) < 0.05)
    assert 0.005 < rate <= 0.07


def test_an_effect_of_two_sd_is_found_in_most_grids() -> None:
    """All six differences must be positive: 0.977^6 = 87 %."""
    assert np.mean(pooled_p_values(2.0) < 0.05) > 0.80


def test_summary_rows_fit_their_table(tmp_path: Path) -> None:
    path = write_table(summary_of(grid(3)), tmp_path, "summary")
    with path.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 8 * 2 * (2 * 2 + 2 + 1)  # metrics, on and off, cells, per count, pooled
    assert {row["target"] for row in rows} == {"field", "yard", ALL_TARGETS}
