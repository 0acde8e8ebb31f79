import re
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import yaml

from ptl_sweep.config.schema import ConfigError
from ptl_sweep.study.published import PAPERS, load_published, published_beside
from ptl_sweep.study.schemas import BESIDE, PUBLISHED, SUMMARY, frame_of, results_schema
from ptl_sweep.study.summary import summarise

THRESHOLDS = (0.01, 0.1, 0.5)
NOTHING = SUMMARY.to_frame()
FOLDER = PAPERS
PTL, SECOND_HAND = "PTL, CVPR 2023 (arXiv 2211.01778)", "Lee et al., second-hand (arXiv 2405.15203)"


@pytest.fixture(scope="module")
def rows() -> pl.DataFrame:
    return load_published()


def find(rows: pl.DataFrame, **wanted: object) -> dict:
    (row,) = rows.filter(**wanted).to_dicts()
    return row


def own_summary(off: list[float], on: list[float], dataset: str = "visdrone") -> pl.DataFrame:
    """Of a sweep with 20 real images and target okutama, a value of AP50 per seed."""
    cells = [
        {
            "dataset": dataset, "real_count": 20, "synthetic": name, "target": "okutama",
            "seed": seed, "AP50": value, "AP": value / 2,
        }
        for name, values in (("off", off), ("on", on))
        for seed, value in enumerate(values)
    ]  # fmt: skip
    return summarise(frame_of(cells, results_schema(THRESHOLDS)), THRESHOLDS)


def beside_okutama(rows: pl.DataFrame, summary: pl.DataFrame, dataset: str = "visdrone") -> dict:
    return find(
        published_beside(rows, summary, dataset),
        table="4", target="okutama", real_count=20, metric="AP50",
    )  # fmt: skip


@pytest.mark.parametrize("path", sorted(FOLDER.glob("*.yaml")), ids=lambda path: path.stem)
def test_every_entry_of_the_files_is_a_row_with_the_columns_of_the_study(path: Path) -> None:
    entries = [e for table in yaml.safe_load(path.read_text())["tables"] for e in table["entries"]]
    name = PTL if "ptl" in path.stem else SECOND_HAND
    own = load_published().filter(paper=name)
    assert own["target"].to_list() == [entry["target"] for entry in entries]
    assert own.schema == PUBLISHED
    for row, entry in zip(own.to_dicts(), entries, strict=True):
        for metric in ("AP50", "AP"):
            expected = entry.get(metric, np.nan) / 100
            assert row[metric] == pytest.approx(expected, nan_ok=True)


# PTL Table 4, AP50 / AP in percent: baseline 20, baseline 50, it. 5 20, it. 5 50, best 20, best 50.
TABLE_4 = {
    "visdrone": "3.74/1.09 6.42/1.86 6.83/1.94 9.09/2.85 7.52/2.13 9.33/2.94",
    "okutama": "17.13/4.53 36.82/9.87 30.72/7.45 42.39/11.41 33.25/8.59 42.39/11.46",
    "icg": "2.92/0.56 7.46/1.83 26.86/7.22 29.26/7.27 29.60/7.69 30.01/7.36",
}


@pytest.mark.parametrize("target", TABLE_4)
def test_table_4_of_ptl_is_as_printed(target: str, rows: pl.DataFrame) -> None:
    places = [
        (synthetic, iteration, count)
        for synthetic, iteration in (("off", "0"), ("on", "5"), ("on", "best"))
        for count in (20, 50)
    ]
    for (synthetic, iteration, count), printed in zip(places, TABLE_4[target].split(), strict=True):
        row = find(
            rows, paper=PTL, table="4", dataset="visdrone", target=target, real_count=count,
            synthetic=synthetic, iteration=iteration,
        )  # fmt: skip
        assert f"{100 * row['AP50']:.2f}/{100 * row['AP']:.2f}" == printed


