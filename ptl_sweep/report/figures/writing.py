"""Which figures the tables of a study allow, with their titles and captions, and writing them."""

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple, TypeAlias

import polars as pl
from matplotlib.figure import Figure

from ptl_sweep.report.evidence import Axis, axes_of
from ptl_sweep.report.figures.bands import band_figure, claim_sentence
from ptl_sweep.report.figures.distances import CellHistogram, distance_figure
from ptl_sweep.report.figures.drawing.saving import FigureFile, save_figure
from ptl_sweep.report.figures.equivalent import equivalent_figure, equivalent_rows
from ptl_sweep.report.figures.errors import error_figure, precision_figure
from ptl_sweep.report.figures.levels import (
    ap_t2t_metrics,
    count_figure,
    effect_figure,
    iteration_figure,
)
from ptl_sweep.report.figures.prediction import (
    correlation_sentence,
    predicting_variant,
    prediction_figure,
)
from ptl_sweep.report.figures.published import comparisons, published_figure
from ptl_sweep.report.figures.selection.available import (
    BACKGROUNDS,
    CHARACTERS,
    GAPS,
    HEIGHTS,
    POSES,
    SelectionFigure,
)
from ptl_sweep.report.figures.spreads import spread_figure, spread_rows
from ptl_sweep.study.study import SCALES, PoolSelection, Study

SCALE_TITLES = {
    "cumulative": "Effect of synthetic images on AP_t2t by least score",
    "band": "Effect of synthetic images on AP_t2t by score band",
}


class Source(NamedTuple):
    """What there is about one source data set."""

    dataset: str
    study: Study
    summary: pl.DataFrame
    histograms: list[CellHistogram]

    @property
    def axis(self) -> Axis:
        """Of the whole sweep on this data set, so that a series looks the same everywhere."""
        return axes_of(self.summary)

    def own(self, rows: pl.DataFrame) -> pl.DataFrame:
        """The rows of this data set."""
        return rows.filter(dataset=self.dataset)

    def figure(
        self,
        title: str,
        caption: str,
        draw: Callable[[], Figure],
        *,
        part: str = "",
        count: int | None = None,
    ) -> "FigureSpec":
        """A figure of this data set, of one `part` of it, or of one real count."""
        parts = [self.dataset, *([part] if part else []), *([str(count)] if count else [])]
        of = f"{count} images of {self.dataset}" if count else self.dataset
        return FigureSpec("-".join(parts), f"{title}, trained on {of}", caption, draw)


class FigureSpec(NamedTuple):
    """A figure that can be drawn."""

    name: str  # after the kind, in the file's name
    title: str
    caption: str
    draw: Callable[[], Figure]


FigurePlanner: TypeAlias = Callable[[Source], Iterator[FigureSpec]]


def _equivalent(source: Source) -> Iterator[FigureSpec]:
    if equivalent_rows(source.summary):
        yield source.figure(
            "Real-image equivalent of synthetic images",
            "Above the grey diagonal synthetic images replace real ones; arrows leave the range of "
            "real counts, where no more than the direction is known; bars are 95 % intervals.",
            partial(equivalent_figure, source.summary),
        )


def _effect(source: Source) -> Iterator[FigureSpec]:
    if source.axis.others:
        yield source.figure(
            "Change of AP50 by synthetic images",
            "Each point is the mean paired difference to off; right of zero: synthetic helps.",
            partial(effect_figure, source.summary, source.dataset),
        )


def _ap(metric: str, label: str, source: Source) -> Iterator[FigureSpec]:
    yield source.figure(
        f"{metric} against real images",
        "Means over seeds with 95 % intervals.",
        partial(count_figure, source.summary, source.dataset, {metric: label}),
    )


def _ap_t2t(source: Source) -> Iterator[FigureSpec]:
    metrics = ap_t2t_metrics(source.study.score_thresholds)
    yield source.figure(
        "AP_t2t (shrunk) by score threshold against real images",
        "Detections with at least the score are ranked by distance, nearest first.",
        partial(count_figure, source.summary, source.dataset, metrics),
    )


def _bands(source: Source) -> Iterator[FigureSpec]:
    for scale in SCALES:
        rows = source.own(source.study.contrasts).filter(pl.col("medium").is_finite(), scale=scale)
        if not rows.is_empty():
            yield source.figure(
                SCALE_TITLES[scale],
                "AP_t2t itself, not its lift over a random order; medium minus the larger of low "
                "and high: "
                f"{claim_sentence(rows)}.",
                partial(band_figure, rows, source.study.score_thresholds, source.axis.synthetics),
                part=scale,
            )


def _distances(source: Source) -> Iterator[FigureSpec]:
    found: dict[int, list[CellHistogram]] = {}
    for one in sorted(source.histograms, key=lambda one: one.group.real_count or 0):
        if one.histogram.counts.any():
            found.setdefault(one.group.real_count or 0, []).append(one)
    for count, cells in found.items():
        yield source.figure(
            "Distances of detections",
            "True positives above zero, false positives below, all seeds together; shrunk "
            "distances fall with n, so compare shapes and overlap, not places.",
            partial(distance_figure, cells, source.axis.synthetics),
            count=count,
        )


