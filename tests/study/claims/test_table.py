"""claims.csv of whole grids: what it judges, over which cells, and that one seed claims nothing."""

import numpy as np
import polars as pl
import pytest
from helpers.demo_study import THRESHOLDS, demo_study

from ptl_sweep.config.analysis import EQUAL_COUNTS
from ptl_sweep.study.claims.claim import Agreement, Verdict
from ptl_sweep.study.claims.flips import step_down_p
from ptl_sweep.study.claims.table import Statement, Thresholds, claims
from ptl_sweep.study.groups import over_foreign_targets
from ptl_sweep.study.schemas import CLAIMS
from ptl_sweep.study.study import Study
from ptl_sweep.study.summary import summarise
from ptl_sweep.vocabulary import ALL_TARGETS, ERROR_TYPES, OFF, RELATIVE_DISTANCE, Domain, cost_name

POINTS = Thresholds(THRESHOLDS, EQUAL_COUNTS)


@pytest.fixture(scope="module")
def study() -> Study:
    return demo_study(with_gaps=False)


@pytest.fixture(scope="module")
def rows(study: Study) -> pl.DataFrame:
    return study.rows


def judged(rows: pl.DataFrame, statement: Statement, **wanted: object) -> pl.DataFrame:
    return claims(rows, POINTS).filter(pl.col("part") == "", statement=statement, **wanted)


def test_every_statement_is_judged_once_per_arm_and_the_table_has_its_schema(study):
    table = claims(study.rows, POINTS, study.errors)
    assert dict(table.schema) == dict(CLAIMS)
    whole = table.filter(part="")
    for statement in Statement:
        own = whole.filter(statement=statement)
        keys = ("dataset", "treated", "reference", "target", "real_count", "metric")
        assert len(own), statement
        assert own.select(keys).is_unique().all(), statement


def test_one_seed_never_claims_anything():
    for num_seeds in (1, 2, 5):
        study = demo_study(num_seeds=num_seeds, with_gaps=False)
        assert set(study.claims["verdict"]) == {Verdict.OPEN}
        assert set(study.claims["agreement"].drop_nulls()) <= {Agreement.NO_EVIDENCE}


def test_an_effect_is_that_of_the_summary(rows):
    own = judged(rows, Statement.EFFECT, treated="on").row(0, named=True)
    summary = summarise(rows, THRESHOLDS).filter(
        pl.col("real_count").is_null(), metric="AP50", synthetic="on", target=ALL_TARGETS
    )
    wanted = summary.row(0, named=True)
    np.testing.assert_allclose(
        [own[name] for name in ("value", "sd", "low", "high", "p", "num_seeds")],
        [wanted[f"effect{end}"] for end in ("", "_sd", "_low", "_high")]
        + [wanted["p"], wanted["num_pairs"]],
    )


def test_worth_is_quoted_at_every_count(rows):
    own = judged(rows, Statement.WORTH, treated="on")
    assert own["real_count"].to_list() == sorted(rows["real_count"].unique())


def test_a_real_count_without_any_relative_distance_is_left_out_and_the_row_says_so(rows):
    smallest = rows["real_count"].min()
    column = pl.col(RELATIVE_DISTANCE)
    gone = rows.with_columns(
        pl.when(pl.col("real_count") == smallest)
        .then(np.nan)
        .otherwise(column)
        .alias(column.meta.output_name())
    )
    before, after = (judged(one, Statement.NEARER, treated="on") for one in (rows, gone))
    assert str(smallest) in before["real_counts"][0].split(", ")
    assert str(smallest) not in after["real_counts"][0].split(", ")
    assert after["num_seeds"][0] == before["num_seeds"][0]


@pytest.mark.parametrize("domain", [Domain.IN, Domain.CALIBRATION])
def test_targets_of_the_sources_own_domain_enter_no_mean_and_no_claim(rows, domain):
    own = rows.filter(target="field").with_columns(
        target=pl.lit("val"), domain=pl.lit(domain.value), AP50=pl.col("AP50") + 0.5
    )
    both = pl.concat([rows, own])
    assert claims(both, POINTS).equals(claims(rows, POINTS))
    before, after = (
        over_foreign_targets(lambda cells: summarise(cells, THRESHOLDS), one)
        for one in (rows, both)
    )
    assert after.filter(pl.col("target") != "val").equals(before)
    assert set(after["target"]) - set(before["target"]) == {"val"}


def test_a_grid_on_its_own_domain_alone_is_judged(rows):
    own = rows.with_columns(domain=pl.lit(Domain.IN.value))
    assert claims(own, POINTS).equals(claims(rows, POINTS))


def test_two_values_of_synthetic_are_compared_without_off(rows):
    own = judged(rows, Statement.CONTRAST).row(0, named=True)
    assert (own["treated"], own["reference"]) == ("on", "random")
    arms = [
        rows.filter(synthetic=name).sort("seed", "real_count", "target")["AP50"].to_numpy()
        for name in ("on", "random")
    ]
    np.testing.assert_allclose(own["value"], np.mean(arms[0] - arms[1]))


