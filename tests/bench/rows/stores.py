"""Commands on data sets and stores of the study's size; each has its numbers in its own file."""

import itertools

from case import Case, Setting, Timed
from looking import NUM_SEEDS, looking
from reducing import reducing
from scanning import scanning
from tracking_cost import tracking_cost

from ptl_sweep.config.schema import DatasetConfig
from ptl_sweep.datasets.miniature import read_miniature


def scan(setting: Setting) -> Case:
    """VisDrone and a pool, read cold, indexed, and from the index; ours is the sum."""
    share = setting.choose(small=0.002, cpu=1.0)

    def scans() -> Timed:
        parts = {f"{one.what} [ms]": one.seconds * 1e3 for one in scanning(share)}
        return Timed(None, sum(parts.values()) / 1e3, parts)

    return Case(what="reading data sets, sum of the parts", ours=scans, turns=1, warm_up=False)


def look(setting: Setting) -> Case:
    """Seconds of CPU beyond imports; ours is the sum."""
    num_seeds = setting.choose(small=1, cpu=NUM_SEEDS)

    def looks() -> Timed:
        parts = {f"{one.what} [ms]": one.seconds * 1e3 for one in looking(num_seeds)}
        return Timed(None, sum(parts.values()) / 1e3, parts)

    what = f"looking at {120 * num_seeds:,} published stages, CPU beyond imports, sum of the parts"
    return Case(what=what, ours=looks, turns=1, warm_up=False)


def reduce(setting: Setting) -> Case:
    """The report of 96 cells, images and tables included, from files that are not in memory."""
    num_detections, *words = setting.choose(
        small=(20_000, "real_count=20", "seed=0", "target=field"), cpu=(100_000,)
    )

    def report() -> Timed:
        found = reducing(num_detections, *words)
        parts = {
            "peak memory [MB]": found.peak_memory_mb,
            "reading the files alone [ms]": found.reading_seconds * 1e3,
        }
        return Timed(None, found.seconds, parts)

    what = f"report of {2 if words else 96} cells, {num_detections:,} detections each"
    return Case(what=what, ours=report, turns=1, warm_up=False)


def track(setting: Setting) -> Case:
    """A miniature training that W&B follows; its server is away."""
    turns, *words = setting.choose(small=(1, "train.num_steps=2"), cpu=(3,))

    def trainings() -> Timed:
        found = tracking_cost(turns, *words)
        parts = {
            "without tracking [ms]": found.off.seconds * 1e3,
            "telling W&B's process [ms]": found.telling * 1e3,
        }
        return Timed(None, found.online.seconds, parts)

    what = f"miniature training, tracking=wandb, best of {turns}"
    return Case(what=what, ours=trainings, turns=1, warm_up=False)


def rendering(setting: Setting) -> Case:
    """Pictures of the miniature world, drawn without its cache: each turn draws another world."""
    num_images = setting.choose(small=2, cpu=48)
    seeds = itertools.count(1001)

    def draw() -> None:
        keys = {"name": "bench", "domain": "town", "num_images": num_images}
        world = DatasetConfig(**keys, reader="miniature", world_seed=next(seeds))
        read_miniature(world, "train")

    return Case(what=f"rendering {num_images} miniature images", ours=draw, turns=3)
