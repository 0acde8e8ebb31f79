"""The rows by name; the module of a row is imported when the row is asked for."""

from collections.abc import Callable
from importlib import import_module
from typing import NamedTuple

from case import Case, Setting


class Row(NamedTuple):
    """Where a row comes from."""

    module: str
    function: str
    about: str
    on_gpu: bool = False  # make bench-gpu runs it too

    def case(self, setting: Setting) -> Case:
        """Build what it compares."""
        build: Callable[[Setting], Case] = getattr(import_module(self.module), self.function)
        return build(setting)


ROWS = {
    "host_step": Row("rows.host_step", "host_step", "host work of a training step", True),
    "train_step": Row(
        "rows.training", "train_step", "training step, 100 persons, against torchvision", True
    ),
    "train_step_20": Row("rows.training", "train_step_20", "the same with 20 persons", True),
    "tiny_step": Row("rows.training", "tiny_step", "update of the miniature world's detector"),
    "loss": Row("rows.losses", "loss", "loss and gradient, 100 persons, against torchvision"),
    "loss_few": Row("rows.losses", "loss_few", "the same with 20 persons"),
    "loss_large": Row("rows.losses", "loss_large", "the same, 1344x800, 60 persons"),
    "pool": Row("rows.pool", "pool", "gaps of a pool, against image by image", True),
    "cyclegan": Row("rows.translator", "cyclegan", "CycleGAN step, against a plain loop", True),
    "ap": Row("rows.evaluating", "ap", "AP@[.5:.95], against pycocotools and its successor"),
    "bootstrap": Row("rows.evaluating", "bootstrap", "resampled AP differences"),
    "distances": Row("rows.distances", "distances", "Mahalanobis distances, against scipy"),
    "rendering": Row("rows.stores", "rendering", "pictures of the miniature world"),
    "plan": Row("rows.processes", "plan", "plan of 96 cells, against composition by Hydra"),
    "plan_192": Row("rows.processes", "plan_192", "plan of 192 cells, against the same"),
    "start": Row("rows.processes", "start", "--help, against that of a bare Hydra app"),
    "scanning": Row("rows.stores", "scan", "data sets of official size, cold and indexed"),
    "looking": Row("rows.stores", "look", "plan, status, report over 10,080 stored stages"),
    "reduce": Row("rows.stores", "reduce", "the report of a grid of the paper's size"),
    "tracking_cost": Row("rows.stores", "track", "what W&B costs a miniature training"),
}
