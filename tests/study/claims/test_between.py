"""Contrasts of two sweeps: pairs of cells, their differences over seeds, what claims nothing."""

import numpy as np
import polars as pl
import pytest
from scipy import stats

from ptl_sweep.study.claims.between import (
    SWEEP_CONTRASTS,
    Values,
    pair_cells,
    sweep_contrasts,
)
from ptl_sweep.study.claims.claim import Verdict
from ptl_sweep.study.claims.flips import step_down_p
from ptl_sweep.study.schemas import frame_of, results_schema
from ptl_sweep.vocabulary import Domain

METRICS = ("AP50", "AP")
ON = Values("on", "on")


def cell(count: int, target: str, seed: int, level: float | None, synthetic: str = "on") -> dict:
    return {
        "dataset": "town", "real_count": count, "synthetic": synthetic, "target": target,
        "seed": seed, "status": "failed" if level is None else "ok", "AP50": level,
        "AP": None if level is None else level / 2,
    }  # fmt: skip


def grid(shift: float, seeds: int = 4, synthetic: str = "on") -> list[dict]:
    """Two counts, two targets; the shift grows with seed and target."""
    return [
        cell(count, target, seed, 0.2 + shift * (1 + seed + 4 * (target == "yard")), synthetic)
        for count in (20, 50)
        for target in ("field", "yard")
        for seed in range(seeds)
    ]


def paired(treated: list[dict], reference: list[dict], values: Values = ON) -> pl.DataFrame:
    own, other = (frame_of(rows, results_schema((0.1,))) for rows in (treated, reference))
    return pair_cells(own, other, values, METRICS)


def contrasts(treated: list[dict], reference: list[dict], values: Values = ON) -> pl.DataFrame:
    return sweep_contrasts(paired(treated, reference, values), METRICS)


def row_of(rows: pl.DataFrame, **wanted: object) -> dict:
    """The one row of AP50 about this count and target; none of them: over all."""
    about = {"real_count": None, "target": None, "metric": "AP50", **wanted}
    same = [pl.col(name).eq_missing(pl.lit(value)) for name, value in about.items()]
    return rows.filter(*same).row(0, named=True)


def test_cells_are_paired_by_what_they_are_not_by_their_place() -> None:
    """Field at seed s: 0.2 and, in the treated sweep, 0.2 + 0.01 (1 + s); yard 0.04 more."""
    treated, reference = grid(0.01), grid(0)
    pairs = paired(treated[::-1][1:], reference[1:])
    assert len(pairs) == len(treated) - 2
    rise = pairs["AP50"] - pairs["AP50_reference"]
    step = 1 + pairs["seed"] + 4 * (pairs["target"] == "yard").cast(pl.Int64)
    assert rise.to_list() == pytest.approx((0.01 * step).to_list())


def test_a_contrast_is_the_paired_t_interval_over_seeds() -> None:
    """Field at 20 real images: 0.01, 0.02, 0.03, 0.04."""
    row = row_of(contrasts(grid(0.01), grid(0)), target="field", real_count=20)
    differences = np.array([0.01, 0.02, 0.03, 0.04])
    interval = stats.ttest_rel(differences + 0.2, np.full(4, 0.2)).confidence_interval()
    assert row["value"] == pytest.approx(0.025)
    assert (row["low"], row["high"]) == pytest.approx((interval.low, interval.high))
    assert (row["treated_level"], row["reference_level"]) == pytest.approx((0.225, 0.2))
    assert row["p"] == 2 / 2**4


def test_means_over_targets_and_counts_are_within_each_seed() -> None:
    """Yard lies 0.04 above field: over both 0.03, 0.04, 0.05, 0.06."""
    rows = contrasts(grid(0.01), grid(0))
    assert dict(rows.schema) == dict(SWEEP_CONTRASTS)
    whole = row_of(rows)
    assert whole["value"] == pytest.approx(0.045)
    assert (whole["targets"], whole["real_counts"]) == ("field, yard", "20, 50")
    assert rows.filter(metric="AP50").height == 1 + 2 + 2 + 4
    assert row_of(rows, metric="AP")["value"] == pytest.approx(0.0225)


def test_a_seed_that_one_sweep_failed_at_leaves_both() -> None:
    treated = grid(0.01)
    treated[3] |= {"AP50": None, "status": "failed"}  # field, 20 real, seed 3
    rows = contrasts(treated, grid(0))
    own = row_of(rows, target="field", real_count=20)
    assert (own["num_seeds"], own["value"]) == (3, pytest.approx(0.02))
    assert row_of(rows)["num_seeds"] == 3


