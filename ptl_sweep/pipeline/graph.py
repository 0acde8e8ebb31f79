"""From cells to stages to tasks: equal stages of different cells are one stage."""

import sys
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TypeVar, cast

from ptl_sweep.compose.cells.arms import AskedCell, name_cells
from ptl_sweep.compose.cells.axes import axis_values, in_axis_order, swept_axes
from ptl_sweep.compose.cells.ids import CellId, cell_id, coordinates, is_at
from ptl_sweep.compose.requirements import NO_VALIDATION
from ptl_sweep.config.schema import Config, ConfigError, DatasetConfig, TranslatorConfig
from ptl_sweep.datasets.validation import DataError
from ptl_sweep.ptl.methods import method_of
from ptl_sweep.ptl.translators import translator_of
from ptl_sweep.stages.base import Execution, Stage, StageKind
from ptl_sweep.stages.evaluate import EvaluateStage
from ptl_sweep.stages.inputs import (
    WEIGHTS_FOLDER,
    DataSpec,
    DetectorSpec,
    InferenceSpec,
    PoolSpec,
    feature_config,
    train_recipe,
)
from ptl_sweep.stages.ptl import PtlStage
from ptl_sweep.stages.train import DetectorStage, TrainStage
from ptl_sweep.vocabulary import Value

# What a training may depend on, beside the real count and the seed.
TRAINING_PARTS = (
    "dataset", "pool", "synthetic", "translator", "detector", "tiling", "train", "gaussian",
    "evaluate",
)  # fmt: skip
UNTRANSLATED = TranslatorConfig(name="identity", method="identity")
S = TypeVar("S", bound=Stage)
T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class CellIteration:
    """What a cell reads at one PTL iteration: a detector and its detections on the target."""

    iteration: int  # 0: real pictures only
    detector: str  # key of a train or ptl stage
    evaluate: str  # key of an evaluate stage
    validation: str | None = None  # the same on what is held out of the source; None: not asked for


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """One cell of the grid; the last reading is its headline."""

    id: CellId
    readings: tuple[CellIteration, ...]
    axes: Mapping[str, Value] = field(default_factory=dict)  # None: the axis does not change it

    @property
    def coordinates(self) -> dict[str, Value]:
        """As they are typed: names without axes, then the axes that change the cell."""
        return coordinates(self.id, self.axes)

    def is_at(self, wanted: Mapping[str, Value]) -> bool:
        """Whether these are coordinates of the cell; `synthetic` with its axes or without."""
        return is_at(self.id, self.axes, wanted)


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """Stages that run one after the other in one allocation."""

    name: str
    kind: str  # of its stages; `reduce` for the task that ends a sweep
    stages: tuple[str, ...]


