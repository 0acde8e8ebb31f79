import dataclasses
import re
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from xml.etree import ElementTree as ET

import matplotlib as mpl
import numpy as np
import polars as pl
import pytest
from helpers.demo_study import demo_histograms, demo_study
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.text import Text

from ptl_sweep.report.figures import FigureFile, inline_svg, series_class, write_figures
from ptl_sweep.report.figures.bands import band_figure, claim_sentence
from ptl_sweep.report.figures.drawing.saving import (
    ENLARGED,
    HREF,
    SVG,
    finished_svg,
    mark,
    save_figure,
)
from ptl_sweep.report.figures.drawing.style import (
    OFF_HATCH,
    OFF_STYLE,
    OTHER_HATCHES,
    OTHER_STYLES,
    STYLE,
    WIDTH,
    line_style,
    wrapped,
)
from ptl_sweep.report.figures.equivalent import Scale, equivalent_figure
from ptl_sweep.report.figures.errors import error_figure, mean_over_seeds, precision_figure
from ptl_sweep.report.figures.levels import (
    count_figure,
    effect_figure,
    iteration_figure,
)
from ptl_sweep.report.figures.prediction import (
    correlation_sentence,
    predicting_variant,
    prediction_figure,
)
from ptl_sweep.report.figures.published import Comparison, comparisons
from ptl_sweep.report.figures.selection.kinds import kind_figure
from ptl_sweep.report.figures.selection.poses import gap_figure, height_figure, pose_figure
from ptl_sweep.report.figures.spreads import spread_figure, spread_rows
from ptl_sweep.report.figures.writing import PLANNERS, _sources
from ptl_sweep.study import schemas
from ptl_sweep.study.schemas import frame_of
from ptl_sweep.study.study import PoolSelection, Study
from ptl_sweep.study.summary import summarise

THRESHOLDS = (0.01, 0.1, 0.5)
KINDS = (
    "ap50", "equivalent", "effect", "ap", "prediction", "bands", "ap_t2t", "published", "errors",
    "spreads", "distances", "iterations", "gaps", "heights", "backgrounds", "characters",
    "selected", "precision",
)  # fmt: skip
SYNTHETICS = ["off", "on", "random"]
Written = dict[str, list[FigureFile]]


def small(**changes: object) -> Study:
    return demo_study(**({"num_seeds": 2, "counts": (20, 50)} | changes))


@pytest.fixture(scope="module")
def study() -> Study:
    return demo_study(num_seeds=3)


@pytest.fixture(scope="module")
def written(study: Study, tmp_path_factory: pytest.TempPathFactory) -> Written:
    folder = tmp_path_factory.mktemp("figures")
    return write_figures(folder, study, demo_histograms(study))


def tips(path: Path, synthetic: str = "") -> list[str]:
    """Hover texts, of one series or of all; the title of the figure is left out."""
    root = ET.parse(path).getroot()
    wanted = series_class(synthetic)
    groups = [e for e in root.iter() if e.get("class") == wanted] if synthetic else [*root][1:]
    return [t.text or "" for group in groups for t in group.iter(f"{{{SVG}}}title")]


def drawn(figure: Figure) -> Figure:
    FigureCanvasAgg(figure).draw()
    return figure


def line_of(axes: mpl.axes.Axes, label: str) -> mpl.lines.Line2D:
    return next(line for line in axes.get_lines() if line.get_label() == label)


def test_every_kind_is_there_the_most_important_first(written: Written) -> None:
    assert tuple(written) == KINDS
    counts = {name: len(figures) for name, figures in written.items()}
    several = {"bands": 2, "distances": 4, "precision": 4}
    selected = dict.fromkeys(("selected", "gaps", "heights", "backgrounds", "characters"), 2)
    assert counts == {name: (several | selected).get(name, 1) for name in KINDS}


