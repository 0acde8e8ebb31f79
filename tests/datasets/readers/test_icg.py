"""The ICG Semantic Drone Dataset in its official layout, and pickles that mean harm."""

import builtins
import contextlib
import io
import itertools
import os
import pickle
import pickletools
import shutil
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from ptl_sweep.config.schema import ConfigError, DatasetConfig
from ptl_sweep.datasets.readers.icg import BOXES, read_boxes, read_icg
from ptl_sweep.datasets.validation import DataError

Read = Callable[..., Any]
Boxes = dict[str, list[np.ndarray]]


def box(left: float, top: float, right: float, bottom: float) -> np.ndarray:
    return np.array([[left, top], [right, bottom]], dtype=np.float64)


def official(content: object) -> bytes:
    """As the official file was written: protocol 3, and NumPy's module under its old name."""
    return pickle.dumps(content, protocol=3).replace(b"numpy._core", b"numpy.core")


@pytest.fixture
def icg(tmp_path: Path, write_image: Callable[..., Path]) -> Read:
    """write([image id], content of the box file) and read it: an ImageSet."""

    def read(images: tuple[str, ...], content: object, split: str = "all", **keys: Any) -> Any:
        for image_id in images:
            write_image(tmp_path / "training_set/images" / f"{image_id}.jpg")
        path = tmp_path / "training_set" / BOXES
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else official(content))
        config = DatasetConfig(name="icg", reader="icg", root=str(tmp_path), **keys)
        return read_icg(config, split)

    return read


@pytest.fixture
def refused(tmp_path: Path) -> Callable[[bytes], str]:
    """The message that answers these bytes."""

    def read(data: bytes) -> str:
        path = tmp_path / "imgIdToBBoxArray.p"
        path.write_bytes(data)
        with pytest.raises(DataError) as error:
            read_boxes(path)
        text = str(error.value)
        assert text.startswith(f"{path}: ")
        assert "\n  fix: " in text
        assert len(text) < 600
        return text

    return read


def test_official_content_gives_boxes_negatives_and_clipped_boxes(icg: Read) -> None:
    content = {
        "000": [box(10, 20, 30.5, 40), box(-5, 10, 20, 90)],
        "005": [],
        "583": [box(10, 10, 10.5, 40)],
    }
    image_set = icg(("000", "005", "583"), content)
    first, second, third = image_set.records
    assert first.boxes.tolist() == [[10, 20, 30.5, 40], [0, 10, 20, 80]]
    assert len(second.boxes) == len(third.boxes) == 0
    assert (first.image_id, first.scene, first.width, first.height) == ("000", "000", 100, 80)
    assert first.pixels.read().shape == (80, 100, 3)
    assert image_set.drops == {"under 1 px": 1}
    assert image_set.warnings == (
        "boxes past the image border, clipped: 1 (files: 1, first: imgIdToBBoxArray.p)",
    )


@pytest.mark.parametrize("protocol", [3, 4])
@pytest.mark.parametrize("old_name", [True, False])
def test_boxes_are_those_that_pickle_itself_would_load(
    tmp_path: Path, protocol: int, old_name: bool
) -> None:
    rng = np.random.default_rng(0)
    content = {
        f"{index:03}": [rng.uniform(0, 6000, (2, 2)) for _ in range(index % 4)]
        for index in range(0, 400, 7)
    }
    content["fortran"] = [np.asfortranarray(rng.uniform(0, 6000, (2, 2)))]
    data = pickle.dumps(content, protocol=protocol)
    if old_name and protocol == 3:
        data = data.replace(b"numpy._core", b"numpy.core")
    path = tmp_path / "boxes.p"
    path.write_bytes(data)
    found = read_boxes(path)
    assert found.keys() == content.keys()
    for image_id, boxes in content.items():
        assert len(found[image_id]) == len(boxes)
        for one, other in zip(found[image_id], boxes, strict=True):
            assert np.array_equal(one, other)


def test_entries_without_image_and_images_without_entry_are_counted(icg: Read) -> None:
    image_set = icg(("000", "001"), {"001": [box(1, 2, 30, 40)], "../../secret": [], "002": []})
    assert [record.image_id for record in image_set.records] == ["001"]
    assert image_set.drops == {"image without entry in the box file": 1}
    assert image_set.warnings == (
        "images without entry in the box file, left out: 1 (files: 1, first: 000.jpg)",
        "entries of the box file without image: 2 (files: 2, first: '../../secret')",
    )


