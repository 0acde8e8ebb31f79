"""Images decoded on threads before they are needed, in order and in bounded memory."""

from collections import deque
from collections.abc import Generator, Iterable, Iterator

from jaxtyping import UInt8
from numpy import ndarray

from ptl_sweep.datasets.images import ImageCache
from ptl_sweep.datasets.records import ImageRecord

MAX_BYTES = 2**29  # decoded and not yet asked for; one image may exceed it

Decoded = tuple[ImageRecord, UInt8[ndarray, "h w 3"]]


def decoded_ahead(
    records: Iterable[ImageRecord],
    cache: ImageCache,
    *,
    lookahead: int,
    max_bytes: int = MAX_BYTES,
) -> Generator[Decoded, None, None]:
    """Each record with its pixels, in order; up to `lookahead` later ones are decoded meanwhile.

    With lookahead=0 there is no thread, and the cache is read. Else each image is decoded anew, so
    that a pool, larger than any cache, does not drive out what the cache holds. Images whose pixels
    would take more than `max_bytes` together wait. A generator that is closed leaves no thread.
    Raises: DataError at the place of an image that cannot be read or has another size.
    """
    if lookahead == 0:
        return ((record, cache.read(record)) for record in records)
    return _on_threads(iter(records), lookahead, max_bytes)


def _on_threads(
    records: Iterator[ImageRecord], lookahead: int, max_bytes: int
) -> Generator[Decoded, None, None]:
    waiting: deque[ImageRecord] = deque()
    ahead = ImageCache(0)
    try:
        while True:
            while len(waiting) <= lookahead and _num_bytes(waiting) < max_bytes:
                record = next(records, None)
                if record is None:
                    break
                ahead.expect([record])
                waiting.append(record)
            if not waiting:
                return
            record = waiting.popleft()
            yield record, ahead.read(record)
    finally:
        ahead.forget()


def _num_bytes(waiting: Iterable[ImageRecord]) -> int:
    return sum(3 * record.width * record.height for record in waiting)