def test_other_tables_and_the_second_hand_numbers_are_as_printed(rows: pl.DataFrame) -> None:
    in_domain = find(rows, table="1", dataset="icg", target="icg", real_count=20, iteration="5")
    assert (in_domain["AP50"], in_domain["AP"]) == pytest.approx((0.6911, 0.2733))
    tau = find(rows, table="2", target="icg", synthetic="on, tau=1000")
    assert (tau["AP50"], tau["AP"]) == pytest.approx((0.4390, 0.1197))
    number = find(rows, table="3", target="okutama", synthetic="on, n=200")
    assert (number["AP50"], number["AP"]) == pytest.approx((0.4129, 0.1118))
    assert number["iteration"] == "best"
    merged = find(rows, synthetic="naive_merge", real_count=50)
    assert (merged["AP50"], merged["AP"]) == pytest.approx((0.0518, 0.0165))
    sard = find(rows, paper=SECOND_HAND, target="sard", real_count=200, synthetic="on")
    assert sard["AP"] == pytest.approx(0.1773)
    assert np.isnan(sard["AP50"])


def test_the_same_detector_has_the_same_numbers_in_every_table(rows: pl.DataFrame) -> None:
    """Table 2 at tau 5 and Table 3 at n 100 vary nothing, so they repeat Table 4 at 50 images."""
    for target in TABLE_4:
        place = {"paper": PTL, "target": target, "real_count": 50}
        for same, iteration in (("on, tau=5", "5"), ("on, n=100", "best")):
            one = find(rows, **place, synthetic=same)
            other = find(rows, **place, table="4", synthetic="on", iteration=iteration)
            assert (one["AP50"], one["AP"]) == (other["AP50"], other["AP"])


GOOD = {"target": "a", "real_count": 20, "synthetic": "on", "iteration": 5, "AP50": 20, "AP": 10}
WRONG = {
    "a fraction that is a slip": ({"AP50": 170}, "AP50 must be percent in [0, 100], got 170"),
    "an AP above its AP50": ({"AP": 30}, "AP 30 over IoU .5:.95 cannot exceed AP50 20"),
    "a boolean": ({"synthetic": True}, "on and off need quotes"),
    "no method": ({"synthetic": "onn"}, "synthetic must be one of off, on, pretrain_finetune"),
    "a count": ({"real_count": 0}, "real_count must be an integer >= 1"),
    "an iteration": ({"iteration": "last"}, "iteration must be a number, best or null"),
    "off after five": ({"synthetic": "off"}, "iteration 0 is synthetic off"),
    "an unknown key": ({"ap": 3}, "unknown ap; known are target, real_count"),
}


def write(folder: Path, *entries: dict) -> Path:
    table = {"table": "7", "caption": "c", "source": "s", "entries": list(entries)}
    content = {"paper": "P", "arxiv": "1", "tables": [table]}
    (folder / "paper.yaml").write_text(yaml.safe_dump(content))
    return folder


@pytest.mark.parametrize("mistake", WRONG)
def test_a_mistake_is_answered_with_file_table_and_entry(mistake: str, tmp_path: Path) -> None:
    change, words = WRONG[mistake]
    write(tmp_path, GOOD, GOOD | {"target": "b"} | change)
    with pytest.raises(ConfigError) as error:
        load_published(tmp_path)
    assert str(error.value).startswith("papers/paper.yaml, table 7 (s), entry 2")
    assert words in str(error.value)


def test_an_entry_without_a_number_and_one_that_comes_twice_are_refused(tmp_path: Path) -> None:
    bare = {key: value for key, value in GOOD.items() if key not in ("AP50", "AP")}
    with pytest.raises(ConfigError, match=r"entry 1 has neither AP50 nor AP"):
        load_published(write(tmp_path, bare))
    with pytest.raises(ConfigError, match=r"entry 2 repeats an entry"):
        load_published(write(tmp_path, GOOD, GOOD | {"AP50": 21}))


def test_a_file_that_is_no_paper_is_refused_by_name(tmp_path: Path) -> None:
    path = tmp_path / "x.yaml"
    path.write_text("- 1")
    with pytest.raises(ConfigError, match=r"^papers/x.yaml must be a mapping with paper"):
        load_published(tmp_path)
    path.write_text("paper: P")
    with pytest.raises(ConfigError, match=r"^papers/x.yaml lacks arxiv, tables"):
        load_published(tmp_path)
    path.write_text("paper: [")
    with pytest.raises(ConfigError, match=r"^papers/x.yaml is not valid YAML"):
        load_published(tmp_path)


