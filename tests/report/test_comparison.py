"""The page of two sweeps: its verdicts, what is shared, which settings differ, valid HTML."""

import csv
import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from ptl_sweep.report.comparison.page import (
    Compared,
    Comparison,
    compared_metrics,
    write_comparison,
)
from ptl_sweep.report.comparison.settings import NO_SINGLE_VALUE, differing_settings
from ptl_sweep.study.claims.between import SWEEP_CONTRASTS, Values
from ptl_sweep.study.claims.claim import Verdict
from ptl_sweep.study.schemas import frame_of, results_schema

THRESHOLDS = (0.1,)
ON = Values("on", "on")
SETTINGS = {"translator.method": "cyclegan", "train.num_steps": "9"}


def cell(
    count: int, target: str, seed: int, level: float | None, synthetic: str = "on", key: str = ""
) -> dict:
    return {
        "dataset": "town", "real_count": count, "synthetic": synthetic, "target": target,
        "seed": seed, "status": "failed" if level is None else "ok", "AP50": level,
        "AP": None if level is None else level / 2,
        "AP_t2t_010_shrunk": None if level is None else level / 4,
        "train_key": f"train-{key}{synthetic}-{count}-{seed}",
        "evaluate_key": f"evaluate-{key}{synthetic}-{count}-{target}-{seed}",
    }  # fmt: skip


def grid(shift: float, seeds: int = 6, key: str = "", synthetic: str = "on") -> list[dict]:
    """Two counts, two targets; the shift grows with seed and target."""
    return [
        cell(count, target, seed, 0.2 + shift * (1 + seed + 4 * (target == "yard")), synthetic, key)
        for count in (20, 50)
        for target in ("field", "yard")
        for seed in range(seeds)
    ]


def compared(name: str, rows: list[dict], settings: dict[str, str] = SETTINGS) -> Compared:
    table = frame_of(rows, results_schema(THRESHOLDS))
    stages = dict.fromkeys(table["evaluate_key"], settings)
    return Compared(name, table, THRESHOLDS, settings, stages)


def written(
    folder: Path, own: list[dict], other: list[dict] | None = None, *values: Values
) -> Comparison:
    second = compared(
        "there", grid(0.0) if other is None else other, SETTINGS | {"train.num_steps": "<i>2</i>"}
    )
    return write_comparison(folder, "with-there", compared("here", own), second, values or (ON,))


def test_every_metric_of_a_study_is_compared() -> None:
    metrics = {"AP50": "AP50", "AP": "AP", "AP_t2t_010_shrunk": "AP_t2t s ≥ 0.1"}
    assert compared_metrics(THRESHOLDS) == metrics


def test_settings_that_differ_or_that_vary_within_one_sweep() -> None:
    found = differing_settings({"a": "1", "b": "2", "c": "3"}, {"a": "1", "b": "5", "d": "4"})
    assert found.to_dicts() == [
        {"key": "b", "treated": "2", "reference": "5"},
        {"key": "c", "treated": "3", "reference": NO_SINGLE_VALUE},
        {"key": "d", "treated": NO_SINGLE_VALUE, "reference": "4"},
    ]


SAME = np.random.default_rng(0).normal(0, 0.01, 24)


@pytest.mark.parametrize(
    ("own", "verdict", "beginning"),
    [
        (
            grid(0.01, key="x"), Verdict.FOUND,
            "AP50 is higher with synthetic=on in here than with on in there: +5.5 points, 95 % ",
        ),
        (
            grid(-0.01, key="x"), Verdict.FOUND,
            "AP50 is lower with synthetic=on in here than with on in there: -5.5 points, 95 % ",
        ),
        (
            [one | {"AP50": 0.2 + SAME[i]} for i, one in enumerate(grid(0.0, key="x"))],
            Verdict.NONE,
            "No evidence that synthetic=on in here and synthetic=on in there differ in AP50: ",
        ),
        (
            grid(0.01, 5, key="x"), Verdict.OPEN,
            "No verdict between synthetic=on in here and synthetic=on in there (5 seeds, 6 are ",
        ),
        (
            grid(0.01, 1, key="x"), Verdict.OPEN,
            "No verdict between synthetic=on in here and synthetic=on in there (1 seed, 6 are ",
        ),
        (
            [cell(20, "field", 0, None, key="x")], Verdict.OPEN,
            "No contrast of synthetic=on in here and synthetic=on in there: no seed has all cells",
        ),
    ],
)  # fmt: skip
def test_a_sentence_is_the_verdict_over_seeds(
    own: list[dict], verdict: Verdict, beginning: str, tmp_path: Path
) -> None:
    found = written(tmp_path, own)
    ((own_verdict, sentence),) = found.findings
    assert own_verdict is verdict
    assert sentence.startswith(beginning)
    assert found.notes == []
    assert sentence.split("(mean")[0].replace(" %", "\u00a0%") in found.page.read_text()


