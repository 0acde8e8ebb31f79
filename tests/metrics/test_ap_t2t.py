import contextlib
import io
import itertools
from dataclasses import replace

import numpy as np
import pytest
from helpers.crowded import crowded_scenes, crowded_table, scene, stacked, without
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ptl_sweep.config.analysis import ApT2tConfig
from ptl_sweep.datasets.boxes import box_iou
from ptl_sweep.detection.matching import IOU_THRESHOLDS
from ptl_sweep.detection.table import DetectionTable
from ptl_sweep.metrics.ap_t2t import (
    ap_t2t,
    curve_rows,
    random_order_null,
)
from ptl_sweep.metrics.average_precision import RECALL_LEVELS, average_precision
from ptl_sweep.vocabulary import RANKINGS

THRESHOLDS = (0.01, 0.1, 0.5)
RULES = [
    ApT2tConfig(recall=recall, matching=matching, interpolation=interpolation)
    for recall in ("all", "matched")
    for matching in ("score", "distance")
    for interpolation in ("points", "area")
]
RULE_NAMES = [f"{rule.recall}-{rule.matching}-{rule.interpolation}" for rule in RULES]
SQUARE = [0.0, 0.0, 10.0, 10.0]


def some_distances(table: DetectionTable, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).gamma(3.0, size=len(table.features))


def stored_distances(table: DetectionTable) -> np.ndarray:
    """Those that the crowded scenes give as features."""
    return table.features[:, 0].astype(float)


def by_loops(
    table: DetectionTable,
    distance: np.ndarray,
    s: float,
    rule: ApT2tConfig,
    below: float = np.inf,
    iou: int = 0,
) -> float:
    """The definition, one detection after the other."""
    score, image, box = table.score, table.image, table.box_index
    rows = [row for row in table.featured if s <= score[row] < below]
    near = dict(zip(table.featured.tolist(), distance, strict=True))
    rows.sort(key=lambda row: (near[row], -score[row], image[row], box[row]))
    taken, hits = set(), []
    for row in rows:
        hit = bool(table.hits_at(iou)[row])
        if rule.matching == "distance":
            overlap = box_iou(table.boxes[row][None], table.truths.boxes)[0]
            hit, best = False, IOU_THRESHOLDS[iou]
            for person in range(len(overlap)):
                same_image = table.truths.image[person] == image[row]
                if same_image and person not in taken and overlap[person] >= best:
                    hit, best, found = True, overlap[person], person
            taken |= {found} if hit else set()
        if hit or not table.ignored[row]:
            hits.append(hit)
    denominator = table.num_truths if rule.recall == "all" else sum(hits)
    if not any(hits):
        return 0.0
    precision = [sum(hits[: k + 1]) / (k + 1) for k in range(len(hits))]
    recall = [sum(hits[: k + 1]) / denominator for k in range(len(hits))]
    if rule.interpolation == "area":
        steps = np.diff([0.0, *recall])
        return sum(steps[k] * max(precision[k:]) for k in range(len(hits)))
    beyond = [
        max((p for p, r in zip(precision, recall, strict=True) if r >= level), default=0.0)
        for level in RECALL_LEVELS
    ]
    return sum(beyond) / 101


def of_pycocotools(table: DetectionTable, distance: np.ndarray, s: float) -> np.ndarray:
    """AP per IoU threshold of a COCO evaluator that takes nearness for the score."""
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    def annotation(image: int, box: np.ndarray, **extra: float) -> dict[str, object]:
        xywh = [box[0], box[1], box[2] - box[0], box[3] - box[1]]
        return {"image_id": int(image), "category_id": 1, "bbox": [float(v) for v in xywh], **extra}

    rows = table.featured[table.score[table.featured] >= s]
    rank = np.argsort(np.argsort(distance[table.score[table.featured] >= s]))
    persons = zip(table.truths.image, table.truths.boxes, strict=True)
    with contextlib.redirect_stdout(io.StringIO()):
        coco = COCO()
        coco.dataset = {
            "info": {},
            "images": [{"id": index} for index in range(table.num_images)],
            "categories": [{"id": 1}],
            "annotations": [
                annotation(image, box, id=index + 1, iscrowd=0, area=1.0)
                for index, (image, box) in enumerate(persons)
            ],
        }
        coco.createIndex()
        found = [
            annotation(table.image[row], table.boxes[row], score=-float(place))
            for row, place in zip(rows, rank, strict=True)
        ]
        evaluation = COCOeval(coco, coco.loadRes(found), "bbox")
        evaluation.params.maxDets = [1, 10, 10_000]
        evaluation.params.areaRng = [[0, 1e10]]
        evaluation.params.areaRngLbl = ["all"]
        evaluation.evaluate()
        evaluation.accumulate()
    return evaluation.eval["precision"][:, :, 0, 0, -1].mean(1)


