"""A pool of virtual images listed in a manifest, written by the tests."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from ptl_sweep.config.schema import PoolConfig
from ptl_sweep.datasets.readers.archangel import reader as archangel
from ptl_sweep.datasets.readers.archangel.build_manifest import build_manifest
from ptl_sweep.datasets.readers.archangel.manifest import COLUMNS
from ptl_sweep.datasets.readers.archangel.reader import read_archangel
from ptl_sweep.datasets.validation import DataError
from ptl_sweep.ptl.compositing import composite
from ptl_sweep.ptl.crops import square_region

SIZE = (100, 80)
ANNA = ("a.png", "a_mask.png", 10, 20, 30, 40, "anna", "stand", 10, 5, -30, 90)
BOB = ("a.png", "a_mask.png", 50, 20, 70, 60, "bob", "lie", 10, 5, -30, 90)

Read = Callable[..., Any]
Span = tuple[int, int, int, int]


def coverage(*boxes: Span, value: int = 255) -> np.ndarray:
    mask = np.zeros(SIZE[::-1], np.uint8)
    for left, top, right, bottom in boxes:
        mask[top:bottom, left:right] = value
    return mask


@pytest.fixture
def pool(tmp_path: Path, write_image: Callable[..., Path]) -> Read:
    """write(rows, {mask: its array}) and read it: an ImageSet."""

    def read(
        rows: list[tuple[object, ...]], masks: dict[str, np.ndarray] | None = None, **keys: Any
    ) -> Any:
        for image in {str(row[0]) for row in rows}:
            if not (tmp_path / image).exists():
                write_image(tmp_path / image, SIZE)
        default = {str(row[1]): coverage((10, 20, 30, 40), (50, 20, 70, 60)) for row in rows}
        for name, mask in (default | (masks or {})).items():
            Image.fromarray(mask).save(tmp_path / name)
        lines = [",".join(map(str, row)) for row in (COLUMNS, *rows)]
        (tmp_path / "manifest.csv").write_text("\n".join(lines))
        config = PoolConfig(name="arch", reader="archangel", root=str(tmp_path), **keys)
        return read_archangel(config)

    return read


def test_a_row_gives_a_record_with_its_mask_and_attributes(pool: Read) -> None:
    image_set = pool([ANNA], {"a_mask.png": coverage((12, 20, 30, 40), value=90)})
    (record,) = image_set.records
    assert (record.image_id, record.scene, record.width, record.height) == ("a.png", "a.png", *SIZE)
    assert record.boxes.tolist() == [[10, 20, 30, 40]]
    assert record.boxes.dtype == np.float32
    assert record.ignored.shape == (0, 4)
    assert record.attributes == {
        "character": "anna",
        "pose": "stand",
        "altitude_m": 10.0,
        "radius_m": 5.0,
        "pitch_deg": -30.0,
        "azimuth_deg": 90.0,
    }
    assert record.pixels.read().shape == (80, 100, 3)
    masks = record.pixels.read_masks()
    assert masks.shape == (1, 80, 100)
    assert np.array_equal(masks[0], coverage((12, 20, 30, 40), value=90))
    assert (image_set.name, image_set.split, image_set.drops) == ("arch", "pool", {})


def test_persons_with_own_masks_keep_them_whole(pool: Read) -> None:
    anna, bob = coverage((8, 20, 33, 40)), coverage((20, 20, 70, 60))
    rows = [(*ANNA[:1], "1.png", *ANNA[2:]), (*BOB[:1], "2.png", *BOB[2:])]
    (record,) = pool(rows, {"1.png": anna, "2.png": bob}).records
    assert record.boxes.tolist() == [[10, 20, 30, 40], [50, 20, 70, 60]]
    assert np.array_equal(record.pixels.read_masks(), [anna, bob])
    assert record.attributes["character"] == "anna+bob"
    assert record.attributes["pose"] == "stand+lie"


def test_a_mask_that_persons_share_is_cut_by_box(pool: Read) -> None:
    (record,) = pool([ANNA, BOB]).records
    anna, bob = coverage((10, 20, 30, 40)), coverage((50, 20, 70, 60))
    assert np.array_equal(record.pixels.read_masks(), [anna, bob])


def test_a_cut_takes_every_pixel_that_a_box_touches(pool: Read) -> None:
    rows = [(*ANNA[:2], 10.5, 20.5, 28.5, 38.5, *ANNA[6:]), BOB]
    (record,) = pool(rows).records
    assert np.array_equal(record.pixels.read_masks()[0], coverage((10, 20, 29, 39)))


def test_empty_boxes_come_from_the_masks(pool: Read) -> None:
    rows = [
        ("a.png", "1.png", "", "", "", "", *ANNA[6:]),
        ("a.png", "2.png", "", "", "", "", *BOB[6:]),
        ("b.png", "3.png", "", "", "", "", *BOB[6:]),
    ]
    masks = {
        "1.png": coverage((3, 4, 5, 9), value=2),
        "2.png": coverage((99, 79, 100, 80)),
        "3.png": coverage(),
    }
    image_set = pool(rows, masks)
    first, second = image_set.records
    assert first.boxes.tolist() == [[3, 4, 5, 9], [99, 79, 100, 80]]
    assert second.boxes.shape == (0, 4)
    assert second.pixels.read_masks().shape == (0, 80, 100)
    assert image_set.drops == {"nobody in the mask": 1}


def test_boxes_and_masks_stay_together_whatever_is_left_out(pool: Read) -> None:
    spans = {"0": "200 0 220 9", "1": "50 20 70 60", "2": "5 5 5.5 9", "3": "-9 20 30 40"}
    rows = [("a.png", f"{n}.png", *span.split(), *ANNA[6:]) for n, span in spans.items()]
    rows.append(rows[1])
    masks = {f"{n}.png": coverage((0, 0, int(n) + 1, 1)) for n in spans}
    image_set = pool(rows, masks)
    (record,) = image_set.records
    assert record.boxes.tolist() == [[50, 20, 70, 60], [0, 20, 30, 40]]
    covered = record.pixels.read_masks().astype(bool).sum(axis=(1, 2))
    assert covered[1] == 4  # mask 3 belongs to one row, so it is not cut
    assert covered[0] == 0  # mask 1 is named by two rows: it is cut to the box
    assert image_set.drops == {"duplicate row": 1, "outside the image": 1, "under 1 px": 1}
    assert image_set.warnings[-1] == "boxes past the image border, clipped: 1 (first: a.png)"


def test_one_image_has_one_camera(pool: Read) -> None:
    with pytest.raises(DataError, match=r"line 3: altitude_m is 11.0, in line 2 .* it is 10.0"):
        pool([ANNA, (*BOB[:8], 11, *BOB[9:])])


def test_counts_that_are_not_those_of_ptl_are_reported(
    pool: Read, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = [(f"{n}.png", "m.png", *ANNA[2:8], 10 + n // 2, *ANNA[9:]) for n in range(4)]
    first = "character=anna, pose=stand, altitude_m=10.0, radius_m=5.0, pitch_deg=-30.0"
    assert pool(rows).warnings == (
        "4 images, PTL's subset of Archangel-Synthetic has 17280",
        f"combinations that several images have: 2 (first: {first})",
    )
    monkeypatch.setattr(archangel, "NUM_IMAGES", 2)
    assert pool(rows[1:3]).warnings == ()


def test_num_images_draws_from_the_whole_grid(pool: Read) -> None:
    names = [f"{n:03}.png" for n in range(60)]  # every fifth image has pitch 0
    rows = [(name, "m.png", *ANNA[2:10], int(name[:3]) % 5, "") for name in names]
    drawn = pool(rows, num_images=12).records
    assert len(drawn) == len({record.image_id for record in drawn}) == 12
    assert len({record.attributes["pitch_deg"] for record in drawn}) >= 4
    assert [r.image_id for r in pool(rows, num_images=12).records] == [r.image_id for r in drawn]
    few = {record.image_id for record in pool(rows, num_images=5).records}
    assert few < {record.image_id for record in drawn}


def test_the_order_of_the_rows_does_not_matter(pool: Read) -> None:
    rows = [ANNA, ("b.png", *ANNA[1:])]
    first, second = pool(rows), pool(rows[::-1])
    assert [record.image_id for record in second.records] == ["a.png", "b.png"]
    assert first.fingerprint == second.fingerprint


def test_the_fingerprint_covers_boxes_and_files_and_not_the_place(
    pool: Read, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    first = pool([ANNA]).fingerprint
    other = tmp_path_factory.mktemp("pool")
    shutil.copytree(tmp_path, other, dirs_exist_ok=True)
    config = PoolConfig(name="other", reader="archangel", root=str(other))
    assert read_archangel(config).fingerprint == first
    assert pool([(*ANNA[:5], 41, *ANNA[6:])]).fingerprint != first
    assert pool([ANNA], {"a_mask.png": coverage((11, 21, 29, 38))}).fingerprint != first
    (tmp_path / "a_mask.png").rename(tmp_path / "c.png")
    assert pool([ANNA]).fingerprint == first
    assert pool([("a.png", "c.png", *ANNA[2:])]).fingerprint == first  # the same mask


def test_a_pool_without_manifest_says_what_belongs_there(pool: Read, tmp_path: Path) -> None:
    for root, words in ((None, "pool.root is not set"), (str(tmp_path), "has no manifest.csv")):
        config = PoolConfig(name="arch", reader="archangel", root=root)
        with pytest.raises(DataError, match=words):
            read_archangel(config)
    with pytest.raises(DataError, match="has no rows"):
        pool([])
    (tmp_path / "manifest.jsonl").write_text("")
    with pytest.raises(DataError, match=r"has both .* and "):
        pool([ANNA])


def test_files_that_cannot_be_used_are_named(pool: Read, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"a_mask\.png: is 50x80, its image is 100x80"):
        pool([ANNA], {"a_mask.png": coverage()[:, :50]})
    with pytest.raises(DataError, match=r"a_mask\.png: has no value above 1"):
        pool([ANNA], {"a_mask.png": coverage((1, 2, 3, 4), value=1)})
    image_set = pool([ANNA])
    (tmp_path / "a_mask.png").write_bytes(b"version https://git-lfs.github.com/spec/v1\n")
    with pytest.raises(DataError, match=r"a_mask\.png: is a git-LFS pointer"):
        image_set.records[0].pixels.read_masks()
    (tmp_path / "a_mask.png").unlink()
    config = PoolConfig(name="arch", reader="archangel", root=str(tmp_path))
    with pytest.raises(DataError, match=r"a_mask\.png: image not found"):
        read_archangel(config)


def test_a_built_manifest_is_a_pool_whose_persons_can_be_pasted(
    tmp_path: Path, write_image: Callable[..., Path]
) -> None:
    write_image(tmp_path / "images/anna_10.png", SIZE)
    mask = coverage((40, 20, 60, 60))
    (tmp_path / "masks").mkdir()
    Image.fromarray(mask).save(tmp_path / "masks/anna_10.png")
    build_manifest(
        tmp_path, r"images/(?P<character>\w+)_(?P<altitude_m>\d+)", tmp_path / "manifest.csv"
    )
    config = PoolConfig(name="arch", reader="archangel", root=str(tmp_path))
    (record,) = read_archangel(config).records
    assert record.attributes == {"character": "anna", "altitude_m": 10.0}
    region = square_region(record.boxes[0], 1.25, record.width, record.height)
    before = record.pixels.read()
    crop = np.full((region.side, region.side, 3), 200, np.uint8)
    pasted = composite(before, record.pixels.read_masks()[0], region, crop)
    assert (pasted[mask > 0] == 200).all()
    assert np.array_equal(pasted[mask == 0], before[mask == 0])


CELL = st.one_of(
    st.integers(-50, 200).map(str),
    st.sampled_from(["", "nan", "1e400", "1_0", "1.5", "x", '"', "5,5", "../a.png", "none.png"]),
)


@settings(
    max_examples=150,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(st.integers(1, 11), CELL)
def test_a_mutated_row_gives_its_box_or_an_error(
    pool: Read, tmp_path: Path, column: int, cell: str
) -> None:
    if not (tmp_path / "a.png").exists():
        pool([ANNA])
    fields = list(map(str, BOB))
    fields[column] = cell
    lines = [",".join(map(str, row)) for row in (COLUMNS, ANNA, fields)]
    (tmp_path / "manifest.csv").write_text("\n".join(lines))
    refused = None
    try:
        (record,) = read_archangel(
            PoolConfig(name="arch", reader="archangel", root=str(tmp_path))
        ).records
    except DataError as error:
        refused = str(error)
    if refused is not None:
        assert "manifest.csv, line 3: " in refused or f"{tmp_path / cell}: image not " in refused
        return
    boxes = [[10.0, 20, 30, 40]]
    box = np.clip([float(field) for field in fields[2:6]], 0, [*SIZE, *SIZE])
    if (box[2:] - box[:2] >= 1).all():
        boxes.append(box.tolist())
    assert record.boxes.tolist() == boxes
    assert len(record.pixels.read_masks()) == len(boxes)