class Graph:
    """Collects the stages of cell after cell and keeps one of each.

    A stage is made once for equal parts of the configuration: a grid asks for most of them often.
    """

    def __init__(self, root: Path) -> None:
        self.weights_folder = root / WEIGHTS_FOLDER
        self.stages: dict[str, Stage] = {}
        self.naive: Counter[StageKind] = Counter()
        self._made: dict[tuple[object, ...], Stage] = {}
        self._shared: dict[
            tuple[str, ...], object
        ] = {}  # parts of stages, by what they are made of
        self._texts: dict[int, tuple[object, str]] = {}  # id of a part -> the part, as text

    def add(self, config: Config) -> Cell:
        """The stages of one cell: train, its chain, and what is evaluated.

        Raises: ConfigError, DataError.
        """
        common = tuple(self._text(getattr(config, name)) for name in TRAINING_PARTS)
        first = self._keep(
            (*common, config.real_count, config.seed), lambda: self._train_stage(config)
        )
        chain = method_of(config).chain(
            first,
            lambda iteration, parent: self._keep(
                (*common, iteration, parent.key),
                lambda: self._ptl_stage(config, iteration, parent),
            ),
            config.synthetic.num_iterations,
        )
        every = list(enumerate(chain))
        wanted = every if config.evaluate.iterations == "all" else every[-1:]
        readings = tuple(
            CellIteration(
                iteration=iteration,
                detector=detector.key,
                evaluate=self._evaluation(config, config.target, detector).key,
                validation=self._validation(config, detector),
            )
            for iteration, detector in wanted
        )
        return Cell(id=cell_id(config), readings=readings)

    def _keep(self, parts: tuple[object, ...], make: Callable[[], S]) -> S:
        """The stage that was made of equal parts before, else a new one."""
        if parts not in self._made:
            stage = make()
            kept = self.stages.setdefault(stage.key, stage)
            assert type(kept) is type(stage)
            self._made[parts] = kept
        found = cast("S", self._made[parts])
        self.naive[found.kind] += 1
        return found

    def _once(self, name: str, make: Callable[[], T], *sources: object) -> T:
        """What is made under this name of equal parts of the configuration is made once."""
        key = (name, *map(self._text, sources))
        if key not in self._shared:
            self._shared[key] = make()
        return cast("T", self._shared[key])

    def _text(self, part: object) -> str:
        """A part of the configuration as text, equal for equal parts; cells share most of them."""
        if id(part) not in self._texts:
            self._texts[id(part)] = (part, sys.intern(repr(part)))
        return self._texts[id(part)][1]

    def _train_stage(self, config: Config) -> DetectorStage:
        return TrainStage(
            label=_train_label(config),
            parents=(),
            num_threads=config.train.num_threads,
            execution=self._execution(config),
            data=self._data(config.dataset),
            real_count=config.real_count,
            seed=config.seed,
            detector=self._once(
                "detector",
                lambda: DetectorSpec.of(config.detector, self.weights_folder),
                config.detector,
            ),
            train=self._once(
                "train",
                # every image is real
                lambda: replace(train_recipe(config), real_fraction=None),
                config.train,
                config.tiling,
                config.seed,
            ),
            features=self._once("features", lambda: feature_config(config), config.gaussian),
            inference=self._once(
                "inference", lambda: InferenceSpec.of(config), config.evaluate, config.tiling
            ),
        )

    def _ptl_stage(self, config: Config, iteration: int, parent: DetectorStage) -> DetectorStage:
        method = method_of(config)
        wanted = config.translator if method.translates else UNTRANSLATED
        return PtlStage(
            label=f"{_train_label(config)}-{config.synthetic.name}-t{iteration}",
            parents=(parent.key,),
            num_threads=parent.num_threads,
            execution=parent.execution,
            data=parent.data,
            real_count=parent.real_count,
            seed=parent.seed,
            detector=parent.detector,
            train=self._once(
                "ptl", lambda: train_recipe(config), config.train, config.tiling, config.seed
            ),
            features=parent.features,
            inference=parent.inference,
            pool=self._once("pool", lambda: PoolSpec.of(config.pool), config.pool),
            method=method,
            translator=self._once(
                "translator", lambda: translator_of(wanted, iteration), wanted, iteration
            ),
            t=iteration,
            synthetic=config.synthetic.name,
            translator_name=wanted.name,
        )

    def _evaluation(
        self, config: Config, target: DatasetConfig, detector: DetectorStage
    ) -> EvaluateStage:
        return self._keep(
            (detector.key, self._text(target), self._text(config.train)),
            lambda: EvaluateStage(
                label=f"{detector.label}-{target.name}",
                parents=(detector.key,),
                num_threads=detector.num_threads,
                execution=self._execution(config),
                data=self._data(target),
                detector=detector.detector,
                inference=detector.inference,
            ),
        )

    def _validation(self, config: Config, detector: DetectorStage) -> str | None:
        """The evaluation that calibrates distances; a cell that tests on the same data shares it.

        Raises: ConfigError, DataError that name the alternative, when nothing is held out.
        """
        if config.analysis.calibration != "validation":
            return None
        try:
            held_out = self._once("held out", config.dataset.validation_config, config.dataset)
            return self._evaluation(config, held_out, detector).key
        except (ConfigError, DataError) as error:
            raise type(error)(f"{error}{NO_VALIDATION}") from error

    def _data(self, data: DatasetConfig) -> DataSpec:
        return self._once("data", lambda: DataSpec.of(data, data.split), data)

    def _execution(self, config: Config) -> Execution:
        train = config.train
        return self._once(
            "execution",
            lambda: Execution(
                checkpoint_minutes=train.checkpoint_minutes,
                image_cache_mb=train.image_cache_mb,
                device_cache_mb=train.device_cache_mb,
            ),
            train,
        )


def plan_cells(graph: Graph, configs: Sequence[Config]) -> list[Cell]:
    """The cells of a grid and their stages; those that differ in nothing are one cell.

    Raises: ConfigError for an axis that changes no cell; DataError.
    """
    axes = swept_axes(configs)
    configs, cells, naive = in_axis_order(configs, axes) if axes else configs, [], []
    for config in configs:
        before = graph.naive.copy()
        cells.append(graph.add(config))
        naive.append(graph.naive - before)
    if not axes:
        return cells
    alone = Graph(graph.weights_folder.parent)  # what the cells would be without synthetic images
    off = [replace(c, synthetic=replace(c.synthetic, method="off")) for c in configs]
    asked = [
        AskedCell(cell.id, values, cell.readings, alone.add(config).readings)
        for cell, config, values in zip(cells, off, axis_values(configs, axes), strict=True)
    ]
    found: dict[CellId, Cell] = {}
    for cell, named, own in zip(cells, name_cells(asked), naive, strict=True):
        if named.id in found:  # asked for several times
            assert found[named.id].readings == cell.readings
            graph.naive.subtract(own)
        found.setdefault(named.id, replace(cell, id=named.id, axes=named.values))
    return list(found.values())


def _train_label(config: Config) -> str:
    return f"{config.dataset.name}-n{config.real_count}-s{config.seed}"


def make_tasks(stages: dict[str, Stage]) -> list[Task]:
    """Trainings alone; a PTL chain in one; one detector on all its targets in one."""
    groups: dict[str, list[Stage]] = {}
    chains: dict[str, str] = {}  # last stage of a chain -> its group; a branch starts its own
    for stage in stages.values():
        if stage.kind == StageKind.TRAIN:
            name = stage.key
        elif stage.kind == StageKind.PTL:
            name = chains.pop(stage.parents[0], f"chain-{stage.key}")
            chains[stage.key] = name
        else:
            name = f"evaluate-{stage.parents[0]}"
        groups.setdefault(name, []).append(stage)
    return [
        Task(
            name=f"{group[-1].key}-chain" if group[0].kind == StageKind.PTL else name,
            kind=group[0].kind,
            stages=tuple(stage.key for stage in group),
        )
        for name, group in groups.items()
    ]
