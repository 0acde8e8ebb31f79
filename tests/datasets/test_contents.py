"""A fingerprint follows the bytes of the images, and they are read once."""

import logging
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from ptl_sweep.config.schema import DatasetConfig, PoolConfig
from ptl_sweep.datasets import contents, registry
from ptl_sweep.datasets.contents import hash_files
from ptl_sweep.datasets.validation import DataError

LONG_AGO = 1_500_000_000


class Folder:
    """Uncompressed images, all of one size in bytes, long settled; and how many were read."""

    def __init__(self, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.root, self.index = root / "data", root / "index"
        self.read: list[str] = []
        real = contents._hash

        def counted(path: Path) -> Any:
            self.read.append(path.name)
            return real(path)

        monkeypatch.setattr(contents, "_hash", counted)
        (self.root / "images").mkdir(parents=True)
        (self.root / "labels").mkdir()
        texts = {"data.yaml": "names: [person]\n"}
        for number in range(4):
            self.draw(number, number)
            texts[f"labels/{number}.txt"] = "0 0.5 0.5 0.2 0.4\n"
        for name, text in texts.items():
            (self.root / name).write_text(text)
            os.utime(self.root / name, (LONG_AGO, LONG_AGO))

    @property
    def paths(self) -> list[Path]:
        return sorted((self.root / "images").iterdir())

    @property
    def cache(self) -> Path:
        (path,) = self.index.glob("contents-*.json")
        return path

    def draw(self, number: int, value: int, mtime: int = LONG_AGO) -> Path:
        """An image of one value, whose file is as large as that of every other value."""
        path = self.root / "images" / f"{number}.png"
        pixels = np.full((64, 48, 3), value, np.uint8)
        Image.fromarray(pixels).save(path, compress_level=0)
        os.utime(path, (mtime, mtime))
        return path

    def config(self, **keys: Any) -> DatasetConfig:
        values = {"name": "mine", "root": str(self.root), "index_root": str(self.index)}
        return DatasetConfig(**values | {"reader": "yolo"} | keys)

    def hashes(self) -> dict[Path, str]:
        """Of all images; `read` then holds those whose bytes were read for it."""
        self.read.clear()
        return hash_files(self.paths, self.config())

    def fingerprint(self) -> str | None:
        registry._read.cache_clear()
        registry._read_summary.cache_clear()
        self.read.clear()
        return registry.fingerprint(self.config(), "all")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Folder:
    return Folder(tmp_path, monkeypatch)


def test_other_pixels_in_a_file_of_the_same_size_are_another_fingerprint(folder: Folder) -> None:
    size = folder.paths[1].stat().st_size
    first = folder.fingerprint()
    path = folder.draw(1, 200, LONG_AGO + 1)
    assert path.stat().st_size == size
    assert folder.fingerprint() != first
    folder.draw(1, 1, LONG_AGO + 2)
    assert folder.fingerprint() == first


def test_a_file_put_in_the_place_of_another_is_seen_at_the_same_size_and_time(
    folder: Folder, tmp_path: Path
) -> None:
    """As `rsync --times` and `cp --preserve` with `mv` do."""
    first = folder.fingerprint()
    path = folder.paths[1]
    other = path.rename(tmp_path / "kept.png")
    folder.draw(1, 200)
    assert (path.stat().st_size, path.stat().st_mtime) == (other.stat().st_size, LONG_AGO)
    assert folder.fingerprint() != first


def test_a_second_plan_reads_no_image(folder: Folder) -> None:
    first = folder.fingerprint()
    assert sorted(folder.read) == ["0.png", "1.png", "2.png", "3.png"]
    assert folder.fingerprint() == first
    assert folder.read == []


def test_another_label_reads_no_image_anew(folder: Folder) -> None:
    first = folder.fingerprint()
    (folder.root / "labels" / "0.txt").write_text("0 0.5 0.5 0.2 0.5\n")
    assert folder.fingerprint() != first
    assert folder.read == []


def test_a_changed_file_alone_is_read_again(folder: Folder) -> None:
    first = folder.hashes()
    assert len(set(first.values())) == 4
    path = folder.draw(2, 200, LONG_AGO + 1)
    second = folder.hashes()
    assert folder.read == ["2.png"]
    assert [one for one in first if first[one] != second[one]] == [path]


def test_splits_of_one_folder_add_to_one_cache(folder: Folder) -> None:
    hash_files(folder.paths[:2], folder.config())
    hash_files(folder.paths[1:], folder.config(name="other"))
    folder.hashes()
    assert folder.read == []


def test_files_written_a_moment_ago_are_read_again(folder: Folder) -> None:
    folder.paths[0].touch()
    folder.hashes()
    folder.hashes()
    assert folder.read == ["0.png"]


def test_without_a_folder_for_it_every_process_reads(folder: Folder) -> None:
    config = folder.config(index_root=None)
    first = hash_files(folder.paths, config)
    folder.read.clear()
    assert hash_files(folder.paths, config) == first == folder.hashes()
    assert len(folder.read) == 4


def spoil(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:100])


