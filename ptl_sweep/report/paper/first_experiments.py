"""One PTL iteration against none: AP, train2test distances and AP_t2t (seed)."""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import polars as pl

from ptl_sweep.report.paper.layout import (
    NOT_COMPARABLE,
    PERCENT,
    PaperTable,
    interval_cell,
    with_gap_note,
)
from ptl_sweep.report.paper.places import (
    AP_COLUMNS,
    Method,
    PaperPlace,
    last_iterations,
    places,
    seed_values,
)
from ptl_sweep.vocabulary import OFF, ApT2t, ApT2tVariant, Distance


class Quantity(NamedTuple):
    """A line of the first experiments."""

    experiment: str
    label: str
    column: str
    scale: float
    is_comparable: bool = True  # between trainings with other numbers of features


def first_experiments(
    iteration_rows: pl.DataFrame, score_thresholds: Sequence[float], iteration: int = 1
) -> PaperTable:
    """One PTL iteration against none: AP, medians of the train2test distance, AP_t2t and its lift.

    `change` is paired by seed. It is left out for the shrunk distance, which also changes with the
    number of training features (docs/method.md, section 2).
    """
    methods = [Method(name, iteration) for name, _ in last_iterations(iteration_rows)]
    rows = [
        (quantity.experiment, *place.labels, quantity.label, method.synthetic, *cells)
        for quantity in _quantities(score_thresholds)
        for place in places(iteration_rows)
        for method in methods
        for cells in [_compared(iteration_rows, place, method, quantity)]
    ]
    return PaperTable(
        title="First experiments",
        caption=f"PTL iteration {iteration} against real images only: detection, medians of the "
        "squared train2test distance d² of true and false positives (TP, FP), AP ranked by it.",
        header=(
            "experiment", "trained on", "target", "real", "quantity", "synthetic", "off", "with",
            "change", "pairs",
        ),
        rows=tuple(rows),
        notes=with_gap_note(
            rows,
            "lift: AP_t2t over that of the same detections in random order.",
            f"{NOT_COMPARABLE}: not comparable, because the shrunk distance changes with the number"
            " of training features; equal_n takes the same number for both.",
        ),
    )  # fmt: skip


def _quantities(score_thresholds: Iterable[float]) -> list[Quantity]:
    """Lines of the first experiments; score thresholds as the columns say."""
    first, second, third = "detection", "train2test", "AP_t2t"
    lines = [Quantity(first, label, column, PERCENT) for column, label in AP_COLUMNS.items()]
    for kind, name in (("tp", "TP"), ("fp", "FP")):
        equal_n, shrunk = (Distance(kind, "median", variant) for variant in ("equal_n", "shrunk"))
        lines += [
            Quantity(second, f"{name} median, equal_n [d²]", equal_n.name, 1.0),
            Quantity(second, f"{name} median, shrunk [d²]", shrunk.name, 1.0, is_comparable=False),
        ]
    lines.append(Quantity(second, "training features n", "gaussian_n", 1.0))
    for threshold in score_thresholds:
        score, lift = f"score ≥ {threshold:g}", ApT2t(threshold, ApT2tVariant.LIFT)
        lines += [
            Quantity(third, f"{score} [%]", ApT2t(threshold).name, PERCENT),
            Quantity(third, f"{score}, lift [points]", lift.name, PERCENT),
        ]
    return lines


def _compared(
    rows: pl.DataFrame, place: PaperPlace, method: Method, quantity: Quantity
) -> tuple[str, str, str, str]:
    """Without, with, change, and the number of seeds that have both."""
    off = seed_values(rows, place, Method(OFF, 0), quantity.column)
    on = seed_values(rows, place, method, quantity.column)
    both = on.join(off, "seed", suffix="_off").sort("seed")
    change = interval_cell(both["value"] - both["value_off"], quantity.scale, "+")
    return (
        interval_cell(off["value"], quantity.scale),
        interval_cell(on["value"], quantity.scale),
        change if quantity.is_comparable else NOT_COMPARABLE,
        str(len(both)),
    )
