"""Images decoded ahead: their order, how far ahead, faults at their place, no thread left."""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from numpy import ndarray

from ptl_sweep.datasets.ahead import decoded_ahead
from ptl_sweep.datasets.images import FileImage, ImageCache, write_png
from ptl_sweep.datasets.records import ImageRecord, PixelSource
from ptl_sweep.datasets.validation import DataError

SIDE = 16


@dataclass(frozen=True)
class Watched:
    """One colour, decoded in a given time; tells when it is read."""

    colour: int
    tell: Callable[[int], None]
    seconds: float = 0.0

    def read(self) -> ndarray:
        self.tell(self.colour)
        time.sleep(self.seconds)
        return np.full((SIDE, SIDE, 3), self.colour, dtype=np.uint8)

    def read_masks(self) -> ndarray:
        raise NotImplementedError


def record_of(pixels: PixelSource, name: str = "one", side: int = SIDE) -> ImageRecord:
    nothing = np.zeros((0, 4), dtype=np.float32)
    return ImageRecord(
        image_id=name,
        width=side,
        height=side,
        boxes=nothing,
        ignored=nothing,
        scene="s",
        pixels=pixels,
    )


def decoding_threads() -> list[threading.Thread]:
    return [one for one in threading.enumerate() if one.name.startswith("decode")]


@pytest.mark.parametrize("lookahead", [0, 1, 3, 100])
def test_images_come_in_order_with_their_own_pixels(lookahead: int) -> None:
    """Though the first ones take longest."""
    records = [record_of(Watched(i, lambda _: None, (12 - i) / 1000)) for i in range(12)]
    found = list(decoded_ahead(iter(records), ImageCache(2**20), lookahead=lookahead))
    assert [record for record, _ in found] == records
    assert [int(pixels[0, 0, 0]) for _, pixels in found] == list(range(12))
    assert not decoding_threads()


@pytest.mark.parametrize(
    ("lookahead", "max_images", "expected"), [(3, 100, 4), (100, 6, 6), (5, 0, 1), (0, 100, 1)]
)
def test_no_more_is_decoded_than_may_wait(lookahead: int, max_images: int, expected: int) -> None:
    """By number and by memory; one image is decoded even if it takes more than it may."""
    started: list[int] = []
    records = [record_of(Watched(i, started.append)) for i in range(20)]
    limit = max_images * SIDE * SIDE * 3
    decoded = decoded_ahead(records, ImageCache(0), lookahead=lookahead, max_bytes=max(1, limit))
    for taken in range(1, 8):
        next(decoded)
        time.sleep(0.05)  # long enough for threads that would run too far
        assert sorted(started) == list(range(taken - 1 + expected))
    decoded.close()
    assert not decoding_threads()


def test_a_damaged_image_is_a_data_error_at_its_place(tmp_path: Path) -> None:
    for index in range(5):
        write_png(tmp_path / f"{index}.png", np.full((SIDE, SIDE, 3), index, dtype=np.uint8))
    (tmp_path / "3.png").write_bytes(b"torn")
    records = [record_of(FileImage(tmp_path / f"{index}.png")) for index in range(5)]
    decoded = decoded_ahead(records, ImageCache(2**20), lookahead=4)
    assert [int(next(decoded)[1][0, 0, 0]) for _ in range(3)] == [0, 1, 2]
    with pytest.raises(DataError, match=r"3\.png"):
        next(decoded)
    assert not decoding_threads()


def test_pixels_of_another_size_than_the_records_are_a_data_error() -> None:
    records = [record_of(Watched(0, lambda _: None)), record_of(Watched(1, print), "odd", side=8)]
    decoded = decoded_ahead(records, ImageCache(2**20), lookahead=2)
    next(decoded)
    with pytest.raises(DataError, match="'odd' is 16x16, was 8x8"):
        next(decoded)


def test_a_reader_that_stops_early_leaves_no_thread_and_decodes_no_more() -> None:
    started: list[int] = []
    records = [record_of(Watched(i, started.append, 0.01)) for i in range(200)]
    decoded = decoded_ahead(records, ImageCache(0), lookahead=150)
    next(decoded)
    decoded.close()
    assert not decoding_threads()
    so_far = len(started)
    assert so_far < 100
    time.sleep(0.05)
    assert len(started) == so_far


def test_without_look_ahead_the_cache_is_read() -> None:
    started: list[int] = []
    records = [record_of(Watched(i, started.append)) for i in range(3)]
    cache = ImageCache(2**20)
    for _ in range(2):
        assert len(list(decoded_ahead(records, cache, lookahead=0))) == 3
    assert started == [0, 1, 2]
    list(decoded_ahead(records, cache, lookahead=2))
    assert sorted(started) == [0, 0, 1, 1, 2, 2]
    assert cache.num_bytes == 3 * SIDE * SIDE * 3
