"""JPEG and PNG files as RGB arrays: bounded size, EXIF orientation applied, decoded once."""

import os
import struct
import warnings
from collections import OrderedDict
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import UInt8
from numpy import ndarray
from PIL import ExifTags, Image, ImageOps

from ptl_sweep.datasets.records import ImageRecord, PixelSource
from ptl_sweep.datasets.validation import (
    LFS_FIX,
    LFS_HEADER,
    DataError,
    data_error,
    require_regular,
)

MAX_PIXELS = 100_000_000  # 6000x4000 is a quarter of it; a bomb of 0.6 MB can hold 196 million
IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png")
MAX_THREADS = 8  # that decode ahead
_FORMATS = ("JPEG", "PNG")
_MODES = ("1", "CMYK", "L", "LA", "P", "RGB", "RGBA", "YCbCr")  # 8 bits a channel
_SWAPS_SIDES = range(5, 9)  # orientations that turn a picture by a quarter


def list_images(folder: Path) -> list[Path]:
    """List every JPEG and PNG under the folder by relative path; hidden files are no images.

    Raises: DataError when there is none.
    """
    found = sorted(
        path
        for path in folder.rglob("*")
        if path.suffix.lower() in IMAGE_SUFFIXES and not path.name.startswith(".")
    )
    if not found:
        raise data_error(
            folder, "holds no .jpg, .jpeg or .png file", "unpack the images of the split into it"
        )
    return found


@contextmanager
def _opened(path: Path) -> Iterator[Image.Image]:
    """The image with only its header read; every fault inside the block becomes a DataError."""
    require_regular(path)
    try:
        with warnings.catch_warnings():
            # Pillow warns from 89 million pixels on; the limit here is MAX_PIXELS.
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            image = Image.open(path, formats=_FORMATS)
        with image:
            _check(image, path)
            yield image
    except DataError:
        raise
    except Image.DecompressionBombError as error:
        raise _too_large(path, str(error)) from error
    except FileNotFoundError as error:
        raise data_error(path, "image not found", "unpack the images again") from error
    except (OSError, ValueError, SyntaxError, struct.error, EOFError) as error:
        raise _unreadable(path, error) from error


def _check(image: Image.Image, path: Path) -> None:
    if image.width * image.height > MAX_PIXELS:
        raise _too_large(path, f"{image.width}x{image.height}")
    if image.mode not in _MODES:
        raise data_error(
            path,
            f"pixel mode is {image.mode}, must be 8 bits a channel",
            "convert the image to an 8-bit RGB JPEG or PNG",
        )


def _too_large(path: Path, size: str) -> DataError:
    return data_error(
        path,
        f"has more than {MAX_PIXELS // 10**6} million pixels ({size})",
        "cut the image into smaller ones, or delete it if it is damaged",
    )


def _unreadable(path: Path, error: Exception) -> DataError:
    try:
        with path.open("rb") as file:
            head = file.read(len(LFS_HEADER))
    except OSError as closed:
        return data_error(path, f"cannot be read: {closed.strerror}", "check its permissions")
    if head == LFS_HEADER:
        return data_error(path, "is a git-LFS pointer, not the image itself", LFS_FIX)
    reason = "is empty" if not head else f"is not a complete JPEG or PNG image ({error})"
    return data_error(path, reason, "copy or download the file again")


def _orientation(image: Image.Image) -> int:
    """EXIF orientation 1..8.

    Only what stands before the pixels counts: a PNG with it after them would have to be decoded.
    """
    if "exif" not in image.info:
        return 1
    return int(image.getexif().get(ExifTags.Base.Orientation, 1))


def image_size(path: Path) -> tuple[int, int]:
    """Read (width, height) in pixels from the header, EXIF orientation applied.

    Raises: DataError when the file is missing, no JPEG or PNG, or too large.
    """
    with _opened(path) as image:
        width, height = image.size
        return (height, width) if _orientation(image) in _SWAPS_SIDES else (width, height)


def decode(path: Path) -> UInt8[ndarray, "h w 3"]:
    """Decode the RGB image, EXIF orientation applied.

    Raises: DataError when the file is missing, no JPEG or PNG, truncated or too large.
    """
    with _opened(path) as image:
        is_turned = _orientation(image) != 1
        return np.array((ImageOps.exif_transpose(image) if is_turned else image).convert("RGB"))


def decode_rgba(path: Path) -> UInt8[ndarray, "h w 4"]:
    """Decode colours and opacity (255 where a file has none), EXIF orientation applied.

    Raises: DataError as `decode`.
    """
    with _opened(path) as image:
        return np.array(ImageOps.exif_transpose(image).convert("RGBA"))


