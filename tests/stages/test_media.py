"""What a stage shows lies in its folder, is of bounded size, and never fails the stage."""

import dataclasses
import io
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from pyarrow import parquet

from ptl_sweep.datasets.images import ImageCache
from ptl_sweep.datasets.records import ImageRecord
from ptl_sweep.detection.table import DetectionTable, load_detections
from ptl_sweep.pipeline.plan import Plan
from ptl_sweep.stages import media, selecting
from ptl_sweep.stages.context import StageContext
from ptl_sweep.stages.fitting import load_detector
from ptl_sweep.stages.train import MANIFEST
from ptl_sweep.stages.training_set import TransformedImage
from ptl_sweep.tracking import History
from ptl_sweep.tracking.media import MediaEntry, read_media


@dataclasses.dataclass(slots=True, kw_only=True)
class Opened(StageContext):
    """The context of a stage, and the stage."""

    stage: Any


Open = Callable[..., Opened]


def stage_of(plan: Plan, kind: str, text: str = "") -> str:
    return next(k for k, s in plan.stages.items() if s.kind == kind and text in k)


@pytest.fixture
def opened(tiny_sweep: Any, tmp_path: Path) -> Open:
    """The context of a finished stage, in an empty folder."""

    def make(kind: str, text: str = "") -> Opened:
        plan = tiny_sweep.plan
        stage = plan.stages[stage_of(plan, kind, text)]
        folder = tmp_path / f"{stage.key}.wip"
        folder.mkdir()
        return Opened(
            stage=stage,
            key=stage.key,
            parents=stage.parents,
            store=plan.store,
            folder=folder,
            should_stop=lambda: False,
            history=History(folder / "history.jsonl"),
            cache=ImageCache(2**20),
        )

    return make


def found_of(work: Opened) -> tuple[DetectionTable, Sequence[ImageRecord]]:
    table = load_detections(work.store.path(work.stage.key))
    return table, work.read_split(work.stage.data).records


def entry(work: Opened, name: str) -> MediaEntry:
    (found,) = [one for one in read_media(work.folder) if one.name == name]
    return found


# evaluate


def test_a_long_table_of_detections_keeps_the_500_highest_scores(opened: Open) -> None:
    work = opened("evaluate", "on-t1-field")
    table, records = found_of(work)
    num = 6000
    arrays = {
        field.name: np.resize(value, (num, *value.shape[1:]))
        for field in dataclasses.fields(table)
        if isinstance(value := getattr(table, field.name), np.ndarray) and field.name != "features"
    }
    arrays["score"] = np.random.default_rng(0).uniform(0.01, 1, num).astype(np.float32)
    features = np.resize(table.features, (num, table.features.shape[1]))
    long = dataclasses.replace(table, **arrays, features=features)
    media.show_detections(work, long, records)
    shown = parquet.read_table(work.folder / entry(work, media.DETECTIONS).table).to_pydict()
    assert list(shown) == [
        "picture", "image", "score", "iou", "true_positive", "x1", "y1", "x2", "y2",
    ]  # fmt: skip
    order = np.argsort(-long.score)[:500]
    assert np.allclose(shown["score"], long.score[order], rtol=0, atol=5e-5)
    assert shown["true_positive"] == long.true_positive[order].tolist()
    true = np.array(shown["true_positive"], bool)
    pictured = np.array([picture is not None for picture in shown["picture"]])
    for kind in (true, ~true):  # the first of both kinds, which have the highest scores
        assert pictured[kind].sum() == min(6, kind.sum())
        assert not np.any(np.diff(pictured[kind].astype(int)) > 0)
    assert set(shown["image"]) <= {record.image_id for record in records}
    corners = np.transpose([shown[name] for name in ("x1", "y1", "x2", "y2")])
    assert np.allclose(corners, long.boxes[order], atol=0.051)