def test_targets_of_different_seeds_have_rows_but_no_mean() -> None:
    cells = [cell(20, "field", 0, 0.2), cell(20, "yard", 1, 0.2)]
    rows = contrasts(cells, cells).filter(metric="AP50")
    assert rows["target"].to_list() == ["field", "yard", "field", "yard"]
    assert set(rows["num_seeds"]) == {1}


def test_exchanging_the_sweeps_turns_the_sign() -> None:
    there, back = contrasts(grid(0), grid(0.01)), contrasts(grid(0.01), grid(0))
    assert there["value"].to_list() == pytest.approx((-back["value"]).to_list())
    assert there["low"].to_list() == pytest.approx((-back["high"]).to_list())
    assert there["p_family"].to_list() == back["p_family"].to_list()


@pytest.mark.parametrize(
    ("seeds", "verdict"), [(1, Verdict.OPEN), (5, Verdict.OPEN), (6, Verdict.FOUND)]
)
def test_a_verdict_needs_six_seeds(seeds: int, verdict: Verdict) -> None:
    assert row_of(contrasts(grid(0.01, seeds), grid(0, seeds)))["verdict"] == verdict


def test_two_named_values_are_compared() -> None:
    treated = [*grid(0.01), *grid(0.5, synthetic="random")]
    rows = contrasts(treated, grid(0, synthetic="random"), Values("on", "random"))
    assert set(rows.select("treated", "reference").rows()) == {("on", "random")}
    assert row_of(rows)["value"] == pytest.approx(0.045)


def test_what_two_sweeps_share_is_no_evidence_of_equality() -> None:
    """Zeros of one and the same training would pull the mean of the others towards zero."""
    treated, reference = grid(0.01, 6), grid(0, 6)
    for one, other in zip(treated, reference, strict=True):
        if one["target"] == "yard":
            one |= {"evaluate_key": f"evaluate-{one['seed']}", "AP50": 0.2}
            other |= {"evaluate_key": f"evaluate-{one['seed']}"}
    assert paired(treated, reference)["is_shared"].sum() == 12
    whole = row_of(contrasts(treated, reference))
    assert (whole["targets"], whole["value"]) == ("field", pytest.approx(0.035))
    every = [{**one, "evaluate_key": f"evaluate-{i}"} for i, one in enumerate(reference)]
    assert contrasts(every, every).is_empty()


def test_targets_of_the_sources_own_domain_stand_alone() -> None:
    treated, reference = (
        [
            one | {"domain": (Domain.IN if one["target"] == "yard" else Domain.CROSS).value}
            for one in rows
        ]
        for rows in (grid(0.01), grid(0))
    )
    rows = contrasts(treated, reference)
    assert (row_of(rows)["targets"], row_of(rows)["value"]) == ("field", pytest.approx(0.025))
    assert row_of(rows, target="yard")["value"] == pytest.approx(0.065)


def test_all_compared_values_are_one_family_and_the_targets_of_two_another() -> None:
    rng = np.random.default_rng(0)
    both = [
        [one | {"AP50": rng.normal()} for one in (*grid(0, 6), *grid(0, 6, "off"))] for _ in "ab"
    ]
    pairs = pl.concat([paired(*both, Values(name, name)) for name in ("on", "off")])
    rows = sweep_contrasts(pairs, ["AP50"])
    rise = pairs.with_columns(rise=pl.col("AP50") - pl.col("AP50_reference"))
    for kept, family, axes in (
        (pairs["treated"].is_in(["on", "off"]), "contrasts", ["treated"]),
        (pairs["treated"] == "on", "targets", ["target"]),
    ):
        effects = (
            rise.filter(kept)
            .group_by(*axes, "seed", maintain_order=True)
            .agg(pl.col("rise").mean())
        )
        wide = effects.pivot(axes, index="seed", values="rise").sort("seed").drop("seed")
        wanted = step_down_p(wide.to_numpy(), np.random.default_rng(0))
        own = rows.filter(
            pl.col("family") == family,
            pl.col("treated").is_in(["on", "off"] if family == "contrasts" else ["on"]),
        )
        assert own["p_family"].to_list() == pytest.approx(wanted.tolist())
        assert (own["p_family"] >= own["p"]).all()