def test_every_figure_is_svg_and_png_with_title_and_caption(written: Written) -> None:
    for kind, figures in written.items():
        for figure in figures:
            assert figure.svg.stem.startswith(f"{kind}-town")
            ET.parse(figure.svg)
            assert figure.svg.with_suffix(".png").read_bytes().startswith(b"\x89PNG")
            assert "town" in figure.title
            assert figure.caption.endswith(".")


@pytest.mark.parametrize(
    ("table", "kinds"),
    [
        ("contrasts", {"bands"}),
        ("spreads", {"spreads"}),
        ("iteration_rows", {"iterations"}),
        ("selections", {"selected", "gaps", "heights", "backgrounds", "characters"}),
        ("rows", {"prediction"}),
        ("errors", {"errors"}),
        ("curves", {"precision"}),
        ("published", {"published"}),
        ("summary", set(KINDS)),
    ],
)
def test_an_empty_table_draws_nothing(table: str, kinds: set[str], tmp_path: Path) -> None:
    study = small(counts=(20, 50, 100))
    emptied = dataclasses.replace(study, **{table: getattr(study, table)[:0]})
    histograms = demo_histograms(study)
    planned = {
        kind for kind in KINDS for source in _sources(emptied, histograms)
        for _ in PLANNERS[kind](source)
    }  # fmt: skip
    assert planned == set(KINDS) - kinds


def test_a_sweep_where_everything_failed_draws_nothing(tmp_path: Path) -> None:
    keys = ("dataset", "real_count", "synthetic", "target", "seed", "iteration")
    rows = small().rows.select(keys).to_dicts()
    failed = frame_of(rows, schemas.results_schema(THRESHOLDS))
    study = Study(rows=failed, iteration_rows=failed, summary=summarise(failed, THRESHOLDS))
    assert not any(write_figures(tmp_path, study, []).values())


def test_a_sweep_of_off_alone_has_levels_and_no_effects(tmp_path: Path) -> None:
    study = small(synthetics=("off",), num_seeds=1, counts=(20,), targets=("field",))
    figures = write_figures(tmp_path, study, [])
    found = {name for name, files in figures.items() if files}
    assert found == {"ap50", "ap", "ap_t2t", "spreads", "prediction", "errors", "precision"}


def test_equal_numbers_give_an_equal_svg(tmp_path: Path) -> None:
    study = small(targets=("field",), num_seeds=1)
    first, second = (
        write_figures(tmp_path / name, study, demo_histograms(study)) for name in ("one", "two")
    )
    for kind in KINDS:
        for one, other in zip(first[kind], second[kind], strict=True):
            assert one.svg.read_bytes() == other.svg.read_bytes(), kind


def test_two_figures_share_a_page_without_sharing_ids(written: Written) -> None:
    page = ET.Element("body")
    for figure in (f for figures in written.values() for f in figures):
        page.append(ET.fromstring(inline_svg(figure.svg)))
    ids = [e.get("id") for e in page.iter() if e.get("id")]
    assert len(ids) == len(set(ids)) > 100
    linked = {e.get(HREF, "#")[1:] for e in page.iter()} - {""}
    clips = {
        value.split("url(#")[1].split(")")[0]
        for e in page.iter() for value in e.attrib.values() if "url(#" in value
    }  # fmt: skip
    assert linked | clips == set(ids)


def test_an_inlined_figure_scales_has_a_name_and_styles_nothing_else(written: Written) -> None:
    figure = written["ap"][0]
    inlined = inline_svg(figure.svg)
    assert inlined.startswith("<svg ")
    assert not {"ns0:", "<?xml", "<!DOCTYPE", "<metadata", "<style"} & set(inlined.split())
    assert "<style" not in inlined
    assert "<metadata" not in inlined
    root = ET.fromstring(inlined)
    assert (root.get("role"), root.get("aria-label")) == ("img", figure.title)
    assert root.get("viewBox")
    assert root.get("width") is None
    assert f"max-width:{ENLARGED * WIDTH * 96:.0f}px" in root.get("style", "")
    assert figure.title not in [title.text for title in root.findall(f"{{{SVG}}}title")]


