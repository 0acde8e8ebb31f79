"""Sheets of false positives that are alike, one per target and value of synthetic."""

import logging
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ptl_sweep.compose.cells.ids import values_after_name
from ptl_sweep.datasets.records import ImageRecord
from ptl_sweep.datasets.validation import DataError
from ptl_sweep.detection.table import DetectionTable, load_detections
from ptl_sweep.distance.gaussian import fit_gaussian
from ptl_sweep.distance.train2test import distances
from ptl_sweep.metrics.clusters import FalsePositiveCluster, cluster_false_positives
from ptl_sweep.metrics.measure import read_training_features
from ptl_sweep.pipeline.graph import Cell
from ptl_sweep.pipeline.plan import Plan
from ptl_sweep.reduce.error_crops import cut_out, records_of, shown_cells
from ptl_sweep.report.figures.drawing.saving import save_figure
from ptl_sweep.report.figures.drawing.style import WIDTH
from ptl_sweep.seeds import derive_seed
from ptl_sweep.stages.train import FEATURES
from ptl_sweep.store import StoreError

logger = logging.getLogger(__name__)

NUM_SHOWN = 6  # false positives of a cluster
ROW = 1.2  # inches


def write_cluster_sheets(plan: Plan, folder: Path) -> None:
    """Write clusters-<data set>-<target>-<synthetic>.svg and .png for each cell that is shown.

    A cell is left out, with the reason in the log, where its stages or pictures are missing or it
    has too few false positives.
    """
    for cell in shown_cells(plan.cells):
        name = f"{cell.id.dataset}-{cell.id.target}-{cell.id.synthetic}"
        try:
            table, clusters = _clusters(plan, cell)
        except (StoreError, OSError, ValueError) as error:
            logger.warning("no clusters of %s: %s", name, error)
            continue
        records = records_of(plan, cell) if clusters else {}
        if not records:
            logger.warning("no clusters of %s: too few false positives, or no pictures", name)
            continue
        title = _title(cell, sum(cluster.num for cluster in clusters))
        draw = partial(cluster_sheet, table, clusters, records, title)
        save_figure(folder, f"clusters-{name}", draw, title)


def _clusters(plan: Plan, cell: Cell) -> tuple[DetectionTable, list[FalsePositiveCluster]]:
    reading = cell.readings[-1]
    for key in (reading.evaluate, reading.detector):
        if not plan.store.is_published(key):
            raise StoreError(f"{key} is not computed yet")
    table = load_detections(plan.store.path(reading.evaluate))
    training = read_training_features(plan.store.artifact(reading.detector, FEATURES))
    fit = fit_gaussian(training.features, plan.settings.analysis.shrinkage)
    return table, cluster_false_positives(
        table,
        distances(table.features, fit),
        min_score=plan.settings.score_thresholds[0],
        num_shown=NUM_SHOWN,
        rng=np.random.default_rng(derive_seed(0, "clusters")),
    )


def _title(cell: Cell, num: int) -> str:
    return (
        f"The {num} most confident false positives by their features: {cell.id.synthetic}"
        f"{values_after_name(cell.id.dataset)}, {cell.id.real_count} real, {cell.id.target}, "
        f"seed {cell.id.seed}"
    )


def cluster_sheet(
    table: DetectionTable,
    clusters: Sequence[FalsePositiveCluster],
    records: Mapping[str, ImageRecord],
    title: str,
) -> Figure:
    """A row per cluster: what it is made of, and those nearest to its centre, cut out."""
    figure = Figure(figsize=(WIDTH, ROW * len(clusters) + 0.3), layout="constrained")
    panels = figure.subplots(len(clusters), NUM_SHOWN + 1, squeeze=False)
    figure.suptitle(title, fontsize=9)
    for line, cluster in zip(panels, clusters, strict=True):
        for axes in line:
            axes.set_axis_off()
        line[0].text(0.0, 0.5, cluster_text(cluster), va="center", fontsize=8)
        for axes, row in zip(line[1:], cluster.rows.tolist(), strict=False):
            _show(axes, table, row, records)
    return figure


def cluster_text(cluster: FalsePositiveCluster) -> str:
    """Share, median score and distance, and the type of most of them."""
    kind = max(cluster.types, key=cluster.types.__getitem__)
    lines = [f"{100 * cluster.share:.0f} %", f"score {cluster.score:.2f}"]
    if np.isfinite(cluster.distance):
        lines.append(f"distance {cluster.distance:.0f}")
    return "\n".join([*lines, kind, f"({100 * cluster.types[kind]:.0f} %)"])


def _show(axes: Axes, table: DetectionTable, row: int, records: Mapping[str, ImageRecord]) -> None:
    """A picture that is missing or damaged leaves its place empty."""
    name = table.images[int(table.image[row])].image_id
    try:
        axes.imshow(np.asarray(cut_out(records[name], table.boxes[row].tolist())))
    except (DataError, OSError) as error:
        logger.warning("a false positive in %s is not shown: %s", name, error)
