"""Files of initial weights: where they are expected, where they come from, their SHA-256.

The planner uses this module, so it imports no torch; `pretrained` reads the files. Nothing here
downloads: a missing file is an error that names its address.
"""

import functools
from pathlib import Path
from typing import NamedTuple

from ptl_sweep.config.schema import ConfigError, DetectorConfig
from ptl_sweep.detection.architectures import architecture_of
from ptl_sweep.detection.initial_weights.published import PUBLISHED_NAMES, PublishedWeights
from ptl_sweep.store import sha256_of


class WeightsFile(NamedTuple):
    """A file that is there, and its SHA-256 (64 hex digits)."""

    path: Path
    sha256: str


def weights_path(config: DetectorConfig, cache_dir: Path) -> Path | None:
    """Where the file of `config.weights` is expected; None for random initial weights."""
    if config.weights == "none":
        return None
    published = _published(config)
    return cache_dir / published.file_name if published else Path(config.weights).expanduser()


def _published(config: DetectorConfig) -> PublishedWeights | None:
    """The file that the architecture has under this name; None for a path. Raises: ConfigError."""
    if config.weights not in PUBLISHED_NAMES:
        return None
    fitting = architecture_of(config).published_weights
    return next(file for file in fitting if file.name == config.weights)


def resolve_weights(config: DetectorConfig, cache_dir: Path) -> WeightsFile | None:
    """The file of initial weights; None for random ones.

    Raises: ConfigError when the file is missing or is not the published one.
    """
    path = weights_path(config, cache_dir)
    if path is None:
        return None
    published = _published(config)
    if not path.is_file():
        fix = f"download {published.url} to that path" if published else "correct the path"
        raise ConfigError(f"detector.weights={config.weights}: no file at {path}; {fix}")
    sha256 = _sha256_once(path)
    if published and not sha256.startswith(published.sha256_prefix):
        raise ConfigError(
            f"detector.weights={config.weights}: SHA-256 of {path} starts with {sha256[:8]}, not "
            f"{published.sha256_prefix}; download {published.url} again"
        )
    return WeightsFile(path, sha256)


def _sha256_once(path: Path) -> str:
    """SHA-256 of a file, read again only when its size or time has changed: every stage asks."""
    stat = path.stat()
    return _sha256_of_version(path.resolve(), stat.st_size, stat.st_mtime_ns)


@functools.lru_cache(maxsize=32)
def _sha256_of_version(path: Path, size: int, mtime_ns: int) -> str:
    del size, mtime_ns  # part of what is remembered
    return sha256_of(path)


def weights_sha256(config: DetectorConfig, cache_dir: Path) -> str | None:
    """SHA-256 of the initial weights, part of the stage key; None for random ones.

    Raises: ConfigError as `resolve_weights`.
    """
    file = resolve_weights(config, cache_dir)
    return file.sha256 if file else None