def test_text_stays_text_in_the_svg(written: Written) -> None:
    assert "AP50 [%]" in written["ap50"][0].svg.read_text()
    assert "score ≥ 0.01" in written["ap_t2t"][0].svg.read_text()


def test_a_name_cannot_leave_the_folder_and_is_text_in_the_svg(tmp_path: Path) -> None:
    def draw() -> Figure:
        figure = Figure()
        (line,) = figure.subplots().plot([1], [2], "o")
        mark(line, series='<b> "x"', tip=["a < b & c"])
        return figure

    path = save_figure(tmp_path, "../a b", draw, "t < u")
    assert path.parent == tmp_path
    assert tips(path) == ["a < b & c"]
    assert tips(path, '<b> "x"') == ["a < b & c"]
    assert ET.fromstring(inline_svg(path)).get("aria-label") == "t < u"


def test_tips_follow_the_markers_across_a_gap(tmp_path: Path) -> None:
    def draw() -> Figure:
        figure = Figure()
        (line,) = figure.subplots().plot([1, 2, 3], [1, np.nan, 3], "o-")
        mark(line, tip=["first", "third"])
        return figure

    root = ET.parse(save_figure(tmp_path, "gap", draw)).getroot()
    places = {
        e[0].text: float(e.get("x", 0)) for e in root.iter(f"{{{SVG}}}use") if len(e)
    }  # fmt: skip
    assert list(places) == ["first", "third"]
    assert places["first"] < places["third"]


def test_a_tip_too_few_is_an_error() -> None:
    svg = f'<svg xmlns="{SVG}"><g id="mark:[&quot;on&quot;, [&quot;x&quot;, &quot;y&quot;]]">'
    svg += "<use/><use/><use/></g></svg>"
    with pytest.raises(ValueError, match="3 markers, 2 tips"):
        finished_svg(svg.encode(), "f")


@pytest.mark.parametrize("metric", ["AP50", "AP"])
def test_every_point_of_ap_says_its_number(metric: str, study: Study, written: Written) -> None:
    found = tips(written[metric.lower()][0].svg, "on")
    own = study.summary.filter(pl.col("real_count").is_not_null(), synthetic="on", metric=metric)
    rows = own.with_columns(pl.col("target").replace("(all)", "mean over targets")).to_dicts()
    expected = {
        f"on, {row['real_count']} real, {row['target']}: {100 * row['mean']:.1f} % "
        f"[{100 * row['low']:.1f}, {100 * row['high']:.1f}], {row['num_seeds']} seeds"
        for row in rows
    }
    assert len(found) == len(rows)
    assert set(found) == expected


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_has_tips_and_series(kind: str, written: Written) -> None:
    for figure in written[kind]:
        assert len(tips(figure.svg)) >= 2
        assert tips(figure.svg, "on") + tips(figure.svg, "random")
        assert not [tip for tip in tips(figure.svg) if "nan" in tip]


def test_the_means_that_are_drawn_are_those_of_the_summary(study: Study) -> None:
    panels = count_figure(study.summary, "town", {"AP50": "AP50 [%]"}).axes
    assert [axes.get_title() for axes in panels] == ["mean over targets", "field", "karst", "yard"]
    off = study.summary.filter(pl.col("real_count").is_not_null(), metric="AP50", synthetic="off")
    for axes, target in zip(panels, ("(all)", "field", "karst", "yard"), strict=True):
        means = 100 * off.filter(target=target)["mean"].to_numpy()
        assert line_of(axes, "off").get_ydata() == pytest.approx(means)


def test_iteration_zero_is_the_detector_of_off(study: Study) -> None:
    line = iteration_figure(study.iteration_rows).axes[0].get_lines()[0]
    own = study.iteration_rows.filter(target="field", real_count=20, synthetic="off")["AP50"]
    assert list(line.get_xdata()) == [0, 1, 2]
    assert line.get_ydata()[0] == pytest.approx(100 * own.mean())


