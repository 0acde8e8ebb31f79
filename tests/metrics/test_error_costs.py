"""What errors cost, against hand-made cases and against TIDE written out plainly."""

import numpy as np
import pytest
from helpers.crowded import crowded_table, scene, stacked, without
from hypothesis import given, settings
from hypothesis import strategies as st

from ptl_sweep.detection.matching import match_image
from ptl_sweep.detection.table import DetectionTable
from ptl_sweep.metrics.average_precision import average_precision, ranking
from ptl_sweep.metrics.error_costs import error_rows, missed_rows, repair
from ptl_sweep.metrics.false_positives import false_positive_types
from ptl_sweep.vocabulary import ERROR_TYPES, FALSE_POSITIVE_TYPES, NEARNESS, SIZES

NONE = np.zeros((0, 4))
SQUARE = [0.0, 0.0, 10.0, 10.0]
NEXT = [20.0, 0.0, 30.0, 10.0]
FAR_AWAY = [500.0, 500.0, 510.0, 510.0]


def one_scene(
    boxes: list, scores: list, truths: list, regions: list | None = None
) -> DetectionTable:
    ignored = np.array(regions, float).reshape(-1, 4) if regions else NONE
    detections = np.array(boxes, float).reshape(-1, 4), np.array(scores, float)
    persons = np.array(truths, float).reshape(-1, 4)
    return stacked([scene(*detections, persons, np.zeros(len(scores)), ignored)])


def rows_by_type(table: DetectionTable) -> dict[str, dict]:
    return {str(row["type"]): row for row in error_rows(table, repair(table))}


def test_what_each_type_costs_by_hand() -> None:
    """By score: background, hit, duplicate, localisation, hit; two persons, both found.

    Precision 1/2 up to recall 1/2 (51 recalls), then 2/5 (50).
    """
    persons = [SQUARE, NEXT]
    boxes = [FAR_AWAY, SQUARE, SQUARE, [20.0, 0.0, 30.0, 3.0], persons[1]]
    scores = [0.9, 0.8, 0.7, 0.6, 0.004]
    table = one_scene(boxes, scores, persons)
    rows = rows_by_type(table)
    full = (51 / 2 + 50 * 2 / 5) / 101
    without_one = (51 / 2 + 50 * 2 / 4) / 101  # of the two that lie between the hits
    expected = {
        "localisation": without_one,
        "duplicate": without_one,
        "background": (51 * 1 + 50 * 2 / 4) / 101,
        "all": 1.0,
    }
    assert list(rows) == [*FALSE_POSITIVE_TYPES, "all", "missed", "unhit"]
    assert {name: rows[name]["AP50_without"] for name in expected} == pytest.approx(expected)
    assert [row["AP50"] for row in rows.values()] == pytest.approx([full] * 6)
    assert [row["num"] for row in rows.values()] == [1, 1, 1, 3, 0, 0]
    assert rows["all"]["gain"] == pytest.approx(1 - full)


def average_precision_of(table: DetectionTable) -> float:
    """Every image matched from scratch, then ranked by score."""
    hit = np.zeros(len(table.score), dtype=bool)
    for image in range(table.num_images):
        rows = np.flatnonzero(table.image == image)
        truths = table.truths.boxes[table.truths.image == image]
        match = match_image(table.boxes[rows], table.score[rows], truths, NONE, np.array([0.5]))
        hit[rows] = match.truth[0] >= 0
    order = ranking(-table.score, table.score, table.image, table.box_index)
    return average_precision(hit[order][(hit | ~table.ignored)[order]], table.num_truths)


@settings(max_examples=50, deadline=None)
@given(seed=st.integers(0, 10**6))
def test_ap_without_a_type_is_that_of_a_detector_that_never_made_it(seed: int) -> None:
    table = crowded_table(seed)
    types = false_positive_types(table)
    rows = rows_by_type(table)
    for name, row in list(rows.items())[:4]:
        dropped = types >= 0 if name == "all" else types == FALSE_POSITIVE_TYPES.index(name)
        assert row["num"] == dropped.sum()
        expected = average_precision_of(without(table, dropped))
        assert row["AP50_without"] == pytest.approx(expected, nan_ok=True)
        assert row["AP50"] == pytest.approx(average_precision_of(table), nan_ok=True)
        assert row["gain"] == pytest.approx(row["AP50_without"] - row["AP50"], nan_ok=True)
        assert not row["gain"] < 0


