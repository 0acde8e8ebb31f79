"""What synthetic images change on each target, and what its distance would have forecast."""

from collections.abc import Iterator

import numpy as np

from ptl_sweep.config.schema import ConfigError
from ptl_sweep.report.paper.layout import GAP, GAP_NOTE, PERCENT, PaperTable
from ptl_sweep.report.paper.source import PaperSource
from ptl_sweep.study.claims.claim import Verdict
from ptl_sweep.study.questions.forecast import MIN_TARGETS, Forecast, ForecastPlace, forecasts

HEADER = (
    "trained on", "synthetic", "target", "distance", "change of AP50 [points]", "forecast",
    "mean of the others",
)  # fmt: skip


def forecast(source: PaperSource) -> PaperTable:
    """A row per target of another domain; a target without labels has a forecast alone.

    Raises: ConfigError for a sweep in which nothing can be forecast.
    """
    found = forecasts(source.results, source.spreads)
    if not found:
        raise ConfigError(
            "this sweep forecasts nothing: it needs two targets of other domains with labels "
            f"({MIN_TARGETS} for a verdict), beside off and another value of synthetic, and "
            "analysis.calibration=validation"
        )
    rows = tuple(row for place, one in found.items() for row in _rows(place, one))
    distance = (
        "distance: of all that detectors trained on real images alone find there, multiples of "
        "the true positives of the source's validation split; it needs no label."
    )
    return PaperTable(
        title="Forecast",
        caption="Change of AP50 by synthetic images on each target, mean over seeds and numbers of "
        "real images, beside what the distance of the target forecasts, from the other targets "
        "alone.",
        header=HEADER,
        rows=rows,
        notes=(
            distance,
            *(_sentence(place, one) for place, one in found.items()),
            *(note for place, one in found.items() for note in _beyond(place, one)),
            *([GAP_NOTE] if any(GAP in row for row in rows) else []),
        ),
    )


def _rows(place: ForecastPlace, one: Forecast) -> Iterator[tuple[str, ...]]:
    numbers = zip(one.effect, one.by_distance, one.by_mean, strict=True)
    for target, far, changes in zip(one.targets, one.distance, numbers, strict=True):
        yield *place, target, f"{np.exp(far):.2f}", *map(_points, changes)


def _points(change: float) -> str:
    return GAP if np.isnan(change) else f"{PERCENT * change:+z.1f}"


def _sentence(place: ForecastPlace, one: Forecast) -> str:
    """How far the forecast is off, beside the guess, and whether it may be believed."""
    num, name = int(one.labelled.sum()), f"{place.dataset}, {place.synthetic}"
    line, mean = (PERCENT * error for error in one.errors)
    errors = (
        f"{name}: over {num} targets with labels the forecast is off by {line:.1f} points, the "
        f"mean of the others by {mean:.1f}"
    )
    if one.verdict is Verdict.OPEN:
        needed = f"{MIN_TARGETS} targets with labels, not too evenly far, and six seeds"
        return f"{errors}; whether distances forecast the change is open: that needs {needed}."
    gain = [PERCENT * bound for bound in (one.gain.value, one.gain.low, one.gain.high)]
    numbers = (
        f"within a seed the error is smaller by {gain[0]:+.1f} points [{gain[1]:+.1f}, "
        f"{gain[2]:+.1f}]; p = {one.p:.3f} over the orders of the targets, {one.p_family:.3f} of "
        f"both, adjusted for {one.num_tests} values of synthetic"
    )
    if one.verdict is Verdict.FOUND:
        return f"{errors}; distances forecast the change better ({numbers})."
    return f"{errors}; there is no evidence that distances forecast the change ({numbers})."


def _beyond(place: ForecastPlace, one: Forecast) -> Iterator[str]:
    """Targets that are not in the table, or for which the line is drawn on."""
    if one.left_out:
        yield (
            f"{place.dataset}, {place.synthetic}: {', '.join(one.left_out)} left out, for no seed "
            "has every number there."
        )
    names = [name for name, is_out in zip(one.targets, one.beyond, strict=True) if is_out]
    if names:
        yield (
            f"{place.dataset}, {place.synthetic}: {', '.join(names)} lies nearer or farther than "
            "every target with labels: the line is drawn on beyond them."
        )
