"""What stands in the page: its tables and the sentence above each of them."""

from collections.abc import Mapping, Sequence
from typing import TypeAlias

import polars as pl

from ptl_sweep.report import aggregates, columns, health, sentences
from ptl_sweep.report.breaks import conditions
from ptl_sweep.report.breaks.marks import marked_sentences, marker
from ptl_sweep.report.context import ReportContext, StageCost
from ptl_sweep.report.errors import costs, persons
from ptl_sweep.report.tables import PageColumn, PageTable, make_table
from ptl_sweep.report.verdicts.effects import effects
from ptl_sweep.report.verdicts.key_results import key_result_lines, key_results
from ptl_sweep.study.claims.table import Statement
from ptl_sweep.study.published import published_beside
from ptl_sweep.study.study import Study
from ptl_sweep.vocabulary import ApT2t

TableContent: TypeAlias = tuple[str, Sequence[PageColumn], pl.DataFrame]  # caption, columns, rows


def beside(study: Study) -> pl.DataFrame:
    """Published changes that ours stand beside: per source, those that it shares, else why not."""
    sources = sorted(study.rows["dataset"].unique())
    found = pl.concat([published_beside(study.published, study.summary, one) for one in sources])
    ours = found.filter(pl.col("change") != "")
    return found if ours.is_empty() else ours


def page_tables(context: ReportContext, study: Study) -> dict[str, PageTable]:
    """Every table by its name; one without lines is left out by the page."""
    long, short = {**_cell_tables(study), **_long_tables(study)}, _short_tables(context, study)
    return {
        name: make_table(name, *content, can_filter=name in long)
        for name, content in {**long, **short}.items()
    }


def _cell_tables(study: Study) -> dict[str, TableContent]:
    ap_t2t = [ApT2t(threshold) for threshold in study.score_thresholds]
    far = "Distances of every cell, scores of 0.01 and more"
    scores = "AP_t2t of every cell, s: lowest score"
    return {
        "grid": ("Cells of the grid", columns.grid_columns(ap_t2t), study.rows),
        "ap_t2t": (scores, columns.ap_t2t_columns(ap_t2t), study.rows),
        "distances": (far, columns.DISTANCES, study.rows),
    }


def _long_tables(study: Study) -> dict[str, TableContent]:
    """Those per group, which have a search field too."""
    effects = aggregates.effect_lines(study.summary)
    by_target = effects.filter(pl.col("target") != aggregates.OVER_TARGETS)
    contrasts = aggregates.contrast_lines(study.contrasts)
    spreads = aggregates.spread_lines(study.spreads)
    errors = aggregates.error_lines(study.errors)
    gaussians = aggregates.gaussian_lines(study.gaussians)
    return {
        "effects": ("AP50 by target", columns.EFFECTS, by_target),
        "contrasts": ("Gain of AP_t2t by band", columns.CONTRASTS, contrasts),
        "spreads": ("Distances at equal n", columns.SPREADS, spreads),
        "errors": ("What each type of error costs", columns.ERRORS, errors),
        "gaussians": ("Gaussian of each detector", columns.GAUSSIANS, gaussians),
    }


def _short_tables(context: ReportContext, study: Study) -> dict[str, TableContent]:
    pooled = aggregates.effect_lines(study.summary).filter(target=aggregates.OVER_TARGETS)
    selections = aggregates.selection_lines(study.selections)
    composition = aggregates.composition_lines(study.false_positives)
    times = [sentences.duration(one.seconds) for one in context.stage_costs]
    costs = pl.DataFrame(context.stage_costs, StageCost._fields, orient="row")
    costs = costs.with_columns(pl.Series("time", times, pl.String))
    drift = aggregates.drift_lines(context.drift)
    return {
        "summary": ("AP50 by training set", columns.TRAINING_SETS, pooled),
        "key_results": (
            "Key results of the paper",
            columns.KEY_RESULTS,
            key_result_lines(study.claims, marker(study)),
        ),
        "published": ("Published and ours", columns.PUBLISHED, beside(study)),
        "correlations": ("Correlations", columns.CORRELATIONS, study.correlations),
        "selections": ("Selection by iteration", columns.SELECTIONS, selections),
        "composition": ("What false positives are", columns.COMPOSITION, composition),
        "breaks": ("Break conditions", conditions.COLUMNS, conditions.break_lines(study)),
        "persons": (
            "Persons that no detection hits",
            persons.COLUMNS,
            persons.person_lines(_foreign(study, study.missed_persons)),
        ),
        "health": (
            "What went wrong or is to be known",
            health.COLUMNS,
            health.health_lines(context),
        ),
        "costs": ("Stages and time", columns.COSTS, costs),
        "drift": ("Mean distances of test data, simulated", columns.DRIFT, drift),
    }


def leads(context: ReportContext, study: Study) -> Mapping[str, Sequence[str]]:
    """The sentence that opens each section; one for each value of synthetic where it needs that."""
    return {
        "levels": sentences.levels(study.summary),
        "published": [sentences.published(beside(study))],
        "key_results": key_results(study.claims),
        "prediction": marked_sentences(study, Statement.PREDICTION),
        "effects": effects(study.claims),
        "bands": marked_sentences(study, Statement.MEDIUM),
        "distances": marked_sentences(study, Statement.NEARER),
        "selection": sentences.selection(study.selections),
        "translation": sentences.translation(aggregates.selection_rows(study.selections)),
        "errors": [
            *costs.error_costs(_foreign(study, study.errors)),
            *costs.cost_changes(study.claims),
            *persons.missed_persons(_foreign(study, study.missed_persons)),
        ],
        "health": [sentences.health(study.rows, study.gaussians, len(context.failures))],
        "drift": sentences.drift(context.drift),
        "cost": [sentences.cost(context.stage_costs)],
    }


def _foreign(study: Study, table: pl.DataFrame) -> pl.DataFrame:
    return costs.of_foreign_targets(table, study.rows)
