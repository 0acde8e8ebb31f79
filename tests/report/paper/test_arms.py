"""Arms side by side: the numbers of the controls that are kept, derived again."""

from pathlib import Path

import numpy as np
import polars as pl
import pytest
from scipy import stats

from ptl_sweep.report.paper import contrasts, effects
from ptl_sweep.report.paper.layout import GAP
from ptl_sweep.report.paper.source import PaperSource
from ptl_sweep.study.schemas import CLAIMS, frame_of, results_schema

CONTROLS = Path(__file__).parents[3] / "outputs" / "example" / "controls"
THRESHOLDS = (0.01, 0.1, 0.5)


def source_of(results: pl.DataFrame, claims: pl.DataFrame) -> PaperSource:
    steps = {("miniature", name): {360} for name in results["synthetic"].unique()}
    return PaperSource(results, results, claims, THRESHOLDS, steps)


@pytest.fixture(scope="module", params=["as the reducer writes them", "from a CSV file"])
def controls(request: pytest.FixtureRequest) -> PaperSource:
    """Eight arms, six worlds, three targets."""
    results, claims = (pl.read_csv(CONTROLS / f"{name}.csv") for name in ("results", "claims"))
    if request.param == "as the reducer writes them":
        claims = claims.with_columns(pl.col("part").cast(pl.String).fill_null(""))
    return source_of(results, claims)


def worlds(source: PaperSource, name: str, column: str = "AP50") -> np.ndarray:
    """Mean over the targets, a number for each seed."""
    own = source.results.filter(synthetic=name).group_by("seed").agg(pl.col(column).mean())
    return 100 * own.sort("seed")[column].to_numpy()


def interval(values: np.ndarray) -> tuple[float, float]:
    low, high = stats.t.interval(0.95, len(values) - 1, values.mean(), stats.sem(values))
    return low, high


def test_effects_are_those_of_the_results_paired_by_seed(controls: PaperSource) -> None:
    table = effects(controls)
    names = [row[1] for row in table.rows]
    assert names[0] == "off"
    assert sorted(names) == sorted(controls.results["synthetic"].unique())
    for row in table.rows:
        cells = dict(zip(table.header, row, strict=True))
        for column in ("AP50", "AP"):
            values = worlds(controls, cells["synthetic"], column)
            low, high = interval(values)
            assert cells[f"{column} [%]"] == f"{values.mean():.1f} ± {(high - low) / 2:.1f}"
        assert (cells["steps"], cells["seeds"]) == ("360", "6")
        if cells["synthetic"] == "off":
            assert row[-4:-1] == (GAP, GAP, GAP)
            assert cells["virtual images"] == "0"
            continue
        change = worlds(controls, cells["synthetic"]) - worlds(controls, "off")
        low, high = interval(change)
        shown = cells["change of AP50 [points]"]
        assert shown == f"{change.mean():+.1f} [{low:+.1f}, {high:+.1f}]"
        assert float(cells["p"]) == pytest.approx(stats.permutation_test(
            (change,), np.mean, permutation_type="samples", n_resamples=np.inf
        ).pvalue, abs=5e-4)  # fmt: skip


def test_contrasts_are_every_two_arms_with_adjusted_p(controls: PaperSource) -> None:
    table = contrasts(controls)
    assert len(table.rows) == 7 * 6 / 2
    for row in table.rows:
        cells = dict(zip(table.header, row, strict=True))
        change = worlds(controls, cells["synthetic"]) - worlds(controls, cells["minus"])
        low, high = interval(change)
        shown = cells["change of AP50 [points]"]
        assert shown == f"{change.mean():+.1f} [{low:+.1f}, {high:+.1f}]"
        assert cells["p"].endswith(" adj.")


def test_a_seed_that_lacks_a_cell_counts_in_no_mean(controls: PaperSource) -> None:
    """Worlds differ by more than methods: a mean over other cells would be another quantity."""
    lost = (pl.col("synthetic") == "on") & (pl.col("seed") == 2) & (pl.col("target") == "karst")
    results = controls.results.with_columns(
        AP50=pl.when(~lost).then("AP50"), AP=pl.when(~lost).then("AP")
    )
    table = effects(controls._replace(results=results))
    row = next(row for row in table.rows if row[1] == "on")
    values = np.delete(worlds(controls, "on"), 2)
    assert dict(zip(table.header, row, strict=True))["AP50 [%]"].startswith(f"{values.mean():.1f} ")


def test_a_sweep_without_results_is_gaps() -> None:
    place = {"dataset": "miniature", "target": "field", "real_count": 20, "seed": 0}
    rows = [place | {"synthetic": name, "status": "missing"} for name in ("off", "on")]
    source = source_of(frame_of(rows, results_schema(THRESHOLDS)), frame_of([], CLAIMS))
    for row in effects(source).rows:
        assert row[2] == GAP
        assert row[4:9] == (GAP,) * 5
    assert contrasts(source).rows == ()


def test_too_few_seeds_have_a_change_and_no_verdict(controls: PaperSource) -> None:
    """Tables of a sweep have NaN where a CSV file has nothing."""
    row = {
        "statement": "effect", "dataset": "miniature", "treated": "on", "reference": "off",
        "part": "", "metric": "AP50", "verdict": "open", "value": 0.125, "num_seeds": 1,
    }  # fmt: skip
    results = controls.results.filter(seed=0)
    table = effects(source_of(results, frame_of([row], CLAIMS)))
    shown = next(row for row in table.rows if row[1] == "on")
    assert shown[-4:] == ("+12.5", GAP, "open", "1")
