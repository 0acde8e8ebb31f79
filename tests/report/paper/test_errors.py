"""Errors by type: the claims of the genuine pictures, as they are printed."""

from pathlib import Path

import numpy as np
import polars as pl
import pytest
from scipy import stats

from ptl_sweep.config.schema import ConfigError
from ptl_sweep.report.paper import errors
from ptl_sweep.report.paper.source import PaperSource
from ptl_sweep.study.schemas import CLAIMS

REAL = Path(__file__).parents[3] / "outputs" / "example" / "visdrone_small"
TYPES = {
    "localisation errors": "localisation", "duplicate errors": "duplicate",
    "background errors": "background", "missed persons": "missed",
    "persons that no detection hits": "unhit",
}  # fmt: skip


@pytest.fixture(scope="module")
def genuine() -> PaperSource:
    results, claims = (pl.read_csv(REAL / f"{name}.csv") for name in ("results", "claims"))
    return PaperSource(results, results, claims, (0.01, 0.1, 0.5), {})


def costs(kind: str, synthetic: str) -> np.ndarray:
    """What the errors of a type cost, mean over foreign cells, a number for each seed."""
    table = pl.read_csv(REAL / "errors.csv").filter(type=kind, synthetic=synthetic)
    foreign = table.filter(~pl.col("target").str.contains("validation"))
    means = foreign.group_by("seed").agg(pl.col("gain_fixed").mean()).sort("seed")
    return 100 * means["gain_fixed"].to_numpy()


def test_each_type_has_its_change_derived_again_from_the_errors(genuine: PaperSource) -> None:
    rows = {(row[1], row[2]): row for row in errors(genuine).rows}
    arms = sorted({arm for arm, _ in rows})
    assert "on" in arms
    assert set(rows) == {(arm, name) for arm in arms for name in TYPES}
    for name, kind in TYPES.items():
        change = costs(kind, "on") - costs(kind, "off")
        low, high = stats.t.interval(0.95, 5, change.mean(), stats.sem(change))
        row = rows["on", name]
        assert row[3] == f"{change.mean():+.1f} [{low:+.1f}, {high:+.1f}]"
        assert row[4].endswith(" adj.")
        assert row[-1] == "6"


def test_a_sweep_without_claims_is_told_what_it_lacks(genuine: PaperSource) -> None:
    with pytest.raises(ConfigError, match="needs off and another value of synthetic"):
        errors(genuine._replace(claims=CLAIMS.to_frame()))


def test_a_change_that_no_seed_has_is_a_gap(genuine: PaperSource) -> None:
    lost = genuine.claims.with_columns(pl.lit(None, pl.Float64).alias("value"))
    rows = errors(genuine._replace(claims=lost)).rows
    assert {row[3:5] for row in rows} == {("\N{EN DASH}", "\N{EN DASH}")}
