import dataclasses
import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

from ptl_sweep.analysis import report as module
from ptl_sweep.analysis.answers import answers
from ptl_sweep.analysis.report import ReportContext, duration, thumbnail, write_report
from ptl_sweep.analysis.tables import summarise

VOID = {"meta", "link", "img", "input", "br"}


class Page(HTMLParser):
    """Addresses, ids and unclosed tags of a page."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.addresses: list[str] = []
        self.ids: list[str] = []
        self.open: list[str] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attributes: list) -> None:
        found = dict(attributes)
        self.addresses += [found[name] for name in ("src", "href") if name in found]
        self.ids += [found["id"]] if "id" in found else []
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


@pytest.fixture(scope="module")
def context(demo_context, tmp_path_factory: pytest.TempPathFactory) -> ReportContext:
    return demo_context(tmp_path_factory.mktemp("pictures"), num_seeds=2, counts=(20,))


@pytest.fixture(scope="module")
def html(context: ReportContext, tmp_path_factory: pytest.TempPathFactory) -> str:
    path = write_report(tmp_path_factory.mktemp("report"), context)
    assert path.name == "report.html"
    return path.read_text()


def without_figures(context: ReportContext, rows: list, **changes: object) -> ReportContext:
    """Fast to write: nothing to draw."""
    return dataclasses.replace(
        context, rows=rows, iteration_rows=[], summary_rows=[], histograms=[], **changes
    )


def test_the_page_is_whole_small_and_refers_to_nothing_outside(html: str) -> None:
    page = Page(html)
    assert page.open == []
    assert len(page.ids) == len(set(page.ids))
    assert len(html) < 5_000_000
    outside = [a for a in page.addresses if not a.startswith(("data:", "#"))]
    assert all(re.fullmatch(r"[\w./-]+\.(csv|svg|png)", address) for address in outside)
    assert {a[1:] for a in page.addresses if a.startswith("#")} <= set(page.ids)
    assert not re.search(r"https?://|@import|url\(", html)


def test_files_that_the_page_links_to_exist(context: ReportContext, tmp_path: Path) -> None:
    path = write_report(tmp_path, context)
    linked = [a for a in Page(path.read_text()).addresses if a.startswith("figures/")]
    assert linked
    assert all((tmp_path / address).is_file() for address in linked)


def test_it_has_every_section(html: str) -> None:
    titles = re.findall(r"<h2>(\d+) ", html)
    assert titles == [str(number) for number in range(1, 11)]


def test_cells_without_a_result_are_rows_with_their_reason(html: str) -> None:
    gaps = re.findall(r'<tr class="gap">(.*?)</tr>', html, re.DOTALL)
    assert any("failed" in gap and "CUDA out of memory" in gap for gap in gaps)
    assert any("missing" in gap and "not computed yet" in gap for gap in gaps)
    assert "2 of 12 cells have no result" in html


def test_text_from_outside_cannot_become_markup(context: ReportContext, tmp_path: Path) -> None:
    rows = [dict(context.rows[0], reason="<script>alert(1)</script>", target='"><img src=x>')]
    html = write_report(tmp_path, without_figures(context, rows, title="<b>&")).read_text()
    assert "<script>alert" not in html
    assert "<img src=x>" not in html
    assert "<title>&lt;b&gt;&amp;: report</title>" in html


def paired(differences: list[float]) -> list[dict]:
    """Off at 20 % and on above it by these, one target, one count."""
    base = {"dataset": "town", "real_count": 20, "target": "field"}
    return [
        base | {"synthetic": name, "seed": seed, "AP50": 0.2 + (difference if name == "on" else 0)}
        for name in ("off", "on")
        for seed, difference in enumerate(differences)
    ]


@pytest.mark.parametrize(
    ("differences", "beginning"),
    [
        ([0.1], "No evidence either way: with 1 seed no interval can be formed"),
        ([0.1, -0.05, 0.02], "No evidence that synthetic images (on) change AP50: +2.3 points"),
        ([0.10, 0.12, 0.11], "Synthetic images (on) raise AP50 by 11.0 points, 95 % interval +8.5"),
        ([-0.1, -0.12, -0.11], "Synthetic images (on) lower AP50 by 11.0 points"),
        ([np.nan], "No answer for synthetic images (on)"),
    ],
)
def test_the_answer_follows_from_the_interval(differences: list[float], beginning: str) -> None:
    (answer,) = answers(summarise(paired(differences)))
    assert answer.sentence.startswith(beginning)
    assert answer.sentence.count(". ") == 0


def test_the_answer_names_levels_scope_and_power() -> None:
    (answer,) = answers(summarise(paired([0.10, 0.12, 0.11])))
    assert "(31.0 % with, 20.0 % without; 3 seeds, " in answer.sentence
    assert "mean over the target field and 20 real images of town" in answer.sentence
    assert answer.test.endswith("p = 0.25; cannot reach 0.05 with 3 seeds.")


def test_toy_data_is_called_so(html: str, context: ReportContext, tmp_path: Path) -> None:
    assert "says nothing about VisDrone" in html
    real = write_report(tmp_path, without_figures(context, context.rows[:1], is_miniature=False))
    assert "Toy data" not in real.read_text()


def test_the_artefact_of_small_n_stands_beside_n(html: str) -> None:
    """n = 80, D = 48: 48 * 81 / 30 = 130."""
    health = html[html.index('id="health"') : html.index('id="cost"')]
    assert re.search(r">80</td><td[^>]*>48</td><td[^>]*>130</td>", health)


def test_a_sweep_where_everything_failed_still_has_a_report(
    context: ReportContext, tmp_path: Path
) -> None:
    keys = ("dataset", "real_count", "synthetic", "target", "seed")
    rows = [{k: row[k] for k in keys} | {"status": "failed", "reason": "x"} for row in context.rows]
    for summary in ([], summarise(rows)):
        failed = dataclasses.replace(
            context, rows=rows, iteration_rows=rows, summary_rows=summary, histograms=[], samples=()
        )
        html = write_report(tmp_path, failed).read_text()
        assert "12 of 12 cells have no result" in html
        assert "Nothing was selected" in html


def test_samples_beyond_the_budget_are_left_out_and_counted(
    context: ReportContext, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = sum(len(thumbnail(path).uri) for path in context.samples[0][:2])
    monkeypatch.setattr(module, "MAX_SAMPLE_BYTES", int(2.9 * one))
    html = write_report(tmp_path, without_figures(context, context.rows[:1])).read_text()
    assert html.count("<figure><div") == 2
    assert "4 more samples were left out" in html


def test_a_large_picture_becomes_a_thumbnail(tmp_path: Path) -> None:
    from PIL import Image

    Image.new("RGB", (1600, 800)).save(tmp_path / "large.png")
    picture = thumbnail(tmp_path / "large.png")
    assert (picture.width, picture.height) == (320, 160)
    assert picture.uri.startswith("data:image/jpeg;base64,")


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(4.24, "4.2 s"), (59.99, "60.0 s"), (200.4, "3 min 20 s"), (3900.0, "1 h 05 min")],
)
def test_durations_are_readable(seconds: float, text: str) -> None:
    assert duration(seconds) == text