def write_png(path: Path, array: UInt8[ndarray, "h w 3"] | UInt8[ndarray, "h w"]) -> None:
    """Write an RGB or grey image without loss."""
    Image.fromarray(array).save(path, format="PNG")


@dataclass(frozen=True, slots=True)
class FileImage:
    """Pixels of one image file."""

    path: Path

    def read(self) -> UInt8[ndarray, "h w 3"]:
        """Decode the RGB image, EXIF orientation applied. Raises: DataError."""
        return decode(self.path)

    def read_masks(self) -> UInt8[ndarray, "n h w"]:
        """Refuse: image files of labelled data sets have no masks. Raises: DataError."""
        raise data_error(self.path, "has no masks", "take virtual images from a pool with masks")


def decode_all(records: Iterable[ImageRecord], known: set[PixelSource]) -> int:
    """Decode the pictures of files, masks included, on all cores; those in `known` were before.

    Returns how many there were; adds them to `known`.
    Raises: DataError that names the first that a training could not read, and how many.
    """
    todo = [one for one in records if one.content is not None and one.pixels not in known]
    known.update(record.pixels for record in todo)
    with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
        try:
            faults = [fault for fault in pool.map(_fault, todo) if fault is not None]
        except BaseException:  # Ctrl-C must not wait for thousands of files
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    if faults:
        more = f" (and {len(faults) - 1} other pictures)" if len(faults) > 1 else ""
        first, _, rest = faults[0].partition("\n")
        raise DataError(f"{first}{more}\n{rest}")
    return len(todo)


def _fault(record: ImageRecord) -> str | None:
    """Say why the pixels or masks of a picture cannot be read; None when they can."""
    try:
        ImageCache(0).read(record)
        if not isinstance(record.pixels, FileImage):
            record.pixels.read_masks()
    except DataError as error:
        return str(error)
    return None


class ImageCache:
    """The decoded images read last, at most `max_bytes` of them in memory.

    Used by one thread; what it expects is decoded by others meanwhile.
    """

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._num_bytes = 0
        # By identity: two sets may use one image_id, and a pixel source need not be hashable.
        self._kept: OrderedDict[int, tuple[PixelSource, UInt8[ndarray, "h w 3"]]] = OrderedDict()
        self._coming: dict[int, tuple[PixelSource, Future[UInt8[ndarray, "h w 3"]]]] = {}
        self._threads: ThreadPoolExecutor | None = None

    @property
    def num_bytes(self) -> int:
        """Memory that the kept images take."""
        return self._num_bytes

    def read(self, record: ImageRecord) -> UInt8[ndarray, "h w 3"]:
        """Read the record's pixels; the array is shared, so copy it before writing to it.

        Raises: DataError when the pixels cannot be read or have another size than the record.
        """
        key = id(record.pixels)
        if key in self._kept:
            self._kept.move_to_end(key)
            return self._kept[key][1]
        _, coming = self._coming.pop(key, (None, None))
        pixels = record.pixels.read() if coming is None else coming.result()
        height, width = pixels.shape[:2]
        if (width, height) != (record.width, record.height):
            raise DataError(
                f"image {record.image_id!r} is {width}x{height}, was {record.width}x"
                f"{record.height} when the data set was read\n  fix: start the run again"
            )
        if pixels.nbytes <= self._max_bytes:
            self._keep(key, record.pixels, pixels)
        return pixels

    def expect(self, records: Iterable[ImageRecord]) -> None:
        """Start to decode, on threads, what is not kept; it waits for `read`, over the limit.

        Whoever calls this bounds the memory: each record is read soon after. What is wrong with an
        image is raised where it is read.
        """
        for record in records:
            key = id(record.pixels)
            if key in self._kept or key in self._coming:
                continue
            if self._threads is None:
                num_threads = min(MAX_THREADS, len(os.sched_getaffinity(0)))
                self._threads = ThreadPoolExecutor(num_threads, "decode")
            self._coming[key] = record.pixels, self._threads.submit(record.pixels.read)

    def forget(self) -> None:
        """Give up what is expected; no thread is left then."""
        if self._threads is not None:
            self._threads.shutdown(wait=True, cancel_futures=True)
        self._threads, self._coming = None, {}

    def _keep(self, key: int, source: PixelSource, pixels: UInt8[ndarray, "h w 3"]) -> None:
        self._kept[key] = (source, pixels)
        self._num_bytes += pixels.nbytes
        while self._num_bytes > self._max_bytes:
            _, (_, oldest) = self._kept.popitem(last=False)
            self._num_bytes -= oldest.nbytes
