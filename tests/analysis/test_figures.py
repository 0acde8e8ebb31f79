import itertools
from pathlib import Path
from xml.etree import ElementTree as ET

import numpy as np
import pytest
from matplotlib.colors import to_rgb

from ptl_sweep.analysis.figures import (
    OFF_STYLE,
    OTHER_STYLES,
    effect_figure,
    iteration_figure,
    line_style,
    save_figure,
    write_figures,
)
from ptl_sweep.analysis.tables import summarise


@pytest.fixture(scope="module")
def context(demo_context, tmp_path_factory: pytest.TempPathFactory):
    return demo_context(tmp_path_factory.mktemp("pictures"), num_seeds=2, counts=(20, 50))


@pytest.fixture(scope="module")
def written(context, tmp_path_factory: pytest.TempPathFactory):
    folder = tmp_path_factory.mktemp("figures")
    return write_figures(folder, context.summary_rows, context.iteration_rows, context.histograms)


def test_every_figure_is_there_as_svg_and_png(written) -> None:
    counts = {name: len(figures) for name, figures in written.items()}
    assert counts == {"effect": 1, "ap": 1, "ap_t2t": 1, "distances": 2, "iterations": 1}
    for figure in itertools.chain(*written.values()):
        ET.parse(figure.svg)
        assert figure.svg.with_suffix(".png").read_bytes().startswith(b"\x89PNG")


def test_text_stays_text_in_the_svg(written) -> None:
    assert "AP50 [%]" in written["ap"][0].svg.read_text()
    assert "score ≥ 0.01" in written["ap_t2t"][0].svg.read_text()


def test_equal_numbers_give_an_equal_svg(context, tmp_path: Path) -> None:
    first, second = (
        save_figure(tmp_path, name, lambda: effect_figure(context.summary_rows, "town"))
        for name in ("one", "two")
    )
    assert first.read_bytes() == second.read_bytes()
    assert b"<dc:date>" not in first.read_bytes()


def test_a_name_cannot_leave_the_folder(context, tmp_path: Path) -> None:
    path = save_figure(tmp_path, "../a b", lambda: effect_figure(context.summary_rows, "town"))
    assert path.parent == tmp_path


def test_styles_differ_without_colour() -> None:
    styles = [OFF_STYLE, *OTHER_STYLES]
    seen = {(s["marker"], str(s["linestyle"]), s.get("markerfacecolor")) for s in styles}
    assert len(seen) == len(styles)


def test_off_and_on_differ_for_who_sees_no_colour_and_on_white_paper() -> None:
    on = line_style("on", ["off", "on"])
    grey = [float(np.dot(to_rgb(c), (0.2126, 0.7152, 0.0722))) for c in ("#444444", on["color"])]
    assert max(grey) < 0.6
    assert (on["linestyle"], OFF_STYLE["linestyle"]) == ("-", "--")


def test_iteration_zero_is_the_detector_of_off(context) -> None:
    figure = iteration_figure(context.iteration_rows)
    line = figure.axes[0].get_lines()[0]
    own = [
        row["AP50"]
        for row in context.iteration_rows
        if (row["target"], row["real_count"], row["synthetic"]) == ("field", 20, "off")
    ]
    assert list(line.get_xdata()) == [0, 1, 2]
    assert line.get_ydata()[0] == pytest.approx(100 * np.mean(own))


def test_one_seed_draws_points_and_no_interval(demo_context, tmp_path: Path) -> None:
    context = demo_context(tmp_path, num_seeds=1, counts=(20,))
    axes = effect_figure(context.summary_rows, "town").axes[0]
    assert all(len(line.get_xdata()) < 2 for line in axes.get_lines()[:-1])  # the last: zero


def test_a_sweep_without_numbers_draws_nothing(context, tmp_path: Path) -> None:
    keys = ("dataset", "real_count", "synthetic", "target", "seed", "iteration")
    failed = [{key: row[key] for key in keys} for row in context.rows]
    figures = write_figures(tmp_path, summarise(failed), failed, [])
    assert not any(figures.values())


def test_a_sweep_of_off_alone_has_no_effect_to_draw(context, tmp_path: Path) -> None:
    rows = [row for row in context.rows if row["synthetic"] == "off"]
    figures = write_figures(tmp_path, summarise(rows), rows, [])
    assert {name for name, found in figures.items() if found} == {"ap", "ap_t2t"}
