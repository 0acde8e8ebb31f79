"""The tables of a study, from the readings of a sweep, and their files."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import polars as pl

from ptl_sweep.metrics.bootstrap import Replicates
from ptl_sweep.pipeline.graph import Cell
from ptl_sweep.reduce.error_crops import cut_errors
from ptl_sweep.reduce.rows import Measured, Reducer
from ptl_sweep.reduce.selections import read_selections
from ptl_sweep.seeds import derive_seed
from ptl_sweep.study import schemas
from ptl_sweep.study.claims.table import Thresholds, claims
from ptl_sweep.study.contrast import contrasts
from ptl_sweep.study.correlation import correlations
from ptl_sweep.study.groups import over_foreign_targets, split_domains
from ptl_sweep.study.published import load_published
from ptl_sweep.study.schemas import frame_of
from ptl_sweep.study.study import Study
from ptl_sweep.study.summary import summarise
from ptl_sweep.study.tables import write_table
from ptl_sweep.vocabulary import CellKey

STEMS = {  # table of the study -> its file
    "rows": "results",
    "iteration_rows": "iterations",
    "spreads": "train2test",
    "gaussians": "gaussians",
    "false_positives": "false_positives",
    "errors": "errors",
    "missed_persons": "missed_persons",
    "curves": "curves",
    "contrasts": "contrasts",
    "correlations": "correlations",
    "summary": "summary",
    "claims": "claims",
}
ARM = ("dataset", "synthetic")  # which have the values of axes in their names
FILES = tuple(f"{stem}.csv" for stem in STEMS.values())


def study_of(reducer: Reducer) -> Study:
    """Every table of a sweep, from its published stages."""
    readings = reducer.measure_all()
    results = [one for one in readings if one.is_final]
    settings = reducer.plan.settings
    scores, equal_counts = settings.score_thresholds, settings.analysis.ap_t2t.equal_counts
    schema = schemas.results_schema(scores, equal_counts)
    rows = frame_of([one.row for one in results], schema)
    errors = _with_place(results, "errors", schemas.ERRORS)
    replicates = _replicates(results)
    return Study(
        rows=rows,
        iteration_rows=frame_of([one.row for one in readings], schema),
        summary=over_foreign_targets(
            lambda cells: summarise(cells, scores, replicates, _rng("summary")), rows
        ),
        spreads=_with_place(results, "spreads", schemas.TRAIN2TEST),
        gaussians=_gaussians(reducer, readings),
        false_positives=_with_place(results, "false_positives", schemas.FALSE_POSITIVES),
        errors=errors,
        missed_persons=_with_place(results, "missed_persons", schemas.MISSED_PERSONS),
        curves=_with_place(results, "curves", schemas.CURVES),
        contrasts=over_foreign_targets(
            lambda cells: contrasts(cells, scores, replicates, _rng("contrasts")), rows
        ),
        correlations=correlations(
            split_domains(rows)[0], settings.analysis.num_resamples, _rng("correlations")
        ),
        claims=claims(rows, Thresholds(scores, equal_counts), errors),
        published=load_published(),
        selections=read_selections(reducer.plan),
        crops=cut_errors(reducer.plan, reducer.measurements.cells),
        score_thresholds=scores,
    )


def write_study(folder: Path, study: Study, cells: Sequence[Cell] = ()) -> None:
    """Write every table but the published one as CSV and Parquet, with the axes of `cells`."""
    for name, stem in STEMS.items():
        write_table(with_axes(getattr(study, name), cells), folder, stem)


def with_axes(table: pl.DataFrame, cells: Sequence[Cell]) -> pl.DataFrame:
    """Put the values of a sweep's axes behind the coordinates, where a table has cells or groups.

    Null: the axis does not change the cell, or its value is null.
    """
    if not any(cell.axes for cell in cells) or not {*ARM} <= {*table.columns}:
        return table
    rows = {
        (cell.id.dataset, cell.id.synthetic): {
            **dict(zip(ARM, (cell.id.dataset, cell.id.synthetic), strict=True)), **cell.axes
        }
        for cell in cells
    }  # fmt: skip
    values = pl.DataFrame(list(rows.values()), infer_schema_length=None)
    place = [name for name in table.columns if name in schemas.CELL]
    return table.join(values, on=ARM, how="left", maintain_order="left").select(
        *place, *cells[0].axes, pl.exclude(*place, *cells[0].axes)
    )


def _rng(purpose: str) -> np.random.Generator:
    return np.random.default_rng(derive_seed(0, purpose))


def _replicates(results: Sequence[Measured]) -> dict[CellKey, Replicates]:
    return {
        one.cell.id: one.metrics.replicates
        for one in results
        if one.metrics is not None and one.metrics.replicates is not None
    }


def _with_place(results: Sequence[Measured], table: str, schema: schemas.Schema) -> pl.DataFrame:
    """One table of all cells, each row with the columns of its cell."""
    rows = [
        {**one.place, **row}
        for one in results
        if one.metrics is not None
        for row in getattr(one.metrics, table)
    ]
    return frame_of(rows, schema)


def _gaussians(reducer: Reducer, readings: Sequence[Measured]) -> pl.DataFrame:
    """One row per detector, whatever the number of targets it was measured on."""
    known = reducer.measurements.gaussians
    first: dict[str, Measured] = {}
    for one in readings:
        first.setdefault(one.reading.detector, one)
    rows = [
        {name: value for name, value in one.place.items() if name != "target"}
        | {"train_key": key, **known[key]}
        for key, one in first.items()
        if key in known
    ]
    return frame_of(rows, schemas.GAUSSIANS)
