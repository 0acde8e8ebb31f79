import numpy as np
import pytest
from scipy import stats

from ptl_sweep.metrics.bootstrap import Replicates
from ptl_sweep.study.contrast import contrasts
from ptl_sweep.study.schemas import CONTRASTS, frame_of, results_schema
from ptl_sweep.vocabulary import ALL_TARGETS, BANDS

THRESHOLDS = (0.01, 0.1, 0.5)
NAMES = [f"AP_t2t_{label}_shrunk" for label in ("001", "010", "050")]
BAND_NAMES = [f"AP_t2t_{band}" for band in BANDS]


def cell(count: int, synthetic: str, target: str, seed: int, values: list[float]) -> dict:
    row = {"dataset": "town", "real_count": count, "synthetic": synthetic, "target": target}
    row |= {"seed": seed, "AP50": 0.5}
    row |= dict(zip(NAMES, values, strict=True))
    return row | dict(zip(BAND_NAMES, [value / 2 for value in values], strict=True))


def grid(gain: tuple[float, float, float], noise: float, num_seeds: int = 6) -> list:
    rng = np.random.default_rng(2)
    return [
        cell(count, synthetic, target, seed,
             list(0.3 + np.array(gain) * (synthetic == "on") + noise * rng.normal(size=3)))
        for synthetic in ("off", "on")
        for count in (20, 50)
        for target in ("field", "yard")
        for seed in range(num_seeds)
    ]  # fmt: skip


def contrasts_of(rows: list, replicates: dict | None = None) -> list[dict]:
    table = contrasts(frame_of(rows, results_schema(THRESHOLDS)), THRESHOLDS, replicates)
    assert table.schema == CONTRASTS
    return table.to_dicts()


def row_of(found: list, count: int | None, target: str, scale: str = "cumulative") -> dict:
    wanted = (count, target, scale)
    return next(r for r in found if (r["real_count"], r["target"], r["scale"]) == wanted)


def test_contrast_by_hand() -> None:
    rows = [
        cell(20, "off", "field", 0, [0.2, 0.2, 0.1]),
        cell(20, "on", "field", 0, [0.3, 0.5, 0.2]),  # E 0.1, 0.3, 0.1; claim 0.2
        cell(20, "off", "field", 1, [0.2, 0.2, 0.1]),
        cell(20, "on", "field", 1, [0.4, 0.4, 0.4]),  # E 0.2, 0.2, 0.3; claim -0.1
        cell(20, "off", "field", 2, [0.2, 0.2, 0.1]),
        cell(20, "on", "field", 2, [0.3, 0.6, 0.1]),  # E 0.1, 0.4, 0.0; claim 0.3
    ]
    found = row_of(contrasts_of(rows), 20, "field")
    expected = stats.ttest_1samp([0.2, -0.1, 0.3], 0).confidence_interval(0.95)
    assert found["low"] == pytest.approx(0.4 / 3)
    assert found["medium"] == pytest.approx(0.3)
    assert found["high"] == pytest.approx(0.4 / 3)
    assert found["claim"] == pytest.approx(0.4 / 3)
    assert (found["claim_low"], found["claim_high"]) == pytest.approx(expected)
    assert found["p"] == 4 / 8  # of +-2 +-1 +-3: 6, 4, -4 and -6 reach the 4 that was seen
    assert found["note"] == "cannot reach 0.05 with 3 seeds"
    assert row_of(contrasts_of(rows), 20, "field", "band")["claim"] == pytest.approx(0.2 / 3)


def test_a_planted_medium_effect_is_found_and_an_even_one_is_not() -> None:
    planted = row_of(contrasts_of(grid((0.02, 0.10, 0.02), 0.01)), None, ALL_TARGETS)
    assert planted["claim_low"] > 0.05
    assert planted["p"] == 2 / 2**6
    assert planted["note"] == ""
    even = row_of(contrasts_of(grid((0.06, 0.06, 0.06), 0.01)), None, ALL_TARGETS)
    assert even["claim_low"] < 0 < even["medium_low"]


