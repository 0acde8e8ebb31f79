"""How many virtual images are enough, chosen on the source and judged on other domains."""

from collections.abc import Iterator
from functools import partial
from pathlib import Path

import polars as pl

from ptl_sweep.config.schema import ConfigError
from ptl_sweep.report.figures.dose import dose_figure
from ptl_sweep.report.figures.drawing.saving import save_figure
from ptl_sweep.report.paper.layout import (
    PERCENT,
    PaperTable,
    interval_cell,
    with_gap_note,
)
from ptl_sweep.report.paper.source import PaperSource
from ptl_sweep.study.claims.claim import Claim, Verdict
from ptl_sweep.study.questions.dose import DosePlace, DoseResponse, dose_claims, dose_responses

CHOSEN = "the fewest that are enough"
WORDS = {
    Verdict.FOUND: "the change is found",
    Verdict.NONE: "there is no evidence of a change",
    Verdict.OPEN: "open: a verdict needs six seeds with every number",
}


def dose_responses_of(source: PaperSource) -> dict[DosePlace, DoseResponse]:
    """The responses of a sweep. Raises: ConfigError for one that asks no such question."""
    found = dose_responses(source.results, source.axes)
    if found:
        return found
    raise ConfigError(
        "this sweep has no dose: sweep synthetic.images_per_iteration (two values or more) beside "
        "arm=off,on, with target=source among the targets, on which the number is chosen; "
        "experiment=dose does"
    )


def write_dose_figures(source: PaperSource, folder: Path) -> None:
    """Write dose-<data set>.svg and .png into `folder`. Raises: ConfigError, as `dose`."""
    responses = dose_responses_of(source)
    for dataset in sorted({place.dataset for place in responses}):
        own = {place: one for place, one in responses.items() if place.dataset == dataset}
        title = f"AP50 by the number of virtual images, trained on {dataset}"
        save_figure(folder, f"dose-{dataset}", partial(dose_figure, own), title)


def dose(source: PaperSource) -> PaperTable:
    """A row per number of virtual images, and what the fewest that are enough bring elsewhere."""
    responses = dose_responses_of(source)
    claims = dose_claims(responses)
    rows = tuple(row for place, response in responses.items() for row in _rows(place, response))
    return PaperTable(
        title="Dose and response",
        caption="AP50 by the number of virtual images, on what the source holds out and on targets "
        "of other domains, mean over seeds.",
        header=(
            "trained on", "real images", "synthetic", "virtual images", "AP50 held out [%]",
            "AP50 other domains [%]", "change [points]", "enough",
        ),
        rows=rows,
        notes=with_gap_note(
            rows,
            f"yes: {CHOSEN}, within one standard error of the best on what the source holds out.",
            *(_sentence(place, responses[place], claim) for place, claim in claims.items()),
        ),
    )  # fmt: skip


def _rows(place: DosePlace, response: DoseResponse) -> Iterator[tuple[str, ...]]:
    change = response.foreign - response.foreign[0]
    for index, total in enumerate(response.totals):
        yield (
            place.dataset,
            str(place.real_count),
            place.synthetic if index else "off",
            str(total),
            interval_cell(pl.Series(response.held_out[index]), PERCENT),
            interval_cell(pl.Series(response.foreign[index]), PERCENT),
            interval_cell(pl.Series(change[index]), PERCENT, "+") if index else "",
            "yes" if index == response.enough else "",
        )


def _sentence(place: DosePlace, response: DoseResponse, claim: Claim) -> str:
    """What choosing so brings, with its verdict."""
    total = response.totals[response.enough]
    enough = f"{total} virtual images are {CHOSEN}"
    if not total:
        enough = "no number of virtual images is needed: real images alone are enough"
    start = f"{place.dataset}, {place.real_count} real images, {place.synthetic}: {enough}"
    if not claim.num_seeds:
        return f"{start}; {WORDS[Verdict.OPEN]}."
    value, low, high = (PERCENT * one for one in (claim.value, claim.low, claim.high))
    return (
        f"{start}; at the number that the other seeds choose, AP50 on other domains changes by "
        f"{value:+.1f} points [{low:+.1f}, {high:+.1f}], p = {claim.p_family:.3f} adjusted for the "
        f"places of this table: {WORDS[claim.verdict]}."
    )
