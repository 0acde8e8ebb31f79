"""A sweep as a value: its tables, and what is behind each cell, read from the store.

Nothing here trains or submits anything, and nothing of the sweep is changed.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from ptl_sweep import __version__
from ptl_sweep.api import frames
from ptl_sweep.api.coco import write_coco
from ptl_sweep.api.measuring import measure_images, target_images
from ptl_sweep.compose.cells.ids import CellId, named_axes
from ptl_sweep.config.schema import ConfigError
from ptl_sweep.datasets import registry
from ptl_sweep.detection.detector import Detector
from ptl_sweep.detection.table import ARTIFACTS, DetectionTable, load_detections
from ptl_sweep.distance.gaussian import Gaussian, GaussianRefusal, fit_gaussian
from ptl_sweep.own_detector.export import export_detections
from ptl_sweep.pipeline.graph import CellIteration
from ptl_sweep.pipeline.plan import Plan, find_plan
from ptl_sweep.predict.distance import TrainingDistance
from ptl_sweep.predict.published import PublishedDetector
from ptl_sweep.reduce.tables import STEMS
from ptl_sweep.stages.train import MANIFEST
from ptl_sweep.stages.training_set import read_training_set
from ptl_sweep.study.tables import read_table
from ptl_sweep.terminal import did_you_mean
from ptl_sweep.vocabulary import Value


def load_sweep(name: str | Path | None = None, root: str | Path = "outputs") -> "Sweep":
    """Find a sweep by its name or folder, or the newest below `root`. Raises: ConfigError."""
    return Sweep(find_plan(Path(root), None if name is None else str(name)))


@dataclass(frozen=True, slots=True)
class Sweep:
    """A planned sweep; what it has not computed yet cannot be read.

    Tables are polars frames (`.to_pandas()` makes the other kind) with the columns of docs/results.
    A cell is named by as many of its coordinates as tell it from the others.
    """

    plan: Plan

    @property
    def name(self) -> str:
        """With the hash of its cells."""
        return self.plan.name

    @property
    def folder(self) -> Path:
        """Where report.html and the tables lie."""
        return self.plan.folder

    @property
    def cells(self) -> pl.DataFrame:
        """Coordinates of every cell, computed or not."""
        rows = [{**cell.id._asdict(), **cell.axes} for cell in self.plan.cells]
        return pl.DataFrame(rows, infer_schema_length=None)

    @property
    def results(self) -> pl.DataFrame:
        """results.csv: one row for each cell. Raises: ConfigError before the first report."""
        return self.table("results")

    @property
    def summary(self) -> pl.DataFrame:
        """summary.csv: means over seeds, with intervals. Raises: ConfigError."""
        return self.table("summary")

    @property
    def claims(self) -> pl.DataFrame:
        """claims.csv: every statement with its verdict. Raises: ConfigError."""
        return self.table("claims")

    def table(self, name: str) -> pl.DataFrame:
        """A table of the study by the name of its file. Raises: ConfigError."""
        if name not in STEMS.values():
            known = ", ".join(STEMS.values())
            raise ConfigError(f"no table {name}{did_you_mean(name, STEMS.values())}: {known}")
        path = self.folder / f"{name}.parquet"
        if not path.is_file():
            raise ConfigError(
                f"{path} is not there\n  fix: python -m ptl_sweep report {self.folder}"
            )
        return read_table(path)

    def cell(self, **coordinates: str | float) -> CellId:
        """The one cell with these coordinates; axes as `**{"synthetic.temperature": 5}`.

        Raises: ConfigError for none or several.
        """
        wanted = named_axes(coordinates, self.plan.axes)
        found = [cell.id for cell in self.plan.cells if cell.is_at(wanted)]
        if len(found) != 1:
            raise ConfigError(_not_one(self.plan, wanted, found))
        return found[0]

    def detections(self, cell: CellId, iteration: int | None = None) -> pl.DataFrame:
        """What the cell's detector found on its target, by image and falling score.

        `distance` is the squared shrunk Mahalanobis distance to the training set (docs/method,
        section 2); null below the score from which features are kept, NaN without a Gaussian.
        Raises: ConfigError, StoreError.
        """
        reading = self._reading(cell, iteration)
        return frames.detections_frame(self._found(reading), self.gaussian(cell, iteration))

    def persons(self, cell: CellId, iteration: int | None = None) -> pl.DataFrame:
        """The target's persons, and which of them the detector missed at any score."""
        return frames.persons_frame(self._found(self._reading(cell, iteration)))

    def export_coco(self, cell: CellId, folder: str | Path, iteration: int | None = None) -> Path:
        """Write what `detections` and `persons` say as COCO files; returns their folder.

        detections.json, results.json (pycocotools' loadRes) and ground_truth.json; each detection
        has a `train2test_distance`. A folder that holds something else is refused.
        Raises: ConfigError, StoreError, OSError.
        """
        published, reading = self._published(cell, iteration), self._reading(cell, iteration)
        shrinkage = self.plan.settings.analysis.shrinkage
        distance = TrainingDistance.of(published.training_features(), shrinkage)
        table = self._found(reading)
        info = {
            "tool": "ptl_sweep export_coco",
            "version": __version__,
            "stage": reading.evaluate,
            "folder": str(self.folder.resolve()),
            "cell": cell._asdict(),
            "iteration": reading.iteration,
            "max_detections": published.inference.max_detections,
            "train2test_distance": distance.describe(),
        }
        write_coco(table, frames.distances_of(table, distance.fit), Path(folder), info)
        return Path(folder)

    def export_detections(
        self, cell: CellId, folder: str | Path, iteration: int | None = None
    ) -> Path:
        """Write what the cell's detector found on every target, with features; returns the folder.

        It holds train/, validation/ and a folder for each target, as docs/own-detector says, and
        `python -m ptl_sweep measure` reads it. A folder that holds something is refused.
        Raises: ConfigError, StoreError, OSError.
        """
        export_detections(self.plan, self._reading(cell, iteration).detector, Path(folder))
        return Path(folder)

    def gaussian(
        self, cell: CellId, iteration: int | None = None, covariance: str | None = None
    ) -> Gaussian | GaussianRefusal:
        """The Gaussian of the training features (PTL eq. 1); covariance: ml, oas, ledoit_wolf.

        None: that of the headline, `analysis.shrinkage`. Raises: ConfigError, StoreError.
        """
        training = self._published(cell, iteration).training_features()
        wanted = covariance or self.plan.settings.analysis.shrinkage
        return fit_gaussian(training.features, wanted)

    def detector(self, cell: CellId, iteration: int | None = None, device: str = "cpu") -> Detector:
        """The trained network, ready for inference. Raises: ConfigError, StoreError."""
        import torch

        return self._published(cell, iteration).load(torch.device(device))

    def training_images(self, cell: CellId, iteration: int | None = None) -> pl.DataFrame:
        """R_t (PTL eq. 6): real and translated images, with their persons and files.

        Raises: ConfigError, StoreError; DataError where the source is not on this machine.
        """
        stage = self.plan.detector_stage(self._reading(cell, iteration).detector)
        source = registry.read_split(stage.data.config(), stage.data.split)
        manifest = self.plan.store.artifact(stage.key, MANIFEST)
        training = read_training_set(manifest, source.records)
        return frames.images_frame(training.records(self.plan.store))

    def measure(
        self, cell: CellId, target: str, *overrides: str, iteration: int | None = None
    ) -> pl.DataFrame:
        """The cell's detector on another target: AP, and distances of what it finds there.

        `target` and `overrides` are words of the command line: `"mountains", "data_root=/data"`.
        One row with columns of results.csv; the store stays as it is.
        Raises: ConfigError, DataError, StoreError.
        """
        published = self._published(cell, iteration)
        images = target_images(target, overrides)
        return measure_images(published, images, self.gaussian(cell, iteration))

    def _found(self, reading: CellIteration) -> DetectionTable:
        store = self.plan.store
        for name in ARTIFACTS:
            store.artifact(reading.evaluate, name)  # checked
        return load_detections(store.path(reading.evaluate))

    def _published(self, cell: CellId, iteration: int | None) -> PublishedDetector:
        return PublishedDetector.open(self.plan.store, self._reading(cell, iteration).detector)

    def _reading(self, cell: CellId, iteration: int | None) -> CellIteration:
        """The last reading of a cell, or that of an iteration. Raises: ConfigError."""
        readings = next((one.readings for one in self.plan.cells if one.id == cell), None)
        if readings is None:
            raise ConfigError(f"{cell} is no cell of {self.name}; see Sweep.cells")
        if iteration is None:
            return readings[-1]
        for reading in readings:
            if reading.iteration == iteration:
                return reading
        there = ", ".join(str(reading.iteration) for reading in readings)
        raise ConfigError(
            f"iteration {iteration} of {tuple(cell)} was not evaluated; there: {there} "
            "(evaluate.iterations=all evaluates every one)"
        )


def _not_one(plan: Plan, wanted: Mapping[str, Value], found: Sequence[CellId]) -> str:
    """Why coordinates name no cell, or several."""
    if found:
        places = [cell.coordinates for cell in plan.cells if cell.id in found]
        axes = [*CellId._fields, *plan.axes]
        open_axes = [axis for axis in axes if len({place.get(axis) for place in places}) > 1]
        return f"{len(found)} cells of {plan.name} have these coordinates: give {open_axes[0]}"
    for axis, value in wanted.items():
        known = {cell.coordinates[axis] for cell in plan.cells if axis in cell.coordinates}
        values = sorted(known, key=lambda one: (isinstance(one, str), one))
        if not any(cell.is_at({axis: value}) for cell in plan.cells):
            return f"no cell of {plan.name} has {axis}={value!r}; it has {values}"
    return f"no cell of {plan.name} has all of {wanted}"
