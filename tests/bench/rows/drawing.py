"""Pictures of the miniature world, drawn without its cache."""

import itertools

from case import Case, Setting

from ptl_sweep.config.schema import DatasetConfig
from ptl_sweep.datasets.miniature import read_miniature


def rendering(setting: Setting) -> Case:
    """Each turn draws another world."""
    num_images = setting.choose(small=2, cpu=48)
    seeds = itertools.count(1001)

    def draw() -> None:
        keys = {"name": "bench", "domain": "town", "num_images": num_images}
        world = DatasetConfig(**keys, reader="miniature", world_seed=next(seeds))
        read_miniature(world, "train")

    return Case(what=f"rendering {num_images} miniature images", ours=draw, turns=3)
