"""Nested subsets and splits by scene."""

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ptl_sweep.config.schema import ConfigError
from ptl_sweep.datasets.records import ImageRecord
from ptl_sweep.datasets.subsets import (
    SPLITS,
    assign_scenes,
    frame_runs,
    originals,
    real_subset,
    spread,
)

Make = Callable[..., ImageRecord]


def _ids(records: list[ImageRecord]) -> list[str]:
    return [record.image_id for record in records]


def test_twenty_images_lie_within_fifty_within_a_hundred(make_record: Make) -> None:
    records = [make_record(f"{index:03}") for index in range(120)]
    subsets = [_ids(real_subset(records, count, seed=3)) for count in (20, 50, 100)]
    assert subsets[0] == subsets[1][:20]
    assert subsets[1] == subsets[2][:50]
    assert len(set(subsets[2])) == 100


def test_a_subset_depends_on_the_seed_and_not_on_the_order_of_the_records(
    make_record: Make,
) -> None:
    records = [make_record(f"{index:03}") for index in range(40)]
    first = _ids(real_subset(records, 10, seed=0))
    assert first == _ids(real_subset(records[::-1], 10, seed=0))
    assert first != _ids(real_subset(records, 10, seed=1))


def test_only_images_with_a_person_are_drawn(make_record: Make) -> None:
    records = [make_record(str(index), num_persons=index % 2) for index in range(10)]
    drawn = real_subset(records, 5, seed=0)
    assert sorted(_ids(drawn)) == ["1", "3", "5", "7", "9"]
    with pytest.raises(ConfigError, match=r"real_count=6 .* \(5 of 10\): lower real_count"):
        real_subset(records, 6, seed=0)


def test_items_are_spread_over_the_whole_list() -> None:
    assert spread(range(10), 3) == [0, 3, 6]
    assert spread("abc", None) == ["a", "b", "c"]
    assert spread("abc", 9) == ["a", "b", "c"]


@given(st.integers(1, 60), st.integers(1, 60))
def test_spread_items_are_distinct_and_in_order(length: int, count: int) -> None:
    items = spread(range(length), count)
    assert len(items) == min(length, count)
    assert items == sorted(set(items))


def test_a_run_of_consecutive_frames_is_one_scene() -> None:
    assert frame_runs(["1", "2", "4", "10", "3"]) == ["1", "1", "1", "10", "1"]
    assert frame_runs(["a_007", "a_008", "b_009"]) == ["a_007", "a_007", "b_009"]
    assert frame_runs(["x/1", "y/2", "x/0"]) == ["x/0", "y/2", "x/0"]
    assert frame_runs(["one", "one0", "two"]) == ["one", "one0", "two"]


def test_the_suffix_of_an_export_hides_no_run() -> None:
    names = [f"gss{index}_jpg.rf.{index:032x}" for index in (41, 42, 44)]
    assert frame_runs([*names, names[0].replace(".rf.0", ".rf.a")]) == [
        "gss41",
        "gss41",
        "gss44",
        "gss41",
    ]


@pytest.mark.parametrize(
    "copy",
    [
        "{}_jpg.rf.GNSaptniQRRWmG0fIgl1",
        "{}_webp.rf.0a9ZaptniQRRWmG0fIgl",
        "{}_jpeg.rf.0123456789abcdef0123456789abcdef",
        "{}_PNG.rf.GNSaptniQRRWmG0fIgl1",
        "{}_aug_1",
        "{} (1)",
        "{}(2)",
        "{} - Copy",
        "{} - Copy (2)",
        "{} copy 2",
        "{}_aug_3_jpg.rf.GNSaptniQRRWmG0fIgl1",
    ],
)
def test_a_copy_is_in_the_scene_of_its_original(copy: str) -> None:
    frames = [f"clip-{number:04}" for number in (1, 2, 3, 9)]
    names = [*frames, *map(copy.format, frames)]
    assert originals(names) == [*frames, *frames]
    assert frame_runs(names) == ["clip-0001", "clip-0001", "clip-0001", "clip-0009"] * 2
    if "(" not in copy:  # numbers in brackets alone may count pictures
        assert set(frame_runs(names[4:])) == {"clip-0001", "clip-0009"}
    for shares in ([0.5, 0.5, 0], [0.8, 0.2, 0]):
        assigned = assign_scenes(frame_runs(names), shares)
        assert assigned[:4] == assigned[4:]


def test_pictures_numbered_in_brackets_and_other_names_are_no_copies() -> None:
    names = ["Shot (1)", "Shot (2)", "copy", "_aug_1", "august_12", "a.rf.12", "hardcopy"]
    assert originals(names)[:3] == names[:3]
    assert originals(names)[4:] == names[4:]
    assert frame_runs(names[:2]) == names[:2]


def test_whole_scenes_go_where_most_is_missing() -> None:
    scenes = ["a"] * 6 + ["b"] * 3 + ["c"] * 2 + ["d"]
    split_of = dict(zip(scenes, assign_scenes(scenes, [0.5, 0.25, 0.25]), strict=True))
    assert split_of == {"a": "train", "b": "validation", "c": "test", "d": "test"}


@given(
    st.lists(st.sampled_from("abcdefgh"), min_size=1, max_size=60),
    st.sampled_from([[0.6, 0.2, 0.2], [0.9, 0.05, 0.05], [0.5, 0.5, 0], [0, 0, 1.0]]),
)
def test_every_image_is_in_one_split_no_scene_in_two_and_no_split_empty(
    scenes: list[str], shares: list[float]
) -> None:
    wanted = [split for split, share in zip(SPLITS, shares, strict=True) if share]
    if len(set(scenes)) < len(wanted):
        with pytest.raises(ConfigError, match=r"only [12] scenes?"):
            assign_scenes(scenes, shares)
        return
    assigned = assign_scenes(scenes, shares)
    assert len(assigned) == len(scenes)
    assert set(assigned) == set(wanted)
    assert len(set(zip(scenes, assigned, strict=True))) == len(set(scenes))
    shuffled = dict(zip(scenes[::-1], assign_scenes(scenes[::-1], shares), strict=True))
    assert shuffled == dict(zip(scenes, assigned, strict=True))


def test_shares_are_met_when_scenes_are_small() -> None:
    scenes = [str(index // 3) for index in range(300)]
    assigned = assign_scenes(scenes, [0.7, 0.2, 0.1])
    counts = [assigned.count(split) for split in SPLITS]
    assert counts == pytest.approx([210, 60, 30], abs=3)
