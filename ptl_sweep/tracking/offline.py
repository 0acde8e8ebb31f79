"""W&B's offline files: what an earlier run left goes, and equal bytes lie on the disk once.

W&B copies every picture, page and table that it shows, tables twice. As hard links these copies
take no room; W&B and this package only read them. Its own logs of a run that is whole say nothing.
"""

import contextlib
import hashlib
import logging
import os
import shutil
from collections.abc import Iterable, Iterator
from pathlib import Path

from ptl_sweep.tracking.media import read_media
from ptl_sweep.tracking.order import Order

log = logging.getLogger(__name__)

WANDB, DATA = "wandb", "data"  # folders of outputs/tracking: runs, and files of artifacts
OF_NO_USE = ("logs", "tmp")  # in the folder of a run that is whole


def data_folder(root: Path, run_id: str) -> Path:
    """Where W&B keeps the files of the artifacts of this run."""
    return root / DATA / run_id


def run_folders(root: Path, run_id: str) -> list[Path]:
    """List the offline folders of this run; one unless W&B itself has written others."""
    folders = (root / WANDB).glob("offline-run-*-*")  # offline-run-TIME-ID
    return [folder for folder in folders if folder.name.split("-", maxsplit=3)[3] == run_id]


def delete_offline_runs(root: Path, run_id: str) -> None:
    """Remove the offline folders of this run, and of no other."""
    for folder in run_folders(root, run_id):
        shutil.rmtree(folder)
    shutil.rmtree(data_folder(root, run_id), ignore_errors=True)


def save_space(orders: Iterable[Order]) -> None:
    """Make W&B's copies in whole runs links to the files of the run's folder, or to each other.

    What cannot be linked stays a copy.
    """
    for order in orders:
        for folder in run_folders(order.root, order.run_id):
            for name in OF_NO_USE:
                shutil.rmtree(folder / name, ignore_errors=True)
        for link in (order.root / WANDB).glob("debug*.log"):
            if not link.exists():  # it led to one of these logs
                link.unlink()
        known: dict[str, Path] = {}
        for path in _shown(order):
            known.setdefault(_digest(path), path)
        for path in _copies(order):
            first = known.setdefault(_digest(path), path)
            with contextlib.suppress(OSError):  # another file system, or one without links
                _link(first, path)


def _shown(order: Order) -> Iterator[Path]:
    """The files that the run shows, where they were made."""
    for entry in read_media(order.source):
        for name in (entry.page, *(image.file for image in entry.images)):
            if name is not None and (path := order.source / name).is_file():
                yield path


def _copies(order: Order) -> Iterator[Path]:
    """What W&B has written of it for others to read, the log of the run apart."""
    runs = run_folders(order.root, order.run_id)
    media = [folder / "files" / "media" for folder in runs]
    for folder in (*media, data_folder(order.root, order.run_id)):
        yield from (path for path in sorted(folder.rglob("*")) if path.is_file())


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _link(first: Path, copy: Path) -> None:
    if first.samefile(copy):
        return
    fresh = copy.with_name(f".{copy.name}.link")
    os.link(first, fresh)
    fresh.replace(copy)
