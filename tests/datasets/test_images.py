"""Decoding: orientation, limits, damaged files, and the cache."""

import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ptl_sweep.datasets.images import (
    FileImage,
    ImageCache,
    decode,
    image_size,
    list_images,
    write_png,
)
from ptl_sweep.datasets.records import ImageRecord
from ptl_sweep.datasets.validation import DataError


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def _black_png(path: Path, side: int) -> None:
    """A valid PNG of side x side black pixels, without holding them in memory."""
    packer = zlib.compressobj(9)
    row = bytes(1 + 3 * side)
    data = b"".join([packer.compress(row) for _ in range(side)] + [packer.flush()])
    header = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    chunks = _chunk(b"IHDR", header) + _chunk(b"IDAT", data) + _chunk(b"IEND", b"")
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + chunks)


def _one_line(error: pytest.ExceptionInfo[DataError], *words: object) -> None:
    text = str(error.value)
    assert text.count("\n") <= 2
    for word in words:
        assert str(word) in text


@pytest.mark.parametrize("orientation", range(1, 9))
def test_every_exif_orientation_shows_the_same_upright_picture(
    tmp_path: Path, orientation: int
) -> None:
    upright = np.zeros((48, 80, 3), np.uint8)
    upright[:24, :40] = (250, 30, 30)  # top left red
    upright[24:, 40:] = (30, 30, 250)  # bottom right blue
    stored = {  # the inverse of what a viewer has to do
        1: upright,
        2: upright[:, ::-1],
        3: upright[::-1, ::-1],
        4: upright[::-1],
        5: upright.transpose(1, 0, 2),
        6: np.rot90(upright, 1),
        7: upright.transpose(1, 0, 2)[::-1, ::-1],
        8: np.rot90(upright, -1),
    }[orientation]
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = tmp_path / "photo.jpg"
    Image.fromarray(np.ascontiguousarray(stored)).save(path, exif=exif, quality=95, subsampling=0)

    pixels = decode(path)

    assert image_size(path) == (80, 48)
    assert pixels.shape == upright.shape
    assert np.abs(pixels.astype(int) - upright).mean() < 5


def test_png_round_trip_is_exact(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (9, 7, 3), np.uint8)
    write_png(tmp_path / "a.png", pixels)
    assert np.array_equal(decode(tmp_path / "a.png"), pixels)


def test_header_size_and_decoded_size_agree_for_an_orientation_after_the_png_pixels(
    tmp_path: Path,
) -> None:
    path = tmp_path / "late.png"
    write_png(path, np.zeros((4, 9, 3), np.uint8))
    exif = Image.Exif()
    exif[0x0112] = 6
    data, end = path.read_bytes()[:-12], path.read_bytes()[-12:]
    path.write_bytes(data + _chunk(b"eXIf", exif.tobytes().removeprefix(b"Exif\0\0")) + end)
    assert image_size(path) == (9, 4)
    assert decode(path).shape == (4, 9, 3)


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGBA"])
def test_grey_palette_and_transparent_images_become_rgb(tmp_path: Path, mode: str) -> None:
    path = tmp_path / "a.png"
    Image.new("RGB", (5, 3), "white").convert(mode).save(path)
    assert np.array_equal(decode(path), np.full((3, 5, 3), 255, np.uint8))


def test_16_bit_images_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    Image.fromarray(np.zeros((4, 4), np.uint16)).save(path)
    with pytest.raises(DataError) as error:
        image_size(path)
    _one_line(error, path, "I;16", "8-bit")


def test_a_picture_of_6000x4000_passes(tmp_path: Path) -> None:
    path = tmp_path / "large.jpg"
    Image.new("L", (6000, 4000)).save(path)
    assert image_size(path) == (6000, 4000)
    assert decode(path).shape == (4000, 6000, 3)


@pytest.mark.parametrize("side", [10_001, 14_000])
def test_a_decompression_bomb_is_refused_before_decoding(tmp_path: Path, side: int) -> None:
    path = tmp_path / "bomb.png"
    _black_png(path, side)
    assert path.stat().st_size < 700_000
    for read in (image_size, decode):
        with pytest.raises(DataError) as error:
            read(path)
        _one_line(error, path, "100 million pixels", "cut")