def test_the_root_may_lie_around_or_inside(icg: Read, tmp_path: Path) -> None:
    icg(("000",), {"000": [box(1, 2, 30, 40)]})
    for root in (tmp_path, tmp_path / "training_set", tmp_path.parent):
        config = DatasetConfig(name="icg", reader="icg", root=str(root))
        assert read_icg(config, "all").num_persons == 1


def test_shares_divide_the_images_without_overlap(icg: Read) -> None:
    ids = tuple(f"{index * 3:03}" for index in range(20))
    content = {image_id: [] for image_id in ids}
    shares = [0.5, 0.2, 0.3]
    found = {
        split: [r.image_id for r in icg(ids, content, split, scene_fractions=shares).records]
        for split in ("train", "validation", "test")
    }
    assert [len(part) for part in found.values()] == [10, 4, 6]
    assert sorted(itertools.chain(*found.values())) == list(ids)
    assert len(icg(ids, content, "all", scene_fractions=shares, num_images=5).records) == 5


def test_a_split_without_share_is_refused(icg: Read) -> None:
    for keys in ({}, {"scene_fractions": [0.6, 0.4, 0.0]}):
        with pytest.raises(ConfigError, match=r"icg.split=test needs a share .*split=all"):
            icg(("000",), {"000": []}, "test", **keys)
    with pytest.raises(ConfigError, match="must be one of train, validation, test, all"):
        icg(("000",), {"000": []}, "trian")
    with pytest.raises(ConfigError, match="categories"):
        icg(("000",), {"000": []}, categories={"person": "person"})


@pytest.mark.parametrize("inner", ["", "dataset/semantic_drone_dataset"])
def test_the_repacked_copy_is_known_for_what_it_lacks(tmp_path: Path, inner: str) -> None:
    (tmp_path / inner / "original_images").mkdir(parents=True)
    config = DatasetConfig(name="icg", reader="icg", root=str(tmp_path))
    with pytest.raises(DataError, match=r"\(Kaggle\), which has no boxes\n.*official download"):
        read_icg(config, "all")


def test_a_folder_without_the_data_set_says_what_belongs_there(tmp_path: Path) -> None:
    config = DatasetConfig(name="icg", reader="icg", root=str(tmp_path))
    with pytest.raises(DataError, match=r"neither images/ and gt/bounding_box.*training_set"):
        read_icg(config, "all")


@pytest.mark.parametrize(
    ("bad", "words"),
    [
        (box(1, 2, np.nan, 4), "nan"),
        (box(1, 2, np.inf, 4), "inf"),
        (box(1, 2, 1e6, 4), "at most 100000"),
        (box(30, 2, 1, 4), "no maximum below its minimum"),
    ],
)
def test_numbers_that_are_no_box_are_named(icg: Read, bad: np.ndarray, words: str) -> None:
    with pytest.raises(DataError, match=r"box 1 of image '000' is \[") as error:
        icg(("000",), {"000": [box(1, 2, 3, 4), bad]})
    assert words in str(error.value)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ([], "the content is a list, must be a dict"),
        ({7: []}, "an image id is a int"),
        ({"0": {}}, "the entry of image '0' is a dict"),
        ({"0": None}, "is a NoneType"),
        ({"0": [7]}, "a box of image '0' is a int"),
        ({"0": [[1, 2, 3, 4]]}, "is a list"),
        ({"0": [np.zeros(4)]}, "is another array, must be an array of 2x2"),
        ({"0": [np.zeros((2, 2), np.float32)]}, "is another array"),
        ({"0": [np.zeros((2, 2), np.int64)]}, "is another array"),
        ({"0": [np.zeros((2, 2), ">f8")]}, "is another array"),
        ({"0": [np.zeros((2, 2, 0))]}, "is another array"),
    ],
)
def test_content_of_another_kind_is_named(
    refused: Callable[[bytes], str], content: object, words: str
) -> None:
    assert words in refused(official(content))


class Calls:
    """Pickles as a call of a function."""

    def __init__(self, function: Any, *arguments: Any) -> None:
        self._call = (function, arguments)

    def __reduce__(self) -> Any:
        return self._call