def test_by_hand(make_table) -> None:
    """Nearest first: hit, miss, hit; two of four ground truths found.

    Precision is 1 up to recall 1/4 (26 of the 101 recalls), 2/3 up to 1/2 (25), then 0.
    """
    table = make_table(([0.9, 0.8, 0.7], [True, False, True]), num_truths=4)
    found = ap_t2t(table, np.array([5.0, 2.0, 1.0]), 0.01)
    assert found == pytest.approx((26 * 1 + 25 * 2 / 3) / 101)


def test_every_ground_truth_is_in_the_denominator(make_table) -> None:
    table = make_table(([0.9], [True]), num_truths=100)
    assert ap_t2t(table, np.array([1.0]), 0.5) == pytest.approx(2 / 101)


def test_the_denominator_makes_a_great_difference_when_few_persons_are_found(make_table) -> None:
    """Nearest first: hit, hit, miss, hit, of 13 persons: 22 per cent, or 92 of those found."""
    table = make_table(([0.9, 0.8, 0.7, 0.6], [True, True, False, True]), num_truths=13)
    distance = np.array([1.0, 2.0, 3.0, 4.0])
    assert ap_t2t(table, distance, 0.01) == pytest.approx((16 * 1 + 8 * 3 / 4) / 101)
    matched = ap_t2t(table, distance, 0.01, ApT2tConfig(recall="matched"))
    assert matched == pytest.approx((67 * 1 + 34 * 3 / 4) / 101)


def test_the_area_is_the_sum_of_recall_steps_times_precision(make_table) -> None:
    table = make_table(([0.9, 0.8, 0.7, 0.6], [True, False, True, True]), num_truths=4)
    area = ApT2tConfig(interpolation="area")
    found = ap_t2t(table, np.array([1.0, 2.0, 3.0, 4.0]), 0.01, area)
    assert found == pytest.approx(0.25 * 1 + 0.5 * 3 / 4)


def test_a_nearer_duplicate_takes_the_person_only_when_matched_by_distance() -> None:
    """The better score has the person, the nearer one lies over it: miss, hit or hit, miss."""
    truths, scores, far = np.array([SQUARE]), np.array([0.9, 0.8]), np.array([2.0, 1.0])
    table = stacked([scene(np.array([SQUARE, SQUARE]), scores, truths, far, np.zeros((0, 4)))])
    assert ap_t2t(table, stored_distances(table), 0.5) == 0.5
    assert ap_t2t(table, stored_distances(table), 0.5, ApT2tConfig(matching="distance")) == 1.0


READ_ONLY = HealthCheck.function_scoped_fixture  # no test changes the table


@pytest.mark.parametrize("rule", RULES, ids=RULE_NAMES)
@settings(deadline=None, max_examples=25)
@given(
    seed=st.integers(0, 10**6),
    s=st.sampled_from(THRESHOLDS),
    below=st.sampled_from([None, 0.5, 0.9]),
    iou=st.sampled_from([0, 3, 9]),
)
def test_every_rule_agrees_with_its_definition_by_loops(
    rule: ApT2tConfig, seed: int, s: float, below: float | None, iou: int
) -> None:
    table = crowded_table(seed, num_images=4)
    distance = np.ceil(stored_distances(table) / 3)  # some are equal
    if table.num_truths:
        found = ap_t2t(table, distance, s, rule, below=below, iou=iou)
        assert found == pytest.approx(
            by_loops(table, distance, s, rule, below or np.inf, iou), abs=1e-12
        )


@settings(deadline=None, max_examples=30)
@given(seed=st.integers(0, 10**6), s=st.sampled_from(THRESHOLDS))
def test_matching_by_distance_agrees_with_pycocotools(seed: int, s: float) -> None:
    table = crowded_table(seed)
    table = replace(table, ignored=np.zeros_like(table.ignored))
    if not table.num_truths or not (table.score >= s).any():
        return
    distance, rule = stored_distances(table), ApT2tConfig(matching="distance")
    found = [ap_t2t(table, distance, s, rule, iou=index) for index in range(10)]
    np.testing.assert_allclose(found, of_pycocotools(table, distance, s), rtol=0, atol=1e-9)