def test_ratio_and_direction_are_those_of_the_published_and_of_our_means(
    rows: pl.DataFrame,
) -> None:
    beside = beside_okutama(rows, own_summary([0.20, 0.22, 0.24] * 2, [0.12, 0.10, 0.11] * 2))
    assert tuple(beside) == tuple(BESIDE)
    assert beside["published_change"] == "up"
    assert beside["published_ratio"] == pytest.approx(30.72 / 17.13)
    assert beside["change"] == "down"
    assert beside["ratio"] == pytest.approx(0.11 / 0.22)
    assert beside["note"] == ""


def test_no_absolute_value_of_anybody_is_shown(rows: pl.DataFrame) -> None:
    numbers = {*rows["AP50"], *rows["AP"]}
    for row in published_beside(rows, own_summary([0.3], [0.6]), "visdrone").to_dicts():
        ratios = {row["published_ratio"], row["ratio"]}
        assert not numbers & {ratio for ratio in ratios if np.isfinite(ratio)}
        assert not {"AP50", "AP"} & set(row)


def test_a_change_that_is_not_established_says_so(rows: pl.DataFrame) -> None:
    unsure = beside_okutama(rows, own_summary([0.1, 0.2, 0.3] * 2, [0.3, 0.2, 0.2] * 2))
    assert unsure["change"] == "up"
    assert unsure["note"] == "ours not established: its 95 % interval includes 0"
    for seeds, text in ((1, "1 seed"), (5, "5 seeds")):
        few = beside_okutama(rows, own_summary([0.1] * seeds, [0.2] * seeds))
        assert few["note"] == f"ours open: {text}, 6 are needed"


def test_ours_is_empty_for_another_data_set_and_for_what_the_sweep_lacks(
    rows: pl.DataFrame,
) -> None:
    other = beside_okutama(rows, own_summary([0.1], [0.2], "miniature"), "miniature")
    assert (other["change"], other["note"]) == ("", "different data: trained on miniature")
    assert np.isnan(other["ratio"])
    assert other["published_change"] == "up"
    lacks = beside_okutama(rows, NOTHING)
    assert (lacks["change"], lacks["note"]) == ("", "not in this sweep")


def test_a_ratio_over_nothing_is_not_a_number(rows: pl.DataFrame) -> None:
    beside = beside_okutama(rows, own_summary([0.0, 0.0], [0.1, 0.1]))
    assert beside["change"] == "up"
    assert np.isnan(beside["ratio"])


def test_what_was_chosen_on_test_data_or_varies_a_setting_stands_beside_nothing(
    rows: pl.DataFrame,
) -> None:
    beside = published_beside(rows, NOTHING, "visdrone")
    places = beside.select("paper", "dataset", "target", "real_count").rows()
    assert set(beside["table"]) == {"1", "4", "6a"}
    full = [place for place in places if place[0] == PTL]
    assert len(full) == 2 * len(set(full)) == 20  # AP50 and AP of 4 in-domain, 6 cross-domain cells
    assert len(places) - len(full) == 2  # AP alone, second-hand


def test_the_fall_that_needs_no_shift_is_what_the_formula_says() -> None:
    """docs/method.md, section 5, from E[d] = D (n + 1) / (n - D - 2) of section 2."""
    text = (Path(__file__).parents[2] / "docs" / "method.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| (16|32) \|((?: \d+ \|){4}) (\d+) % \| (\d+) % \|$", text, re.MULTILINE)
    assert len(rows) == 2
    for persons, distances, fall, fall_of_root in rows:
        counts = int(persons) * np.array([20, 50, 100, 200])
        expected = 256 * (counts + 1) / (counts - 256 - 2)
        np.testing.assert_array_equal(np.rint(expected), [int(d) for d in distances.split("|")[:4]])
        ratio = expected[-1] / expected[0]
        assert int(fall) == round(100 * (1 - ratio))
        assert int(fall_of_root) == round(100 * (1 - ratio**0.5))
    assert round(100 * (1 - 19.8 / 35.1)) == 44
