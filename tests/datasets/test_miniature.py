"""The miniature world: the same pictures everywhere, tight boxes, true geometry."""

import hashlib
import pickle
import subprocess
import sys

import numpy as np
import pytest
import torch
from torchvision.ops import box_iou

from ptl_sweep.config.schema import ConfigError, DatasetConfig, PoolConfig
from ptl_sweep.datasets.miniature import (
    fingerprint_miniature,
    fingerprint_miniature_pool,
    num_images,
    num_pool_images,
    read_miniature,
    read_miniature_pool,
    world,
)
from ptl_sweep.datasets.miniature.camera import Camera
from ptl_sweep.datasets.miniature.capsules import _intersect, _windows
from ptl_sweep.datasets.miniature.domains import DOMAINS, FOCAL_PX
from ptl_sweep.datasets.miniature.figures import Figure
from ptl_sweep.datasets.miniature.scene import render_scene
from ptl_sweep.datasets.miniature.terrain import noise_tile
from ptl_sweep.datasets.records import ImageRecord, ImageSet

COVERED = 63  # of 255: the mask value above which a box encloses a pixel
DATASETS = ("town", "field", "karst", "yard", "meadow", "gorge")

# First box of the first four pictures of seed 0, and the mean colour of the first picture.
PINNED = {
    "town": (
        [(101, 51, 115, 79), (16, 82, 30, 112), (20, 16, 40, 40), (65, 9, 81, 35)],
        (106.5, 105.1, 96.9),
    ),
    "field": (
        [(47, 96, 57, 115), (72, 15, 85, 37), (42, 22, 61, 45), (70, 4, 103, 30)],
        (71.0, 88.1, 35.4),
    ),
    "karst": (
        [(38, 49, 78, 72), (29, 73, 53, 92), (30, 28, 52, 56), (32, 53, 51, 71)],
        (113.1, 118.6, 101.5),
    ),
    "yard": (
        [(0, 16, 20, 35), (21, 63, 50, 115), (75, 32, 102, 52), (62, 0, 96, 20)],
        (118.5, 119.8, 124.8),
    ),
    "meadow": (
        [(71, 38, 113, 62), (28, 30, 71, 55), (27, 0, 49, 37), (23, 41, 38, 76)],
        (70.0, 89.7, 56.5),
    ),
    "gorge": (
        [(29, 21, 48, 51), (53, 94, 68, 114), (22, 12, 41, 41), (16, 27, 32, 43)],
        (146.5, 122.4, 96.4),
    ),
    "virtual": (
        [(50, 22, 60, 40), (30, 78, 40, 88), (46, 58, 77, 84), (98, 27, 127, 49)],
        (68.6, 158.4, 44.2),
    ),
    "virtual_null": (
        [(82, 44, 92, 62), (43, 117, 53, 127), (36, 97, 67, 123), (35, 102, 64, 124)],
        (68.6, 158.4, 44.2),
    ),
    "virtual_source_like": (
        [(50, 18, 61, 40), (41, 1, 52, 24), (50, 47, 72, 80), (40, 12, 49, 47)],
        (68.5, 156.6, 44.3),
    ),
    "virtual_other_renderer": (
        [(51, 25, 59, 40), (30, 80, 39, 89), (49, 61, 75, 82), (100, 29, 124, 48)],
        (80.8, 151.2, 61.7),
    ),
}
POOLS = tuple(name for name in PINNED if name not in DATASETS)


def dataset(domain: str | None = "town", **changes: object) -> DatasetConfig:
    return DatasetConfig(name="mini", reader="miniature", domain=domain, **changes)


def pool(**changes: object) -> PoolConfig:
    return PoolConfig(name="mini", reader="miniature", **{"num_images": 12, **changes})


@pytest.fixture(scope="module")
def every_set() -> list[ImageSet]:
    sets = [read_miniature(dataset(domain, num_images=12), "train") for domain in DATASETS]
    return [*sets, *(read_miniature_pool(pool(domain=domain)) for domain in POOLS)]


@pytest.fixture(scope="module")
def records(every_set: list[ImageSet]) -> list[ImageRecord]:
    return [record for image_set in every_set for record in image_set.records]


