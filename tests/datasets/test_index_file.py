"""Image sets as tables: every reader's comes back from the index as the reader gave it."""

import dataclasses
import json
import os
import pickle
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from ptl_sweep.config.schema import DatasetConfig, PoolConfig
from ptl_sweep.datasets.images import FileImage
from ptl_sweep.datasets.index import look_up, read_indexed
from ptl_sweep.datasets.index_file import NotIndexedError, decode, encode
from ptl_sweep.datasets.readers.archangel.manifest import COLUMNS
from ptl_sweep.datasets.readers.archangel.reader import PersonMask, PoolImage
from ptl_sweep.datasets.readers.icg import BOXES
from ptl_sweep.datasets.records import ImageRecord, ImageSet
from ptl_sweep.datasets.registry import MADE, POOL_READERS, READERS

SIZE = (100, 80)  # width, height
LONG_AGO_NS = 1_500_000_000 * 10**9
KEY = "0123456789abcdef"
ROOT = Path("/data/set")


class Kind(NamedTuple):
    """A data set as one reader reads it."""

    reader: str
    split: str
    write: Callable[[Path, np.random.Generator], None]


def picture(path: Path, mode: str = "RGB") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new(mode, SIZE, "white").save(path)


def text(path: Path, content: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content)


def corners(rng: np.random.Generator) -> list[list[int]]:
    """Up to 4 boxes (left, top, right, bottom), some of them past the border."""
    low = rng.integers(0, SIZE, (rng.integers(0, 5), 2))
    return np.concatenate([low, low + rng.integers(2, 30, low.shape)], axis=1).tolist()


def write_visdrone(root: Path, rng: np.random.Generator) -> None:
    folder = root / "VisDrone2019-DET-train"
    for number in range(6):
        stem = f"{number // 3:07d}_{number:05d}_d_{number:07d}"
        picture(folder / "images" / f"{stem}.jpg")
        rows = [
            f"{left},{top},{(right - left) // part},{bottom - top},{number % 2},{category},0,0\n"
            for left, top, right, bottom in corners(rng)
            for category, part in ((0, 3), (1, 1), (4, 1))
        ]
        text(folder / "annotations" / f"{stem}.txt", "".join(rows))
    (folder / "annotations" / f"{stem}.txt").unlink()


def write_visdrone_vid(root: Path, rng: np.random.Generator) -> None:
    folder = root / "VisDrone2019-VID-train"
    for name in ("uav1", "uav2"):
        for number in (1, 2, 3):
            picture(folder / "sequences" / name / f"{number:07d}.jpg")
        rows = [
            f"{number},{place},{left},{top},{right - left},{bottom - top},1,{category},0,0\n"
            for number in (1, 3)
            for place, (left, top, right, bottom) in enumerate(corners(rng))
            for category in (1, 4)
        ]
        text(folder / "annotations" / f"{name}.txt", "".join(rows))


def write_coco(root: Path, rng: np.random.Generator) -> None:
    images, annotations = [], []
    for number in range(4):
        picture(root / "images" / f"e\u0301t\xe9 {number}.png")
        images.append({"id": number, "file_name": f"e\u0301t\xe9 {number}.png"})
        for left, top, right, bottom in corners(rng):
            box = {"bbox": [left, top, right - left, bottom - top + 0.3]}
            annotations.append({"image_id": number, "category_id": 1, "iscrowd": number % 2, **box})
    content = {"images": images, "annotations": annotations}
    content["categories"] = [{"id": 1, "name": "person"}]
    text(root / "annotations" / "instances_train.json", json.dumps(content))


def yolo_rows(rng: np.random.Generator) -> str:
    shares = rng.uniform(0.2, 0.8, (rng.integers(0, 4), 2)).tolist()
    return "".join(f"0 {x} {y} 0.3 {y / 2}\n" for x, y in shares)


