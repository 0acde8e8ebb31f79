"""A W&B workspace and report of one sweep, as objects of wandb-workspaces (the extra `workspaces`).

Nothing here asks a server. A panel finds its runs by what they carry: a tag is the sweep, the job
type is train, evaluate or reduce, and config holds real_count, synthetic, iteration and target. The
group would not do: a stage that several sweeps share has one run, in the group of the first.
"""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ptl_sweep.cli.publish import panels
from ptl_sweep.cli.publish.panels import GRID_TABLES
from ptl_sweep.report import sentences
from ptl_sweep.report.answers import answers
from ptl_sweep.report.content import beside
from ptl_sweep.study.groups import number, text
from ptl_sweep.study.study import Study
from ptl_sweep.tracking import MAX_TAG
from ptl_sweep.vocabulary import OFF, Row

if TYPE_CHECKING:
    import wandb_workspaces.reports.v2 as wr
    import wandb_workspaces.workspaces as ws

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


def last_iterations(rows: Sequence[Row]) -> dict[str, int]:
    """The PTL iteration that results.csv shows, by value of synthetic, off first."""
    found: dict[str, int] = {}
    for row in rows:
        name, iteration = text(row, "synthetic"), int(number(row, "iteration"))
        found[name] = max(iteration, found.get(name, 0))
    return dict(sorted(found.items(), key=lambda item: (item[0] != OFF, item[0])))


def build_workspace(place: DashboardPlace, study: Study) -> "ws.Workspace":
    """Sections Results, PTL, Evaluation, System over the runs of the sweep, by job type."""
    import wandb_workspaces.workspaces as ws

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


def _section(name: str, content: Sequence[Any]) -> "ws.Section":
    """Open, all of its panels on one page."""
    import wandb_workspaces.workspaces as ws

    layout = ws.SectionLayoutSettings(columns=COLUMNS, rows=-(-len(content) // COLUMNS))
    return ws.Section(name=name, panels=list(content), is_open=True, layout_settings=layout)


def _runs_in_results(place: DashboardPlace, rows: Sequence[Row]) -> "ws.And":
    """The runs of the sweep, of its evaluations those in results.csv: a workspace has one filter.

    Else its scatter plots would mix the iterations of a chain and show calibration as a result.
    """
    import wandb_workspaces.workspaces as ws

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


def _of_sweep(place: DashboardPlace) -> "ws.FilterExpr":
    import wandb_workspaces.workspaces as ws

    return ws.Tags().isin([place.sweep[:MAX_TAG]])


def build_report(place: DashboardPlace, study: Study, notes: Sequence[str] = ()) -> "wr.Report":
    """What the numbers say, the grid, AP and AP_t2t per target, train2test, pictures, the papers.

    `notes` are set before everything else.
    """
    import wandb_workspaces.reports.v2 as wr

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
                [panels.pictures("Transformed, with truths and detections", panels.PICTURES)],
            ),
            wr.H1("Published numbers"),
            wr.P("Recipes and splits of the papers are not public: compare directions, no values."),
            wr.MarkdownBlock(published_table(study.published)),
        ],
    )


def _target_blocks(place: DashboardPlace, study: Study) -> list[Any]:
    """Per target: AP against real images at the last iteration, and AP50 over the iterations."""
    import wandb_workspaces.reports.v2 as wr

    blocks: list[Any] = []
    names = ["AP50", *panels.ap_t2t_columns(study.score_thresholds)]
    last = last_iterations(study.rows)
    for target in sorted({text(row, "target") for row in study.rows}):
        results = _results(place, study.rows, target=target)
        blocks += [wr.H2(target), _grid(results, map(panels.against_count, names))]
        if any(last.values()):
            chain = [_evaluations(place, name, synthetic=name, target=target) for name in last]
            blocks.append(_grid(chain, [panels.against_iteration()]))
    return blocks


def _grid(runsets: Sequence[Any], shown: Iterable[Any]) -> "wr.PanelGrid":
    """Side by side where they fit: wandb-workspaces moves panels that lie on each other."""
    import wandb_workspaces.reports.v2 as wr

    return wr.PanelGrid(runsets=list(runsets), panels=list(shown))


def _results(place: DashboardPlace, rows: Sequence[Row], **config: str) -> list[Any]:
    """The evaluations in results.csv; a run set, and so a colour, per value of synthetic."""
    return [
        _evaluations(place, f"{synthetic} t{t}", synthetic=synthetic, iteration=t, **config)
        for synthetic, t in last_iterations(rows).items()
    ]


def _evaluations(
    place: DashboardPlace, name: str, *, synthetic: str, **config: str | int
) -> "wr.Runset":
    """Evaluations that cells asked for."""
    return _runset(
        f"synthetic {name}", place, job_type=EVALUATE, role=TARGET, synthetic=synthetic, **config
    )


def _runset(name: str, place: DashboardPlace, *, job_type: str, **config: str | int) -> "wr.Runset":
    """Runs of the sweep by job type and config; in the report's own project, so no server is asked.

    Order and columns are objects: a plain string would be taken for the name of a run's attribute.
    """
    import wandb_workspaces.reports.v2 as wr
    import wandb_workspaces.workspaces as ws

    chosen = [ws.Config(key) == value for key, value in config.items()]
    runs = ws.And(_of_sweep(place), ws.Metric("JobType") == job_type, *chosen)
    order = [wr.OrderBy(wr.SummaryMetric("AP50")), wr.OrderBy(wr.Config("real_count.value"))]
    return wr.Runset(name=name, filters=runs, order=order)


def found_sentences(study: Study) -> list[str]:
    """The sentences of report.html that need nothing but the tables of the study."""
    return [
        *(answer.sentence for answer in answers(study.summary)),
        *sentences.medium_confidence(study.contrasts),
        *sentences.prediction(study.correlations),
        *sentences.distances(study.summary),
        *sentences.errors(study.errors),
        sentences.published(beside(study)),
    ]


def published_table(published: Sequence[Row]) -> str:
    """Published AP in percent, as a Markdown table."""
    lines = [PUBLISHED_HEADER, ("---",) * len(PUBLISHED_HEADER)]
    names = ("paper", "table", "target", "real_count", "synthetic", "iteration")
    for row in published:
        values = [100 * number(row, name) for name in ("AP50", "AP")]
        shown = ["" if np.isnan(value) else f"{value:.2f}" for value in values]
        lines.append((*(text(row, name).replace("|", "\\|") for name in names), *shown))
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def workspace_model(workspace: "ws.Workspace") -> Any:
    """What is sent: panels show single runs, though the table of runs is grouped.

    wandb-workspaces has no setting for it, and a panel would show the mean of a whole job type. A
    section's own setting wins over that of the workspace.
    """
    model = workspace._to_model()  # noqa: SLF001  the library has no public way to its JSON
    section = model.spec.section
    places = (section.panel_bank_section_config, *section.panel_bank_config.sections)
    for settings in (section.settings, *(place.local_panel_settings for place in places)):
        settings.use_runs_table_grouping_in_panels = False
    return model


def workspace_json(workspace: "ws.Workspace") -> dict[str, Any]:
    """What saving sends."""
    return _sent(workspace_model(workspace), workspace.entity, workspace.project)


def report_json(report: "wr.Report") -> dict[str, Any]:
    """What `save` would send."""
    model = report._to_model()  # noqa: SLF001
    return _sent(model, report.entity, report.project)


def _sent(model: Any, entity: str, project: str) -> dict[str, Any]:
    spec = json.loads(model.spec.model_dump_json(by_alias=True, exclude_none=True))
    return {"entity": entity, "project": project, "name": model.display_name, "spec": spec}