def _spreads(source: Source) -> Iterator[FigureSpec]:
    rows = spread_rows(source.own(source.study.spreads))
    if not rows.is_empty():
        sizes = source.own(source.study.gaussians)["equal_n"].drop_nulls().unique()
        fitted = f" of {sizes[0]:.0f} features each" if len(sizes) == 1 else ""
        yield source.figure(
            "Distances at equal n off and on",
            f"Medians and quartiles, means over seeds; Gaussians{fitted} compare across counts; "
            "n counts the detections (or missed persons) of a cell.",
            partial(spread_figure, rows),
        )


def _iterations(source: Source) -> Iterator[FigureSpec]:
    own = source.own(source.study.iteration_rows)
    if (own["iteration"] > 0).any():
        yield source.figure(
            "AP50 against PTL iteration",
            "Iteration 0 is the detector of real images only, the same for every method.",
            partial(iteration_figure, own),
        )


def _selections(source: Source) -> Iterator[tuple[str, list[PoolSelection]]]:
    """Per value of synthetic, what it selected."""
    own = [one for one in source.study.selections if one.dataset == source.dataset]
    for synthetic in sorted({one.synthetic for one in own}):
        yield synthetic, [one for one in own if one.synthetic == synthetic]


def _selected(kind: SelectionFigure, source: Source) -> Iterator[FigureSpec]:
    for synthetic, own in _selections(source):
        shown = kind.fitting(own)
        if shown:
            yield source.figure(
                f"{kind.title} of the images that {synthetic} selected",
                kind.words,
                partial(kind.draw, shown, source.axis.synthetics),
                part=synthetic,
            )


def _prediction(source: Source) -> Iterator[FigureSpec]:
    rows = source.own(source.study.rows)
    variant = predicting_variant(rows)
    if variant:
        rho = correlation_sentence(source.own(source.study.correlations), variant)
        yield source.figure(
            f"AP50 against train2test distance ({variant})",
            f"One point per cell; Spearman's rho: {rho or 'not computed'}.",
            partial(prediction_figure, rows, variant, rho),
        )


def _errors(source: Source) -> Iterator[FigureSpec]:
    rows = source.own(source.study.errors)
    if not rows.is_empty():
        yield source.figure(
            "Errors by type and what they cost",
            "Means over real counts, then over seeds, with 95 % intervals over seeds.",
            partial(error_figure, rows, source.axis.synthetics),
        )


def _precision(source: Source) -> Iterator[FigureSpec]:
    rows = source.own(source.study.curves)
    for count in sorted(rows["real_count"].unique()):
        yield source.figure(
            "Precision by rank",
            "Thick: ranked by train2test distance, nearest first; thin: the same detections by "
            "score; means over seeds.",
            partial(precision_figure, rows.filter(real_count=count), source.axis.synthetics),
            count=count,
        )


def _published(source: Source) -> Iterator[FigureSpec]:
    found = comparisons(source.own(source.study.published), source.summary)
    if found:
        yield source.figure(
            "Published effect of synthetic images beside ours",
            "Ratio of AP with synthetic images to AP without; compare side of 1 and size, never "
            "absolute AP.",
            partial(published_figure, found, source.axis.synthetics),
        )


PLANNERS: dict[str, FigurePlanner] = {
    "ap50": partial(_ap, "AP50", "AP50 [%]"),
    "equivalent": _equivalent,
    "effect": _effect,
    "ap": partial(_ap, "AP", "AP [%]\nIoU .5:.95"),
    "prediction": _prediction,
    "bands": _bands,
    "ap_t2t": _ap_t2t,
    "published": _published,
    "errors": _errors,
    "spreads": _spreads,
    "distances": _distances,
    "iterations": _iterations,
    "gaps": partial(_selected, GAPS),
    "heights": partial(_selected, HEIGHTS),
    "backgrounds": partial(_selected, BACKGROUNDS),
    "characters": partial(_selected, CHARACTERS),
    "selected": partial(_selected, POSES),
    "precision": _precision,
}
PRIORITY = tuple(PLANNERS)  # the last become links first when the page grows too large


def write_figures(
    folder: Path, study: Study, histograms: Sequence[CellHistogram]
) -> dict[str, list[FigureFile]]:
    """Every figure that the tables allow, into `folder`, as <kind>-<data set>....svg and .png.

    Keys are the kinds, by PRIORITY, each with its figures per source data set; a
    kind that the tables do not allow is an empty list.
    """
    sources = _sources(study, histograms)
    return {
        kind: [_write(folder, kind, spec) for source in sources for spec in planner(source)]
        for kind, planner in PLANNERS.items()
    }


def _sources(study: Study, histograms: Sequence[CellHistogram]) -> list[Source]:
    """Data sets with at least one number, in alphabetical order."""
    measured = study.summary.filter(pl.col("num_seeds") > 0)["dataset"].unique()
    return [
        Source(
            name,
            study,
            study.summary.filter(dataset=name),
            [one for one in histograms if one.group.dataset == name],
        )
        for name in sorted(measured)
    ]


def _write(folder: Path, kind: str, spec: FigureSpec) -> FigureFile:
    svg = save_figure(folder, f"{kind}-{spec.name}", spec.draw, spec.title)
    return FigureFile(spec.title, svg, spec.caption)
