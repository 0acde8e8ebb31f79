"""The panels of a W&B workspace or report, by the names that the stages log.

Nothing here asks a server; every panel is an object of wandb-workspaces (the extra `workspaces`).
"""

from collections.abc import Sequence
from typing import Any

import wandb_workspaces.reports.v2 as wr

from ptl_sweep.vocabulary import SHRUNK_DISTANCE, ApT2t

ITERATION, TRAIN_STEP, TRANSLATE_STEP = "ptl/iteration", "train/step", "translate/step"
GAPS = ("ptl/gap_p10", "ptl/gap_median", "ptl/gap_p90", "ptl/gap_selected_median")
SELECTED = ("ptl/effective_sample_size", "ptl/num_selected")
LOSSES = ("train/loss", "train/loss_classification", "train/loss_box")
TRANSLATOR_LOSSES = (
    "translate/loss_adversarial", "translate/loss_cycle", "translate/loss_identity",
    "translate/loss_nce", "translate/loss_discriminator",
)  # fmt: skip
SYSTEM = ("train/images_per_second", "train/learning_rate", "train/gpu_memory_mb")
PICTURES = ("ptl/transformed", "ptl/selected_pool")
DETECTED, DETECTIONS = "evaluate/detected", "evaluate/detections"
GRID_TABLES = ("grid/results", "grid/summary")
DISTANCES = (
    SHRUNK_DISTANCE.name,
    SHRUNK_DISTANCE._replace(kind="fp").name,
)  # squared, of true and false positives
WIDTH, WIDE, HIGH = 24, 12, 10  # of a row of panels, half of it, and a tall panel: grid units


def ap_t2t_columns(score_thresholds: Sequence[float]) -> list[str]:
    """Name AP_t2t at each score threshold of the sweep, by shrunk distances."""
    return [ApT2t(score).name for score in score_thresholds]


def result_panels(score_thresholds: Sequence[float]) -> list[Any]:
    """Show AP against real images and against distance, and the tables of the grid."""
    names = ("AP50", "AP", *ap_t2t_columns(score_thresholds))
    return [*map(against_count, names), against_distance(), *map(table, GRID_TABLES)]


def ptl_panels() -> list[Any]:
    """Show how PTL went: gaps, selection, losses, pictures."""
    return [
        curve(ITERATION, GAPS, "Domain gap, squared Mahalanobis distance"),
        curve(ITERATION, SELECTED, "Selected images and their effective number"),
        curve(TRAIN_STEP, LOSSES, "Training loss"),
        curve(TRANSLATE_STEP, TRANSLATOR_LOSSES, "Translator losses"),
        pictures("Transformed pictures, pool and selection", PICTURES),
    ]


def evaluation_panels() -> list[Any]:
    """Show detections: pictures, distances, the table."""
    true, false = (wr.SummaryMetric(name) for name in DISTANCES)
    distances = wr.ScatterPlot(title="Distance of false against true positives", x=true, y=false)
    return [pictures("Ground truth and detections", [DETECTED]), distances, table(DETECTIONS)]


def system_panels() -> list[Any]:
    """Show speed, learning rate and memory of the trainings."""
    return [curve(TRAIN_STEP, [name], name) for name in SYSTEM]


def curve(x: str, names: Sequence[str], title: str) -> wr.LinePlot:
    """Plot the mean over runs that share a value of synthetic: each iteration is its own run."""
    return wr.LinePlot(title=title, x=x, y=list(names), groupby=wr.Config("synthetic"))


def against_count(name: str) -> wr.ScatterPlot:
    """Plot a metric of evaluations against the number of real images, logarithmic."""
    x, y = wr.Config("real_count"), wr.SummaryMetric(name)
    title = f"{name} against real images"
    return wr.ScatterPlot(title=title, x=x, y=y, log_x=True, layout=wr.Layout(w=WIDE))


def against_distance() -> wr.ScatterPlot:
    """Plot AP50 against the distance of true positives, with a regression line."""
    title = "AP50 against train2test distance of true positives"
    x, y = wr.SummaryMetric(DISTANCES[0]), wr.SummaryMetric("AP50")
    layout = wr.Layout(w=WIDTH, h=HIGH)
    return wr.ScatterPlot(title=title, x=x, y=y, regression=True, layout=layout)


def against_iteration() -> wr.ScatterPlot:
    """Plot AP50 after each PTL iteration; 0 is the detector of real images alone."""
    x, y = wr.Config("iteration"), wr.SummaryMetric("AP50")
    layout = wr.Layout(w=WIDTH)
    return wr.ScatterPlot(title="AP50 against PTL iteration", x=x, y=y, layout=layout)


def pictures(title: str, names: Sequence[str]) -> wr.MediaBrowser:
    """Show pictures that runs logged, four side by side."""
    layout = wr.Layout(w=WIDTH, h=HIGH)
    return wr.MediaBrowser(title=title, media_keys=list(names), num_columns=4, layout=layout)


def table(name: str) -> wr.WeavePanelSummaryTable:
    """Show a table that runs logged."""
    return wr.WeavePanelSummaryTable(table_name=name, layout=wr.Layout(w=WIDTH, h=HIGH))