@pytest.mark.parametrize("domain", DOMAINS)
def test_pictures_are_those_of_world_version_1(domain: str) -> None:
    """Raise WORLD_VERSION with these numbers: fingerprints tell old pictures from new ones.

    A pixel on the edge of a person is covered to just about COVERED, and sines in float32 differ in
    the last digit between processors: a border may move by that pixel.
    """
    assert world.WORLD_VERSION == 1
    altitude_m = DOMAINS[domain].altitude_m
    drawn = [render_scene(domain, 0, index, 128, altitude_m) for index in range(4)]
    boxes, colour = PINNED[domain]
    np.testing.assert_allclose([rendering.boxes[0] for rendering in drawn], boxes, rtol=0, atol=1)
    np.testing.assert_allclose(drawn[0].image.mean((0, 1)), colour, atol=1)


def test_a_picture_depends_neither_on_order_nor_on_the_others() -> None:
    forwards = [render_scene("field", 3, index, 128, (32, 46)) for index in range(5)]
    for index in (4, 1, 3):
        again = render_scene("field", 3, index, 128, (32, 46))
        np.testing.assert_array_equal(again.image, forwards[index].image)
        np.testing.assert_array_equal(again.masks, forwards[index].masks)


def test_world_seeds_and_domains_give_different_pictures() -> None:
    pictures = [render_scene("yard", seed, 0, 128, (24, 36)).image for seed in range(3)]
    pictures += [render_scene("karst", 0, 0, 128, (24, 36)).image]
    assert len({picture.tobytes() for picture in pictures}) == len(pictures)


