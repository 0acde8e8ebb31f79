"""The page: whole, small, escaped, every table of the study in it, nothing asked from outside."""

import dataclasses
import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from PIL import Image

from ptl_sweep.report import ReportContext, aggregates, page, pictures, write_report
from ptl_sweep.report.figures import FigureFile
from ptl_sweep.report.tables import PageColumn, make_cells, make_table
from ptl_sweep.study import schemas
from ptl_sweep.study.schemas import frame_of
from ptl_sweep.study.study import Study
from ptl_sweep.study.summary import summarise

THRESHOLDS = (0.01, 0.1, 0.5)
VOID = {"meta", "link", "img", "input", "br"}


class Page(HTMLParser):
    """Addresses, ids, classes and unclosed tags of a page."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.addresses: list[str] = []
        self.ids: list[str] = []
        self.classes: set[str] = set()
        self.open: list[str] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attributes: list) -> None:
        self.handle_startendtag(tag, attributes)
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, _: str, attributes: list) -> None:
        found = dict(attributes)
        self.addresses += [found[name] for name in ("src", "href", "xlink:href") if name in found]
        self.ids += [found["id"]] if "id" in found else []
        self.classes |= set(found.get("class", "").split())

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


@pytest.fixture(scope="module")
def context(demo_context, tmp_path_factory: pytest.TempPathFactory) -> ReportContext:
    return demo_context(tmp_path_factory.mktemp("pictures"), num_seeds=2, counts=(20, 50))


@pytest.fixture(scope="module")
def written(context: ReportContext, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_report(tmp_path_factory.mktemp("report"), context)


@pytest.fixture(scope="module")
def html(written: Path) -> str:
    assert written.name == "report.html"
    return written.read_text()


def without_figures(context: ReportContext, rows: pl.DataFrame, **changes: object) -> ReportContext:
    """Fast to write: nothing to draw."""
    study = Study(rows=rows, iteration_rows=rows.clear())
    return dataclasses.replace(context, study=study, histograms=[], **changes)


def section(html: str, name: str) -> str:
    """From the section's tag to the end of its element."""
    start = html.index(f'<section id="{name}">')
    return html[start : html.index("</section>", start)]


def test_the_page_is_whole_small_and_refers_to_nothing_outside(html: str) -> None:
    found = Page(html)
    assert found.open == []
    assert len(found.ids) == len(set(found.ids))
    assert len(html) < 5_000_000
    outside = [a for a in found.addresses if not a.startswith(("data:", "#"))]
    assert all(re.fullmatch(r"[\w./-]+\.(csv|svg|png|md)", address) for address in outside)
    assert {a[1:] for a in found.addresses if a.startswith("#")} <= set(found.ids)
    names = re.sub(r'xmlns(:xlink)?="http://www.w3.org/[^"]+"', "", html)  # names, not addresses
    assert not re.search(r"https?://|@import|url\((?!#)", names)


def test_figures_that_the_page_links_to_exist(written: Path, html: str) -> None:
    linked = [a for a in Page(html).addresses if a.startswith("figures/")]
    assert linked
    assert all((written.parent / address).is_file() for address in linked)


def test_it_has_every_section_in_order_and_the_appendix(html: str) -> None:
    titles = re.findall(r"<h2>(\d+|Appendix)", html)
    assert titles == [*map(str, range(1, 14)), "Appendix"]


def test_every_section_opens_with_a_sentence(html: str) -> None:
    for part in re.findall(r'<section id="([\w-]+)">', html):
        if part != "appendix":
            opening = section(html, part).split("</h2>")[1]
            assert re.search(
                r'^\s*(<p class="lead">|.*?<p class="answer">)[^<]+\.</p>', opening, re.S
            )


def test_every_table_of_the_study_is_in_the_page(html: str) -> None:
    tables = set(re.findall(r'<table id="table-(\w+)"', html))
    assert tables == {
        "summary", "key_results", "grid", "ap_t2t", "published", "correlations", "effects",
        "contrasts", "spreads", "distances", "selections", "errors", "composition", "health",
        "gaussians", "costs", "drift", "breaks", "persons",
    }  # fmt: skip


def test_every_kind_of_figure_is_drawn_in_the_page(written: Path, html: str) -> None:
    drawn = set(re.findall(r'href="figures/([a-z0-9_]+)-', html))
    files = {path.stem.split("-")[0] for path in (written.parent / "figures").glob("*.svg")}
    assert drawn == files
    assert html.count("<svg") == len(list((written.parent / "figures").glob("*.svg")))