def test_a_picture_of_a_detection_shows_the_box_in_its_surroundings(
    opened: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    work = opened("evaluate", "on-t1-field")
    _, (record, *_) = found_of(work)
    pixels = np.full((100, 200, 3), 40, np.uint8)
    pixels[40:60, 90:110] = 200  # what was found
    monkeypatch.setattr(work.cache, "read", lambda _record: pixels)
    content = media._crop(work, record, np.array([90, 40, 110, 60], np.float32))
    assert len(content) < 4000
    with Image.open(io.BytesIO(content)) as image:
        shown = np.asarray(image).astype(int)
    assert shown.shape == (64, 64, 3)
    assert shown[32, 32].mean() > 180
    assert shown[8, 8].mean() < 60
    assert shown[16, 32, 0] > shown[16, 32, 1] + 60  # the box is red: half of the side, centred
    assert shown[32, 48, 0] > shown[32, 48, 1] + 60


def test_a_long_target_shows_eight_pictures_from_its_whole_length(
    opened: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    work = opened("evaluate", "on-t1-field")
    table, records = found_of(work)
    many = [records[index % len(records)] for index in range(30)]
    read: list[ImageRecord] = []

    def keep(record: ImageRecord) -> Any:
        read.append(record)
        return record.pixels.read()

    monkeypatch.setattr(work.cache, "read", keep)
    media.show_found(work, table, many)
    images = entry(work, media.DETECTED).images
    assert len(images) == len(read) == 8
    shown = [[box.corners for box in image.ground_truth or ()] for image in images]
    assert shown[0] == many[0].boxes.tolist()
    assert shown[-1] == many[-1].boxes.tolist()


def test_only_confident_detections_are_drawn_and_large_pictures_shrink_with_their_boxes(
    opened: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    work = opened("evaluate", "on-t1-field")
    _, (record, *_) = found_of(work)
    boxes = np.array([[100, 200, 300, 400], [0, 0, 50, 50]], np.float32)
    record = dataclasses.replace(record, boxes=boxes[:1], width=2560, height=1000)
    pixels = np.full((1000, 2560, 3), 40, np.uint8)
    monkeypatch.setattr(work.cache, "read", lambda _record: pixels)
    shown = media._shown(work, "a", 0, record, boxes, np.array([0.9, 0.29], np.float32))
    with Image.open(work.folder / shown.file) as image:
        assert image.size == (1280, 500)
    assert [box.corners for box in shown.ground_truth or ()] == [[50, 100, 150, 200]]
    (found,) = shown.detections or ()
    assert (found.corners, found.caption) == ([50, 100, 150, 200], "0.90")
    assert found.score == np.float32(0.9)


# train and ptl


def test_transformed_pictures_are_shown_with_ground_truth_and_detections(
    opened: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(media, "MIN_SCORE", 0.0)
    work = opened("evaluate", "on-t1-field")  # its parent is the detector of the iteration
    parent = work.stage.parents[0]
    manifest = json.loads((work.store.path(parent) / MANIFEST).read_text())
    own = [TransformedImage(**image) for image in manifest["transformed"]]
    records = [image.record(work.store.path(parent) / image.file) for image in own]
    detector = load_detector(work.stage.detector, work)
    media.show_transformed(work, work.stage, detector, records * 3)
    images = entry(work, media.TRANSFORMED).images
    assert len(images) == 8
    for image, record in zip(images, records * 2, strict=True):
        with Image.open(work.folder / image.file) as written:
            difference = np.asarray(written).astype(int) - record.pixels.read()
        assert np.abs(difference).mean() < 4  # JPEG
        assert [box.corners for box in image.ground_truth or ()] == record.boxes.tolist()
        assert 0 < len(image.detections or ()) <= 60


def test_a_pool_without_altitudes_has_no_heat_map(opened: Open) -> None:
    work = opened("ptl")
    pool = work.read_pool(work.stage.pool).records
    chosen = {"selected": [pool[0].image_id]}
    media.show_selection(work, [dataclasses.replace(r, attributes={}) for r in pool], chosen)
    assert read_media(work.folder) == []
    media.show_selection(work, pool, chosen)
    (image,) = entry(work, media.SELECTED).images
    assert image.ground_truth is None
    assert (work.folder / image.file).is_file()


def test_a_selection_that_a_row_has_followed_is_not_shown_again_after_a_kill(
    opened: Open,
) -> None:
    work = opened("ptl")
    pool = work.read_pool(work.stage.pool).records
    rows = []
    for step in range(3):
        media.show_selection(work, pool, {"selected": []})
        rows.append(entry(work, media.SELECTED).row)
        if step:
            work.history.append({"train/step": step})
    assert rows == [0, 0, 0]


def test_the_row_of_an_iteration_tells_how_the_gaps_are_spread(tiny_sweep: Any) -> None:
    folder = tiny_sweep.plan.store.path(stage_of(tiny_sweep.plan, "ptl"))
    rows = [json.loads(line) for line in (folder / "history.jsonl").read_text().splitlines()]
    (row,) = [row for row in rows if "ptl/iteration" in row]
    pool = json.loads((folder / "selection.json").read_text())["pool"]
    gaps = [image["gap"] for image in pool if image["gap"] is not None]
    names = ("ptl/gap_mean", "ptl/gap_p10", "ptl/gap_median", "ptl/gap_p90")
    expected = (np.mean(gaps), *np.quantile(gaps, (0.1, 0.5, 0.9)))
    assert [row[name] for name in names] == pytest.approx(expected)
    assert 1 <= row["ptl/effective_sample_size"] <= len(gaps)
    assert selecting._gap_spread(np.array([np.nan])) == {
        "gap_mean": None, "gap_p10": None, "gap_p90": None,
    }  # fmt: skip


# never in the way


def test_what_cannot_be_written_is_one_warning(
    opened: Open, caplog: pytest.LogCaptureFixture
) -> None:
    work = opened("evaluate")
    table, records = found_of(work)
    (work.folder / "media").write_text("not a folder")
    media.show_detections(work, table, records)
    media.show_found(work, table, records)
    assert [record.levelname for record in caplog.records] == ["WARNING"] * 2
    assert "show detections left out" in caplog.text
    assert read_media(work.folder) == []


def test_a_stage_shows_the_same_whatever_the_tracking_mode(tiny_sweep: Any) -> None:
    """The sweep ran with tracking=off; test_online_sweep compares these bytes with online's."""
    shown = {
        key: {one.name for one in read_media(tiny_sweep.plan.store.path(key))}
        for key in tiny_sweep.plan.stages
    }
    expected = {
        "train": set(),
        "ptl": {media.SELECTED, media.TRANSFORMED},
        "evaluate": {media.DETECTED, media.DETECTIONS},
    }
    for key, stage in tiny_sweep.plan.stages.items():
        assert shown[key] == expected[stage.kind], key
