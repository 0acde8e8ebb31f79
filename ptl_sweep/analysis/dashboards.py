"""A W&B workspace and report of one sweep, as objects of wandb-workspaces (the extra `workspaces`).

Nothing here asks a server. A panel finds its runs by what they carry: the group is the sweep, the
job type is train, evaluate or reduce, and config holds real_count, synthetic and target.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ptl_sweep.analysis.answers import answers
from ptl_sweep.analysis.groups import ap_t2t_labels, number, text
from ptl_sweep.analysis.report import sentences
from ptl_sweep.analysis.report.content import beside
from ptl_sweep.analysis.study import OFF, Row, Study
from ptl_sweep.analysis.tables import result_columns

if TYPE_CHECKING:
    import wandb_workspaces.reports.v2 as wr
    import wandb_workspaces.workspaces as ws

ITERATION, TRAIN_STEP, TRANSLATE_STEP = "ptl/iteration", "train/step", "translate/step"
GAPS = ("ptl/gap_p10", "ptl/gap_median", "ptl/gap_p90", "ptl/gap_selected_median")
SELECTED = ("ptl/effective_sample_size", "ptl/num_selected")
LOSSES = ("train/loss", "train/loss_classification", "train/loss_box")
TRANSLATOR_LOSSES = (
    "translate/loss_adversarial", "translate/loss_cycle", "translate/loss_identity",
    "translate/loss_discriminator",
)  # fmt: skip
SYSTEM = ("train/images_per_second", "train/learning_rate", "train/gpu_memory_mb")
PICTURES = ("ptl/transformed", "ptl/selected_pool")
DETECTED, DETECTIONS = "evaluate/detected", "evaluate/detections"
GRID_TABLES = ("grid/results", "grid/summary")
DISTANCES = ("t2t_tp_mean_shrunk", "t2t_fp_mean_shrunk")  # squared, of true and false positives
WIDTH, WIDE, HIGH = 24, 12, 10  # of a row of panels, half of it, and a tall panel: grid units
PUBLISHED_HEADER = ("paper", "table", "target", "real", "synthetic", "t", "AP50 [%]", "AP [%]")


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where in W&B the sweep's runs are; `entity` may be empty where nothing is saved."""

    entity: str
    project: str
    sweep: str


def ap_t2t_columns(study: Study) -> list[str]:
    """AP_t2t at each score threshold of the sweep, shrunk distances."""
    names = result_columns(study.score_thresholds)
    return [f"AP_t2t_{label}_shrunk" for label in ap_t2t_labels([dict.fromkeys(names)])]


def build_workspace(place: Place, study: Study) -> "ws.Workspace":
    """Sections Results, PTL, Evaluation, System over the runs of the sweep, by job type."""
    import wandb_workspaces.workspaces as ws

    metrics = ["AP50", "AP", *ap_t2t_columns(study)]
    sections = {
        "Results": _result_panels(study),
        "PTL": _ptl_panels(),
        "Evaluation": _evaluation_panels(),
        "System": [_curve(TRAIN_STEP, [name], name) for name in SYSTEM],
    }
    pinned = ["run:displayName", "config:real_count.value", "config:synthetic.value"]
    return ws.Workspace(
        entity=place.entity,
        project=place.project,
        name=place.sweep,
        sections=[ws.Section(name=n, panels=p, is_open=True) for n, p in sections.items()],
        settings=ws.WorkspaceSettings(x_axis=ITERATION, max_runs=100),
        runset_settings=ws.RunsetSettings(
            filters=[ws.Metric("Group") == place.sweep],
            groupby=[ws.Metric("JobType")],
            order=[ws.Ordering(ws.Summary("AP50"), ascending=False)],
            pinned_columns=[*pinned, *(f"summary:{name}" for name in metrics)],
        ),
    )


def _result_panels(study: Study) -> list[Any]:
    against_count = [_against_count(name) for name in ("AP50", "AP", *ap_t2t_columns(study))]
    return [*against_count, _against_distance(), *map(_table, GRID_TABLES)]


def _ptl_panels() -> list[Any]:
    return [
        _curve(ITERATION, GAPS, "Domain gap, squared Mahalanobis distance"),
        _curve(ITERATION, SELECTED, "Selected images and their effective number"),
        _curve(TRAIN_STEP, LOSSES, "Training loss"),
        _curve(TRANSLATE_STEP, TRANSLATOR_LOSSES, "CycleGAN losses"),
        _pictures("Transformed pictures, pool and selection", PICTURES),
    ]


def _evaluation_panels() -> list[Any]:
    import wandb_workspaces.reports.v2 as wr

    hit, missed = (wr.SummaryMetric(name) for name in DISTANCES)
    distances = wr.ScatterPlot(title="Distance of false against true positives", x=hit, y=missed)
    return [_pictures("Truths and detections", [DETECTED]), distances, _table(DETECTIONS)]


def _curve(x: str, names: Sequence[str], title: str) -> "wr.LinePlot":
    """Mean over the runs that share a value of synthetic: an iteration is a run of its own."""
    import wandb_workspaces.reports.v2 as wr

    return wr.LinePlot(title=title, x=x, y=list(names), groupby=wr.Config("synthetic"))


