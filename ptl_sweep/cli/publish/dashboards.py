"""A W&B workspace and report of one sweep, as objects of wandb-workspaces (the extra `workspaces`).

Nothing here asks a server. A panel finds its runs by what they carry: a tag is the sweep, the job
type is train, evaluate or reduce, and config holds real_count, synthetic, iteration and target. The
group would not do: a stage that several sweeps share has one run, in the group of the first.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import polars as pl
import wandb_workspaces.reports.v2 as wr
import wandb_workspaces.workspaces as ws

from ptl_sweep.cli.publish import panels
from ptl_sweep.cli.publish.panels import GRID_TABLES
from ptl_sweep.compose.cells.ids import name_before_axes
from ptl_sweep.report import sentences
from ptl_sweep.report.breaks.marks import marked_sentences
from ptl_sweep.report.content import beside
from ptl_sweep.report.errors.costs import cost_changes, error_costs, of_foreign_targets
from ptl_sweep.report.verdicts.answers import answers
from ptl_sweep.report.verdicts.key_results import key_results
from ptl_sweep.study.claims.table import Statement
from ptl_sweep.study.study import Study
from ptl_sweep.tracking import MAX_TAG
from ptl_sweep.vocabulary import OFF

EVALUATE = "evaluate"  # job type
TARGET = "target"  # role of an evaluation that a cell asked for; others calibrate distances
COLUMNS = 3  # of panels in a section of the workspace
MAX_TITLE = 128  # characters of a report's title that wandb-workspaces accepts
PUBLISHED_HEADER = ("paper", "table", "target", "real", "synthetic", "t", "AP50 [%]", "AP [%]")


@dataclass(frozen=True, slots=True, kw_only=True)
class DashboardPlace:
    """Where in W&B the sweep's runs are; `entity` may be empty where nothing is saved."""

    entity: str
    project: str
    sweep: str


def last_iterations(rows: pl.DataFrame) -> dict[str, int]:
    """Find the PTL iteration that results.csv shows, by value of synthetic, off first.

    Values of axes that stand in the name of the source are named here as well, as runs have them.
    """
    axes = pl.col("dataset").str.replace("^[^,]*", "")
    named = rows.select("iteration", synthetic=pl.col("synthetic") + axes)
    last = named.group_by("synthetic").agg(pl.col("iteration").max()).drop_nulls()
    found = {str(name): int(iteration) for name, iteration in last.iter_rows()}
    order = sorted(found, key=lambda name: (name_before_axes(name) != OFF, name))
    return {name: found[name] for name in order}


def build_workspace(place: DashboardPlace, study: Study) -> ws.Workspace:
    """Build the sections Results, PTL, Evaluation and System over the runs of the sweep."""
    metrics = ["AP50", "AP", *panels.ap_t2t_columns(study.score_thresholds)]
    sections = {
        "Results": panels.result_panels(study.score_thresholds),
        "PTL": panels.ptl_panels(),
        "Evaluation": panels.evaluation_panels(),
        "System": panels.system_panels(),
    }
    names = ("real_count", "synthetic", "iteration", "target")
    pinned = ["run:displayName", *(f"config:{name}.value" for name in names)]
    return ws.Workspace(
        entity=place.entity,
        project=place.project,
        name=place.sweep,
        sections=[_section(name, content) for name, content in sections.items()],
        settings=ws.WorkspaceSettings(x_axis=panels.ITERATION, max_runs=100),
        runset_settings=ws.RunsetSettings(
            filters=_runs_in_results(place, study.rows),
            groupby=[ws.Metric("Group"), ws.Metric("JobType")],
            order=[ws.Ordering(ws.Summary("AP50"), ascending=False)],
            pinned_columns=[*pinned, *(f"summary:{name}" for name in metrics)],
        ),
    )