@settings(deadline=None, max_examples=25, suppress_health_check=[READ_ONLY])
@given(scale=st.floats(1e-3, 1e3), power=st.floats(0.1, 3))
def test_rescaling_or_rooting_the_distances_changes_nothing(
    random_table: DetectionTable, scale: float, power: float
) -> None:
    distance = some_distances(random_table)
    for threshold, rule in itertools.product(THRESHOLDS, RULES):
        expected = ap_t2t(random_table, distance, threshold, rule)
        assert ap_t2t(random_table, scale * distance**power, threshold, rule) == expected


@pytest.mark.parametrize("rule", RULES, ids=RULE_NAMES)
def test_the_order_of_the_images_changes_nothing(rule: ApT2tConfig) -> None:
    scenes = crowded_scenes(3)
    table, turned = stacked(scenes), stacked(scenes[::-1])
    found = ap_t2t(table, stored_distances(table), 0.1, rule)
    assert found == ap_t2t(turned, stored_distances(turned), 0.1, rule)
    assert 0 < found < 1


@pytest.mark.parametrize("rule", RULES, ids=RULE_NAMES)
@settings(deadline=None, max_examples=25)
@given(seed=st.integers(0, 10**6), s=st.sampled_from([0.1, 0.5, 0.8]))
def test_detections_below_s_change_nothing(rule: ApT2tConfig, seed: int, s: float) -> None:
    table = crowded_table(seed)
    fewer = without(table, table.score < s)
    found = ap_t2t(table, stored_distances(table), s, rule)
    assert found == pytest.approx(ap_t2t(fewer, stored_distances(fewer), s, rule), nan_ok=True)


def test_distance_of_minus_score_gives_the_average_precision_above_s(
    random_table: DetectionTable,
) -> None:
    rows = random_table.featured
    for threshold in THRESHOLDS:
        kept = (random_table.score >= threshold) & random_table.counted
        order = np.lexsort(
            (random_table.box_index[kept], random_table.image[kept], -random_table.score[kept])
        )
        expected = average_precision(
            random_table.true_positive[kept][order], random_table.num_truths
        )
        assert ap_t2t(random_table, -random_table.score[rows], threshold) == expected


def test_ties_go_to_the_higher_score_then_the_earlier_image(make_table) -> None:
    table = make_table(([0.5, 0.4], [False, False]), ([0.6, 0.4], [True, True]))
    same = np.ones(4)
    by_score = [True, False, False, True]  # .6, .5, .4 of image 0, .4 of image 1
    assert ap_t2t(table, same, 0.01) == average_precision(np.array(by_score), 4)


def test_a_false_positive_in_an_ignored_region_does_not_count(make_table) -> None:
    plain = make_table(([0.9, 0.7], [True, True]))
    ignored = make_table(([0.9, 0.8, 0.7], [True, False, True], [True, True, False]))
    for rule in RULES:
        assert ap_t2t(ignored, np.array([2.0, 1.0, 3.0]), 0.01, rule) == ap_t2t(
            plain, np.array([2.0, 3.0]), 0.01, rule
        )


@pytest.mark.parametrize("rule", RULES, ids=RULE_NAMES)
def test_no_detection_above_s_is_zero(rule: ApT2tConfig, make_table) -> None:
    table = make_table(([0.4, 0.3], [True, False]))
    assert ap_t2t(table, np.ones(2), 0.5, rule) == 0.0
    assert ap_t2t(table, np.ones(2), 0.1, rule, below=0.2) == 0.0
    assert random_order_null(table, 0.5, np.random.default_rng(0), rule) == 0.0


@pytest.mark.parametrize("rule", RULES, ids=RULE_NAMES)
def test_only_misses_are_zero_and_no_ground_truth_is_nan(rule: ApT2tConfig, make_table) -> None:
    missed = make_table(([0.9], [False]), num_truths=1)
    assert ap_t2t(missed, np.ones(1), 0.01, rule) == 0.0
    nobody = make_table(([0.9], [False]), num_truths=0)
    assert np.isnan(ap_t2t(nobody, np.ones(1), 0.01, rule))
    assert np.isnan(random_order_null(nobody, 0.01, np.random.default_rng(0), rule))


def test_a_distance_that_does_not_exist_gives_nan(make_table) -> None:
    table = make_table(([0.9, 0.8], [True, False]))
    assert np.isnan(ap_t2t(table, np.full(2, np.nan), 0.01))


def test_a_threshold_below_the_kept_features_is_refused(random_table: DetectionTable) -> None:
    with pytest.raises(ValueError, match=r"evaluate\.score_thresholds"):
        ap_t2t(random_table, some_distances(random_table), 0.005)


