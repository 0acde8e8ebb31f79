import csv
import io
import re
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from scipy import stats

from ptl_sweep.report.paper import crossdomain, first_experiments
from ptl_sweep.report.paper.layout import (
    GAP,
    NOT_COMPARABLE,
    PaperTable,
    csv_text,
    latex,
    markdown,
    write_paper_table,
)
from ptl_sweep.study.schemas import frame_of, results_schema

RNG = np.random.default_rng(5)
SEEDS = (0, 1, 2)
THRESHOLDS = (0.01, 0.1, 0.5)


def row(synthetic: str, iteration: int, seed: int, **values: float | None) -> dict:
    place = {"dataset": "town", "target": "field", "real_count": 20}
    return {**place, "synthetic": synthetic, "iteration": iteration, "seed": seed, **values}


def frame(rows: list[dict]) -> pl.DataFrame:
    return frame_of(rows, results_schema(THRESHOLDS))


def iteration_rows(last: int = 2, **columns: float) -> list[dict]:
    """`off`, and every iteration of `on`, three seeds; iteration 0 of `on` is `off`."""
    rows = []
    for seed in SEEDS:
        off = {"AP50": RNG.random(), "AP": RNG.random(), **columns}
        rows += [row("off", 0, seed, **off), row("on", 0, seed, **off)]
        for iteration in range(1, last + 1):
            values = {"AP50": RNG.random(), "AP": RNG.random(), **columns}
            rows.append(row("on", iteration, seed, **values))
    return rows


def values(rows: list[dict], synthetic: str, iteration: int, column: str) -> np.ndarray:
    wanted = (synthetic, iteration)
    return np.array([r[column] for r in rows if (r["synthetic"], r["iteration"]) == wanted])


def shown(numbers: np.ndarray, sign: str = "") -> str:
    """By scipy: mean and half of the 95 % t interval, in percent."""
    low, high = stats.t.interval(0.95, len(numbers) - 1, numbers.mean(), stats.sem(numbers))
    return f"{100 * numbers.mean():{sign}.1f} ± {50 * (high - low):.1f}"


def test_crossdomain_shows_off_and_the_last_iteration_with_intervals_over_seeds() -> None:
    rows = iteration_rows(last=2)
    table = crossdomain(frame(rows))
    assert table.header == (
        "trained on", "target", "real", "off: AP50 [%]", "off: AP [%]", "on, it. 2: AP50 [%]",
        "on, it. 2: AP [%]", "seeds",
    )  # fmt: skip
    assert table.rows == (
        (
            "town", "field", "20",
            shown(values(rows, "off", 0, "AP50")), shown(values(rows, "off", 0, "AP")),
            shown(values(rows, "on", 2, "AP50")), shown(values(rows, "on", 2, "AP")), "3",
        ),
    )  # fmt: skip


def test_one_seed_has_a_mean_without_interval_and_a_missing_cell_is_a_gap() -> None:
    rows = [
        row("off", 0, 0, AP50=0.25, AP=0.125),
        row("on", 1, 0, AP50=None, AP=np.nan, status="failed"),
    ]
    table = crossdomain(frame(rows))
    assert table.rows == (("town", "field", "20", "25.0", "12.5", GAP, GAP, "1 / 0"),)
    assert table.notes[-1] == f"{GAP}: no result."


def test_a_table_without_gaps_has_no_note_on_them() -> None:
    assert not any(GAP in note for note in crossdomain(frame(iteration_rows())).notes)


def test_off_is_read_from_iteration_0_of_the_others_when_the_grid_has_no_off() -> None:
    rows = iteration_rows()
    without = [one for one in rows if one["synthetic"] != "off"]
    assert crossdomain(frame(without)).rows == crossdomain(frame(rows)).rows