def write_yolo(root: Path, rng: np.random.Generator) -> None:
    text(root / "data.yaml", "names: [person, dog]\n")
    for number in range(5):
        picture(root / "images" / "deep" / f"f_{number}.png")
        if number != 3:
            text(root / "labels" / "deep" / f"f_{number}.txt", yolo_rows(rng))
    text(root / "labels" / "of nothing.txt", "")


def write_okutama(root: Path, rng: np.random.Generator) -> None:
    labels = root / "Labels" / "MultiActionLabels" / "3840x2160"
    for sequence in ("1.1.8", "1.1.9"):
        rows = []
        for frame in range(3):
            place = root / "Drone1" / "Morning" / "Extracted-Frames-1280x720" / sequence
            place.mkdir(parents=True, exist_ok=True)
            Image.new("RGB", (128, 72)).save(place / f"{frame}.jpg")
            for box in corners(rng):
                line = " ".join(str(20 * side) for side in box)
                rows.append(f'{len(rows)} {line} {frame} {rng.integers(2)} 0 0 "Person"\n')
        text(labels / f"{sequence}.txt", "".join(rows))


def write_icg(root: Path, rng: np.random.Generator) -> None:
    folder = root / "training_set"
    boxes = {}
    for number in range(4):
        picture(folder / "images" / f"{number:03d}.jpg")
        found = np.array(corners(rng), dtype=np.float64).reshape(-1, 2, 2)
        boxes[f"{number:03d}"] = [box + 0.25 for box in found]
    del boxes["002"]
    (folder / BOXES).parent.mkdir(parents=True)
    content = pickle.dumps(boxes, protocol=3)
    (folder / BOXES).write_bytes(content.replace(b"numpy._core", b"numpy.core"))


def voc(name: str, rng: np.random.Generator) -> str:
    objects = "".join(
        f"<object><name>{name}</name><bndbox><xmin>{left}</xmin><ymin>{top}</ymin>"
        f"<xmax>{right}</xmax><ymax>{bottom}.5</ymax></bndbox></object>"
        for left, top, right, bottom in corners(rng)
    )
    return f"<annotation>{objects}</annotation>"


def write_heridal(root: Path, rng: np.random.Generator) -> None:
    for number in range(4):
        stem = f"test_{'BLI' if number % 2 else 'VRD'}_{number:04d}"
        picture(root / "testImages" / f"{stem}.jpg")
        text(root / "testImages" / "labels" / f"{stem}.xml", voc("human", rng))


def write_sard(root: Path, rng: np.random.Generator) -> None:
    for number in (1, 2, 7):
        picture(root / f"gss{number}.jpg")
        text(root / f"gss{number}.xml", voc("Lying", rng))


def write_sard_repack(root: Path, rng: np.random.Generator) -> None:
    text(root / "data.yaml", "names: [Running, Walking]\n")
    for number in range(4):
        stem = f"gss{number}_jpg.rf.{number:032x}"
        picture(root / "valid" / "images" / f"{stem}.jpg")
        text(root / "valid" / "labels" / f"{stem}.txt", yolo_rows(rng))


def write_voc(root: Path, rng: np.random.Generator) -> None:
    for number in range(3):
        picture(root / "JPEGImages" / f"a_{number}.jpg")
        text(root / "Annotations" / f"a_{number}.xml", voc("person", rng))
    text(root / "ImageSets" / "Main" / "test.txt", "a_0\na_2\n")


def write_archangel(root: Path, rng: np.random.Generator) -> None:
    lines = [",".join(COLUMNS)]
    for number in range(5):
        picture(root / "images" / f"{number}.png")
        picture(root / "masks" / f"{number}.png", "L")
        for person in range(1 + number % 3):  # several share the mask of their image
            left, top = rng.integers(0, 50, 2).tolist()
            box = f"{left},{top},{left + 20.5},{top + 60}" if number else ",,,"
            who = f"anna,p{person},{number / 3},5,-30,"
            lines.append(f"images/{number}.png,masks/{number}.png,{box},{who}")
    text(root / "manifest.csv", "\n".join(lines))