def test_rows_and_figures_carry_the_class_that_a_toggle_hides(html: str) -> None:
    assert {"series-off", "series-on", "series-random"} <= Page(html).classes
    grid = html[html.index('<table id="table-grid"') :]
    classes = re.findall(r'<tr class="(series-\w+)', grid[: grid.index("</table>")])
    assert sorted(classes) == sorted([f"series-{name}" for name in ("off", "on", "random")] * 12)
    for name in ("off", "on", "random"):
        assert f"body:has(#show-series-{name}:not(:checked)) .series-{name} {{" in html
        assert f'<input type="checkbox" id="show-series-{name}" checked' in html


def test_cells_without_a_result_are_rows_with_their_reason(html: str) -> None:
    gaps = re.findall(r'<tr class="[\w-]+ gap">(.*?)</tr>', html, re.DOTALL)
    assert any("failed" in gap and "CUDA out of memory" in gap for gap in gaps)
    assert any("missing" in gap and "not computed yet" in gap for gap in gaps)
    assert "2 of 36 cells have no result" in html


def test_a_row_of_the_grid_names_the_stages_it_came_from(html: str, context: ReportContext) -> None:
    for row in context.study.rows[:5].iter_rows(named=True):
        for key in (row["train_key"], row["evaluate_key"]):
            assert f'<code title="{key}">{key}</code>' in section(html, "grid")


def test_text_from_outside_cannot_become_markup(context: ReportContext, tmp_path: Path) -> None:
    bad = "<script>alert(1)</script>"
    hostile = {"reason": bad, "target": '"><img src=x>', "synthetic": "</style>"}
    rows = context.study.rows[:1].with_columns(**{k: pl.lit(v) for k, v in hostile.items()})
    changed = without_figures(
        context, rows, title="<b>&", warnings=[bad], settings={bad: bad}, drops={bad: {bad: 1}}
    )
    html = write_report(tmp_path, changed).read_text()
    assert "<script>alert" not in html
    assert "<img src=x>" not in html
    assert html.count("</style>") == 1
    assert "<title>&lt;b&gt;&amp;: report</title>" in html


def test_toy_data_is_called_so_in_the_answer_and_among_the_limits(
    html: str, context: ReportContext, tmp_path: Path
) -> None:
    for part in ("answer", "limits"):
        assert "says nothing about VisDrone" in section(html, part)
    plain = without_figures(context, context.study.rows[:1], toy_note="")
    assert "is a toy" not in write_report(tmp_path, plain).read_text()


def test_published_numbers_on_other_data_are_folded_and_say_so(
    context: ReportContext, tmp_path: Path
) -> None:
    published = context.study.published.with_columns(dataset=pl.lit("elsewhere"))
    rows = context.study.rows[:1]
    study = Study(rows=rows, iteration_rows=rows.clear(), published=published)
    other = dataclasses.replace(context, study=study, histograms=[])
    part = section(write_report(tmp_path, other).read_text(), "published")
    assert "Nothing published stands beside this sweep: different data." in part
    assert part.index("<details>") < part.index('<table id="table-published"')


def test_settings_versions_and_command_are_in_the_page(html: str, context: ReportContext) -> None:
    part = section(html, "provenance")
    assert context.provenance.command in part
    for key, value in {**context.settings, **context.provenance.versions}.items():
        assert key in part
        assert value in part


def test_a_sweep_where_everything_failed_still_has_a_report(
    context: ReportContext, tmp_path: Path
) -> None:
    keys = ("dataset", "real_count", "synthetic", "target", "seed")
    cells = context.study.rows.select(keys).to_dicts()
    gaps = [cell | {"status": "failed", "reason": "x"} for cell in cells]
    rows = frame_of(gaps, schemas.results_schema(THRESHOLDS))
    for summary in (schemas.SUMMARY.to_frame(), summarise(rows, THRESHOLDS)):
        study = Study(rows=rows, iteration_rows=rows, summary=summary)
        failed = dataclasses.replace(context, study=study, histograms=[], samples=(), drift=())
        html = write_report(tmp_path, failed).read_text()
        assert "36 of 36 cells have no result" in html
        assert "Nothing was selected" in html
        assert Page(html).open == []


