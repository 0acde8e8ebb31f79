"""What PTL selected from the virtual pool by kind: which cut-outs, on which backgrounds."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ptl_sweep.report.figures.drawing.saving import mark
from ptl_sweep.report.figures.drawing.style import (
    INK,
    LineStyle,
    finish,
    grid_of_panels,
    line_style,
)
from ptl_sweep.report.figures.selection.poses import rows_and_columns, selections_of
from ptl_sweep.study.study import PoolSelection

MOST_KINDS = 10  # that have a line of their own
OTHERS = "(others)"
LEAST_COMMON = 0.2  # share of the pool that the commonest have, or they say nothing
LINE_HEIGHT = 0.17  # inches
LONGEST = 18  # letters of a name
ROOM = 1.45  # of the x axis, for the names at its right end


class KindCounts(NamedTuple):
    """How often each kind is there; an image with two persons may show two."""

    pool: Counter[str]
    selected: Counter[str]


def kind_figure(
    selections: Sequence[PoolSelection], synthetics: Sequence[str], *, attribute: str
) -> Figure:
    """Share of each kind in the pool (bars) and among the selected (dots): counts by iterations."""
    counts, iterations = rows_and_columns(selections)
    names = _names(selections, attribute)
    titles = [f"iteration {step}" for step in iterations]
    figure, panels = grid_of_panels(titles, len(counts), 0.2 + LINE_HEIGHT * len(names))
    for line, count in zip(panels, counts, strict=True):
        line[0].set_ylabel(f"{count} real")
        for axes, step in zip(line, iterations, strict=True):
            own = selections_of(selections, count, step)
            _draw(axes, _counted(own, attribute), names, (selections[0].synthetic, synthetics))
    axes = panels[0][0]
    axes.set_xlim(0, ROOM * axes.get_xlim()[1])
    finish(figure, panels, f"share [%] of each {attribute}")
    return figure


def has_common_kinds(selections: Sequence[PoolSelection], attribute: str) -> bool:
    """Whether the commonest kinds are a good part of the pool; of 700 cut-outs none is common."""
    pool = _counted(selections, attribute).pool
    common = sum(count for _, count in pool.most_common(MOST_KINDS))
    return common >= LEAST_COMMON * max(1, pool.total())


def _counted(selections: Sequence[PoolSelection], attribute: str) -> KindCounts:
    found = KindCounts(Counter(), Counter())
    for one in selections:
        for kinds, is_selected in zip(one.kinds[attribute], one.selected, strict=True):
            found.pool.update(kinds)
            if is_selected:
                found.selected.update(kinds)
    return found


def _names(selections: Sequence[PoolSelection], attribute: str) -> list[str]:
    """The commonest kinds of the pool, and one for all the rest: the selection chooses no line."""
    pool = _counted(selections, attribute).pool
    common = [name for name, _ in sorted(pool.items(), key=lambda one: (-one[1], one[0]))]
    return common if len(common) <= MOST_KINDS + 1 else [*common[:MOST_KINDS], OTHERS]


def _shares(counts: Mapping[str, int], names: Sequence[str]) -> list[float]:
    total = max(1, sum(counts.values()))
    shares = [100 * counts.get(name, 0) / total for name in names]
    if names[-1] == OTHERS:
        shares[-1] = 100 * min(1, sum(counts.values())) - sum(shares[:-1])
    return shares


def _draw(
    axes: Axes, counts: KindCounts, names: Sequence[str], look: tuple[str, Sequence[str]]
) -> None:
    synthetic, synthetics = look
    places = [-float(place) for place in range(len(names))]
    pool, selected = (_shares(table, names) for table in counts)
    axes.barh(places, pool, height=0.8, color="#cccccc", label="pool")
    colour = line_style(synthetic, synthetics)["color"]
    if counts.selected.total():
        (dots,) = axes.plot(
            selected, places, "o", color=colour, markersize=4, label=f"selected by {synthetic}"
        )
        texts = [
            f"{name}: {one:.1f} % of the selected, {all_:.1f} % of the pool"
            for name, all_, one in zip(names, pool, selected, strict=True)
        ]
        mark(dots, series=synthetic, tip=texts)
    for place, name in zip(places, names, strict=True):
        shown = name if len(name) <= LONGEST else f"...{name[3 - LONGEST :]}"
        at: LineStyle = {"transform": axes.get_yaxis_transform(), "ha": "right", "va": "center"}
        axes.text(0.99, place, shown, **at, fontsize=8, color=INK)
    axes.set_yticks([])