def test_places_are_sorted_and_every_method_has_its_own_last_iteration() -> None:
    rows = [
        {**one, "real_count": count, "target": target}
        for target in ("yard", "field")
        for count in (100, 20)
        for one in [*iteration_rows(1), row("random", 3, 0, AP50=0.5, AP=0.1)]
    ]
    table = crossdomain(frame(rows))
    assert [line[1:3] for line in table.rows] == [
        ("field", "20"), ("field", "100"), ("yard", "20"), ("yard", "100"),
    ]  # fmt: skip
    assert table.header[5:9:2] == ("on, it. 1: AP50 [%]", "random, it. 3: AP50 [%]")
    assert table.rows[0][7:] == ("50.0", "10.0", "3 / 3 / 1")


def distance_rows() -> list[dict]:
    rows = iteration_rows(last=2)
    for one in rows:
        is_off = one["iteration"] == 0
        one |= {
            "t2t_tp_median_equal_n": 10.0 + one["seed"] + (not is_off),
            "t2t_tp_median_shrunk": 20.0 if is_off else 30.0,
            "t2t_fp_median_shrunk": 40.0,
            "t2t_fp_median_equal_n": None,
            "gaussian_n": 100 if is_off else 400,
        }
        for index, label in enumerate(("001", "010", "050")):
            base = (3 + one["seed"] ** 2 + one["seed"] * one["iteration"] + index) / 30
            one |= {f"AP_t2t_{label}_shrunk": base, f"AP_t2t_{label}_lift": base / 7}
    return rows


def line_of(table: PaperTable, quantity: str) -> tuple[str, ...]:
    (line,) = [line for line in table.rows if line[4] == quantity]
    return line


def test_first_experiments_compare_iteration_1_paired_by_seed() -> None:
    rows = distance_rows()
    line = line_of(first_experiments(frame(rows), THRESHOLDS), "AP50 [%]")
    off, on = values(rows, "off", 0, "AP50"), values(rows, "on", 1, "AP50")
    assert line == (
        "detection", "town", "field", "20", "AP50 [%]", "on",
        shown(off), shown(on), shown(on - off, "+"), "3",
    )  # fmt: skip


def test_distances_stand_beside_n_and_only_equal_n_has_a_change() -> None:
    table = first_experiments(frame(distance_rows()), THRESHOLDS)
    half = stats.t.ppf(0.975, 2) / np.sqrt(3)  # of seeds 0, 1, 2: sd 1
    equal = line_of(table, "TP median, equal_n [d²]")
    assert equal[6:] == (f"11.0 ± {half:.1f}", f"12.0 ± {half:.1f}", "+1.0 ± 0.0", "3")
    shrunk = line_of(table, "TP median, shrunk [d²]")
    assert shrunk[6:] == ("20.0 ± 0.0", "30.0 ± 0.0", NOT_COMPARABLE, "3")
    assert line_of(table, "FP median, equal_n [d²]")[6:] == (GAP, GAP, GAP, "0")
    assert line_of(table, "training features n")[6:9] == (
        "100.0 ± 0.0", "400.0 ± 0.0", "+300.0 ± 0.0",
    )  # fmt: skip


def test_ap_t2t_is_shown_with_its_lift_at_every_threshold() -> None:
    rows = distance_rows()
    table = first_experiments(frame(rows), THRESHOLDS)
    for score, label in (("0.01", "001"), ("0.1", "010"), ("0.5", "050")):
        for suffix, unit in (("shrunk", " [%]"), ("lift", ", lift [points]")):
            line = line_of(table, f"score ≥ {score}{unit}")
            column = f"AP_t2t_{label}_{suffix}"
            off, on = values(rows, "off", 0, column), values(rows, "on", 1, column)
            assert line[6:] == (shown(off), shown(on), shown(on - off, "+"), "3")


TRICKY = PaperTable(
    title="A & B",
    caption="100 % of {x_1} \\ #2 ~ ^",
    header=("name", "AP [%]", "d²"),
    rows=(("a_b|c, \"d\"", "1.0 ± 0.2", GAP), ("second", "-3.0", "2 $")),
    notes=("s ≥ 0.1 & more.",),
)  # fmt: skip