@pytest.mark.parametrize("protocol", [3, 4])
@pytest.mark.parametrize(
    ("function", "argument"),
    [
        (os.system, "exit 1"),
        (builtins.eval, "1 / 0"),
        (builtins.getattr, "x"),
        (pickle.loads, b"."),
        (np.load, "x"),
        (np.zeros, 10**9),
        (io.open, "x"),
    ],
)
def test_every_other_name_is_refused_and_named(
    refused: Callable[[bytes], str], function: Any, argument: Any, protocol: int
) -> None:
    name = f"{function.__module__}.{function.__qualname__}"
    hostile = Calls(function, argument)
    for content in (hostile, {"000": [box(1, 2, 3, 4), hostile]}, {"000": [[hostile, hostile]]}):
        text = refused(pickle.dumps(content, protocol=protocol))
        assert f"asks for the Python object {name!r}" in text
        assert "nothing was run" in text


HOSTILE = {
    "text protocol": b"cos\nsystem\n(S'true'\ntR.",
    "INST": b"(S'true'\nios\nsystem\n.",
    "OBJ": b"\x80\x03(cnumpy\nndarray\nK\x01o.",
    "NEWOBJ": b"\x80\x03cnumpy\ndtype\n)\x81.",
    "EXT1": b"\x80\x03\x82\x01.",
    "PERSID": b"Pabc\n.",
    "BINPERSID": b"\x80\x03K\x01Q.",
    "GLOBAL with a state": b"\x80\x03cnumpy\nndarray\n}X\x01\x00\x00\x00aK\x01sb.",
    "class with a state": b"\x80\x03cnumpy\ndtype\n}X\x01\x00\x00\x00aK\x01sb.",
    "state of a list": b"\x80\x03]}X\x01\x00\x00\x00aK\x01sb.",
    "state that is no tuple": b"\x80\x03cnumpy.core.multiarray\n_reconstruct\n)RK\x01b.",
    "call of a text": b"\x80\x03X\x01\x00\x00\x00a)R.",
    "memo beyond the file": b"\x80\x03]r" + struct.pack("<I", 2**32 - 1) + b".",
    "bytes beyond the file": b"\x80\x03B" + struct.pack("<I", 2**31) + b"abc.",
    "bytearray": b"\x80\x05\x96" + struct.pack("<Q", 2**60) + b".",
    "frame beyond the file": b"\x80\x04\x95" + struct.pack("<Q", 2**60) + b".",
    "text beyond the file": b"\x80\x03X" + struct.pack("<I", 2**32 - 1) + b"a.",
    "nothing to pop": b"\x80\x03e.",
    "no memory of that": b"\x80\x03h\x07.",
    "no end": b"\x80\x03}",
    "protocol of the future": b"\x80\xff}.",
    "empty file": b"",
    "no pickle": b"\xff\xd8\xff\xe0",
    "list in itself": b"\x80\x03]q\x00h\x00a.",
    "unhashable key": b"\x80\x03}]]s.",
}


@pytest.mark.parametrize("data", HOSTILE.values(), ids=HOSTILE.keys())
def test_hostile_and_damaged_files_are_refused(
    refused: Callable[[bytes], str], data: bytes
) -> None:
    refused(data)


def test_names_in_the_old_instructions_are_named_too(refused: Callable[[bytes], str]) -> None:
    for kind in ("text protocol", "INST"):
        assert "'os.system'" in refused(HOSTILE[kind])
    assert "'os.system'" in refused(b"\x80\x04\x8c\x02os\x8c\x06system\x93.")
    assert "'numpy.core.multiarray.scalar'" in refused(official([np.float64(1)]))
    assert "git-LFS" in refused(b"version https://git-lfs.github.com/spec/v1\n")


def test_a_claim_of_a_huge_array_allocates_nothing(refused: Callable[[bytes], str]) -> None:
    data = official({"0": [box(1, 2, 3, 4)]})
    shape = b"K\x02K\x02\x86"
    assert data.count(shape) == 1
    huge = data.replace(shape, b"J\xff\xff\xff\x7fJ\xff\xff\xff\x7f\x86")
    assert "is another array" in refused(huge)


def test_a_claim_of_a_huge_empty_array_allocates_nothing(tmp_path: Path) -> None:
    small = official({"0": [box(1, 2, 3, 4)]})
    called_with = b"K\x00\x85"  # the shape that _reconstruct is called with
    assert small.count(called_with) == 1
    path = tmp_path / "boxes.p"
    path.write_bytes(small.replace(called_with, b"J\xff\xff\xff\x7f\x85"))
    assert np.array_equal(read_boxes(path)["0"][0], box(1, 2, 3, 4))