def _section(name: str, content: Sequence[Any]) -> ws.Section:
    """Build an open section with all of its panels on one page."""
    layout = ws.SectionLayoutSettings(columns=COLUMNS, rows=-(-len(content) // COLUMNS))
    return ws.Section(name=name, panels=list(content), is_open=True, layout_settings=layout)


def _runs_in_results(place: DashboardPlace, rows: pl.DataFrame) -> ws.And:
    """Choose the runs of the sweep, of its evaluations those in results.csv.

    A workspace has one filter. Without this one its scatter plots would mix the iterations of a
    chain, and show calibration as a result.
    """
    results = [
        ws.And(
            ws.Config("role") == TARGET,
            ws.Config("synthetic") == synthetic,
            ws.Config("iteration") == iteration,
        )
        for synthetic, iteration in last_iterations(rows).items()
    ]
    is_result = ws.Or(ws.Metric("JobType") != EVALUATE, *results)
    return ws.And(_of_sweep(place), is_result)


def _of_sweep(place: DashboardPlace) -> ws.FilterExpr:
    return ws.Tags().isin([place.sweep[:MAX_TAG]])


def build_report(place: DashboardPlace, study: Study, notes: Sequence[str] = ()) -> wr.Report:
    """Build the report: sentences, the grid, AP and AP_t2t, train2test, pictures, the papers.

    `notes` stand before everything else.
    """
    return wr.Report(
        entity=place.entity,
        project=place.project,
        title=f"{place.sweep}: synthetic images for person detection"[:MAX_TITLE],
        description="Built by `python -m ptl_sweep publish` from the tables of the sweep.",
        width="fluid",
        blocks=[
            *(wr.CalloutBlock(text=note) for note in notes),
            wr.H1("What the numbers say"),
            wr.UnorderedList(items=found_sentences(study)),
            wr.H1("The grid"),
            _grid([_runset("reduce", place, job_type="reduce")], map(panels.table, GRID_TABLES)),
            wr.H1("AP50 and AP_t2t against real images"),
            *_target_blocks(place, study),
            wr.H1("Does train2test distance predict AP50?"),
            _grid(_results(place, study.rows), [panels.against_distance()]),
            wr.H1("Selected pictures"),
            _grid(
                [_runset("PTL iterations", place, job_type="train", kind="ptl")],
                [panels.pictures("Transformed, with ground truth and detections", panels.PICTURES)],
            ),
            wr.H1("Published numbers"),
            wr.P("Recipes and splits of the papers are not public: compare directions, no values."),
            wr.MarkdownBlock(published_table(study.published)),
        ],
    )


def _target_blocks(place: DashboardPlace, study: Study) -> list[Any]:
    """Show for each target AP against real images at the last iteration, and AP50 over them."""
    blocks: list[Any] = []
    names = ["AP50", *panels.ap_t2t_columns(study.score_thresholds)]
    last = last_iterations(study.rows)
    for target in study.rows["target"].unique().sort():
        results = _results(place, study.rows, target=target)
        blocks += [wr.H2(target), _grid(results, map(panels.against_count, names))]
        if any(last.values()):
            chain = [_evaluations(place, name, synthetic=name, target=target) for name in last]
            blocks.append(_grid(chain, [panels.against_iteration()]))
    return blocks


def _grid(runsets: Sequence[Any], shown: Iterable[Any]) -> wr.PanelGrid:
    """Put panels side by side where they fit: wandb-workspaces moves those that overlap."""
    return wr.PanelGrid(runsets=list(runsets), panels=list(shown))


def _results(place: DashboardPlace, rows: pl.DataFrame, **config: str) -> list[Any]:
    """Choose the evaluations in results.csv; a run set, and so a colour, per synthetic."""
    return [
        _evaluations(place, f"{synthetic} t{t}", synthetic=synthetic, iteration=t, **config)
        for synthetic, t in last_iterations(rows).items()
    ]


def _evaluations(
    place: DashboardPlace, name: str, *, synthetic: str, **config: str | int
) -> wr.Runset:
    """Choose evaluations that cells asked for."""
    return _runset(
        f"synthetic {name}", place, job_type=EVALUATE, role=TARGET, synthetic=synthetic, **config
    )


def _runset(name: str, place: DashboardPlace, *, job_type: str, **config: str | int) -> wr.Runset:
    """Choose runs of the sweep by job type and config, in the report's project: no server is asked.

    Order and columns are objects: a plain string would be taken for the name of a run's attribute.
    """
    chosen = [ws.Config(key) == value for key, value in config.items()]
    runs = ws.And(_of_sweep(place), ws.Metric("JobType") == job_type, *chosen)
    order = [wr.OrderBy(wr.SummaryMetric("AP50")), wr.OrderBy(wr.Config("real_count.value"))]
    return wr.Runset(name=name, filters=runs, order=order)


def found_sentences(study: Study) -> list[str]:
    """Repeat the sentences of report.html that need nothing but the tables of the study."""
    return [
        *(one.sentence for one in answers(study.claims, study.summary)),
        *key_results(study.claims),
        *marked_sentences(study, Statement.MEDIUM),
        *marked_sentences(study, Statement.PREDICTION),
        *marked_sentences(study, Statement.NEARER),
        *error_costs(of_foreign_targets(study.errors, study.rows)),
        *cost_changes(study.claims),
        sentences.published(beside(study)),
    ]


def published_table(published: pl.DataFrame) -> str:
    """Write published AP, in percent, as a Markdown table."""
    lines = [PUBLISHED_HEADER, ("---",) * len(PUBLISHED_HEADER)]
    names = ("paper", "table", "target", "real_count", "synthetic", "iteration")
    for *about, ap50, ap in published.select(*names, "AP50", "AP").iter_rows():
        texts = ("" if one is None else str(one).replace("|", "\\|") for one in about)
        lines.append(
            (*texts, *("" if math.isnan(one) else f"{100 * one:.2f}" for one in (ap50, ap)))
        )
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
