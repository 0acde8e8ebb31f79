"""Detections and ground truths of an evaluate stage, in memory and on disk."""

import logging
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from ptl_sweep.detection.table import (
    FEATURE_MIN_SCORE,
    DetectionTable,
    EvaluatedImage,
    ImageDetections,
    TruthTable,
    load_detections,
    save_detections,
    stack_detections,
)


def test_a_table_comes_back_from_disk_as_it_was(
    random_table: DetectionTable, tmp_path: Path
) -> None:
    save_detections(tmp_path, random_table)
    loaded = load_detections(tmp_path)
    assert loaded.images == random_table.images
    others = (name for name in DetectionTable.__slots__ if name not in ("images", "truths"))
    both = (random_table, loaded), (random_table.truths, loaded.truths)
    pairs = [
        (name, *(getattr(table, name) for table in tables))
        for tables, names in zip(both, (others, TruthTable.__slots__), strict=True)
        for name in names
    ]
    for name, left, right in pairs:
        np.testing.assert_array_equal(left, right, err_msg=name)
        assert left.dtype == right.dtype, name
    assert loaded.features.dtype == np.float16
    assert (loaded.num_images, loaded.num_truths) == (20, 200)


def test_the_files_have_the_columns_other_tools_read(
    random_table: DetectionTable, tmp_path: Path
) -> None:
    save_detections(tmp_path, random_table)
    columns = set(pq.read_schema(tmp_path / "detections.parquet").names)
    wanted = {"image", "x1", "y1", "x2", "y2", "score", "level", "cell", "truth", "iou"}
    assert wanted | {"true_positive"} <= columns
    assert pq.read_schema(tmp_path / "images.parquet").names == list(EvaluatedImage._fields)


def test_an_image_without_detections_stays_an_image(make_table, tmp_path: Path) -> None:
    table = make_table(([], []), ([0.9, 0.2], [True, False]))
    save_detections(tmp_path, table)
    loaded = load_detections(tmp_path)
    assert loaded.num_images == 2
    np.testing.assert_array_equal(loaded.image, [1, 1])
    np.testing.assert_array_equal(loaded.box_index, [0, 1])


def test_features_are_kept_from_the_lowest_threshold_on(make_table) -> None:
    table = make_table(([0.5, FEATURE_MIN_SCORE, 0.009], [True, False, True]))
    np.testing.assert_array_equal(table.features[:, 0], [0, 1])


@pytest.mark.parametrize("name", ["features.npy", "truth_features.npy"])
def test_a_feature_file_of_another_length_is_refused(
    name: str, random_table: DetectionTable, tmp_path: Path
) -> None:
    save_detections(tmp_path, random_table)
    np.save(tmp_path / name, np.load(tmp_path / name)[:-1])
    with pytest.raises(ValueError, match="run again"):
        load_detections(tmp_path)


def test_values_beyond_half_precision_are_clipped_and_named(
    caplog: pytest.LogCaptureFixture,
) -> None:
    none = np.zeros(1, np.int64)
    huge = ImageDetections(
        boxes=np.zeros((1, 4)),
        scores=np.ones(1),
        features=np.array([[1e6, 1.0]]),
        levels=none,
        cells=none,
        truth=np.zeros((10, 1), np.int64),
        iou=np.ones(1),
        ignored=np.zeros(1, bool),
        truths=np.zeros((1, 4)),
        truth_places=np.zeros((1, 2), np.int64),
        truth_anchor_iou=np.ones(1),
        truth_features=np.zeros((1, 2)),
    )
    with caplog.at_level(logging.WARNING):
        table = stack_detections([huge], [EvaluatedImage("a", "s", 1, 1, 1, 1, False)])
    assert np.isfinite(table.features).all()
    assert "1 feature values" in caplog.text


def test_hits_are_kept_for_every_iou_threshold(make_table) -> None:
    """Hits of the builder have IoU 0.8: thresholds 0.5 to 0.8 are the first seven."""
    table = make_table(([0.9, 0.8, 0.7], [True, False, True]))
    for threshold in range(10):
        expected = [threshold < 7, False, threshold < 7]
        np.testing.assert_array_equal(table.hits_at(threshold), expected)


def test_ground_truths_know_who_hits_them_and_who_is_missed(make_table) -> None:
    """Image 0 has one hit and two missed persons, image 1 two hits, image 2 nobody."""
    table = make_table(
        ([0.9, 0.8], [False, True]), ([0.7, 0.6, 0.5], [True, False, True]), ([], []), num_truths=5
    )
    np.testing.assert_array_equal(table.truths.image, [0, 0, 0, 1, 1])
    np.testing.assert_array_equal(table.truth_row, [-1, 0, 3, -1, 4])
    np.testing.assert_array_equal(table.missed, [False, True, True, False, False])
    row = table.truth_row[table.true_positive]
    np.testing.assert_array_equal(
        table.truths.features[row], table.features[table.true_positive]
    )  # as the builder makes them