def test_lists_within_lists_are_never_written_out(refused: Callable[[bytes], str]) -> None:
    deep = b"\x80\x03" + b"]" * 100_000 + b"a" * 99_999 + b"."
    assert "the content is a list" in refused(deep)
    doubling = b"\x80\x03]q\x00" + b"".join(
        b"]q" + bytes([n]) + b"(h" + bytes([n - 1]) + b"h" + bytes([n - 1]) + b"e"
        for n in range(1, 60)
    )
    assert "the content is a list" in refused(doubling + b".")


def test_a_file_that_is_too_large_is_not_read(refused: Callable[[bytes], str]) -> None:
    assert "has more than 4 MB" in refused(b"\x80\x03" + b"]0" * 3 * 2**20)


ALLOWED = {"numpy.core.multiarray _reconstruct", "numpy ndarray", "numpy dtype"}
SMALL = official({"000": [box(10, 20, 30, 40)], "001": []})


def test_every_truncation_is_refused(refused: Callable[[bytes], str]) -> None:
    for length in range(len(SMALL)):
        refused(SMALL[:length])


def safe_or_error(path: Path, data: bytes) -> Boxes | None:
    path.write_bytes(data)
    with contextlib.suppress(DataError):
        return read_boxes(path)
    return None


@settings(
    max_examples=400,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(
    st.lists(st.tuples(st.integers(0, len(SMALL) - 1), st.integers(0, 255)), min_size=1, max_size=4)
)
@example([(0, 0)])
def test_changed_bytes_give_numbers_of_the_file_or_an_error(
    tmp_path: Path, changes: list[tuple[int, int]]
) -> None:
    data = bytearray(SMALL)
    for position, value in changes:
        data[position] = value
    found = safe_or_error(tmp_path / "boxes.p", bytes(data))
    if found is None:
        return
    names = {name for op, name, _ in pickletools.genops(bytes(data)) if op.name == "GLOBAL"}
    assert {name.replace("_core", "core") for name in names} <= ALLOWED
    for image_id, boxes in found.items():
        assert isinstance(image_id, str)
        for one in boxes:  # the numbers are those of the file, bit for bit
            assert one.shape == (2, 2)
            assert one.tobytes("C") in data or one.tobytes("F") in data


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=60))
def test_any_bytes_are_refused(tmp_path_factory: pytest.TempPathFactory, data: bytes) -> None:
    path = tmp_path_factory.getbasetemp() / "any.p"
    found = safe_or_error(path, b"\x80\x03" + data)
    assert not found or all(isinstance(image_id, str) for image_id in found)


CELL = st.one_of(st.floats(-200, 200), st.sampled_from([np.nan, np.inf, -np.inf, 1e6, -1e300, 0.0]))


@settings(
    max_examples=100,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(st.integers(0, 3), CELL)
def test_a_mutated_box_is_read_right_or_named(icg: Read, corner: int, value: float) -> None:
    corners = [10.0, 20.0, 30.0, 40.0]
    corners[corner] = value
    refused = None
    try:
        (record,) = icg(("000",), {"000": [box(50, 50, 60, 60), box(*corners)]}).records
    except DataError as error:
        refused = str(error)
    if refused is not None:
        assert "imgIdToBBoxArray.p: box 1 of image '000' is " in refused
        return
    assert np.isfinite(corners).all()
    clipped = np.clip(corners, 0, [100, 80, 100, 80])
    seen = (clipped[2:] - clipped[:2] >= 1).all()
    assert len(record.boxes) == 1 + seen
    if seen:
        assert np.allclose(record.boxes[1], clipped, atol=1e-4)


def test_the_fingerprint_is_the_same_wherever_the_files_lie(
    icg: Read, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    first = icg(("000",), {"000": [box(1, 2, 30, 40)]}).fingerprint
    other = tmp_path_factory.mktemp("other")
    shutil.copytree(tmp_path / "training_set", other / "training_set")
    config = DatasetConfig(name="other", reader="icg", root=str(other))
    assert read_icg(config, "all").fingerprint == first
    assert icg(("000",), {"000": [box(1, 2, 30, 41)]}).fingerprint != first