def test_one_seed_draws_points_and_no_interval() -> None:
    axes = effect_figure(small(num_seeds=1, with_gaps=False).summary, "town").axes[0]
    points = [line for line in axes.get_lines() if line.get_gid()]
    assert points
    assert all(len(line.get_xdata()) == 1 for line in points)


def test_equivalents_outside_the_counts_are_arrows_inside_the_picture(study: Study) -> None:
    figure = drawn(equivalent_figure(study.summary))
    axes = figure.axes[0]  # field: random is below at 20 real, everything above at 200
    limits = axes.get_ylim()
    assert limits[0] < 20 < 200 < limits[1] < 1000
    for label, place, head in (("random", 0, "v"), ("on", -1, "^")):
        y = line_of(axes, label).get_ydata()[place]
        assert limits[0] < y < limits[1]
        assert not 20 <= y <= 200
        assert [line for line in axes.get_lines() if line.get_marker() == head]
    inside = [row["real_equivalent"] for row in study.summary.to_dicts()
              if (row["metric"], row["target"], row["synthetic"]) == ("AP50", "field", "on")
              and row["real_count"] in (20, 50, 100)]  # fmt: skip
    assert line_of(axes, "on").get_ydata()[:3] == pytest.approx(inside)


def test_the_words_for_an_equivalent(written: Written) -> None:
    scale = Scale(20, 200)
    assert [scale.shown(v) for v in (np.inf, 0.0, 34.4)] == ["> 200", "< 20", "34"]
    found = tips(written["equivalent"][0].svg)
    assert any("random, 20 real, field: as good as < 20 real [< 20, 24]" in tip for tip in found)
    assert any("200 real, karst: as good as > 200 real [> 200, > 200]" in tip for tip in found)


def test_without_equivalents_there_is_no_such_figure(tmp_path: Path) -> None:
    figures = write_figures(tmp_path, small(targets=("field",), num_seeds=1), [])
    assert figures["equivalent"] == []


def test_bands_show_the_contrast_and_its_claim(study: Study) -> None:
    rows = study.contrasts.filter(scale="cumulative")
    figure = band_figure(rows, study.score_thresholds, SYNTHETICS)
    everything = next(
        row for row in rows.to_dicts()
        if row["real_count"] is None and row["target"] == "(all)" and row["synthetic"] == "on"
    )  # fmt: skip
    shown = line_of(figure.axes[-1], "on").get_ydata()
    assert shown == pytest.approx([100 * everything[band] for band in ("low", "medium", "high")])
    claim = f"on {100 * everything['claim']:+.1f} [{100 * everything['claim_low']:+.1f}, "
    assert claim in claim_sentence(rows)
    assert any(claim in text.get_text() for text in figure.texts)


def test_spreads_show_means_over_seeds_of_equal_n_quartiles(study: Study) -> None:
    rows = spread_rows(study.spreads)
    assert set(rows["variant"]) == {"equal_n"}
    own = [
        row["median"] for row in study.spreads.to_dicts()
        if (row["kind"], row["band"], row["variant"], row["target"], row["synthetic"],
            row["real_count"]) == ("missed", "", "equal_n", "yard", "off", 50)
    ]  # fmt: skip
    axes = spread_figure(rows).axes[-1]
    assert line_of(axes, "off").get_ydata()[1] == pytest.approx(np.mean(own))
    assert len(own) == 3


def tiny_selections() -> list[PoolSelection]:
    about = {"altitude_m": np.array([10.0, 10, 30, 30]), "radius_m": np.array([5.0, 5, 5, 9])}
    gap = np.array([100.0, 200.0, np.inf, np.inf])
    selected = np.array([True, False, True, False])
    return [
        PoolSelection("town", 20, "on", seed, 1, gap, selected, about, {}, 2.0) for seed in (0, 1)
    ]


def test_selected_images_are_counted_per_pose(tmp_path: Path) -> None:
    path = save_figure(tmp_path, "p", lambda: pose_figure(tiny_selections(), SYNTHETICS))
    assert sorted(tips(path, "on")) == [
        "altitude 0 to 20 m, radius 3 to 7 m: 2 selected of 4 in the pool",
        "altitude 20 to 40 m, radius 3 to 7 m: 2 selected of 2 in the pool",
    ]


