"""The table and the figure of dose and response."""

from pathlib import Path

import polars as pl
import pytest

from ptl_sweep.cli import tables
from ptl_sweep.config.schema import ConfigError
from ptl_sweep.report import paper
from ptl_sweep.report.paper.dose import dose, write_dose_figures
from ptl_sweep.report.paper.source import PaperSource
from ptl_sweep.study.schemas import CLAIMS
from tests.helpers.dose_grid import AXES, dose_grid


def source_of(results: pl.DataFrame) -> PaperSource:
    return PaperSource(results, results, CLAIMS.to_frame(), (0.01, 0.1, 0.5), {}, AXES)


def test_every_number_has_a_row_and_one_of_each_place_is_enough() -> None:
    table = dose(source_of(dose_grid()))
    assert {len(row) for row in table.rows} == {len(table.header)}
    rows = [dict(zip(table.header, row, strict=True)) for row in table.rows]
    assert [row["virtual images"] for row in rows] == ["0", "20", "60"] * 4
    for start in range(0, len(rows), 3):
        off, *others = rows[start : start + 3]
        assert (off["synthetic"], off["change [points]"]) == ("off", "")
        assert [row["enough"] for row in (off, *others)].count("yes") == 1
    plain, half = rows[1], rows[4]
    assert plain["synthetic"] == "on"
    assert plain["change [points]"] == "+2.0 ± 0.0"  # 20 virtual images are worth 0.02 there
    assert half["change [points]"] == "+52.0 ± 0.0"
    assert off["AP50 other domains [%]"] == "12.5 ± 2.0"  # 0.05 + 0.05 + seeds 0 to 0.05


def test_each_place_has_a_sentence_with_its_verdict() -> None:
    whole = dose(source_of(dose_grid())).notes
    found = [note for note in whole if note.startswith("here, ")]
    assert len(found) == 4
    assert all("real images" in note and note.endswith("the change is found.") for note in found)
    few = dose(source_of(dose_grid().filter(pl.col("seed") < 5))).notes
    assert sum("open: a verdict needs six seeds" in note for note in few) == 4
    two = dose(source_of(dose_grid().filter(pl.col("seed") < 2))).notes
    assert sum("open: a verdict needs six seeds" in note for note in two) == 4


def test_where_real_images_alone_are_enough_the_sentence_says_so() -> None:
    worse = pl.when(pl.col("synthetic") == "off").then(0.9).otherwise(pl.col("AP50"))
    table = dose(source_of(dose_grid(AP50=worse)))
    found = [note for note in table.notes if note.startswith("here, ")]
    assert len(found) == 4
    assert all("no number of virtual images is needed" in note for note in found)
    assert all(note.endswith("there is no evidence of a change.") for note in found)


def test_a_sweep_without_a_dose_is_told_which_one_has_it(tmp_path: Path) -> None:
    source = source_of(dose_grid().filter(pl.col("target") != "own"))
    for make in (dose, lambda source: write_dose_figures(source, tmp_path)):
        with pytest.raises(ConfigError, match=r"target=source.* experiment=dose"):
            make(source)


def test_the_figure_is_one_file_per_data_set_and_the_command_finds_it(tmp_path: Path) -> None:
    other = dose_grid(dataset=pl.lit("there"))
    write_dose_figures(source_of(pl.concat([dose_grid(), other])), tmp_path)
    names = [path.name for path in tables.figure_files(tmp_path, "dose")]
    assert names == ["dose-here.png", "dose-here.svg", "dose-there.png", "dose-there.svg"]
    assert "60 virtual images" in (tmp_path / "dose-here.svg").read_text()
    assert paper.FIGURES.keys() <= tables.FIGURES.keys()
