from collections import Counter

import numpy as np
from helpers.crowded import crowded_table, scene, stacked
from hypothesis import given, settings
from hypothesis import strategies as st

from ptl_sweep.detection.table import DetectionTable
from ptl_sweep.metrics.false_positives import (
    false_positive_rows,
    false_positive_types,
    sheet_rows,
)
from ptl_sweep.vocabulary import FALSE_POSITIVE_TYPES

THRESHOLDS = (0.01, 0.1, 0.5)
NONE = np.zeros((0, 4))
SQUARE = [0.0, 0.0, 10.0, 10.0]
FAR_AWAY = [500.0, 500.0, 510.0, 510.0]


def one_scene(
    boxes: list, scores: list, distances: list, truths: list, regions: list | None = None
) -> DetectionTable:
    ignored = np.array(regions, float).reshape(-1, 4) if regions else NONE
    parts = (np.array(part, float) for part in (boxes, scores, truths, distances))
    return stacked([scene(*parts, ignored)])


def stored_distances(table: DetectionTable) -> np.ndarray:
    return table.features[:, 0].astype(float)


def names_of_types(table: DetectionTable) -> list[str]:
    return ["" if kind < 0 else FALSE_POSITIVE_TYPES[kind] for kind in false_positive_types(table)]


def test_types_by_their_best_iou() -> None:
    """IoU 1, 0.5, 0.49, 0.1, 0.09 and 0 with the only person, which the first one takes."""
    heights = [10.0, 5.0, 4.9, 1.0, 0.9]
    boxes = [*([0.0, 0.0, 10.0, height] for height in heights), FAR_AWAY]
    scores = [0.9, 0.8, 0.7, 0.6, 0.5, 0.4]
    table = one_scene(boxes, scores, scores, [SQUARE])
    assert names_of_types(table) == [
        "", "duplicate", "localisation", "localisation", "background", "background",
    ]  # fmt: skip


def test_the_worse_box_of_a_person_is_no_duplicate_when_it_has_the_better_score() -> None:
    table = one_scene([[0.0, 0.0, 10.0, 6.0], SQUARE], [0.9, 0.8], [1, 2], [SQUARE])
    assert names_of_types(table) == ["", "duplicate"]


def test_a_detection_in_an_ignored_region_has_no_type() -> None:
    table = one_scene([FAR_AWAY, SQUARE], [0.9, 0.8], [1, 2], [SQUARE], regions=[FAR_AWAY, SQUARE])
    assert names_of_types(table) == ["", ""]


@settings(max_examples=50, deadline=None)
@given(seed=st.integers(0, 10**6))
def test_every_detection_is_hit_ignored_or_of_one_type(seed: int) -> None:
    table = crowded_table(seed)
    none = false_positive_types(table) == -1
    np.testing.assert_array_equal(none, table.true_positive | table.ignored)


def test_kinds_of_false_positives_by_hand() -> None:
    """Two hits of distance 1 and 3: the median is 2, the 95 % quantile 2.9.

    Of two backgrounds of one kind one row remains; 32 px is medium, 96 px large.
    """
    persons = [[x, 0.0, x + 10, 10.0] for x in (0.0, 20.0)]
    boxes = [
        *persons,
        SQUARE,
        *([[x, 500.0, x + 31, 531.0] for x in (500.0, 600.0)]),
        [500.0, 500.0, 532.0, 532.0],
        [500.0, 500.0, 596.0, 596.0],
        FAR_AWAY,
    ]
    scores = [0.9, 0.8, 0.7, 0.45, 0.4, 0.5, 0.05, 0.005]
    table = one_scene(boxes, scores, [1.0, 3.0, 1.9, 2.5, 2.6, 2.0, 2.95, 0.1], persons)
    rows = false_positive_rows(table, stored_distances(table), THRESHOLDS)
    assert [tuple(row.values()) for row in rows] == [
        ("duplicate", "high", "small", "near", 1),
        ("background", "low", "large", "far", 1),
        ("background", "medium", "small", "middle", 2),
        ("background", "high", "medium", "middle", 1),
    ]
    assert list(rows[0]) == ["type", "band", "size", "nearness", "num"]


def by_loops(table: DetectionTable, distance: np.ndarray) -> Counter:
    near = dict(zip(table.featured.tolist(), distance, strict=True))
    hits = [near[row] for row in near if table.true_positive[row]]
    kinds: Counter = Counter()
    for row, value in near.items():
        if table.true_positive[row] or table.ignored[row]:
            continue
        x1, y1, x2, y2 = table.boxes[row].tolist()
        side = ((x2 - x1) * (y2 - y1)) ** 0.5
        if not hits:
            nearness = "unknown"
        elif value < np.quantile(hits, 0.95):
            nearness = "near" if value < np.median(hits) else "middle"
        else:
            nearness = "far"
        iou, score = table.iou[row], table.score[row]
        kinds[
            "duplicate" if iou >= 0.5 else "localisation" if iou >= 0.1 else "background",
            "low" if score < 0.1 else "medium" if score < 0.5 else "high",
            "small" if side < 32 else "medium" if side < 96 else "large",
            nearness,
        ] += 1
    return kinds