KINDS = {
    "visdrone": Kind("visdrone", "train", write_visdrone),
    "visdrone_vid": Kind("visdrone_vid", "train", write_visdrone_vid),
    "coco": Kind("coco", "train", write_coco),
    "yolo": Kind("yolo", "all", write_yolo),
    "okutama": Kind("okutama", "test", write_okutama),
    "icg": Kind("icg", "all", write_icg),
    "heridal": Kind("heridal", "test", write_heridal),
    "sard": Kind("sard", "all", write_sard),
    "sard re-packed": Kind("sard", "valid", write_sard_repack),
    "voc": Kind("voc", "test", write_voc),
    "archangel": Kind("archangel", "pool", write_archangel),
}


Read = Callable[[], ImageSet]


@pytest.fixture
def data(tmp_path: Path) -> Callable[..., tuple[Any, Read]]:
    """Write a data set, long settled: its config, and its reader as it is."""

    def write(kind: Kind, seed: int = 0) -> tuple[Any, Read]:
        root = tmp_path / "data"
        kind.write(root, np.random.default_rng(seed))
        settle(root)
        keys = {"name": "mine", "reader": kind.reader, "root": str(root)}
        keys |= {"index_root": str(tmp_path / "index")}
        if kind.reader in POOL_READERS:
            pool = PoolConfig(**keys)
            return pool, partial(POOL_READERS[kind.reader], pool)
        config = DatasetConfig(**keys)
        return config, partial(READERS[kind.reader], config, kind.split)

    return write


def never() -> ImageSet:
    raise AssertionError("the reader was asked")


def settle(root: Path) -> None:
    """As if every file had been written long ago."""
    for path in root.rglob("*"):
        os.utime(path, ns=(LONG_AGO_NS, LONG_AGO_NS), follow_symlinks=False)


def assert_same(one: ImageSet, other: ImageSet) -> None:
    """Field by field, types included."""
    for field in dataclasses.fields(ImageSet):
        if field.name != "records":
            assert getattr(one, field.name) == getattr(other, field.name), field.name
    assert list(one.drops.items()) == list(other.drops.items())
    assert len(one.records) == len(other.records)
    for mine, theirs in zip(one.records, other.records, strict=True):
        for field in dataclasses.fields(ImageRecord):
            left, right = getattr(mine, field.name), getattr(theirs, field.name)
            assert type(left) is type(right), field.name
            if isinstance(left, np.ndarray):
                assert (left.dtype, left.shape) == (right.dtype, right.shape)
                assert left.tobytes() == right.tobytes()
                assert left.flags.writeable
                assert left.flags.c_contiguous
            else:
                assert left == right, field.name
        assert repr(mine.attributes) == repr(theirs.attributes)  # 1 is not 1.0
        assert repr(mine.pixels) == repr(theirs.pixels)
        assert mine.content == theirs.content


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)
def test_a_second_reading_gives_the_same_without_the_reader(
    kind: Kind, seed: int, data: Callable[..., tuple[Any, Read]]
) -> None:
    config, read = data(kind, seed)
    fresh = read()
    assert_same(read_indexed(config, kind.split, read), fresh)
    assert_same(read_indexed(config, kind.split, never), fresh)
    summary = look_up(config, kind.split)
    assert summary is not None
    assert summary.fingerprint == fresh.fingerprint
    assert summary.num_eligible == sum(len(record.boxes) > 0 for record in fresh.records)
    (path,) = Path(config.index_root).glob("*.jsonl")
    stem, key = path.stem.rsplit("-", 1)
    assert stem == f"{kind.reader}-mine-{kind.split}"
    assert len(key) == 16


def test_every_reader_of_files_is_tried_here() -> None:
    tried = {kind.reader for kind in KINDS.values()}
    assert tried == {*READERS, *POOL_READERS} - {*MADE}


