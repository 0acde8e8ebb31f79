"""The figures about what PTL selected, and what a pool must say of its images for each."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import NamedTuple

from matplotlib.figure import Figure

from ptl_sweep.report.figures.selection.kinds import MOST_KINDS, has_common_kinds, kind_figure
from ptl_sweep.report.figures.selection.poses import (
    ATTRIBUTES,
    HEIGHT,
    gap_figure,
    height_figure,
    pose_figure,
)
from ptl_sweep.study.study import PoolSelection


class SelectionFigure(NamedTuple):
    """A kind of figure about what was selected, and which selections it can show."""

    title: str
    words: str
    draw: Callable[[Sequence[PoolSelection], Sequence[str]], Figure]
    attributes: tuple[str, ...]  # that a pool must have

    def fitting(self, selections: Sequence[PoolSelection]) -> list[PoolSelection]:
        """Those of pools that have the attributes, and any image."""
        return [
            one
            for one in selections
            if set(self.attributes) <= {*one.attributes, *one.kinds} and len(one.gap)
        ]


class KindFigure(SelectionFigure):
    """A figure of one attribute by kind, drawn where some kinds are common."""

    def fitting(self, selections: Sequence[PoolSelection]) -> list[PoolSelection]:
        """Those of pools that have the attribute; none where every kind is rare."""
        own = super().fitting(selections)
        return own if has_common_kinds(own, self.attributes[0]) else []


_SHARES = "Shares of all images of the pool (grey) and of the selected ones (line), seeds together"
GAPS = SelectionFigure(
    "Domain gap", f"{_SHARES}; images that are never detected have an infinite gap.", gap_figure, ()
)
HEIGHTS = SelectionFigure(
    "Heights of the persons",
    f"{_SHARES}; the persons of one image have about the same height.",
    height_figure,
    (HEIGHT,),
)
POSES = SelectionFigure(
    "Poses",
    "Areas are shares of the pool (squares) and of the selected images (circles): a circle that "
    "outgrows its square is preferred; seeds together.",
    pose_figure,
    ATTRIBUTES,
)
_KINDS = (
    "Bars are shares of the pool's {0}, dots of those of the selected images; where there are "
    f"many, the {MOST_KINDS} commonest of the pool; seeds together."
)
BACKGROUNDS = KindFigure(
    "Backgrounds",
    _KINDS.format("images"),
    partial(kind_figure, attribute="background"),
    ("background",),
)
CHARACTERS = KindFigure(
    "Persons", _KINDS.format("persons"), partial(kind_figure, attribute="character"), ("character",)
)