def test_all_contrasts_of_a_source_are_one_family(rows):
    """Of many arms some two would differ by chance."""
    noise = np.random.default_rng(0).normal(0, 0.02, rows.filter(synthetic="random").height)
    third = rows.filter(synthetic="random").with_columns(
        synthetic=pl.lit("third"), AP50=pl.col("AP50") + noise
    )
    own = judged(pl.concat([rows, third]), Statement.CONTRAST)
    arms = list(zip(own["treated"], own["reference"], strict=True))
    assert arms == [("on", "random"), ("on", "third"), ("random", "third")]
    levels = pl.concat([rows, third]).group_by("seed", "synthetic").agg(pl.col("AP50").mean())
    wide = levels.pivot("synthetic", index="seed").sort("seed")
    effects = np.stack([(wide[one] - wide[other]).to_numpy() for one, other in arms], axis=1)
    wanted = step_down_p(effects, np.random.default_rng(0))
    assert own["p_family"].to_list() == pytest.approx(wanted.tolist())
    assert set(own["family"]) == {"contrasts"}
    assert own["p"][1] < 0.05 < own["p_family"][1]
    assert own["verdict"].to_list() == [Verdict.FOUND, Verdict.NONE, Verdict.NONE]


KEY_RESULTS = (
    Statement.MEDIUM, Statement.RISES_ONLY, Statement.REPLACEMENT,
    Statement.TARGETS_DIFFER, Statement.FALSE_POSITIVES,
)  # fmt: skip


def test_the_key_results_of_an_arm_are_one_family_and_their_parts_are_not(rows):
    table = claims(rows, POINTS)
    for arm in ("on", "random"):
        own = table.filter(pl.col("statement").is_in(KEY_RESULTS), treated=arm)
        whole = own.filter(part="")
        assert whole["statement"].is_unique().all()
        assert set(whole["family"]) == {"key results"}
        assert (whole["p_family"] <= 1).all()
        parts = own.filter(pl.col("part") != "")
        assert parts["family"].null_count() + (parts["family"] == "").sum() == len(parts)


def test_the_smallest_p_pays_for_every_key_result_that_was_tested(rows):
    five = [judged(rows, one, treated="on")["p_family"][0] for one in KEY_RESULTS]
    assert five.index(min(five)) != KEY_RESULTS.index(Statement.MEDIUM)
    lacking = rows.with_columns(pl.lit(np.nan).alias("AP_t2t_010_lift"))
    four = [judged(lacking, one, treated="on")["p_family"][0] for one in KEY_RESULTS[1:]]
    assert min(five) == pytest.approx(5 / 4 * min(four))


def cost_rows(study: Study, errors: pl.DataFrame) -> pl.DataFrame:
    rows = claims(study.rows, POINTS, errors)
    return rows.filter(statement=Statement.ERROR_COST, treated="on")


def test_the_change_of_what_each_type_costs_is_paired_within_a_seed(study):
    """Mean over targets and counts first; the types are one family."""
    table = cost_rows(study, study.errors)
    assert table["metric"].to_list() == [cost_name(kind) for kind in ERROR_TYPES]
    assert set(table["family"]) == {"types of error"}
    for kind, row in zip(ERROR_TYPES, table.iter_rows(named=True), strict=True):
        own = study.errors.filter(type=kind)
        arms = [
            own.filter(synthetic=name)
            .group_by("seed")
            .agg(pl.col("gain_fixed").mean())
            .sort("seed")
            for name in ("on", OFF)
        ]
        change = (arms[0]["gain_fixed"] - arms[1]["gain_fixed"]).to_numpy()
        np.testing.assert_allclose(
            [row["value"], row["sd"], row["num_seeds"]], [change.mean(), change.std(ddof=1), 6]
        )
        assert row["p_family"] >= row["p"]


def test_a_cost_that_one_seed_lacks_is_judged_over_the_others(study):
    lost = (pl.col("seed") == 0) & (pl.col("type") == "unhit")
    errors = study.errors.with_columns(
        pl.when(lost).then(np.nan).otherwise(pl.col("gain_fixed")).alias("gain_fixed")
    )
    table = cost_rows(study, errors)
    assert table["num_seeds"].to_list() == [6, 6, 6, 6, 5]
    assert table["verdict"][-1] == Verdict.OPEN
    assert cost_rows(study, errors.clear())["verdict"].to_list() == []


def test_each_reading_of_medium_confidence_names_the_column_that_it_compares(rows):
    table = claims(rows, POINTS).filter(statement=Statement.MEDIUM, treated="on")
    (headline,) = table.filter(part="")["metric"]
    assert headline == "AP_t2t_010_lift"
    metrics = dict(table.filter(pl.col("part") != "").select("part", "metric").iter_rows())
    assert metrics["fixed scores, recall over all, raw"] == "AP_t2t_010_shrunk"
    assert metrics["fixed scores, recall over matched, lift"] == "AP_t2t_010_matched_lift"
    assert metrics["equal counts, recall over all, lift"] == "AP_t2t_5_per_image_lift"
    assert len(set(metrics.values())) == len(metrics) == 8
    assert set(metrics.values()) <= set(rows.columns)