def test_averages_are_taken_within_the_seed_before_the_maximum() -> None:
    rows = [
        cell(20, "off", target, 0, [0.0, 0.0, 0.0]) for target in ("field", "yard")
    ] + [
        cell(20, "on", "field", 0, [0.4, 0.3, 0.0]),
        cell(20, "on", "yard", 0, [0.0, 0.3, 0.4]),
    ]  # fmt: skip
    found = contrasts_of(rows)
    assert row_of(found, 20, "field")["claim"] == pytest.approx(-0.1)
    assert row_of(found, 20, "yard")["claim"] == pytest.approx(-0.1)
    assert row_of(found, 20, ALL_TARGETS)["claim"] == pytest.approx(0.1)
    assert row_of(found, None, ALL_TARGETS)["claim"] == pytest.approx(0.1)


def test_a_seed_counts_when_all_its_cells_have_all_three() -> None:
    rows = grid((0.0, 0.1, 0.0), 0.01)
    rows[0] |= {NAMES[2]: np.nan}  # off, 20, field, seed 0
    found = contrasts_of(rows)
    assert row_of(found, 20, "field")["num_seeds"] == 5
    assert row_of(found, 20, "yard")["num_seeds"] == 6
    assert row_of(found, 20, ALL_TARGETS)["num_seeds"] == 5
    assert row_of(found, 20, "field", "band")["num_seeds"] == 6


def test_the_image_interval_is_that_of_the_mean_of_claims_per_resample() -> None:
    rows = grid((0.02, 0.1, 0.05), 0.02, num_seeds=2)
    rng = np.random.default_rng(4)
    replicates = {}
    for row in rows:
        levels = np.array([row[name] for name in NAMES])[:, None]
        values = levels + 0.03 * rng.normal(size=(3, 200))
        key = tuple(row[name] for name in ("dataset", "real_count", "synthetic", "target", "seed"))
        num_blocks = 10 if row["target"] == "yard" else 300
        replicates[key] = Replicates(values[0], values, values[::-1] / 2, num_blocks)
    found = row_of(contrasts_of(rows, replicates), None, ALL_TARGETS)
    total = np.zeros(200)
    for seed in range(2):
        effect = np.mean(
            [
                replicates["town", count, "on", target, seed].AP_t2t
                - replicates["town", count, "off", target, seed].AP_t2t
                for count in (20, 50)
                for target in ("field", "yard")
            ],
            axis=0,
        )
        total += effect[1] - np.maximum(effect[0], effect[2])
    ordered = np.sort(total / 2)
    assert found["claim_image_low"] == pytest.approx(ordered[4])
    assert found["claim_image_high"] == pytest.approx(ordered[195])
    assert found["num_blocks"] == 310
    assert found["note"] == "cannot reach 0.05 with 2 seeds; few blocks (10)"
    band = row_of(contrasts_of(rows, replicates), 20, "field", "band")
    assert (
        band["claim_image_low"]
        != row_of(contrasts_of(rows, replicates), 20, "field")["claim_image_low"]
    )
    assert band["num_blocks"] == 300


def test_every_group_has_a_row_per_scale_with_the_columns_of_the_study() -> None:
    found = contrasts_of(grid((0.0, 0.1, 0.0), 0.01))
    assert len(found) == 2 * (4 + 2 + 1)
    assert all(row["synthetic"] == "on" for row in found)


def test_without_a_band_column_the_rows_say_that_nothing_can_be_paired() -> None:
    rows = [
        {name: value for name, value in row.items() if name not in BAND_NAMES}
        for row in grid((0.0, 0.1, 0.0), 0.01)
    ]
    found = row_of(contrasts_of(rows), 20, "field", "band")
    assert np.isnan(found["claim"])
    assert found["note"] == "no pair with off"
