"""Masks of virtual persons: greyscale PNG files, 255 where the person covers a pixel."""

from pathlib import Path

import numpy as np
from jaxtyping import Float, UInt8
from numpy import ndarray

from ptl_sweep.datasets.images import decode, image_size
from ptl_sweep.datasets.validation import data_error

_GREY = (b"\x08\x00", b"\x01\x00")  # 8 or 1 bits and colour type 0 in the header of a PNG


def require_mask(path: Path, size: tuple[int, int]) -> None:
    """Check that the file's header is that of a mask for an image of `size` (width, height).

    Raises: DataError for anything but a greyscale PNG of 8 (or 1) bits of that size.
    """
    found = image_size(path)
    with path.open("rb") as file:
        header = file.read(26)
    if not header.startswith(b"\x89PNG") or header[24:26] not in _GREY:
        raise data_error(
            path,
            "is not a greyscale PNG of 8 bits",
            "save the mask as one: 0 where nobody is, 255 where the person covers the pixel",
        )
    if found != size:
        raise data_error(
            path,
            f"is {found[0]}x{found[1]}, its image is {size[0]}x{size[1]}",
            "save mask and image at the same size",
        )


def read_mask(path: Path, size: tuple[int, int]) -> UInt8[ndarray, "h w"]:
    """Read the coverage by the person, 0..255.

    Raises: DataError for an unusable file, another size than `size` (width, height), or a mask of
    zeros and ones, which would cover next to nothing.
    """
    require_mask(path, size)
    coverage: UInt8[ndarray, "h w"] = np.ascontiguousarray(decode(path)[..., 0])
    if coverage.max() == 1:
        raise data_error(path, "has no value above 1", "multiply the mask by 255 and save it again")
    return coverage


def mask_box(coverage: UInt8[ndarray, "h w"]) -> Float[ndarray, "4"] | None:
    """Find the smallest box (xyxy, pixels) around all pixels that are not 0; None without any."""
    columns, rows = (np.flatnonzero(coverage.any(axis=axis)) for axis in (0, 1))
    if not len(columns):
        return None
    return np.array([columns[0], rows[0], columns[-1] + 1, rows[-1] + 1], dtype=np.float64)