def test_what_each_type_costs_when_fixed_by_hand() -> None:
    """By score: background, hit, hit once better localised, duplicate; three persons, one missed.

    As it is: precision 1/2 up to recall 1/3 (34 recalls). Localised: 2/3 up to 2/3 (67).
    """
    persons = [SQUARE, NEXT, FAR_AWAY]
    boxes = [[60.0, 60.0, 70.0, 70.0], SQUARE, [20.0, 0.0, 30.0, 3.0], SQUARE]
    rows = rows_by_type(one_scene(boxes, [0.9, 0.8, 0.7, 0.6], persons))
    full = 34 / 2 / 101
    expected = {
        "localisation": 67 * 2 / 3 / 101,
        "duplicate": full,
        "background": 34 / 101,
        "all": 67 / 101,
        "missed": 51 / 2 / 101,  # of the two persons that are left, one is hit
        "unhit": 101 / 2 / 101,
    }
    assert {name: row["AP50_fixed"] for name, row in rows.items()} == pytest.approx(expected)
    assert (rows["missed"]["num"], rows["unhit"]["num"]) == (1, 2)
    assert np.isnan([rows[name]["AP50_without"] for name in ("missed", "unhit")]).all()


def test_of_two_that_nearly_hit_a_person_the_more_confident_is_fixed() -> None:
    boxes = [[0.0, 0.0, 10.0, 3.0], [0.0, 0.0, 10.0, 4.0]]
    assert repair(one_scene(boxes, [0.6, 0.9], [SQUARE])).hits.tolist() == [True, False]
    assert rows_by_type(one_scene(boxes, [0.6, 0.9], [SQUARE]))["localisation"][
        "AP50_fixed"
    ] == pytest.approx(1)


def test_a_localisation_error_on_a_person_that_is_hit_is_removed() -> None:
    """Before the hit by score: precision 1/2, without it 1."""
    table = one_scene([[0.0, 0.0, 10.0, 3.0], SQUARE], [0.9, 0.8], [SQUARE])
    assert not repair(table).hits.any()
    row = rows_by_type(table)["localisation"]
    assert row["AP50_fixed"] == row["AP50_without"] == pytest.approx(1)


def test_a_localisation_error_in_an_ignored_region_fixes_nothing() -> None:
    near = [0.0, 0.0, 10.0, 3.0]
    table = one_scene([near], [0.9], [SQUARE], regions=[near])
    assert not repair(table).hits.any()
    assert repair(table).missed.tolist() == [True]


def test_where_every_person_is_missed_nothing_is_regained() -> None:
    for boxes, scores in ((NONE, []), ([FAR_AWAY], [0.9])):
        rows = rows_by_type(one_scene(boxes, scores, [SQUARE, NEXT]))
        for name in ("missed", "unhit"):
            assert (rows[name]["num"], rows[name]["gain_fixed"]) == (2, 0)


def test_without_ground_truth_no_cost_exists() -> None:
    for row in rows_by_type(one_scene([SQUARE], [0.9], NONE)).values():
        assert np.isnan([row["gain"], row["gain_fixed"]]).all()


def iou_of(a: list[float], b: list[float]) -> float:
    width = max(0.0, min(a[2], b[2]) - max(a[0], b[0]))
    height = max(0.0, min(a[3], b[3]) - max(a[1], b[1]))
    areas = [(one[2] - one[0]) * (one[3] - one[1]) for one in (a, b)]
    return width * height / (sum(areas) - width * height)


class PlainTide:
    """Person by person and box by box, with every overlap measured and matched again."""

    def __init__(self, table: DetectionTable) -> None:
        self.num_persons = len(table.truths.boxes)
        persons = list(zip(table.truths.image.tolist(), table.truths.boxes.tolist(), strict=True))
        order = sorted(
            range(len(table.score)),
            key=lambda row: (-table.score[row], table.image[row], table.box_index[row]),
        )
        self.kinds: list[str] = []  # hit or type of error, best first; empty: does not count
        self.nearly: set[int] = set()  # ranks of localisation errors that fixing makes hits
        self.taken: set[int] = set()
        overlaps = []
        for row in order:
            box, image = table.boxes[row].tolist(), table.image[row]
            own = {i: iou_of(box, one) for i, (where, one) in enumerate(persons) if where == image}
            free = {i: value for i, value in own.items() if i not in self.taken and value >= 0.5}
            overlaps.append((own, bool(table.ignored[row])))
            self.kinds.append("hit" if free else "")
            if free:
                self.taken.add(max(free, key=lambda i: (free[i], i)))
        self.usable: set[int] = set()
        for rank, (own, is_ignored) in enumerate(overlaps):
            if self.kinds[rank] == "" and not is_ignored:
                self.kinds[rank] = self.error(rank, own)

    def error(self, rank: int, own: dict[int, float]) -> str:
        best = max(own, key=lambda i: (own[i], i), default=None)
        if best is None or own[best] < 0.1:
            return "background"
        if own[best] >= 0.5:
            return "duplicate"
        if best not in self.taken | self.usable:
            self.usable.add(best)
            self.nearly.add(rank)
        return "localisation"

    def num_found(self, wrong: str | None) -> int:
        found = {"missed": self.taken | self.usable, "unhit": self.taken}
        return len(found[wrong]) if wrong in found else self.num_persons

    def ap(self, wrong: str | None = None) -> float:
        """Mean over 101 recalls of the best precision there or beyond, this type fixed."""
        if self.num_persons == 0:
            return np.nan
        num = self.num_found(wrong)
        hits = []
        for rank, kind in enumerate(self.kinds):
            is_fixed = wrong == "all" or kind == wrong
            if kind == "hit" or (is_fixed and rank in self.nearly):
                hits.append(True)
            elif kind and not is_fixed:
                hits.append(False)
        found = np.cumsum(hits)
        precision = found / np.arange(1, len(hits) + 1)
        levels = np.linspace(0, 1, 101)
        return float(
            np.mean([max(precision[found / max(num, 1) >= one], default=0.0) for one in levels])
        )