@settings(max_examples=50, deadline=None)
@given(seed=st.integers(0, 10**6))
def test_kinds_of_false_positives_agree_with_counting_one_by_one(seed: int) -> None:
    table = crowded_table(seed)
    rows = false_positive_rows(table, stored_distances(table), THRESHOLDS)
    found = {(r["type"], r["band"], r["size"], r["nearness"]): r["num"] for r in rows}
    assert found == by_loops(table, stored_distances(table))


def test_detections_below_the_lowest_threshold_count_nowhere() -> None:
    """Of the hits, at 1 and 100, only the first has the score that the median is over."""
    persons = [SQUARE, [20.0, 0.0, 30.0, 10.0]]
    boxes = [SQUARE, FAR_AWAY, persons[1], FAR_AWAY]
    table = one_scene(boxes, [0.9, 0.8, 0.05, 0.04], [1.0, 2.0, 100.0, 3.0], persons)
    near = stored_distances(table)
    found = [
        [(row["band"], row["nearness"]) for row in false_positive_rows(table, near, thresholds)]
        for thresholds in ((0.1, 0.3, 0.5), (0.01, 0.1, 0.5))
    ]
    assert found == [[("high", "far")], [("low", "near"), ("high", "near")]]


def test_nearness_is_unknown_without_distances_or_without_hits() -> None:
    table = one_scene([SQUARE, FAR_AWAY], [0.9, 0.8], [1, 2], [SQUARE])
    rows = false_positive_rows(table, np.full(2, np.nan), THRESHOLDS)
    assert [row["nearness"] for row in rows] == ["unknown"]
    alone = one_scene([FAR_AWAY], [0.9], [1], [SQUARE])
    assert [r["nearness"] for r in false_positive_rows(alone, np.ones(1), THRESHOLDS)] == [
        "unknown"
    ]


def test_no_detection_gives_no_kind() -> None:
    table = one_scene(NONE, [], [], [SQUARE])
    assert false_positive_rows(table, np.zeros(0), THRESHOLDS) == []


def test_a_sheet_shows_the_most_confident_and_the_nearest() -> None:
    """One image per detection: hit, then three misses; the last has no feature."""
    boxes, scores, distances = (
        [SQUARE, *[FAR_AWAY] * 3],
        [0.9, 0.8, 0.3, 0.004],
        [1.0, 5.0, 4.0, 3.0],
    )
    scenes = [
        scene(np.array([box]), np.array([score]), np.array([SQUARE]), np.array([far]), NONE)
        for box, score, far in zip(boxes, scores, distances, strict=True)
    ]
    table = stacked(scenes)
    sheet = sheet_rows(table, stored_distances(table), 3)
    assert {name: rows.tolist() for name, rows in sheet.items()} == {
        "most confident": [1, 2],
        "nearest": [2, 1],
    }
    assert sheet_rows(table, stored_distances(table), 1)["nearest"].tolist() == [2]
    high = sheet_rows(table, stored_distances(table), 3, min_score=0.5)
    assert [rows.tolist() for rows in high.values()] == [[1], [1]]


def test_a_sheet_shows_at_most_two_of_an_image() -> None:
    crowd = ([FAR_AWAY] * 4, [0.9, 0.8, 0.7, 0.6], [1, 2, 3, 4])
    other = ([FAR_AWAY], [0.5], [5])
    table = stacked(
        [
            scene(*(np.array(part, float) for part in (boxes, scores, [SQUARE], far)), NONE)
            for boxes, scores, far in (crowd, other)
        ]
    )
    sheet = sheet_rows(table, stored_distances(table), 4)
    assert [rows.tolist() for rows in sheet.values()] == [[0, 1, 4], [0, 1, 4]]


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 10**6), count=st.integers(0, 9))
def test_a_sheet_holds_false_positives_only_and_is_as_full_as_it_can_be(
    seed: int, count: int
) -> None:
    table = crowded_table(seed)
    wrong = (false_positive_types(table) >= 0) & (table.score >= 0.1)
    possible = sum(min(2, int(num)) for num in Counter(table.image[wrong].tolist()).values())
    for rows in sheet_rows(table, stored_distances(table), count, min_score=0.1).values():
        assert wrong[rows].all()
        assert len(set(rows.tolist())) == len(rows) == min(count, possible)
        assert max(Counter(table.image[rows].tolist()).values(), default=0) <= 2


def test_nothing_is_nearest_without_distances() -> None:
    table = one_scene([FAR_AWAY], [0.9], [1], [SQUARE])
    sheet = sheet_rows(table, np.array([np.nan]), 4)
    assert [rows.tolist() for rows in sheet.values()] == [[0], []]
