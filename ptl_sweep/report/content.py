"""What stands in the page: its tables and the sentence above each of them."""

from collections import Counter
from collections.abc import Mapping, Sequence

from ptl_sweep.report import aggregates, answers, columns, sentences
from ptl_sweep.report.context import ReportContext
from ptl_sweep.report.tables import PageTable, make_table
from ptl_sweep.study.groups import ap_t2t_of, text
from ptl_sweep.study.published import published_beside
from ptl_sweep.study.study import Study
from ptl_sweep.vocabulary import Row


def beside(study: Study) -> list[Row]:
    """Published changes that ours stand beside: per source, those that it shares, else why not."""
    found: list[Row] = []
    for dataset in sorted({text(row, "dataset") for row in study.rows}):
        found += published_beside(study.published, study.summary, dataset)
    ours = [row for row in found if row["change"]]
    return ours or found


def page_tables(context: ReportContext) -> dict[str, PageTable]:
    """Every table by its name; one without lines is left out by the page."""
    study = context.study
    effects = aggregates.effect_lines(study.summary)
    pooled = [row for row in effects if row["target"] == aggregates.OVER_TARGETS]
    by_target = [row for row in effects if row["target"] != aggregates.OVER_TARGETS]
    costs = [
        {**one._asdict(), "time": sentences.duration(one.seconds)} for one in context.stage_costs
    ]
    tables = [
        *_cell_tables(study.rows),
        make_table("summary", "AP50 by training set", columns.TRAINING_SETS, pooled),
        make_table("effects", "AP50 by target", columns.EFFECTS, by_target, can_filter=True),
        make_table("published", "Published and ours", columns.PUBLISHED, beside(study)),
        make_table("correlations", "Correlations", columns.CORRELATIONS, study.correlations),
        make_table(
            "contrasts", "Gain of AP_t2t by band", columns.CONTRASTS, study.contrasts,
            can_filter=True,
        ),
        make_table(
            "spreads", "Distances at equal n", columns.SPREADS,
            aggregates.spread_lines(study.spreads), can_filter=True,
        ),
        make_table(
            "selections", "Selection by iteration", columns.SELECTIONS,
            aggregates.selection_lines(study.selections),
        ),
        make_table(
            "errors", "AP50 without a type of false positive", columns.ERRORS,
            aggregates.error_lines(study.errors), can_filter=True,
        ),
        make_table(
            "composition", "What false positives are", columns.COMPOSITION,
            aggregates.composition_lines(study.false_positives),
        ),
        make_table(
            "gaussians", "Gaussian of each detector", columns.GAUSSIANS,
            aggregates.gaussian_lines(study.gaussians), can_filter=True,
        ),
        make_table(
            "failures", "Stages that failed", columns.FAILURES,
            [one._asdict() | {"status": "failed"} for one in context.failures],
        ),
        make_table("costs", "Stages and time", columns.COSTS, costs),
        make_table(
            "drift", "Mean distances of test data, simulated", columns.DRIFT,
            aggregates.drift_lines(context.drift),
        ),
    ]  # fmt: skip
    return {table.name: table for table in tables}


def _cell_tables(rows: Sequence[Row]) -> list[PageTable]:
    headline = ap_t2t_of(rows)
    choices = {
        "grid": ("Cells of the grid", columns.grid_columns(headline)),
        "ap_t2t": ("AP_t2t of every cell, s: lowest score", columns.ap_t2t_columns(headline)),
        "distances": ("Distances of every cell, scores of 0.01 and more", columns.DISTANCES),
    }
    return [
        make_table(name, caption, chosen, rows, can_filter=True)
        for name, (caption, chosen) in choices.items()
    ]


def leads(context: ReportContext) -> Mapping[str, Sequence[str]]:
    """The sentence that opens each section; one for each value of synthetic where it needs that."""
    study = context.study
    return {
        "levels": answers.levels(study.summary),
        "published": [sentences.published(beside(study))],
        "prediction": sentences.prediction(study.correlations),
        "effects": answers.effects(study.summary),
        "bands": sentences.medium_confidence(study.contrasts),
        "distances": sentences.distances(study.summary),
        "selection": sentences.selection(study.selections),
        "errors": sentences.errors(study.errors),
        "health": [sentences.health(study.rows, study.gaussians, len(context.failures))],
        "drift": sentences.drift(context.drift),
        "cost": [sentences.cost(context.stage_costs)],
    }


def missing_reasons(rows: Sequence[Row]) -> Counter[str]:
    """Why values are missing, and in how many cells."""
    return Counter(text(row, "reason") for row in rows if row.get("reason"))
