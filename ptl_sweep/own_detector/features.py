"""Feature arrays beside a COCO file: one row per entry, in its order."""

import zipfile
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool, Float
from numpy import ndarray

from ptl_sweep.datasets.validation import DataError, data_error, require_regular
from ptl_sweep.own_detector.layout import FEATURES, PAGE


def feature_file(folder: Path, stem: str) -> Path | None:
    """Find `stem`.npy or `stem`.npz; None without either."""
    paths = (folder / f"{stem}{ending}" for ending in (".npy", ".npz"))
    return next((path for path in paths if path.is_file()), None)


def read_features(
    folder: Path, stem: str, used: Bool[ndarray, " n"], entries: str
) -> Float[ndarray, "n d"]:
    """Read one row for each of the `entries`, from the disk where it is used; finite in these.

    Raises: DataError for a file that is missing, damaged, of another shape or not finite.
    """
    path = feature_file(folder, stem)
    if path is None:
        raise DataError(
            f"{folder / stem}.npy is not there\n  fix: write one feature for each of the "
            f"{len(used)} {entries} into it ({PAGE})"
        )
    features = _rows(path, len(used), entries)
    require_finite(features, used, path)
    return features


def _rows(path: Path, num: int, entries: str) -> Float[ndarray, "n d"]:
    array = _array(path)
    if array.ndim != 2 or array.dtype.kind != "f":
        raise data_error(
            path,
            f"holds {array.dtype} of shape {array.shape}, must be floats, {num} rows of channels",
            "write a row of floats for each entry",
        )
    if len(array) != num:
        raise data_error(
            path,
            f"holds {len(array)} rows, but there are {num} {entries}",
            "write one row for each of them, in their order",
        )
    features: Float[ndarray, "n d"] = array
    return features


def _array(path: Path) -> Any:
    found = load_arrays(path)
    if isinstance(found, ndarray):
        return found
    if FEATURES not in found:
        raise data_error(
            path,
            f"has no array {FEATURES} (there: {', '.join(found) or 'none'})",
            f"save it by np.savez(file, {FEATURES}=array)",
        )
    return found[FEATURES]


def load_arrays(path: Path) -> Any:
    """Read an array, or arrays by name. Raises: DataError for a file that NumPy cannot read."""
    require_regular(path)
    try:
        found = np.load(path, mmap_mode="r", allow_pickle=False)
        if isinstance(found, ndarray):
            return found
        with found:
            return {name: found[name] for name in found.files}
    except (ValueError, EOFError, OSError, zipfile.BadZipFile, zipfile.LargeZipFile) as error:
        problem = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise data_error(
            path, f"is not a whole file of NumPy: {problem[:100]}", "write it again by np.save"
        ) from error


def require_finite(features: Float[ndarray, "n d"], used: Bool[ndarray, " n"], path: Path) -> None:
    """Refuse NaN and infinity in the rows that are used. Raises: DataError."""
    rows = np.flatnonzero(used)
    broken = rows[~np.isfinite(features[rows]).all(axis=1)]
    if len(broken):
        raise data_error(
            path,
            f"row {broken[0]} holds NaN or infinity; {len(broken)} of the {len(rows)} rows that "
            "are used do",
            "look for a detector that has diverged, or for another file's rows",
        )
