"""Where the spread over seeds is from, and where the next hour should go."""

from collections.abc import Iterator

import numpy as np

from ptl_sweep.config.schema import ConfigError
from ptl_sweep.report.paper.layout import GAP, GAP_NOTE, PERCENT, PaperTable
from ptl_sweep.report.paper.source import PaperSource
from ptl_sweep.study.claims.claim import MIN_SEEDS
from ptl_sweep.study.questions.variance import (
    AXIS,
    MIN_LEVELS,
    Variance,
    VariancePlace,
    variances,
)
from ptl_sweep.study.statistics import SIGNIFICANCE

CLEARLY = 1.5  # times: four subsets and four seeds know an error no better


def variance(source: PaperSource) -> PaperTable:
    """Standard deviations of one draw of the real images, of one training, and of the rest.

    Raises: ConfigError for a sweep that does not cross both.
    """
    found = variances(source.results, source.summary)
    if not found and AXIS in source.results.columns:
        raise ConfigError(
            f"too few numbers: {MIN_LEVELS} subsets and {MIN_LEVELS} seeds are needed whose "
            "detectors were all evaluated on every target of another domain; `status` says what is "
            "missing"
        )
    if not found:
        raise ConfigError(
            f"this sweep does not cross subsets and trainings: sweep {AXIS} and seed with "
            f"{MIN_LEVELS} values or more each; experiment=variance does"
        )
    rows = tuple(_row(place, one) for place, one in found.items())
    legend = (
        "training: initial weights, order of batches, selection. both together: what one subset "
        "does in one training alone. p: F test of no difference, adjusted for both."
    )
    return PaperTable(
        title="Variance",
        caption="AP50, mean over targets of another domain: standard deviation in points by what "
        "was drawn.",
        header=(
            "trained on", "real images", "AP50 of", "mean [%]", "real images drawn",
            "p of the draw", "training", "p of training", "both together", "test pictures",
        ),
        rows=rows,
        notes=(
            legend,
            *(note for place, one in found.items() for note in _sentences(place, one)),
            *([GAP_NOTE] if any(GAP in row for row in rows) else []),
        ),
    )  # fmt: skip


def _row(place: VariancePlace, one: Variance) -> tuple[str, ...]:
    sign = "+" if " - " in place.what else ""
    return (
        place.dataset,
        str(place.real_count),
        place.what,
        f"{PERCENT * one.mean:{sign}z.1f}",
        _points(one.subset),
        f"{one.p_subset:.3f}",
        _points(one.training),
        f"{one.p_training:.3f}",
        _points(one.rest),
        _points(one.pictures),
    )


def _points(component: float) -> str:
    return GAP if np.isnan(component) else f"{PERCENT * np.sqrt(component):.1f}"


def _sentences(place: VariancePlace, one: Variance) -> Iterator[str]:
    """What differs, and for a change which error is the larger one at six seeds."""
    where = f"{place.dataset}, {place.real_count} real images, {place.what}"
    parts = {"the draw of real images": one.p_subset, "the training": one.p_training}
    matters = [name for name, p in parts.items() if p <= SIGNIFICANCE]
    verb = "each by itself make" if len(matters) > 1 else "by itself makes"
    size = f"a difference ({one.num_subsets} subsets, {one.num_seeds} seeds)"
    if matters:
        yield f"{where}: {' and '.join(matters)} {verb} {size}."
    else:
        yield f"{where}: there is no evidence that {' or '.join(parts)} {verb} {size}."
    if np.isnan(one.pictures):
        return
    trained = PERCENT * one.error_over_trainings(MIN_SEEDS)
    tested = PERCENT * float(np.sqrt(one.pictures))
    if trained > CLEARLY * tested:
        advice = "the next hour should go to more trainings"
    elif tested > CLEARLY * trained:
        advice = "the next hour should go to more test pictures with labels"
    else:
        advice = "neither is clearly the larger one"
    yield (
        f"{where}: with {MIN_SEEDS} seeds the standard error is {trained:.1f} points over "
        f"trainings and {tested:.1f} over test pictures: {advice}."
    )
