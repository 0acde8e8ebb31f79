"""AP50 and AP by target and number of real images: the shape of PTL Table 4."""

from collections.abc import Sequence

import polars as pl

from ptl_sweep.report.paper.layout import PERCENT, PaperTable, interval_cell, with_gap_note
from ptl_sweep.report.paper.places import (
    AP_COLUMNS,
    Method,
    PaperPlace,
    last_iterations,
    places,
    seed_values,
)
from ptl_sweep.vocabulary import OFF


def crossdomain(iteration_rows: pl.DataFrame) -> PaperTable:
    """AP50 and AP per target and real count: `off`, and the others at their last iteration.

    Mean over seeds with Student's t interval; the shape of PTL Table 4, whose last iteration is 5.
    """
    methods = [Method(OFF, 0), *last_iterations(iteration_rows)]
    header = ["trained on", "target", "real"]
    for method in methods:
        name = OFF if method.synthetic == OFF else f"{method.synthetic}, it. {method.iteration}"
        header += [f"{name}: {label}" for label in AP_COLUMNS.values()]
    rows = [
        (*place.labels, *_ap_cells(iteration_rows, place, methods))
        for place in places(iteration_rows)
    ]
    return PaperTable(
        title="Cross-domain detection",
        caption="AP50 and AP (IoU .5:.95) with real images only (off) and after the last PTL "
        "iteration, mean over seeds.",
        header=(*header, "seeds"),
        rows=tuple(rows),
        notes=with_gap_note(rows, "seeds: of each way to train in turn where they differ."),
    )


def _ap_cells(rows: pl.DataFrame, place: PaperPlace, methods: Sequence[Method]) -> list[str]:
    """AP50 and AP of every method, then the number of seeds."""
    found = [
        seed_values(rows, place, method, column) for method in methods for column in AP_COLUMNS
    ]
    counts = [str(len(one)) for one in found[:: len(AP_COLUMNS)]]
    seeds = counts[0] if len(set(counts)) == 1 else " / ".join(counts)
    return [*(interval_cell(one["value"], PERCENT) for one in found), seeds]