def test_heights_of_the_pool_and_of_the_selected_images_are_shares() -> None:
    height = {"height_px": np.array([10.0, 20, 20, 40])}
    own = [one._replace(attributes=height) for one in tiny_selections()]
    figure = height_figure(own, SYNTHETICS)
    pool, chosen = (patch.get_data().values for patch in figure.axes[0].patches)
    assert (pool.sum(), chosen.sum()) == pytest.approx((100, 100))
    assert sorted(pool[pool > 0]) == pytest.approx([25, 25, 50])
    assert sorted(chosen[chosen > 0]) == pytest.approx([50, 50])


def test_kinds_of_the_pool_and_of_the_selected_images_are_shares(tmp_path: Path) -> None:
    """An image of two persons counts each of them; kinds beyond ten are drawn together."""
    kinds = {"character": [["a"], ["a", "b"], ["b"], ["c"]]}
    own = [one._replace(kinds=kinds) for one in tiny_selections()]  # the first and third
    draw = partial(kind_figure, own, SYNTHETICS, attribute="character")
    assert tips(save_figure(tmp_path, "k", draw), "on") == [
        "a: 50.0 % of the selected, 40.0 % of the pool",
        "b: 50.0 % of the selected, 40.0 % of the pool",
        "c: 0.0 % of the selected, 20.0 % of the pool",
    ]
    many = {"character": [[str(n) for n in range(20)], ["0"], ["0", "1"], ["1"]]}
    own = [one._replace(kinds=many) for one in tiny_selections()]
    draw = partial(kind_figure, own, SYNTHETICS, attribute="character")
    *named, others = tips(save_figure(tmp_path, "m", draw), "on")
    assert [tip.split(":")[0] for tip in named] == ["0", "1", "10", *map(str, range(11, 18))]
    assert others == "(others): 45.5 % of the selected, 41.7 % of the pool"


def test_infinite_gaps_are_stated_and_the_rest_is_drawn(tmp_path: Path) -> None:
    figure = gap_figure(tiny_selections(), SYNTHETICS)
    words = [text.get_text() for text in figure.axes[0].texts]
    assert words == ["inf: 50 % of pool,\n50 % of selected"]
    pool, chosen = (patch.get_data().values for patch in figure.axes[0].patches)
    assert (pool.sum(), chosen.sum()) == pytest.approx((50, 50))
    assert np.count_nonzero(pool) == 2


def test_prediction_draws_each_cell_once_and_prefers_equal_n(study: Study) -> None:
    figure = prediction_figure(study.rows, "equal_n", "pooled +1.00")
    own = [line for line in figure.axes[0].get_lines() if line.get_gid()]
    cells = {(x, y) for line in own for x, y in zip(*line.get_data(), strict=True)}
    computed = study.rows.filter(status="ok")
    assert cells == set(computed.select("t2t_tp_mean_equal_n", 100 * pl.col("AP50")).iter_rows())
    assert len(computed) == len(study.rows) - 2
    assert "pooled +1.00" in figure.axes[0].get_title(loc="left")
    assert predicting_variant(study.rows) == "equal_n"
    without = study.rows.with_columns(t2t_tp_mean_equal_n=pl.lit(np.nan))
    assert predicting_variant(without) == "shrunk"
    assert predicting_variant(without.with_columns(t2t_tp_mean_shrunk=pl.lit(np.nan))) == ""


def test_the_correlation_is_that_of_what_is_drawn() -> None:
    row = {"dataset": "town", "predictor": "tp_mean", "variant": "equal_n", "metric": "AP50"}
    row |= {"scope": "pooled", "rho": -0.5, "low": -0.75, "high": -0.25}
    others = [{**row, "variant": "raw", "rho": 0.9}, {**row, "rho": np.nan}]
    table = frame_of([row, *others], schemas.CORRELATIONS)
    assert correlation_sentence(table, "equal_n") == "pooled -0.50 [-0.75, -0.25]"