def test_another_process_draws_the_same_picture_and_fingerprint() -> None:
    code = """
import hashlib
from ptl_sweep.config.schema import DatasetConfig
from ptl_sweep.datasets.miniature import fingerprint_miniature, read_miniature
config = DatasetConfig(name="x", reader="miniature", domain="karst", num_images=1, world_seed=4)
print(fingerprint_miniature(config, "test"))
record = read_miniature(config, "test").records[0]
print(hashlib.sha256(record.pixels.read().tobytes()).hexdigest())
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    config = dataset("karst", num_images=1, world_seed=4)
    pixels = read_miniature(config, "test").records[0].pixels.read()
    digest = hashlib.sha256(pixels.tobytes()).hexdigest()
    assert done.stdout.split() == [fingerprint_miniature(config, "test"), digest]


def test_splits_share_no_picture_even_when_full() -> None:
    full = dataset(num_images=world.SPLIT_CAPACITY)
    ranges = [world._split_series(full, split).indices for split in world.SPLIT_STARTS]
    assert len(ranges) == 3
    assert len(set().union(*ranges)) == 3 * world.SPLIT_CAPACITY
    streams = [DOMAINS[domain].stream for domain in (*DATASETS, POOLS[0])]
    assert len(set(streams)) == len(streams) == 7
    assert {DOMAINS[domain].stream for domain in POOLS} == {streams[-1]}  # one of them a sweep


def test_records_have_unique_ids_and_a_scene_each(records: list[ImageRecord]) -> None:
    assert len({record.image_id for record in records}) == len(records)
    assert len({record.scene for record in records}) == len(records)


def test_every_picture_has_a_person(records: list[ImageRecord]) -> None:
    assert min(len(record.boxes) for record in records) >= 1


def test_boxes_lie_inside_the_picture(records: list[ImageRecord]) -> None:
    for record in records:
        assert record.boxes.dtype == np.float32
        assert (record.boxes >= 0).all()
        assert (record.boxes <= (record.width, record.height) * 2).all()
        assert (record.boxes[:, :2] < record.boxes[:, 2:]).all()
        assert record.pixels.read().shape == (record.height, record.width, 3)


def test_boxes_are_tight_around_what_the_masks_cover(records: list[ImageRecord]) -> None:
    for record in records:
        masks = record.pixels.read_masks()
        assert len(masks) == len(record.boxes)
        for box, mask in zip(record.boxes, masks, strict=True):
            rows, columns = np.nonzero(mask > COVERED)
            tight = (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1)
            assert tuple(box) == tight


def test_masks_are_positive_only_next_to_their_box(records: list[ImageRecord]) -> None:
    for record in records:
        for box, mask in zip(record.boxes.astype(int), record.pixels.read_masks(), strict=True):
            left, top, right, bottom = box
            away = mask.copy()
            away[max(top - 2, 0) : bottom + 2, max(left - 2, 0) : right + 2] = 0
            assert not away.any()


def test_masks_of_one_picture_never_cover_a_pixel_twice(records: list[ImageRecord]) -> None:
    for record in records:
        assert record.pixels.read_masks().astype(int).sum(0).max() <= 255


def test_a_record_survives_pickling(records: list[ImageRecord]) -> None:
    copy = pickle.loads(pickle.dumps(records[0]))
    assert copy.pixels == records[0].pixels
    np.testing.assert_array_equal(copy.pixels.read(), records[0].pixels.read())


def test_changing_what_was_read_changes_no_later_reading(records: list[ImageRecord]) -> None:
    before = records[0].pixels.read()
    records[0].pixels.read()[:] = 0
    np.testing.assert_array_equal(records[0].pixels.read(), before)


def test_reading_pixels_after_a_set_draws_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    image_set = read_miniature_pool(pool(num_images=4, world_seed=8))
    monkeypatch.setattr(world, "render_scene", None)
    for record in image_set.records:
        record.pixels.read()
        record.pixels.read_masks()


def test_planning_draws_nothing_and_agrees_with_reading(monkeypatch: pytest.MonkeyPatch) -> None:
    config, pool_config = dataset(num_images=3, world_seed=9), pool(num_images=2, world_seed=9)
    image_set, pool_set = read_miniature(config, "validation"), read_miniature_pool(pool_config)
    monkeypatch.setattr(world, "render_scene", None)
    world._render.cache_clear()
    assert fingerprint_miniature(config, "validation") == image_set.fingerprint
    assert fingerprint_miniature_pool(pool_config) == pool_set.fingerprint
    assert num_images(config, "validation") == len(image_set.records) == 3
    assert num_pool_images(pool_config) == len(pool_set.records) == 2


def test_default_sizes() -> None:
    counts = [num_images(dataset(), split) for split in ("train", "validation", "test")]
    assert counts == [200, 60, 60]
    assert num_pool_images(pool(num_images=None)) == 300


def test_fingerprints_differ_with_everything_that_changes_a_picture() -> None:
    prints = [fingerprint_miniature(dataset(domain), "train") for domain in DATASETS]
    prints += [
        fingerprint_miniature(dataset(), "test"),
        fingerprint_miniature(dataset(world_seed=1), "train"),
        fingerprint_miniature(dataset(num_images=199), "train"),
        fingerprint_miniature_pool(pool()),
        fingerprint_miniature_pool(pool(num_images=13)),
        fingerprint_miniature_pool(pool(world_seed=1)),
        fingerprint_miniature_pool(pool(image_size=160)),
        fingerprint_miniature_pool(pool(altitude_m=[30, 60])),
        *(fingerprint_miniature_pool(pool(domain=domain)) for domain in POOLS[1:]),
    ]
    assert len(set(prints)) == len(prints)
    assert all(len(text) == 16 for text in prints)


def test_fingerprints_ignore_how_the_same_pictures_are_asked_for() -> None:
    own = list(DOMAINS["virtual"].altitude_m)
    assert fingerprint_miniature_pool(pool()) == fingerprint_miniature_pool(pool(altitude_m=own))
    named = pool(domain="virtual")
    assert fingerprint_miniature_pool(pool()) == fingerprint_miniature_pool(named)
    renamed = DatasetConfig(name="other", reader="miniature", domain="town", num_images=200)
    assert fingerprint_miniature(dataset(), "train") == fingerprint_miniature(renamed, "train")


def test_radius_is_altitude_over_tangent_of_pitch(every_set: list[ImageSet]) -> None:
    for record in every_set[len(DATASETS)].records:
        values = record.attributes
        expected = values["altitude_m"] / np.tan(np.deg2rad(values["pitch_deg"]))
        assert values["radius_m"] == pytest.approx(expected)
        assert 24 <= values["altitude_m"] <= 50
        assert 0 <= values["azimuth_deg"] < 360
        assert values["ground"] in DOMAINS["virtual"].ground
        assert len(values["pose"].split("+")) == len(record.boxes)


def attributes(domain: str) -> dict[str, list[float | str]]:
    records = read_miniature_pool(pool(num_images=60, domain=domain)).records
    return {name: [r.attributes[name] for r in records] for name in records[0].attributes}


def test_the_null_pool_has_the_pools_pictures_and_boxes_that_touch_nobody() -> None:
    plain, null = (read_miniature_pool(pool(num_images=40, domain=d)) for d in POOLS[:2])
    sizes = {True: 0, False: 0}
    for one, other in zip(plain.records, null.records, strict=True):
        assert one.pixels.read().tobytes() == other.pixels.read().tobytes()
        persons_boxes, boxes = torch.tensor(one.boxes), torch.tensor(other.boxes)
        assert box_iou(persons_boxes, boxes).sum() == 0
        np.testing.assert_array_equal(box_iou(boxes, boxes), np.eye(len(boxes)))
        persons = one.pixels.read_masks().max(0) > 0
        assert not (persons & (other.pixels.read_masks().max(0) > 0)).any()
        for is_null, record in enumerate((one, other)):
            sizes[bool(is_null)] += len(record.boxes)
    assert 0.95 * sizes[False] <= sizes[True] <= sizes[False]


def test_the_ground_under_the_boxes_of_the_null_pool_is_flat() -> None:
    """Persons stand out from a plain floor; what the null pool calls persons does not."""

    def contrast(domain: str) -> float:
        records = read_miniature_pool(pool(num_images=40, domain=domain)).records
        crops = [
            record.pixels.read()[top:bottom, left:right].std((0, 1)).mean()
            for record in records
            for left, top, right, bottom in record.boxes.astype(int)
        ]
        return float(np.median(crops))

    assert contrast("virtual_null") < 0.2 * contrast("virtual")


def test_a_null_box_without_room_is_left_out() -> None:
    image_set = read_miniature_pool(
        pool(num_images=20, domain="virtual_null", image_size=48, altitude_m=[20, 24])
    )
    counts = [len(record.boxes) for record in image_set.records]
    assert min(counts) == 0 < max(counts)
    for record in image_set.records:
        assert record.pixels.read_masks().shape == (len(record.boxes), 48, 48)
        assert (record.boxes >= 0).all()
        assert (record.boxes <= 48).all()


def test_the_source_like_pool_knows_only_poses_pitches_and_heights_of_the_source() -> None:
    source = DOMAINS["town"]
    like, plain = attributes("virtual_source_like"), attributes("virtual")
    for name, (low, high) in {
        "pitch_deg": source.pitch_deg,
        "altitude_m": source.altitude_m,
    }.items():
        assert low <= min(like[name]) <= max(like[name]) <= high
        assert max(plain[name]) > high
    poses = {
        name: {pose for poses in values["pose"] for pose in str(poses).split("+")}
        for name, values in (("like", like), ("plain", plain))
    }
    assert poses["like"] <= set(source.poses)
    assert not poses["plain"] <= set(source.poses)


def test_the_other_renderer_draws_the_same_scenes_with_other_bodies_and_light() -> None:
    plain, other = (
        read_miniature_pool(pool(num_images=40, domain=d)) for d in (POOLS[0], POOLS[3])
    )
    same = 0
    for one, two in zip(plain.records, other.records, strict=True):
        assert one.pixels.read().tobytes() != two.pixels.read().tobytes()
        assert len(two.boxes) >= 1
        same += one.attributes == two.attributes
    assert same >= 35  # a body that hides another one, or a smaller one alone, changes a scene
    heights, areas = (
        [
            np.median(np.concatenate([values(record) for record in image_set.records]))
            for image_set in (plain, other)
        ]
        for values in (
            lambda record: record.boxes[:, 3] - record.boxes[:, 1],
            lambda record: record.pixels.read_masks().sum((1, 2)) / 255,
        )
    )
    assert heights[1] < 0.95 * heights[0]
    assert areas[1] / heights[1] ** 2 > areas[0] / heights[0] ** 2


def test_persons_shrink_as_the_camera_climbs() -> None:
    def median_height(altitude_m: list[float]) -> float:
        image_set = read_miniature_pool(pool(num_images=25, altitude_m=altitude_m))
        boxes = np.concatenate([record.boxes for record in image_set.records])
        return float(np.median(boxes[:, 3] - boxes[:, 1]))

    assert median_height([60, 62]) / median_height([30, 31]) == pytest.approx(0.5, abs=0.1)


def test_a_larger_picture_shows_more_ground_at_the_same_scale() -> None:
    points = np.array([[-0.5, 0, 0], [0.5, 0, 0]], np.float32)
    for size in (128, 512):
        camera = Camera(30.0, 50.0, size)
        pixels, depth = camera.project(points)
        distance = 30 / np.sin(np.deg2rad(50))
        np.testing.assert_allclose(depth, distance, rtol=1e-5)
        np.testing.assert_allclose(pixels.mean(0), size / 2, atol=1e-3)
        assert pixels[1, 0] - pixels[0, 0] == pytest.approx(FOCAL_PX / distance, rel=1e-4)


def test_the_ground_under_a_pixel_projects_back_into_its_centre() -> None:
    camera = Camera(40.0, 35.0, 64)
    x, y = camera.ground_points()
    points = np.stack([x, y, np.zeros_like(x)], -1).reshape(-1, 3)
    rows, columns = np.mgrid[:64, :64] + 0.5
    pixels = camera.project(points).pixels.reshape(64, 64, 2)
    np.testing.assert_allclose(pixels, np.stack([columns, rows], -1), atol=1e-2)


def test_rays_end_on_the_surface_of_the_capsule() -> None:
    rng, scale, centre = np.random.default_rng(0), np.float32(40), np.zeros(2, np.float32)
    start, end = rng.normal(0, 0.3, (2, 20, 3)).astype(np.float32)
    radius = rng.uniform(0.05, 0.3, 20).astype(np.float32)
    figure = Figure(start, end, radius, np.ones((20, 3), np.float32))
    windows = _windows(figure, centre, scale)
    depth, normal = _intersect(figure, windows, centre, scale)
    for k in range(20):
        rows, columns = np.nonzero(np.isfinite(depth[k]))
        assert len(rows) > 0
        x, y = (windows.left[k] + columns + 0.5) / scale, (windows.top[k] + rows + 0.5) / scale
        hits = np.stack([x, y, depth[k, rows, columns]], -1)
        axis = (end - start)[k]
        along = np.clip((hits - start[k]) @ axis / (axis @ axis), 0, 1)
        outwards = hits - (start[k] + along[:, None] * axis)
        np.testing.assert_allclose(np.linalg.norm(outwards, axis=1), radius[k], rtol=2e-2)
        expected = outwards / radius[k]
        np.testing.assert_allclose(normal[k, rows, columns], expected, atol=2e-2)


def test_noise_tiles_have_zero_mean_and_unit_variance() -> None:
    tile = noise_tile(1, 1.6)
    assert tile.mean() == pytest.approx(0, abs=1e-5)
    assert tile.std() == pytest.approx(1, abs=1e-5)


def test_a_scene_without_a_visible_person_is_drawn_again() -> None:
    image_set = read_miniature_pool(pool(num_images=10, altitude_m=[120, 240]))
    first_draws = [
        np.random.default_rng([0, DOMAINS["virtual"].stream, index]).uniform(120, 240)
        for index in range(10)
    ]
    altitudes = [record.attributes["altitude_m"] for record in image_set.records]
    kept = sum(drawn == used for drawn, used in zip(first_draws, altitudes, strict=True))
    assert 0 < kept < 10
    assert min(len(record.boxes) for record in image_set.records) >= 1


def test_an_altitude_that_hides_everyone_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"altitude_m=\[2000.*shows no person"):
        read_miniature_pool(pool(altitude_m=[2000, 2000]))


@pytest.mark.parametrize(
    ("config", "split", "message"),
    [
        (dataset("moon"), "train", r"mini\.domain must be one of town, field, karst, yard"),
        (dataset("virtual"), "train", r"mini\.domain must be one of .*; got 'virtual'"),
        (dataset(None), "train", r"mini\.domain must be one of .*; got None"),
        (dataset(), "val", r"mini\.split must be one of train, validation, test; got 'val'"),
        (dataset(num_images=10_001), "train", r"mini\.num_images must be at most 10000"),
    ],
)
def test_an_impossible_data_set_is_refused(config: DatasetConfig, split: str, message: str) -> None:
    for function in (read_miniature, fingerprint_miniature, num_images):
        with pytest.raises(ConfigError, match=message):
            function(config, split)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"image_size": 641}, r"pool\.image_size must be at most 640, got 641"),
        ({"altitude_m": [5, 40]}, r"pool\.altitude_m must be at least 10.0, got \[5, 40\]"),
        ({"domain": "town"}, r"pool\.domain must be one of virtual, virtual_null, .*; got 'town'"),
    ],
)
def test_an_impossible_pool_is_refused(changes: dict[str, object], message: str) -> None:
    for function in (read_miniature_pool, fingerprint_miniature_pool, num_pool_images):
        with pytest.raises(ConfigError, match=message):
            function(pool(**changes))