def test_a_truncated_jpeg_has_a_size_but_does_not_decode(
    tmp_path: Path, write_image: Callable[..., Path]
) -> None:
    path = write_image(tmp_path / "a.jpg", (64, 64))
    path.write_bytes(path.read_bytes()[:-200])
    assert image_size(path) == (64, 64)
    with pytest.raises(DataError) as error:
        FileImage(path).read()
    _one_line(error, path, "truncated", "copy or download")


@pytest.mark.parametrize(
    ("content", "word"),
    [
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n", "git lfs pull"),
        (b"", "is empty"),
        (b"not an image", "not a complete JPEG or PNG"),
        (b"GIF89a\x01\x00\x01\x00\x00\x00\x00;", "not a complete JPEG or PNG"),
        (b"\x89PNG\r\n\x1a\n", "not a complete JPEG or PNG"),
        (b"\xff\xd8\xff\xe0\x00", "not a complete JPEG or PNG"),
    ],
)
def test_what_is_no_image_is_named_with_its_fix(tmp_path: Path, content: bytes, word: str) -> None:
    path = tmp_path / "a.jpg"
    path.write_bytes(content)
    for read in (image_size, decode):
        with pytest.raises(DataError) as error:
            read(path)
        _one_line(error, path, word, "fix")


def test_a_missing_image_and_missing_masks_are_data_errors(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="not found"):
        decode(tmp_path / "no.png")
    with pytest.raises(DataError, match="cannot be read: Is a directory"):
        image_size(tmp_path)
    with pytest.raises(DataError, match="has no masks"):
        FileImage(tmp_path / "no.png").read_masks()


def test_hidden_files_and_other_formats_are_not_listed(
    tmp_path: Path, write_image: Callable[..., Path]
) -> None:
    for name in ("b.JPG", "a.png", "deep/c.jpeg"):
        write_image(tmp_path / name)
    (tmp_path / "._a.png").write_bytes(b"")
    (tmp_path / "notes.txt").write_text("x")
    found = [path.relative_to(tmp_path).as_posix() for path in list_images(tmp_path)]
    assert found == ["a.png", "b.JPG", "deep/c.jpeg"]
    with pytest.raises(DataError, match="holds no"):
        list_images(tmp_path / "nothing")


class _Counted:
    """A pixel source that counts how often it is read; not hashable on purpose."""

    __hash__ = None  # type: ignore[assignment]

    def __init__(self, height: int, width: int) -> None:
        self.num_reads = 0
        self._pixels = np.zeros((height, width, 3), np.uint8)

    def read(self) -> np.ndarray:
        self.num_reads += 1
        return self._pixels

    def read_masks(self) -> np.ndarray:
        raise NotImplementedError


def _record(source: _Counted, width: int = 10, height: int = 10) -> ImageRecord:
    none = np.zeros((0, 4), np.float32)
    return ImageRecord(
        image_id="same",
        width=width,
        height=height,
        boxes=none,
        ignored=none,
        scene="s",
        pixels=source,
    )


def test_the_cache_decodes_once_and_drops_the_image_used_longest_ago() -> None:
    sources = [_Counted(10, 10) for _ in range(3)]
    records = [_record(source) for source in sources]
    cache = ImageCache(max_bytes=600)  # two images of 300 bytes
    for index in (0, 1, 0, 2, 0, 1):
        cache.read(records[index])
    assert [source.num_reads for source in sources] == [1, 2, 1]
    assert cache.num_bytes == 600


def test_an_image_larger_than_the_cache_is_read_and_not_kept() -> None:
    source = _Counted(10, 10)
    cache = ImageCache(max_bytes=299)
    for _ in range(2):
        assert cache.read(_record(source)).shape == (10, 10, 3)
    assert source.num_reads == 2
    assert cache.num_bytes == 0


def test_an_image_that_changed_its_size_since_it_was_listed_is_an_error() -> None:
    with pytest.raises(DataError, match="is 10x10, was 11x10"):
        ImageCache(1000).read(_record(_Counted(10, 10), width=11))