def test_error_bars_are_means_over_counts_then_over_seeds() -> None:
    rows = [
        {"seed": seed, "real_count": count, "gain": gain}
        for seed, count, gain in ((0, 20, 0.1), (0, 50, 0.3), (1, 20, 0.2), (1, 50, 0.6),
                                  (2, 20, 9.0))
    ]  # fmt: skip
    mean = mean_over_seeds(pl.DataFrame(rows), "gain")  # seed 2 has no cell at 50
    assert (mean.mean, mean.num) == (pytest.approx(0.3), 2)


def test_the_hatch_of_a_bar_stands_out_from_its_face(written: Written) -> None:
    root = ET.parse(written["errors"][0].svg).getroot()
    patterns = list(root.iter(f"{{{SVG}}}pattern"))
    assert len(patterns) == 2  # on and random; off is plain
    for face, lines in patterns:
        ground, ink = face.get("fill", ""), re.findall(r"#[0-9a-f]{6}", lines.get("style", ""))
        assert np.mean(to_rgb(ground)) > np.mean(to_rgb(ink[0])) + 0.3


def test_error_bars_have_the_height_of_the_table(study: Study) -> None:
    axes = error_figure(study.errors, SYNTHETICS).axes[3]  # cost, field
    own = study.errors.filter(target="field", synthetic="off", type="background")
    bars = [bar.get_height() for bar in axes.patches]
    assert bars[2] == pytest.approx(100 * mean_over_seeds(own, "gain_fixed").mean)


def test_precision_curves_are_means_over_seeds(study: Study) -> None:
    own = study.curves.filter(real_count=20)
    axes = precision_figure(own, SYNTHETICS).axes[4]  # score >= 0.1, karst
    wanted = ("karst", "on", "distance", 0.1, 0.25)
    keys = ("target", "synthetic", "ranking", "score_threshold", "recall")
    values = [row["precision"] for row in own.to_dicts() if tuple(row[k] for k in keys) == wanted]
    line = line_of(axes, "on, by distance")
    assert line.get_ydata()[list(line.get_xdata()).index(25)] == pytest.approx(
        100 * np.mean(values)
    )
    assert line.get_linewidth() > line_of(axes, "on, by score").get_linewidth()


def published(target: str, synthetic: str, iteration: object, level: float | None) -> dict:
    return {"paper": "p", "table": "4", "dataset": "town", "target": target, "real_count": 20,
            "synthetic": synthetic, "iteration": str(iteration), "AP50": level,
            "AP": 0.01}  # fmt: skip


def ours(synthetic: str, level: float, metric: str = "AP50") -> dict:
    return {"dataset": "town", "real_count": 20, "synthetic": synthetic, "target": "field",
            "metric": metric, "mean": level, "num_seeds": 1}  # fmt: skip


def compared(theirs: list[dict], own: list[dict]) -> list[Comparison]:
    return comparisons(frame_of(theirs, schemas.PUBLISHED), frame_of(own, schemas.SUMMARY))


def test_published_ratios_stand_beside_ours_and_best_is_left_out() -> None:
    theirs = [
        published("field", "off", 0, 0.1), published("field", "on", 1, 0.12),
        published("field", "on", 5, 0.15), published("field", "on", "best", 0.9),
        published("elsewhere", "off", 0, 0.1), published("elsewhere", "on", 5, 0.2),
    ]  # fmt: skip
    own = [ours("off", 0.2), ours("on", 0.5)]
    (found,) = compared(theirs, own)
    assert (found.target, found.real_count, found.metric) == ("field", 20, "AP50")
    assert (found.published, found.ours) == (pytest.approx(1.5), pytest.approx(2.5))
    assert compared(theirs, [row | {"dataset": "other"} for row in own]) == []


