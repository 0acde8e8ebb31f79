"""The readers by name, and reading through them: once per process and configuration, and from the
index of an earlier process while the files are the same.
"""

import json
from collections.abc import Callable
from dataclasses import asdict
from functools import lru_cache, partial
from pathlib import Path

from ptl_sweep.config.schema import ConfigError, DatasetConfig, PoolConfig
from ptl_sweep.datasets.cutouts import fingerprint_cutouts, read_cutouts
from ptl_sweep.datasets.index import look_up, read_indexed
from ptl_sweep.datasets.index_file import Summary
from ptl_sweep.datasets.miniature import (
    fingerprint_miniature,
    fingerprint_miniature_pool,
    num_images,
    read_miniature,
    read_miniature_pool,
)
from ptl_sweep.datasets.readers.archangel.reader import read_archangel
from ptl_sweep.datasets.readers.coco.reader import read_coco
from ptl_sweep.datasets.readers.heridal import read_heridal
from ptl_sweep.datasets.readers.icg import read_icg
from ptl_sweep.datasets.readers.okutama.reader import read_okutama
from ptl_sweep.datasets.readers.sard import read_sard
from ptl_sweep.datasets.readers.visdrone.images import read_visdrone
from ptl_sweep.datasets.readers.visdrone.videos import read_visdrone_vid
from ptl_sweep.datasets.readers.voc.reader import read_voc
from ptl_sweep.datasets.readers.yolo.reader import read_yolo
from ptl_sweep.datasets.records import ImageSet
from ptl_sweep.datasets.validation import nearest

Reader = Callable[[DatasetConfig, str], ImageSet]  # (config, split) -> the split, validated
PoolReader = Callable[[PoolConfig], ImageSet]

READERS: dict[str, Reader] = {
    "miniature": read_miniature,
    "visdrone": read_visdrone,
    "coco": read_coco,
    "yolo": read_yolo,
    "voc": read_voc,
    "visdrone_vid": read_visdrone_vid,
    "okutama": read_okutama,
    "icg": read_icg,
    "heridal": read_heridal,
    "sard": read_sard,
}
POOL_READERS: dict[str, PoolReader] = {
    "miniature": read_miniature_pool,
    "archangel": read_archangel,
    "cutouts": read_cutouts,
}
MADE = ("miniature", "cutouts")  # readers whose images are no files, so that no index holds them

DIVIDED = ("yolo", "coco", "voc")  # readers that can divide images by scene

READER_KEYS = {
    "scene_fractions", "resplit", "categories", "frame_stride", "domain", "world_seed",
}  # fmt: skip
FILE_KEYS = {"scene_fractions", "resplit", "categories"}
OTHER_KEYS = {  # readers that read other ones of READER_KEYS than FILE_KEYS
    "miniature": {"domain", "world_seed"},
    "okutama": FILE_KEYS | {"frame_stride"},
    "visdrone_vid": FILE_KEYS | {"frame_stride"},
    "sard": FILE_KEYS | {"frame_stride"},
}

MEMO_SIZE = 32  # image sets kept per process


def read_split(config: DatasetConfig, split: str) -> ImageSet:
    """Read one split of a data set; the same object when it was read before in this process.

    Raises: DataError for unusable files, ConfigError for an unknown reader or split.
    """
    if config.reader not in READERS:
        raise ConfigError(
            f"{config.name}.reader={config.reader} is not in this version; readers are "
            f"{', '.join(READERS)} (nearest: {nearest(config.reader, READERS)}): convert the "
            "annotations to COCO or YOLO and set reader=coco or reader=yolo"
        )
    return _read(_frozen(config), split)


def read_pool(config: PoolConfig) -> ImageSet:
    """Read the virtual pool; the same object when it was read before in this process.

    Raises: ConfigError for an unknown reader.
    """
    if config.reader not in POOL_READERS:
        raise ConfigError(
            f"pool.reader={config.reader} is not in this version; readers of pools are "
            f"{', '.join(POOL_READERS)}: set pool=miniature"
        )
    return _read(_frozen(config), "pool")


@lru_cache(maxsize=MEMO_SIZE)
def _read(frozen: str, split: str) -> ImageSet:
    config = _thawed(frozen)
    if isinstance(config, PoolConfig):
        read = partial(POOL_READERS[config.reader], config)
    else:
        read = partial(READERS[config.reader], config, split)
    return read() if config.reader in MADE else read_indexed(config, split, read)


def keys_read(reader: str) -> set[str]:
    """Name those of READER_KEYS that a reader's result depends on; a stage hands it no others."""
    return OTHER_KEYS.get(reader, FILE_KEYS)


def fingerprint(config: DatasetConfig, split: str) -> str | None:
    """Hash the split's content to 16 hex digits; None when its files are not here.

    The miniature world is not drawn for it; files are read. Raises: DataError as `read_split`.
    """
    if config.reader == "miniature":
        return fingerprint_miniature(config, split)
    found = _summary(config, split)
    return None if found is None else found.fingerprint


def pool_fingerprint(config: PoolConfig) -> str | None:
    """Hash the pool's content to 16 hex digits; None when its files are not here.

    Raises: DataError as `read_pool`.
    """
    if config.reader == "miniature":
        return fingerprint_miniature_pool(config)
    if config.reader == "cutouts":
        return fingerprint_cutouts(config) if _is_here(config) else None
    found = _summary(config, "pool")
    return None if found is None else found.fingerprint


def num_eligible(config: DatasetConfig, split: str) -> int | None:
    """Count the images with a person; None when the files are not here. Raises: DataError."""
    if config.reader == "miniature":
        return num_images(config, split)
    found = _summary(config, split)
    return None if found is None else found.num_eligible


def _summary(config: DatasetConfig | PoolConfig, split: str) -> Summary | None:
    """From the index where there is one; None when the files are not here."""
    return _read_summary(_frozen(config), split) if _is_here(config) else None


@lru_cache(maxsize=MEMO_SIZE)
def _read_summary(frozen: str, split: str) -> Summary:
    return look_up(_thawed(frozen), split) or Summary.of(_read(frozen, split))


def _frozen(config: DatasetConfig | PoolConfig) -> str:
    """The config as a key of a memo."""
    return json.dumps([isinstance(config, PoolConfig), asdict(config)], sort_keys=True)


def _thawed(frozen: str) -> DatasetConfig | PoolConfig:
    is_pool, values = json.loads(frozen)
    return PoolConfig(**values) if is_pool else DatasetConfig(**values)


def _is_here(config: DatasetConfig | PoolConfig) -> bool:
    """Whether a reader of this version could find the folder."""
    if config.reader not in {*READERS, *POOL_READERS} or config.root is None:
        return False
    return Path(config.root).expanduser().is_dir()
