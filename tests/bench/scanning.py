"""Data sets of official size, generated: how long reading them takes, cold and from the index."""

import os
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

from ptl_sweep.config.schema import DatasetConfig, PoolConfig
from ptl_sweep.datasets.index import list_files, look_up, read_indexed
from ptl_sweep.datasets.readers.archangel.manifest import COLUMNS
from ptl_sweep.datasets.registry import POOL_READERS, READERS

NUM_VISDRONE = 6_471  # images of VisDrone2019-DET-train
NUM_ROWS = 343_205  # of their annotation files
SHARES = (0.03, 0.23, 0.08, 0.03, 0.42, 0.07, 0.04, 0.01, 0.01, 0.02, 0.05, 0.01)  # of categories
SIZES = ((960, 540), (1360, 765), (1400, 788), (1400, 1050), (1920, 1080))  # width, height
NUM_POOL = 17_280
POOL_SIZE = (640, 480)
SETTLED = 1_500_000_000  # seconds; no index is made of files that were written just now


class Scan(NamedTuple):
    """One measurement."""

    what: str
    seconds: float


def scanning(share: float = 1.0) -> Iterator[Scan]:
    """Both data sets, or a share of each; their files are in the page cache, and pictures are hard
    links to a few.
    """
    num_drone, num_pool = int(share * NUM_VISDRONE), int(share * NUM_POOL)
    num_rows = int(share * NUM_ROWS)
    with tempfile.TemporaryDirectory(prefix="ptl-bench-") as name:
        folder = Path(name)
        keys = {"name": "bench", "root": str(folder / "data"), "index_root": str(folder / "index")}
        write_visdrone(folder / "data" / "drone", num_drone, num_rows)
        drone = DatasetConfig(**keys | {"root": str(folder / "data" / "drone")}, reader="visdrone")
        yield from _scans(f"VisDrone, {num_drone} images, {num_rows // 1000}k rows", drone, "train")
        write_pool(folder / "data" / "pool", num_pool)
        pool = PoolConfig(**keys | {"root": str(folder / "data" / "pool")}, reader="archangel")
        yield from _scans(f"pool, {num_pool} images and masks", pool, "pool")


def _scans(what: str, config: Any, split: str) -> Iterator[Scan]:
    is_pool = isinstance(config, PoolConfig)
    read = (
        partial(POOL_READERS[config.reader], config)
        if is_pool
        else partial(READERS[config.reader], config, split)
    )
    functions: dict[str, Callable[[], Any]] = {
        "scan cold": read,
        "cold, index written": partial(read_indexed, config, split, read),
        "from the index": partial(read_indexed, config, split, read),
        "fingerprint only": partial(look_up, config, split),
        "listing": partial(list_files, Path(config.root)),
    }
    found = {}
    for name, function in functions.items():
        start = time.perf_counter()
        found[name] = function()
        yield Scan(f"{what}: {name}", time.perf_counter() - start)
    fingerprints = {getattr(value, "fingerprint", None) for value in found.values()}
    assert len(fingerprints - {None}) == 1


def write_visdrone(root: Path, num_images: int, num_rows: int) -> None:
    """In the layout of VisDrone2019-DET-train; pictures are hard links."""
    rng = np.random.default_rng(0)
    folder = root / "VisDrone2019-DET-train"
    for part in ("images", "annotations"):
        (folder / part).mkdir(parents=True)
    pictures = []
    for size in SIZES:
        pictures.append(root / f"{size[0]}x{size[1]}.jpg")
        _write_picture(pictures[-1], "RGB", size)
    counts = rng.multinomial(num_rows, rng.dirichlet(np.full(num_images, 2.0)))
    for number, count in enumerate(counts):
        which = number % len(SIZES)
        stem = f"{number // 20:07d}_{number % 20:05d}_d_{number:07d}"
        (folder / "images" / f"{stem}.jpg").hardlink_to(pictures[which])
        _write_settled(
            folder / "annotations" / f"{stem}.txt", _visdrone_rows(rng, count, SIZES[which])
        )


def _visdrone_rows(rng: np.random.Generator, count: int, size: tuple[int, int]) -> str:
    corner = rng.integers(0, np.array(size) - 60, (count, 2))
    side = rng.integers(4, 60, (count, 2))
    category = rng.choice(len(SHARES), (count, 1), p=SHARES)
    score = ((category > 0) & (category < 11)).astype(np.int64)
    seen = rng.integers(0, 2, (count, 2))
    rows = np.concatenate([corner, side, score, category, seen], axis=1).tolist()
    return "".join(",".join(map(str, row)) + "\r\n" for row in rows)


def write_pool(root: Path, num_images: int) -> None:
    """A manifest with one person an image; pictures and masks are hard links."""
    rng = np.random.default_rng(0)
    for part in ("images", "masks"):
        (root / part).mkdir(parents=True)
    _write_picture(root / "image.jpg", "RGB", POOL_SIZE)
    _write_picture(root / "mask.png", "L", POOL_SIZE)
    lines = [",".join(COLUMNS)]
    for number in range(num_images):
        image, mask = f"images/{number:05d}.jpg", f"masks/{number:05d}.png"
        (root / image).hardlink_to(root / "image.jpg")
        (root / mask).hardlink_to(root / "mask.png")
        left, top = rng.integers(0, (580, 420)).tolist()
        who = f"c{number % 8},p{number // 8 % 3}"
        where = f"{5 * (number // 24 % 10)},{10 * (number // 240 % 6)},{number // 1440 % 12}"
        lines.append(f"{image},{mask},{left},{top},{left + 20},{top + 50},{who},{where},0")
    _write_settled(root / "manifest.csv", "\n".join(lines))


def _write_picture(path: Path, mode: str, size: tuple[int, int]) -> None:
    Image.new(mode, size, 128 if mode == "L" else (90, 120, 60)).save(path)
    os.utime(path, (SETTLED, SETTLED))


def _write_settled(path: Path, text: str) -> None:
    path.write_bytes(text.encode())
    os.utime(path, (SETTLED, SETTLED))