def test_p_of_a_sentence_is_adjusted_over_all_that_the_page_compares(tmp_path: Path) -> None:
    both = [*grid(0.01, key="x"), *grid(0.03, key="x", synthetic="random")]
    found = written(
        tmp_path, both, [*grid(0.0), *grid(0.0, synthetic="random")], ON, Values("random", "on")
    )
    assert len(found.findings) == 2
    for one in found.findings:
        assert one.sentence.endswith("p = 0.0312, adjusted for 2 contrasts.")


def test_the_same_trainings_have_a_note_and_no_finding(tmp_path: Path) -> None:
    found = written(tmp_path, grid(0.0))
    assert found.findings == []
    (note,) = found.notes
    assert note.startswith(
        "24 of 24 cells of synthetic=on in here and synthetic=on in there are one stage of the "
        "store in both sweeps. That they do not differ is no evidence of equality"
    )
    assert "Yet" not in note
    (other,) = written(tmp_path, grid(0.0005)).notes
    assert other.endswith(
        "Yet their AP50 differs by up to 0.50 points: the sweeps have stores of their own, and "
        "another machine or other code computed one of them."
    )


def test_one_detector_that_is_evaluated_in_two_ways_is_named(tmp_path: Path) -> None:
    own = [one | {"evaluate_key": f"{one['evaluate_key']}-2"} for one in grid(0.01)]
    (note,) = written(tmp_path, own).notes
    assert note.startswith("24 of 24 cells of synthetic=on in here and synthetic=on in there have ")
    assert note.endswith(": their difference is one of evaluation, not of training.")


def test_what_the_stages_of_two_values_read_differently_stands_beside_them(tmp_path: Path) -> None:
    html = written(tmp_path, grid(0.01, key="x")).page.read_text()
    values = html[html.index('id="table-values"') : html.index('id="table-settings"')]
    assert re.search(r'<td[^>]*class="long">train.num_steps</td>', values)


def test_the_table_beside_the_page_has_every_contrast(tmp_path: Path) -> None:
    found = written(tmp_path, grid(0.01, key="x"))
    assert found.table == tmp_path / "comparison-with-there.csv"
    with found.table.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == list(SWEEP_CONTRASTS)
    assert len(rows) == 3 * (1 + 2 + 2 + 4)
    whole = next(row for row in rows if not row["target"] and not row["real_count"])
    assert float(whole["value"]) == pytest.approx(0.055)
    assert (whole["verdict"], whole["family"]) == ("found", "contrasts")
    assert pl.read_parquet(found.table.with_suffix(".parquet")).height == len(rows)


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
    own = [*grid(0.01, key="x")[1:], cell(99, "sea", 0, None, key="x")]
    found = written(tmp_path, own, [*grid(0.0), cell(99, "<b>", 0, 0.1)])
    html = found.page.read_text()
    assert found.page.parent == tmp_path
    assert unclosed(html) == []
    assert "default-src 'none'" in html
    names = re.sub(r'xmlns(:xlink)?="http://www.w3.org/[^"]+"', "", html)
    assert not re.search(r"https?://|@import|url\((?!#)", names)
    assert "<i>2" not in html
    assert "<b>" not in html
    assert "&lt;i&gt;2&lt;/i&gt;" in html
    assert html.count("<svg") == 1
    assert (tmp_path / "figures" / "comparison-with-there.png").is_file()


def test_cells_of_one_sweep_only_are_listed_with_its_name(tmp_path: Path) -> None:
    own = [
        *grid(0.01, key="x")[1:],
        cell(99, "sea", 0, None, key="x"),
        cell(20, "sea", 0, 0.1, "off"),
    ]
    html = written(tmp_path, own).page.read_text()
    lacking = html[html.index('id="lacking"') :]
    rows = re.findall(r"<tr class.*?</tr>", lacking, re.DOTALL)
    assert len(rows) == 2  # off is not compared
    assert "sea" in rows[0]
    assert ">here<" in rows[0]
    assert "failed" in rows[0]
    assert "field" in rows[1]
    assert ">there<" in rows[1]


def test_a_name_of_any_letters_is_a_file_in_the_folder(tmp_path: Path) -> None:
    sweeps = compared("here", grid(0.1, key="x")), compared("there", grid(0.0))
    found = write_comparison(tmp_path, "with-a/../b", *sweeps, [ON])
    assert [path.name for path in tmp_path.glob("*.html")] == ["comparison-with-a____b.html"]
    assert found.page.parent == tmp_path