def test_a_paper_without_ap50_is_compared_by_ap() -> None:
    theirs = [published("field", "off", 0, None), published("field", "on", 5, None) | {"AP": 0.05}]
    both = [ours("off", 0.2, "AP"), ours("on", 0.3, "AP"), ours("off", 0.2), ours("on", 0.5)]
    (found,) = compared(theirs, both)
    assert (found.metric, found.published, found.ours) == (
        "AP",
        pytest.approx(5),
        pytest.approx(1.5),
    )


def test_styles_differ_without_colour() -> None:
    styles = [OFF_STYLE, *OTHER_STYLES]
    for key in ("linestyle", "marker"):
        seen = {(str(s[key]), s.get("markerfacecolor")) for s in styles}
        assert len(seen) == len(styles), key
    assert len({OFF_HATCH, *OTHER_HATCHES}) == len(styles)


def test_off_and_on_differ_for_who_sees_no_colour_and_on_white_paper() -> None:
    on = line_style("on", ["off", "on"])
    grey = [float(np.dot(to_rgb(c), (0.2126, 0.7152, 0.0722))) for c in ("#444444", on["color"])]
    assert max(grey) < 0.6
    assert (on["linestyle"], OFF_STYLE["linestyle"]) == ("-", "--")


def test_a_series_looks_the_same_where_another_one_is_missing(study: Study) -> None:
    rows = study.contrasts.filter(synthetic="random")
    line = line_of(band_figure(rows, study.score_thresholds, SYNTHETICS).axes[0], "random")
    assert line.get_color() == line_style("random", SYNTHETICS)["color"] != OTHER_STYLES[0]["color"]


def test_letters_keep_their_size_in_print(written: Written) -> None:
    for figure in (f for figures in written.values() for f in figures):
        root = ET.parse(figure.svg).getroot()
        assert float(root.get("width", "").removesuffix("pt")) <= 72 * WIDTH + 1e-6
        styles = [e.get("style", "") for e in root.iter(f"{{{SVG}}}text")]
        sizes = [float(size) for style in styles for size in re.findall(r"([\d.]+)px", style)]
        assert len(sizes) >= len(styles) > 5
        assert min(sizes) >= 8


@pytest.fixture(scope="module")
def long_figures() -> dict[str, Callable[[], Figure]]:
    names = ("okutama-action-heldout", "icg_semantic_drone", "heridal", "a_very_long_target_name")
    study = demo_study(targets=names, num_seeds=2, synthetics=("off", "on"), num_iterations=5)
    (source,) = _sources(study, demo_histograms(study))
    return {kind: next(planner(source)).draw for kind, planner in PLANNERS.items()}


def labels_outside(axes: mpl.axes.Axes) -> Iterator[Text]:
    """Labels of ticks that the axis does not reach; matplotlib leaves them undrawn."""
    for axis in (axes.xaxis, axes.yaxis):
        low, high = sorted(axis.get_view_interval())
        for tick in axis.get_major_ticks():
            if not low <= tick.get_loc() <= high:
                yield from (tick.label1, tick.label2)


@pytest.mark.parametrize("kind", KINDS)
def test_long_names_stay_inside_the_picture(kind: str, long_figures: dict) -> None:
    with mpl.rc_context(STYLE):
        figure = drawn(long_figures[kind]())
    unseen = {id(label) for axes in figure.axes for label in labels_outside(axes)}
    width, height = figure.bbox.size
    words = [
        t for t in figure.findobj(Text) if t.get_visible() and t.get_text() and id(t) not in unseen
    ]
    words = [t for t in words if t.axes is None or t.axes.get_visible()]
    assert len(words) > 2
    for text in words:
        box = text.get_window_extent()
        assert box.x0 > -1, text.get_text()
        assert box.y0 > -1, text.get_text()
        assert box.x1 < width + 1, text.get_text()
        assert box.y1 < height + 1, text.get_text()


def test_names_are_broken_at_their_joints() -> None:
    assert wrapped("okutama-action_heldout", 10) == "okutama-\naction_\nheldout"
    assert wrapped("heridal", 3) == "heridal"
