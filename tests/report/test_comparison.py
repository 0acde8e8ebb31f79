"""Two sweeps side by side: pairing, differences with their tests, settings, a valid page."""

import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from scipy import stats

from ptl_sweep.report.comparison.differences import (
    GroupDifference,
    Pairing,
    cell_differences,
    compared_metrics,
    differing_settings,
    group_differences,
    pair_cells,
)
from ptl_sweep.report.comparison.page import Compared, sentences, write_comparison
from ptl_sweep.study.schemas import frame_of, results_schema
from ptl_sweep.study.study import Study
from ptl_sweep.vocabulary import ALL_TARGETS

NAMES = ("first", "second")
THRESHOLDS = (0.1,)
METRICS = {"AP50": "AP50", "AP": "AP", "AP_t2t_010_shrunk": "AP_t2t s ≥ 0.1"}


def cell(count: int, target: str, seed: int, level: float | None, synthetic: str = "on") -> dict:
    return {
        "dataset": "town", "real_count": count, "synthetic": synthetic, "target": target,
        "seed": seed, "status": "failed" if level is None else "ok", "AP50": level,
        "AP": None if level is None else level / 2,
        "AP_t2t_010_shrunk": None if level is None else level / 4,
    }  # fmt: skip


def grid(shift: float, seeds: int = 4) -> list[dict]:
    """Two counts, two targets; the shift grows with seed and target."""
    return [
        cell(count, target, seed, 0.2 + shift * (1 + seed + 4 * (target == "yard")))
        for count in (20, 50)
        for target in ("field", "yard")
        for seed in range(seeds)
    ]


def study(rows: list[dict]) -> Study:
    table = frame_of(rows, results_schema(THRESHOLDS))
    return Study(rows=table, iteration_rows=table.clear(), score_thresholds=THRESHOLDS)


def paired(first: list[dict], second: list[dict]) -> Pairing:
    one, other = (frame_of(rows, results_schema(THRESHOLDS)) for rows in (first, second))
    return pair_cells(one, other, METRICS)


def differences_of(first: list[dict], second: list[dict]) -> list[GroupDifference]:
    return group_differences(paired(first, second).shared, "AP50")


def test_cells_are_paired_by_what_they_are_not_by_their_place() -> None:
    """Field at seed s: 0.2 and, in the second, 0.2 + 0.01 (1 + s); yard 0.04 more."""
    first, second = grid(0), grid(0.01)
    pairing = paired(first[1:], second[::-1][1:])
    assert len(pairing.shared) == len(first) - 2
    rise = pairing.shared["AP50_second"] - pairing.shared["AP50"]
    step = 1 + pairing.shared["seed"] + 4 * (pairing.shared["target"] == "yard").cast(pl.Int64)
    assert rise.to_list() == pytest.approx((0.01 * step).to_list())
    keys = ("real_count", "target", "seed")
    for only, cell_ in ((pairing.only_first, first[-1]), (pairing.only_second, second[0])):
        assert only.select(keys).rows() == [tuple(cell_[key] for key in keys)]


def test_the_difference_of_a_group_is_the_paired_t_interval_over_seeds() -> None:
    """Field: second minus first is 0.01, 0.02, 0.03, 0.04."""
    row = next(r for r in differences_of(grid(0), grid(0.01)) if r.target == "field")
    differences = np.array([0.01, 0.02, 0.03, 0.04])
    reference = stats.ttest_rel(differences + 0.2, np.full(4, 0.2)).confidence_interval()
    assert row.difference == pytest.approx(0.025)
    assert (row.low, row.high) == pytest.approx((reference.low, reference.high))
    assert (row.first, row.second) == pytest.approx((0.2, 0.225))
    assert row.p == 2 / 2**4
    assert row.note == "cannot reach 0.05 with 4 seeds"


def test_means_over_targets_and_counts_are_within_each_seed() -> None:
    """Yard lies 0.04 above field: over both 0.03, 0.04, 0.05, 0.06."""
    rows = differences_of(grid(0), grid(0.01))
    pooled = next(r for r in rows if r.real_count is None)
    assert pooled.target == ALL_TARGETS
    assert pooled.difference == pytest.approx(0.045)
    assert pooled.num_seeds == 4
    assert len(rows) == 4 + 2 + 1


def test_a_seed_that_one_sweep_failed_at_leaves_both() -> None:
    second = grid(0.01)
    second[3] |= {"AP50": None, "status": "failed"}  # field, 20 real, seed 3
    rows = differences_of(grid(0), second)
    row = next(r for r in rows if r.target == "field" and r.real_count == 20)
    assert row.num_seeds == 3
    assert row.difference == pytest.approx(0.02)
    pooled = next(r for r in rows if r.real_count is None)
    assert pooled.num_seeds == 3