def test_the_fixtures_have_what_an_index_must_keep(
    data: Callable[..., tuple[Any, Read]],
) -> None:
    drone = data(KINDS["visdrone"])[1]()
    assert drone.drops
    assert drone.warnings
    assert any(len(record.ignored) for record in drone.records)
    assert any(len(record.boxes) for record in drone.records)
    pool = data(KINDS["archangel"])[1]()
    windows = {mask.window is None for record in pool.records for mask in record.pixels.masks}
    assert windows == {True, False}
    assert {len(record.attributes) for record in pool.records} == {5}


def test_pixels_of_an_indexed_image_can_be_read(data: Callable[..., tuple[Any, Read]]) -> None:
    config, read = data(KINDS["archangel"])
    fresh = read_indexed(config, "pool", read)
    for one, other in zip(read_indexed(config, "pool", never).records, fresh.records, strict=True):
        assert np.array_equal(one.pixels.read(), other.pixels.read())
        assert np.array_equal(one.pixels.read_masks(), other.pixels.read_masks())


# Plain values only: the checker of shapes draws random numbers, which no strategy may.
texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="/\0"), min_size=1)
paths = st.lists(texts.filter(lambda name: name not in (".", "..")), min_size=1, max_size=3)
boxes = st.lists(st.tuples(*[st.floats(allow_nan=False, width=32)] * 4), max_size=3)
numbers = st.integers(0, 10**5)
masks = st.lists(st.tuples(paths, st.none() | st.tuples(*[numbers] * 4)), max_size=3)
records = st.fixed_dictionaries(
    {
        "image_id": texts,
        "width": numbers,
        "height": numbers,
        "boxes": boxes,
        "ignored": boxes,
        "scene": texts,
        "path": paths,
        "masks": masks,
        "attributes": st.dictionaries(texts, st.floats(allow_nan=False) | texts, max_size=3),
    }
)
image_sets = st.fixed_dictionaries(
    {
        "name": texts,
        "split": texts,
        "records": st.lists(records, min_size=1, max_size=5),
        "fingerprint": texts,
        "drops": st.dictionaries(texts, st.integers(1, 10**9), max_size=3),
        "warnings": st.lists(texts, max_size=3).map(tuple),
    }
)


def built(values: dict[str, Any], *, is_pool: bool) -> ImageSet:
    return ImageSet(
        **values | {"records": tuple(record(row, is_pool) for row in values["records"])}
    )


def record(row: dict[str, Any], is_pool: bool) -> ImageRecord:
    row = dict(row)
    path, persons = ROOT.joinpath(*row.pop("path")), row.pop("masks")
    found = tuple(PersonMask(ROOT.joinpath(*name), window) for name, window in persons)
    size = (row["width"], row["height"])
    arrays = {name: np.array(row[name], np.float32).reshape(-1, 4) for name in ("boxes", "ignored")}
    return ImageRecord(
        **row | arrays, pixels=PoolImage(path, size, found) if is_pool else FileImage(path)
    )


@settings(
    max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(values=image_sets, is_pool=st.booleans())
def test_any_image_set_comes_back_as_it_was(
    values: dict[str, Any], is_pool: bool, tmp_path: Path
) -> None:
    image_set = built(values, is_pool=is_pool)
    path = tmp_path / "index.jsonl"
    path.write_bytes(encode(image_set, ROOT, KEY))
    assert_same(decode(path, ROOT, KEY), image_set)
    moved = decode(path, Path("/elsewhere"), KEY)
    assert [r.pixels.path for r in moved.records] == [
        Path("/elsewhere") / r.pixels.path.relative_to(ROOT) for r in image_set.records
    ]
    with pytest.raises(NotIndexedError):
        decode(path, ROOT, KEY[::-1])


def test_pixels_of_no_known_kind_are_refused(make_record: Callable[..., ImageRecord]) -> None:
    image_set = ImageSet(name="a", split="b", records=(make_record("1"),), fingerprint="c")
    with pytest.raises(NotIndexedError, match="its pixels are NoPixels"):
        encode(image_set, ROOT, KEY)
