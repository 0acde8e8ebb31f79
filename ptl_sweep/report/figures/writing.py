"""Which figures the tables of a study allow, with their titles and captions, and writing them."""

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple, TypeAlias

from matplotlib.figure import Figure

from ptl_sweep.report.figures.bands import band_figure, claim_sentence
from ptl_sweep.report.figures.distances import CellHistogram, distance_figure
from ptl_sweep.report.figures.equivalent import equivalent_figure, equivalent_rows
from ptl_sweep.report.figures.errors import error_figure, precision_figure
from ptl_sweep.report.figures.levels import (
    AP_METRICS,
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
from ptl_sweep.report.figures.saving import FigureFile, save_figure
from ptl_sweep.report.figures.selection import gap_figure, pose_figure, with_poses
from ptl_sweep.report.figures.spreads import spread_figure, spread_rows
from ptl_sweep.report.figures.style import Axis, axes_of
from ptl_sweep.study.groups import number, text
from ptl_sweep.study.study import SCALES, PoolSelection, Study
from ptl_sweep.vocabulary import Row

SCALE_TITLES = {
    "cumulative": "Effect of synthetic images on AP_t2t by least score",
    "band": "Effect of synthetic images on AP_t2t by score band",
}


class Source(NamedTuple):
    """What there is about one source data set."""

    dataset: str
    study: Study
    summary: list[Row]
    histograms: list[CellHistogram]

    @property
    def axis(self) -> Axis:
        """Of the whole sweep on this data set, so that a series looks the same everywhere."""
        return axes_of(self.summary)

    def own(self, rows: Sequence[Row]) -> list[Row]:
        """The rows of this data set."""
        return [row for row in rows if row["dataset"] == self.dataset]


class FigureSpec(NamedTuple):
    """A figure that can be drawn."""

    name: str  # after the kind, in the file's name
    title: str
    caption: str
    draw: Callable[[], Figure]


FigurePlanner: TypeAlias = Callable[[Source], Iterator[FigureSpec]]


def _equivalent(source: Source) -> Iterator[FigureSpec]:
    if equivalent_rows(source.summary, source.dataset):
        yield FigureSpec(
            source.dataset,
            f"Real-image equivalent of synthetic images, trained on {source.dataset}",
            "Above the grey diagonal synthetic images replace real ones; arrows leave the range of "
            "real counts, where no more than the direction is known; bars are 95 % intervals.",
            partial(equivalent_figure, source.summary, source.dataset),
        )


def _effect(source: Source) -> Iterator[FigureSpec]:
    if source.axis.others:
        yield FigureSpec(
            source.dataset,
            f"Change of AP50 by synthetic images, trained on {source.dataset}",
            "Each point is the mean paired difference to off; right of zero: synthetic helps.",
            partial(effect_figure, source.summary, source.dataset),
        )


def _ap(source: Source) -> Iterator[FigureSpec]:
    yield FigureSpec(
        source.dataset,
        f"AP50 and AP against real images, trained on {source.dataset}",
        "Means over seeds with 95 % intervals.",
        partial(count_figure, source.summary, source.dataset, AP_METRICS),
    )


def _ap_t2t(source: Source) -> Iterator[FigureSpec]:
    metrics = ap_t2t_metrics(source.summary)
    if metrics:
        yield FigureSpec(
            source.dataset,
            f"AP_t2t (shrunk) by score threshold against real images, trained on {source.dataset}",
            "Detections with at least the score are ranked by distance, nearest first.",
            partial(count_figure, source.summary, source.dataset, metrics),
        )


def _bands(source: Source) -> Iterator[FigureSpec]:
    for scale in SCALES:
        rows = [
            row
            for row in source.own(source.study.contrasts)
            if row["scale"] == scale and number(row, "medium") == number(row, "medium")
        ]
        if rows:
            claim = claim_sentence(rows)
            yield FigureSpec(
                f"{source.dataset}-{scale}",
                f"{SCALE_TITLES[scale]}, trained on {source.dataset}",
                f"Effect at medium confidence minus the larger of low and high: {claim}.",
                partial(band_figure, rows, source.study.score_thresholds, source.axis.synthetics),
            )


def _distances(source: Source) -> Iterator[FigureSpec]:
    found: dict[int, list[CellHistogram]] = {}
    for one in sorted(source.histograms, key=lambda one: one.group.real_count or 0):
        if one.histogram.counts.any():
            found.setdefault(one.group.real_count or 0, []).append(one)
    for count, cells in found.items():
        yield FigureSpec(
            f"{source.dataset}-{count}",
            f"Distances of detections, trained on {count} images of {source.dataset}",
            "True positives above zero, false positives below, all seeds together; shrunk "
            "distances fall with n, so compare shapes and overlap, not places.",
            partial(distance_figure, cells, source.axis.synthetics),
        )


def _spreads(source: Source) -> Iterator[FigureSpec]:
    rows = spread_rows(source.study.spreads, source.dataset)
    if rows:
        sizes = {number(row, "equal_n") for row in source.own(source.study.gaussians)}
        sizes = {size for size in sizes if size == size}
        fitted = f" of {min(sizes):.0f} features each" if len(sizes) == 1 else ""
        yield FigureSpec(
            source.dataset,
            f"Distances at equal n off and on, trained on {source.dataset}",
            f"Medians and quartiles, means over seeds; Gaussians{fitted} compare across counts; "
            "n counts the detections (or missed persons) of a cell.",
            partial(spread_figure, rows, source.dataset),
        )


def _iterations(source: Source) -> Iterator[FigureSpec]:
    own = source.own(source.study.iteration_rows)
    if any(number(row, "iteration") > 0 for row in own):
        yield FigureSpec(
            source.dataset,
            f"AP50 against PTL iteration, trained on {source.dataset}",
            "Iteration 0 is the detector of real images only, the same for every method.",
            partial(iteration_figure, own),
        )


def _selections(source: Source) -> Iterator[tuple[str, list[PoolSelection]]]:
    """Per value of synthetic, what it selected."""
    own = [one for one in source.study.selections if one.dataset == source.dataset]
    for synthetic in sorted({one.synthetic for one in own}):
        yield synthetic, [one for one in own if one.synthetic == synthetic]


def _selected(source: Source) -> Iterator[FigureSpec]:
    for synthetic, own in _selections(source):
        posed = with_poses(own)
        if posed:
            yield FigureSpec(
                f"{source.dataset}-{synthetic}",
                f"Poses of the images that {synthetic} selected, trained on {source.dataset}",
                "Areas are shares of the pool (squares) and of the selected images (circles): a "
                "circle that outgrows its square is preferred; seeds together.",
                partial(pose_figure, posed, source.axis.synthetics),
            )


def _gaps(source: Source) -> Iterator[FigureSpec]:
    for synthetic, own in _selections(source):
        if any(len(one.gap) for one in own):
            yield FigureSpec(
                f"{source.dataset}-{synthetic}",
                f"Domain gap of the images that {synthetic} selected, trained on {source.dataset}",
                "Shares of all images of the pool (grey) and of the selected ones (line), seeds "
                "together; images that are never detected have an infinite gap.",
                partial(gap_figure, own, source.axis.synthetics),
            )


def _prediction(source: Source) -> Iterator[FigureSpec]:
    rows = source.own(source.study.rows)
    variant = predicting_variant(rows)
    if variant:
        rho = correlation_sentence(source.study.correlations, source.dataset, variant)
        yield FigureSpec(
            source.dataset,
            f"AP50 against train2test distance ({variant}), trained on {source.dataset}",
            f"One point per cell; Spearman's rho: {rho or 'not computed'}.",
            partial(prediction_figure, rows, variant, rho),
        )


def _errors(source: Source) -> Iterator[FigureSpec]:
    rows = source.own(source.study.errors)
    if rows:
        yield FigureSpec(
            source.dataset,
            f"False positives by type and what they cost, trained on {source.dataset}",
            "Means over real counts, then over seeds, with 95 % intervals over seeds.",
            partial(error_figure, rows, source.axis.synthetics),
        )


def _precision(source: Source) -> Iterator[FigureSpec]:
    rows = source.own(source.study.curves)
    for count in sorted({int(number(row, "real_count")) for row in rows}):
        own = [row for row in rows if row["real_count"] == count]
        yield FigureSpec(
            f"{source.dataset}-{count}",
            f"Precision by rank, trained on {count} images of {source.dataset}",
            "Thick: ranked by train2test distance, nearest first; thin: the same detections by "
            "score; means over seeds.",
            partial(precision_figure, own, source.axis.synthetics),
        )


def _published(source: Source) -> Iterator[FigureSpec]:
    found = comparisons(source.study.published, source.summary, source.dataset)
    if found:
        yield FigureSpec(
            source.dataset,
            f"Published effect of synthetic images beside ours, trained on {source.dataset}",
            "Ratio of AP with synthetic images to AP without; compare side of 1 and size, never "
            "absolute AP.",
            partial(published_figure, found, source.axis.synthetics),
        )


PLANNERS: dict[str, FigurePlanner] = {  # in the order of the report
    "equivalent": _equivalent,
    "effect": _effect,
    "ap": _ap,
    "ap_t2t": _ap_t2t,
    "bands": _bands,
    "distances": _distances,
    "spreads": _spreads,
    "iterations": _iterations,
    "selected": _selected,
    "gaps": _gaps,
    "prediction": _prediction,
    "errors": _errors,
    "precision": _precision,
    "published": _published,
}


def write_figures(
    folder: Path, study: Study, histograms: Sequence[CellHistogram]
) -> dict[str, list[FigureFile]]:
    """Every figure that the tables allow, into `folder`, as <kind>-<data set>....svg and .png.

    Keys are the kinds, in the order of the report, each with its figures per source data set; a
    kind that the tables do not allow is an empty list.
    """
    sources = _sources(study, histograms)
    return {
        kind: [_write(folder, kind, spec) for source in sources for spec in planner(source)]
        for kind, planner in PLANNERS.items()
    }


def _sources(study: Study, histograms: Sequence[CellHistogram]) -> list[Source]:
    """Data sets with at least one number, in alphabetical order."""
    measured = {text(row, "dataset") for row in study.summary if number(row, "num_seeds") > 0}
    return [
        Source(
            name,
            study,
            [row for row in study.summary if row["dataset"] == name],
            [one for one in histograms if one.group.dataset == name],
        )
        for name in sorted(measured)
    ]


def _write(folder: Path, kind: str, spec: FigureSpec) -> FigureFile:
    svg = save_figure(folder, f"{kind}-{spec.name}", spec.draw, spec.title)
    return FigureFile(spec.title, svg, spec.caption)
