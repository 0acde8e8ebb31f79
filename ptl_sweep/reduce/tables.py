"""The tables of a study, from the readings of a sweep, and their files."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ptl_sweep.metrics.bootstrap import Replicates
from ptl_sweep.reduce.error_crops import cut_errors
from ptl_sweep.reduce.rows import Measured, Reducer
from ptl_sweep.reduce.selections import read_selections
from ptl_sweep.seeds import derive_seed
from ptl_sweep.study import schemas
from ptl_sweep.study.contrast import contrasts
from ptl_sweep.study.correlation import correlations
from ptl_sweep.study.published import load_published
from ptl_sweep.study.study import Study
from ptl_sweep.study.summary import summarise
from ptl_sweep.study.tables import write_table
from ptl_sweep.vocabulary import CellKey, Row

TABLES: dict[str, tuple[str, schemas.Schema]] = {  # of the study -> file and columns
    "spreads": ("train2test", schemas.TRAIN2TEST),
    "gaussians": ("gaussians", schemas.GAUSSIANS),
    "false_positives": ("false_positives", schemas.FALSE_POSITIVES),
    "errors": ("errors", schemas.ERRORS),
    "curves": ("curves", schemas.CURVES),
    "contrasts": ("contrasts", schemas.CONTRASTS),
    "correlations": ("correlations", schemas.CORRELATIONS),
    "summary": ("summary", schemas.SUMMARY),
}
FILES = ("results.csv", "iterations.csv", *(f"{stem}.csv" for stem, _ in TABLES.values()))


def study_of(reducer: Reducer) -> Study:
    """Every table of a sweep, from its published stages."""
    readings = reducer.measure_all()
    results = [one for one in readings if one.is_final]
    rows = [one.row for one in results]
    replicates = _replicates(results)
    resamples = reducer.plan.settings.analysis.num_resamples
    return Study(
        rows=rows,
        iteration_rows=[one.row for one in readings],
        summary=summarise(rows, replicates, _rng("summary")),
        spreads=_with_place(results, "spreads"),
        gaussians=_gaussian_rows(reducer, readings),
        false_positives=_with_place(results, "false_positives"),
        errors=_with_place(results, "errors"),
        curves=_with_place(results, "curves"),
        contrasts=contrasts(rows, replicates, _rng("contrasts")),
        correlations=correlations(rows, resamples, _rng("correlations")),
        published=load_published(),
        selections=read_selections(reducer.plan),
        crops=cut_errors(reducer.plan, reducer.measurements.cells),
        score_thresholds=reducer.plan.settings.score_thresholds,
    )


def write_study(folder: Path, study: Study, results: schemas.Schema) -> None:
    """Every table as CSV and Parquet; `results` is the schema of results.csv."""
    write_table(schemas.frame_of(study.rows, results), folder, "results")
    write_table(schemas.frame_of(study.iteration_rows, results), folder, "iterations")
    for name, (stem, schema) in TABLES.items():
        write_table(schemas.frame_of(getattr(study, name), schema), folder, stem)


def _rng(purpose: str) -> np.random.Generator:
    return np.random.default_rng(derive_seed(0, purpose))


def _replicates(results: Sequence[Measured]) -> dict[CellKey, Replicates]:
    return {
        (one.cell.id.dataset, one.cell.id.real_count, one.cell.id.synthetic,
         one.cell.id.target, one.cell.id.seed): one.metrics.replicates
        for one in results
        if one.metrics is not None and one.metrics.replicates is not None
    }  # fmt: skip


def _with_place(results: Sequence[Measured], table: str) -> list[Row]:
    """Rows of one table of all cells, each with the columns of its cell before it."""
    return [
        {**one.place, **row}
        for one in results
        if one.metrics is not None
        for row in getattr(one.metrics, table)
    ]


def _gaussian_rows(reducer: Reducer, readings: Sequence[Measured]) -> list[Row]:
    """One row per detector, whatever the number of targets it was measured on."""
    found: dict[str, Row] = {}
    for one in readings:
        key = one.reading.detector
        gaussian = reducer.measurements.gaussians.get(key)
        if gaussian is not None and key not in found:
            place = {name: one.place[name] for name in schemas.CELL if name != "target"}
            found[key] = {**place, "train_key": key, **gaussian}
    return list(found.values())