def test_a_mean_over_targets_needs_a_seed_that_all_of_them_have() -> None:
    first = [cell(20, "field", 0, 0.2), cell(20, "yard", 1, 0.2)]
    rows = differences_of(first, first)
    assert [row.num_seeds for row in rows] == [1, 1, 0, 0]


def test_exchanging_the_sweeps_turns_the_sign() -> None:
    there, back = differences_of(grid(0), grid(0.01)), differences_of(grid(0.01), grid(0))
    for one, other in zip(there, back, strict=True):
        assert one.difference == pytest.approx(-other.difference)
        assert (one.low, one.p) == pytest.approx((-other.high, other.p))


def test_every_metric_of_a_cell_has_both_values_and_their_difference() -> None:
    assert compared_metrics(THRESHOLDS) == METRICS
    row = cell_differences(paired(grid(0), grid(0.01)).shared, METRICS).row(1, named=True)
    assert row["AP50_difference"] == pytest.approx(0.02)
    assert row["AP_first"] == pytest.approx(0.1)
    assert row["AP_t2t_010_shrunk_second"] == pytest.approx(0.055)


def test_settings_that_differ_or_that_one_sweep_lacks() -> None:
    found = differing_settings({"a": "1", "b": "2", "c": "3"}, {"a": "1", "b": "5", "d": "4"})
    assert found.to_dicts() == [
        {"key": "b", "first": "2", "second": "5"},
        {"key": "c", "first": "3", "second": None},
        {"key": "d", "first": None, "second": "4"},
    ]


@pytest.mark.parametrize(
    ("second", "beginning"),
    [
        (grid(0.01), "second against first at synthetic=on, trained on town: AP50 +4.5 points, 95"),
        (grid(0.0), "No evidence of a difference for second against first"),
        (grid(0.01, seeds=1), "No evidence either way for second against first"),
        ([cell(99, "sea", 0, 0.1)], "No comparison of second with first"),
    ],
)
def test_the_sentence_follows_from_the_interval(second: list[dict], beginning: str) -> None:
    (sentence,) = sentences(differences_of(grid(0), second), NAMES)
    assert sentence.startswith(beginning)


def written(folder: Path, second: list[dict], name: str = "first") -> str:
    path = write_comparison(
        folder,
        Compared(name, study(grid(0)), {"key": "1"}),
        Compared("second", study(second), {"key": "<i>2</i>"}),
    )
    assert path.parent == folder
    return path.read_text()


def unclosed(html: str) -> list[str]:
    """Tags without an end, in a page whose ends all match."""
    opened: list[str] = []

    class Parser(HTMLParser):
        def handle_starttag(self, tag: str, _: list) -> None:
            if tag not in {"meta", "link", "input"}:
                opened.append(tag)

        def handle_startendtag(self, *_: object) -> None:
            pass

        def handle_endtag(self, tag: str) -> None:
            assert opened.pop() == tag

    Parser().feed(html)
    return opened


def test_the_page_is_whole_and_asks_for_nothing(tmp_path: Path) -> None:
    html = written(tmp_path, [*grid(0.01)[1:], cell(99, "sea", 0, None, "<b>")])
    assert unclosed(html) == []
    assert "default-src 'none'" in html
    names = re.sub(r'xmlns(:xlink)?="http://www.w3.org/[^"]+"', "", html)
    assert not re.search(r"https?://|@import|url\((?!#)", names)
    assert "<i>2" not in html
    assert "<b>" not in html
    assert "&lt;i&gt;2&lt;/i&gt;" in html
    assert html.count("<svg") == 1
    assert (tmp_path / "figures" / "comparison-with-first.png").is_file()


def test_cells_of_one_sweep_only_are_listed_with_its_name(tmp_path: Path) -> None:
    html = written(tmp_path, [*grid(0.01)[1:], cell(99, "sea", 0, None)])
    lacking = html[html.index('id="lacking"') :]
    rows = re.findall(r"<tr class.*?</tr>", lacking, re.DOTALL)
    assert len(rows) == 2
    assert "field" in rows[0]
    assert ">first<" in rows[0]
    assert "sea" in rows[1]
    assert ">second<" in rows[1]
    assert "failed" in rows[1]


def test_sweeps_without_a_common_cell_still_give_a_page(tmp_path: Path) -> None:
    html = written(tmp_path, [cell(99, "sea", 0, 0.1)], name="a/../b")
    assert [path.name for path in tmp_path.glob("*.html")] == ["comparison-with-a____b.html"]
    assert "The sweeps share no cell with a number." in html