def not_text(path: Path) -> None:
    path.write_bytes(b"\xff\xfe\x00")


@pytest.mark.parametrize("damage", [spoil, cut, not_text])
def test_a_damaged_cache_is_named_and_written_anew(
    damage: Callable[[Path], None], folder: Folder, caplog: pytest.LogCaptureFixture
) -> None:
    first = folder.hashes()
    damage(folder.cache)
    assert folder.hashes() == first
    assert len(folder.read) == 4
    assert f"{folder.cache} cannot be used, so images are read anew" in caplog.text
    folder.hashes()
    assert folder.read == []


def test_a_place_that_cannot_be_written_to_only_warns(
    folder: Folder, caplog: pytest.LogCaptureFixture
) -> None:
    folder.index.write_text("a file")
    assert len(folder.hashes()) == 4
    assert f"no checksums of images written to {folder.index}" in caplog.text
    assert "set index_root" in caplog.text


def test_an_interrupted_reading_goes_on_where_it_was(
    folder: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = contents._hash

    def interrupted(path: Path) -> Any:
        if path.name == "3.png":
            raise KeyboardInterrupt
        return real(path)

    with monkeypatch.context() as patch:
        patch.setattr(contents, "_hash", interrupted)
        with pytest.raises(KeyboardInterrupt):
            folder.hashes()
    folder.hashes()
    assert folder.read == ["3.png"]


def test_a_file_that_is_gone_is_named(folder: Folder) -> None:
    missing = folder.root / "images" / "9.png"
    with pytest.raises(DataError, match=r"9\.png: cannot be read: No such file"):
        hash_files([missing], folder.config())


def test_a_long_reading_is_announced(
    folder: Folder, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(contents, "WORTH_A_WORD", 1)
    with caplog.at_level(logging.WARNING):
        folder.hashes()
        assert "mine: reading 4 images for their checksums" in caplog.text
        caplog.clear()
        folder.hashes()
    assert caplog.text == ""


def test_the_same_bytes_are_the_same_content_wherever_they_lie(
    folder: Folder, tmp_path: Path
) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(folder.root, copy)
    hash_here = folder.hashes()
    there = hash_files(sorted((copy / "images").iterdir()), folder.config(root=str(copy)))
    assert list(there.values()) == list(hash_here.values())


def test_a_mask_with_other_values_is_another_pool(tmp_path: Path) -> None:
    Image.new("RGB", (40, 30)).save(tmp_path / "a.png")

    def fingerprint(value: int) -> str:
        mask = np.zeros((30, 40), np.uint8)
        mask[5:25, 10:20] = value
        Image.fromarray(mask).save(tmp_path / "m.png", compress_level=0)
        (tmp_path / "manifest.csv").write_text("image,mask,x1,y1,x2,y2\na.png,m.png,10,5,20,25\n")
        config = PoolConfig(name="pool", reader="archangel", root=str(tmp_path))
        return registry.POOL_READERS["archangel"](config).fingerprint

    assert fingerprint(255) == fingerprint(255) != fingerprint(254)