def test_pictures_beyond_the_budget_are_left_out_and_counted(
    context: ReportContext, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = sum(len(pictures.thumbnail(path).uri) for path in context.samples[0][:2])
    plates = pictures.sample_plates(context.samples, int(2.9 * one))
    assert [plate.caption for plate in plates.kept] == [s.caption for s in context.samples[:2]]
    assert plates.num_left_out == 4
    monkeypatch.setattr(page, "MAX_SAMPLE_BYTES", int(2.9 * one))
    html = write_report(tmp_path, without_figures(context, context.study.rows[:1])).read_text()
    assert section(html, "selected").count('<div class="pair">') == 2
    assert "4 more samples were left out" in html


def test_groups_of_false_positives_share_the_budget(context: ReportContext) -> None:
    crops = context.study.crops
    one = len(pictures.thumbnail(Path(crops[0].path), pictures.CROP_PX).uri)
    plates = pictures.crop_plates(crops, int(4.9 * one))
    groups = [plate.group for plate in plates.kept]
    assert groups.count("nearest") == groups.count("most confident") == 2
    assert plates.num_left_out == len(crops) - 4


def test_figures_become_links_in_the_reverse_order_of_priority(tmp_path: Path) -> None:
    figures = {}
    for kind in ("precision", "effect", "ap"):
        path = tmp_path / f"{kind}-town.svg"
        path.write_text('<svg xmlns="http://www.w3.org/2000/svg" width="72pt" height="72pt"></svg>')
        figures[kind] = [FigureFile(kind, path)]
    size = path.stat().st_size
    shown = page.chosen_figures(figures, 2 * size)
    assert shown["effect"][0].svg is not None
    assert shown["ap"][0].svg is not None
    assert shown["precision"][0].svg is None
    assert all(one.svg is None for kind in figures for one in page.chosen_figures(figures, 0)[kind])


def test_a_page_that_would_grow_too_large_links_its_figures(
    context: ReportContext, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = context.study.rows.filter(target="field")
    study = Study(rows=rows, iteration_rows=rows.clear(), summary=summarise(rows, THRESHOLDS))
    few = dataclasses.replace(context, study=study, histograms=[])
    assert "<svg" in write_report(tmp_path, few).read_text()
    monkeypatch.setattr(page, "MAX_REPORT_BYTES", 1000)
    html = write_report(tmp_path, few).read_text()
    assert "<svg" not in html
    assert 'href="figures/effect-town.svg"' in html
    assert "beside this page, to keep it small" in html


def test_a_large_picture_becomes_a_thumbnail(tmp_path: Path) -> None:
    Image.new("RGB", (1600, 800)).save(tmp_path / "large.png")
    picture = pictures.thumbnail(tmp_path / "large.png")
    assert (picture.width, picture.height) == (320, 160)
    assert picture.uri.startswith("data:image/jpeg;base64,")


@pytest.mark.parametrize(
    ("row", "shown", "sort"),
    [
        ({"x": 0.1234, "low": 0.1, "high": 0.15}, "+12.3 [+10.0, +15.0]", "12.34"),
        ({"x": 0.1234, "low": np.nan, "high": 0.15}, "+12.3", "12.34"),
        ({"x": None}, "none", ""),
        ({"x": np.nan}, "none", ""),
        ({"y": 1.0}, "none", ""),
        ({"x": np.inf}, "+inf", "1.7976931348623157e+308"),
    ],
)
def test_a_cell_shows_its_interval_and_sorts_by_its_number(
    row: dict, shown: str, sort: str
) -> None:
    column = PageColumn("x", "x", "", 100, sign="+", bounds=("low", "high"), missing="none")
    (cell,) = make_cells(pl.DataFrame([row]), column)
    assert (cell.shown, cell.sort) == (shown, sort)


def test_notes_stand_once_below_a_table_and_their_letters_in_its_cells() -> None:
    rows = pl.DataFrame({"note": ["few seeds; no gap", "", "no gap", "few seeds"]})
    table = make_table("t", "", [PageColumn("note", "note", style="noted")], rows)
    assert [line.cells[0].shown for line in table.lines] == ["a b", "", "b", "a"]
    assert [line.cells[0].sort for line in table.lines] == rows["note"].to_list()
    assert [(note.code, note.text) for note in table.notes] == [("a", "few seeds"), ("b", "no gap")]


def test_letters_of_many_notes_differ() -> None:
    rows = pl.DataFrame({"note": [f"reason {number}" for number in range(800)]})
    table = make_table("t", "", [PageColumn("note", "note", style="noted")], rows)
    codes = [note.code for note in table.notes]
    assert len(set(codes)) == 800
    assert (codes[25], codes[26], codes[27]) == ("z", "aa", "ab")


def test_a_gallery_shows_six_pictures_and_folds_the_rest(
    context: ReportContext, tmp_path: Path
) -> None:
    more = dataclasses.replace(context, samples=[*context.samples] * 2)
    html = write_report(tmp_path, without_figures(more, context.study.rows[:1])).read_text()
    part = section(html, "selected")
    folded = part.index("<details><summary>6 more</summary>")
    assert part[:folded].count('<div class="pair">') == 6
    assert part[folded:].count('<div class="pair">') == 6


def test_the_source_is_a_column_only_where_it_differs() -> None:
    columns = [PageColumn("dataset", "source"), PageColumn("x", "x")]
    rows = [{"dataset": "town", "x": "1"}, {"dataset": "town", "x": "2"}]
    assert [c.name for c in make_table("t", "", columns, pl.DataFrame(rows)).columns] == ["x"]
    rows[1]["dataset"] = "city"
    assert len(make_table("t", "", columns, pl.DataFrame(rows)).columns) == 2


def test_the_claim_has_its_interval_over_test_images_in_words(html: str) -> None:
    table = html[html.index('<table id="table-contrasts"') :]
    table = table[: table.index("</table>")]
    (column,) = [
        place
        for place, header in enumerate(re.findall(r"<th.*?</th>", table))
        if "points [images]" in header
    ]
    rows = [
        re.findall(r"<td.*?</td>", row) for row in re.findall(r"<tr class.*?</tr>", table, re.S)
    ]
    shown = {re.sub(r"<.*?>", "", row[column]) for row in rows}
    assert len(rows) > 10
    assert all(re.fullmatch(r"[+-]\d+\.\d to [+-]\d+\.\d", text) for text in shown)


def test_composition_is_shares_of_a_type() -> None:
    base = {"dataset": "d", "synthetic": "on", "type": "background"}
    rows = [
        base | {"band": "low", "size": "small", "nearness": "far", "num": 30},
        base | {"band": "high", "size": "small", "nearness": "near", "num": 10},
    ]
    lines = aggregates.composition_lines(frame_of(rows, schemas.FALSE_POSITIVES))
    (line,) = lines.to_dicts()
    assert line["num"] == 40
    assert (line["low"], line["medium"], line["high"]) == (0.75, 0, 0.25)
    assert (line["size_small"], line["size_large"]) == (1, 0)
    assert (line["near"], line["far"], line["unknown"]) == (0.25, 0.75, 0)


def test_spreads_are_means_over_seeds_of_equal_n_at_all_scores() -> None:
    base = {"dataset": "d", "real_count": 20, "synthetic": "on", "target": "t", "kind": "tp"}
    stats = {"num": 10, "lower_quartile": 1.0, "upper_quartile": 3.0}
    rows = [
        base | stats | {"seed": seed, "variant": "equal_n", "band": "", "median": median}
        for seed, median in enumerate((2.0, 4.0, np.nan))
    ]
    others = [
        rows[0] | {"band": "low", "median": 99.0},
        rows[0] | {"variant": "raw", "median": 99.0},
    ]
    (line,) = aggregates.spread_lines(frame_of(rows + others, schemas.TRAIN2TEST)).to_dicts()
    assert (line["median"], line["num_seeds"], line["num"]) == (3.0, 2, 10)


def test_errors_are_means_over_seeds_the_dearest_first() -> None:
    base = {"dataset": "d", "real_count": 20, "synthetic": "on", "target": "t"}
    rows = [
        base
        | {
            "type": kind,
            "seed": seed,
            "num": 5,
            "AP50": 0.2,
            "AP50_without": 0.2 + g / 2,
            "gain": g / 2,
            "AP50_fixed": 0.2 + g,
            "gain_fixed": g,
        }
        for kind, gains in (("duplicate", (0.01, 0.03)), ("background", (0.1, 0.2)))
        for seed, g in enumerate(gains)
    ]
    lines = aggregates.error_lines(frame_of(rows, schemas.ERRORS)).to_dicts()
    assert [line["type"] for line in lines] == ["background", "duplicate"]
    assert lines[0]["gain_fixed"] == pytest.approx(0.15)
    assert lines[0]["gain"] == pytest.approx(0.075)
    assert lines[0]["gain_fixed_high"] == pytest.approx(0.15 + 12.7062 * 0.05, abs=1e-4)