def _against_count(name: str) -> "wr.ScatterPlot":
    import wandb_workspaces.reports.v2 as wr

    x, y = wr.Config("real_count"), wr.SummaryMetric(name)
    title = f"{name} against real images"
    return wr.ScatterPlot(title=title, x=x, y=y, log_x=True, layout=wr.Layout(w=WIDE))


def _against_distance() -> "wr.ScatterPlot":
    import wandb_workspaces.reports.v2 as wr

    title = "AP50 against train2test distance of true positives"
    x, y = wr.SummaryMetric(DISTANCES[0]), wr.SummaryMetric("AP50")
    layout = wr.Layout(w=WIDTH, h=HIGH)
    return wr.ScatterPlot(title=title, x=x, y=y, regression=True, layout=layout)


def _pictures(title: str, names: Sequence[str]) -> "wr.MediaBrowser":
    import wandb_workspaces.reports.v2 as wr

    layout = wr.Layout(w=WIDTH, h=HIGH)
    return wr.MediaBrowser(title=title, media_keys=list(names), num_columns=4, layout=layout)


def _table(name: str) -> "wr.WeavePanelSummaryTable":
    import wandb_workspaces.reports.v2 as wr

    return wr.WeavePanelSummaryTable(table_name=name, layout=wr.Layout(w=WIDTH, h=HIGH))


def build_report(place: Place, study: Study, notes: Sequence[str] = ()) -> "wr.Report":
    """What the numbers say, the grid, AP and AP_t2t per target, train2test, pictures, the papers.

    `notes` are set before everything else.
    """
    import wandb_workspaces.reports.v2 as wr

    return wr.Report(
        entity=place.entity,
        project=place.project,
        title=f"{place.sweep}: synthetic images for person detection",
        description="Built by `python -m ptl_sweep publish` from the tables of the sweep.",
        width="fluid",
        blocks=[
            *(wr.CalloutBlock(text=note) for note in notes),
            wr.H1("What the numbers say"),
            wr.UnorderedList(items=found_sentences(study)),
            wr.H1("The grid"),
            _grid([_runset("reduce", place, job_type="reduce")], map(_table, GRID_TABLES)),
            wr.H1("AP50 and AP_t2t against real images"),
            *_target_blocks(place, study),
            wr.H1("Does train2test distance predict AP50?"),
            _grid([_runset("all", place, job_type="evaluate")], [_against_distance()]),
            wr.H1("Selected pictures"),
            _grid(
                [_runset("PTL iterations", place, job_type="train", kind="ptl")],
                [_pictures("Transformed, with truths and detections", PICTURES)],
            ),
            wr.H1("Published numbers"),
            wr.P("Recipes and splits of the papers are not public: compare directions, no values."),
            wr.MarkdownBlock(published_table(study.published)),
        ],
    )


def _target_blocks(place: Place, study: Study) -> list[Any]:
    """Per target, a run set per value of synthetic, so that each has its colour."""
    import wandb_workspaces.reports.v2 as wr

    blocks: list[Any] = []
    names = ["AP50", *ap_t2t_columns(study)]
    synthetics = sorted({text(row, "synthetic") for row in study.rows}, key=lambda s: (s != OFF, s))
    for target in sorted({text(row, "target") for row in study.rows}):
        runsets = [
            _runset(f"synthetic {name}", place, job_type="evaluate", synthetic=name, target=target)
            for name in synthetics
        ]
        blocks += [wr.H2(target), _grid(runsets, map(_against_count, names))]
    return blocks


def _grid(runsets: list[Any], panels: Any) -> "wr.PanelGrid":
    import wandb_workspaces.reports.v2 as wr

    return wr.PanelGrid(runsets=runsets, panels=list(panels))


def _runset(name: str, place: Place, *, job_type: str, **config: str) -> "wr.Runset":
    """Runs of the sweep by job type and config; in the report's own project, so no server is asked.

    Order and columns are objects: a plain string would be taken for the name of a run's attribute.
    """
    import wandb_workspaces.reports.v2 as wr
    import wandb_workspaces.workspaces as ws

    chosen = [ws.Config(key) == value for key, value in config.items()]
    return wr.Runset(
        name=name,
        filters=[ws.Metric("Group") == place.sweep, ws.Metric("JobType") == job_type, *chosen],
        order=[wr.OrderBy(wr.SummaryMetric("AP50")), wr.OrderBy(wr.Config("real_count"))],
    )


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


def workspace_json(workspace: "ws.Workspace") -> dict[str, Any]:
    """What `save` would send."""
    model = workspace._to_model()  # noqa: SLF001  the library has no public way to its JSON
    return _sent(model, model.entity, model.project)


def report_json(report: "wr.Report") -> dict[str, Any]:
    """What `save` would send."""
    model = report._to_model()  # noqa: SLF001
    return _sent(model, report.entity, report.project)


def _sent(model: Any, entity: str, project: str) -> dict[str, Any]:
    spec = json.loads(model.spec.model_dump_json(by_alias=True, exclude_none=True))
    return {"entity": entity, "project": project, "name": model.display_name, "spec": spec}