def test_latex_escapes_what_it_would_read_as_commands() -> None:
    lines = latex(TRICKY).splitlines()
    assert lines[2] == (
        r"\caption{A \& B. 100 \% of \{x\_1\} \textbackslash{} \#2 \textasciitilde{} "
        r"\textasciicircum{}}"
    )
    assert lines[3] == r"\begin{tabular}{lrr}"
    assert lines[5] == r"name & AP [\%] & d$^2$ \\"
    assert lines[7] == r"a\_b|c, " + '"d"' + r" & 1.0 $\pm$ 0.2 & -- \\"
    assert lines[8] == r"second & -3.0 & 2 \$ \\"
    assert lines[-2] == r"\par\smallskip s $\geq$ 0.1 \& more."


def test_latex_says_in_the_caption_what_is_the_same_in_every_row() -> None:
    lines = latex(first_experiments(frame(distance_rows()), THRESHOLDS)).splitlines()
    assert lines[2].endswith("ranked by it. trained on: town. target: field. synthetic: on.}")
    assert lines[5] == r"experiment & real & quantity & off & with & change & pairs \\"


@pytest.mark.parametrize("table", [TRICKY, crossdomain(frame(iteration_rows()))])
def test_latex_is_ascii_balanced_and_has_as_many_cells_in_every_row_as_columns(
    table: PaperTable,
) -> None:
    source = latex(table)
    assert source.isascii()
    opened = re.findall(r"\\begin\{(\w+)\}", source)
    assert opened == re.findall(r"\\end\{(\w+)\}", source)[::-1]
    bare = re.sub(r"\\[{}$&%#_\\]", "", source)  # without escaped characters
    assert bare.count("{") == bare.count("}")
    assert bare.count("$") % 2 == 0
    body = [line for line in source.splitlines() if line.endswith(r"\\")]
    assert len(body) == 1 + len(table.rows)
    (columns,) = re.findall(r"\{tabular\}\{([lr]+)\}", source)
    for line in body:
        assert len(re.findall(r"(?<!\\)&", line)) == len(columns) - 1


def test_csv_gives_back_header_and_cells() -> None:
    for table in (
        TRICKY,
        crossdomain(frame(iteration_rows())),
        first_experiments(frame(distance_rows()), THRESHOLDS),
    ):
        header, *rows = csv.reader(io.StringIO(csv_text(table)))
        assert tuple(header) == table.header
        assert tuple(map(tuple, rows)) == table.rows


def test_markdown_has_a_row_per_line_and_escapes_its_own_separator() -> None:
    lines = markdown(TRICKY).splitlines()
    assert lines[:4] == ["## A & B", "", TRICKY.caption, ""]
    assert lines[4:6] == ["| name | AP [%] | d² |", "| --- | --: | --: |"]
    assert lines[6] == f'| a_b\\|c, "d" | 1.0 ± 0.2 | {GAP} |'
    assert lines[-1] == "s ≥ 0.1 & more."


def test_three_files_are_written_and_equal_rows_give_equal_bytes(tmp_path: Path) -> None:
    table = crossdomain(frame(iteration_rows()))
    paths = write_paper_table(table, tmp_path / "tables", "crossdomain")
    assert [path.name for path in paths] == ["crossdomain.md", "crossdomain.csv", "crossdomain.tex"]
    before = [path.read_bytes() for path in paths]
    assert before == [writer(table).encode() for writer in (markdown, csv_text, latex)]
    write_paper_table(table, tmp_path / "tables", "crossdomain")
    assert [path.read_bytes() for path in paths] == before
    assert sorted(path.name for path in (tmp_path / "tables").iterdir()) == sorted(
        path.name for path in paths
    )


def test_a_sweep_without_cells_gives_a_table_without_rows() -> None:
    table = crossdomain(frame([]))
    assert table.rows == ()
    for writer in (markdown, csv_text, latex):
        assert "trained on" in writer(table)


def test_a_change_too_small_to_show_has_no_minus() -> None:
    rows = [row("off", 0, 0, AP50=0.5, AP=0.1), row("on", 1, 0, AP50=0.4999, AP=0.1)]
    assert line_of(first_experiments(frame(rows), THRESHOLDS), "AP50 [%]")[8] == "+0.0"