@settings(max_examples=150, deadline=None)
@given(seed=st.integers(0, 10**6))
def test_costs_agree_with_tide_written_out(seed: int) -> None:
    table = crowded_table(seed)
    tide = PlainTide(table)
    rows = rows_by_type(table)
    for name in ("missed", "unhit"):
        assert rows[name]["num"] == table.num_truths - tide.num_found(name)
    for name, row in rows.items():
        assert row["AP50"] == pytest.approx(tide.ap(), nan_ok=True)
        assert row["AP50_fixed"] == pytest.approx(tide.ap(name), nan_ok=True), name
        assert row["gain_fixed"] == pytest.approx(tide.ap(name) - tide.ap(), nan_ok=True)


@settings(max_examples=50, deadline=None)
@given(seed=st.integers(0, 10**6))
def test_to_fix_an_error_gains_at_least_what_removing_it_gains(seed: int) -> None:
    rows = rows_by_type(crowded_table(seed))
    assert set(rows) == {*ERROR_TYPES, "all"}
    assert not any(row["gain_fixed"] < 0 for row in rows.values())
    assert not any(row["gain_fixed"] < row["gain"] - 1e-12 for row in rows.values())
    for name in ("duplicate", "background"):
        assert rows[name]["gain_fixed"] == pytest.approx(rows[name]["gain"], nan_ok=True)


def test_persons_by_size_and_by_distance_by_hand() -> None:
    """Small and hit, small and missed, medium and nearly hit, at 0.5, 1 and no known distance."""
    persons = [SQUARE, NEXT, [100.0, 100.0, 140.0, 140.0]]
    table = one_scene([SQUARE, [100.0, 100.0, 140.0, 110.0]], [0.9, 0.8], persons)
    full, one_fewer = pytest.approx(34 / 101), pytest.approx(51 / 101)
    found = {
        tuple(row.values())[:2]: tuple(row.values())[2:6]
        for row in missed_rows(table, repair(table), np.array([0.5, 1.0, np.nan]))
    }
    assert found == {
        ("size", "small"): (2, 1, 1, one_fewer),
        ("size", "medium"): (1, 1, 0, one_fewer),
        ("distance", "near"): (1, 0, 0, full),
        ("distance", "middle"): (1, 1, 1, one_fewer),
        ("distance", "unknown"): (1, 1, 0, one_fewer),
    }
    assert rows_by_type(table)["unhit"]["AP50_fixed"] == pytest.approx(1)


@settings(max_examples=50, deadline=None)
@given(seed=st.integers(0, 10**6))
def test_each_split_holds_every_person_once(seed: int) -> None:
    table = crowded_table(seed)
    relative = np.random.default_rng(seed).uniform(0, 3, table.num_truths)
    rows = missed_rows(table, repair(table), relative)
    types = rows_by_type(table)
    for split, parts in (("size", SIZES), ("distance", NEARNESS)):
        own = {row["part"]: row for row in rows if row["split"] == split}
        assert list(own) == [name for name in parts if name in own]
        for column, num in (
            ("num_ground_truth", table.num_truths),
            ("num", types["unhit"]["num"]),
            ("num_missed", types["missed"]["num"]),
        ):
            assert sum(row[column] for row in own.values()) == num
    far = [row["num_ground_truth"] for row in rows if row["part"] == "far"]
    assert sum(far) == int((relative >= 2).sum())