def test_the_null_is_what_random_distances_give(random_table: DetectionTable) -> None:
    rule = ApT2tConfig(null_draws=200)
    null = random_order_null(random_table, 0.1, np.random.default_rng(0), rule)
    draws = [ap_t2t(random_table, some_distances(random_table, seed), 0.1) for seed in range(200)]
    assert null == pytest.approx(np.mean(draws), abs=4 * np.std(draws) / np.sqrt(200))


@pytest.mark.parametrize("rule", RULES)
def test_the_null_is_the_mean_over_all_orders(rule: ApT2tConfig, make_table) -> None:
    """Two hits, two misses, one that does not count; 120 orders."""
    table = make_table(
        ([0.9, 0.8, 0.7, 0.6, 0.5], [True, False, True, False, False], [False] * 4 + [True]),
        num_truths=3,
    )
    every = [
        by_loops(table, np.array(order, float), 0.01, rule)
        for order in itertools.permutations(range(5))
    ]
    null = random_order_null(table, 0.01, np.random.default_rng(0), replace(rule, null_draws=4000))
    assert null == pytest.approx(np.mean(every), abs=4 * np.std(every) / np.sqrt(4000))


def test_a_rule_that_matches_by_distance_matches_random_orders_as_well() -> None:
    """Where persons have several detections: the first one in the order is the hit."""
    table, rng = crowded_table(5, num_images=4), np.random.default_rng(1)
    by_distance = ApT2tConfig(matching="distance", null_draws=300)
    draws = [ap_t2t(table, rng.random(len(table.features)), 0.01, by_distance) for _ in range(300)]
    null = random_order_null(table, 0.01, np.random.default_rng(0), by_distance)
    assert null == pytest.approx(np.mean(draws), abs=5 * np.std(draws) / np.sqrt(300))
    by_score = random_order_null(table, 0.01, np.random.default_rng(0), ApT2tConfig())
    assert null > by_score + 5 * np.std(draws) / np.sqrt(300)


def test_a_perfect_distance_beats_the_null_and_the_worst_does_not(
    random_table: DetectionTable,
) -> None:
    hit = random_table.true_positive[random_table.featured]
    null = random_order_null(random_table, 0.01, np.random.default_rng(0))
    assert ap_t2t(random_table, 1.0 - hit, 0.01) > null > ap_t2t(random_table, hit + 0.0, 0.01)


def test_curves_by_hand(make_table) -> None:
    """By distance hit, miss, hit; by score miss, hit, hit; two of four ground truths."""
    table = make_table(([0.9, 0.8, 0.7], [False, True, True]), num_truths=4)
    rows = curve_rows(table, np.array([2.0, 1.0, 3.0]), [0.01])
    curves = {
        name: [row["precision"] for row in rows if row["ranking"] == name] for name in RANKINGS
    }
    assert curves["distance"] == pytest.approx([1.0] * 6 + [2 / 3] * 5 + [0.0] * 10)
    assert curves["score"] == pytest.approx([2 / 3] * 11 + [0.0] * 10)
    assert [row["recall"] for row in rows[:21]] == [k / 20 for k in range(21)]
    assert {row["score_threshold"] for row in rows} == {0.01}


def test_the_precision_at_recall_0_and_above_bounds_ap_t2t(random_table: DetectionTable) -> None:
    """AP is a mean over 101 recalls of which the curve has every fifth: it lies between sums."""
    near = some_distances(random_table)
    rows = curve_rows(random_table, near, THRESHOLDS)
    for threshold, index in zip(THRESHOLDS, (0, 42, 84), strict=True):
        precision = [row["precision"] for row in rows[index : index + 21]]
        assert {row["score_threshold"] for row in rows[index : index + 42]} == {threshold}
        lowest = (precision[0] + 5 * sum(precision[1:])) / 101
        highest = (5 * sum(precision[:-1]) + precision[-1]) / 101
        assert lowest <= ap_t2t(random_table, near, threshold) <= highest


def test_curves_without_distances_are_by_score_and_without_persons_none(make_table) -> None:
    table = make_table(([0.9, 0.8], [True, False]))
    rows = curve_rows(table, np.full(2, np.nan), THRESHOLDS)
    assert [row["ranking"] for row in rows] == ["score"] * 63
    nobody = make_table(([0.9], [False]), num_truths=0)
    assert curve_rows(nobody, np.ones(1), THRESHOLDS) == []
