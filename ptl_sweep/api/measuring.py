"""A stored detector on a target that its sweep did not have."""

from collections.abc import Sequence

import polars as pl

from ptl_sweep.compose.compose import compose_grid
from ptl_sweep.datasets import registry
from ptl_sweep.datasets.images import ImageCache
from ptl_sweep.datasets.records import ImageSet
from ptl_sweep.distance.gaussian import Gaussian, GaussianRefusal
from ptl_sweep.distance.train2test import distances, summarise_distances
from ptl_sweep.predict.published import PublishedDetector
from ptl_sweep.vocabulary import Distance

METRICS = ("num_ground_truth", "num_detections", "AP50", "AP")


def target_images(name: str, overrides: Sequence[str]) -> ImageSet:
    """The images of a target of conf/, as a command line names it. Raises: ConfigError, DataError.

    The seed changes nothing: a target is what it is.
    """
    (cell,) = compose_grid(
        [f"target={name}", "synthetic=off", "seed=0", *overrides], as_sweep=False
    )
    return registry.read_split(cell.target, cell.target.split)


def measure_images(
    published: PublishedDetector, images: ImageSet, fit: Gaussian | GaussianRefusal
) -> pl.DataFrame:
    """AP and shrunk distances, one row, under the names of results.csv."""
    import torch

    from ptl_sweep.stages.detecting import detect_images
    from ptl_sweep.stages.fitting import view_of

    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    found = detect_images(
        published.load(device),
        images.records,
        published.inference,
        cache=ImageCache(0),
        view=view_of(published.spec, published.inference),
    )
    spread = summarise_distances(found.table, distances(found.table.features, fit))
    groups = {"tp": spread.true_positive, "fp": spread.false_positive}
    medians = {
        Distance(group, "median", "shrunk").name: one.median for group, one in groups.items()
    }
    columns = {name: found.metrics[name] for name in METRICS}
    return pl.DataFrame([{"target": images.name, **columns, **medians}])
