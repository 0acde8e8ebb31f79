"""Arrays: every missing task once, after its parents, and nothing that is there or on its way."""

from collections.abc import Callable
from itertools import pairwise

import pytest

from ptl_sweep.config.schema import LauncherConfig
from ptl_sweep.launchers.slurm.arrays import Member, TaskArray, plan_arrays
from ptl_sweep.pipeline.plan import Plan

MakePlan = Callable[..., Plan]
GRID = ("real_count=2,3", "synthetic=off,on", "target=field,karst", "seed=0,1")


@pytest.fixture
def plan(make_plan: MakePlan) -> Plan:
    return make_plan(*GRID)


def publish(plan: Plan, *kinds: str) -> None:
    for key, stage in plan.stages.items():
        if stage.kind in kinds:
            plan.store.path(key).mkdir(parents=True)


def keys_of(plan: Plan, kind: str) -> list[str]:
    return [key for key, stage in plan.stages.items() if stage.kind == kind]


def shape(arrays: list[TaskArray]) -> list[tuple[str, int]]:
    return [(array.kind, len(array.tasks)) for array in arrays]


def waited_stages(array: TaskArray, index: int, arrays: list[TaskArray]) -> set[str]:
    return {
        key
        for member in array.members[index]
        for task in arrays[member.array].groups[member.index]
        for key in task.stages
    }


def test_a_fresh_grid_is_one_array_per_kind_and_depth(plan: Plan) -> None:
    arrays = plan_arrays(plan, {})
    assert shape(arrays) == [("train", 4), ("ptl", 4), ("evaluate", 4), ("evaluate", 4)]


def test_every_task_waits_for_exactly_its_parents_tasks(plan: Plan) -> None:
    arrays = plan_arrays(plan, {})
    for number, array in enumerate(arrays):
        for index, task in enumerate(array.tasks):
            assert plan.parents_of(task) <= waited_stages(array, index, arrays)
            assert len(array.members[index]) == len(plan.parents_of(task))
            assert all(member.array < number for member in array.members[index])


def test_evaluation_of_off_waits_for_its_training_and_not_for_ptl(plan: Plan) -> None:
    arrays = plan_arrays(plan, {})
    kinds = {
        arrays[member.array].kind
        for array in arrays
        for task, members in zip(array.tasks, array.members, strict=True)
        if task.kind == "evaluate" and "-on-" not in task.name
        for member in members
    }
    assert kinds == {"train"}


def test_tasks_that_stand_one_to_one_are_known_as_twins(plan: Plan) -> None:
    arrays = plan_arrays(plan, {})
    twins = {shape([array])[0] + (array.twin,) for array in arrays}
    assert ("ptl", 4, 0) in twins
    assert [array.twin for array in arrays if array.kind == "train"] == [None]
    for array in arrays:
        if array.twin is not None:
            expected = [frozenset({Member(array.twin, i)}) for i in range(len(array.tasks))]
            assert list(array.members) == expected


def test_published_stages_are_not_queued_and_not_waited_for(plan: Plan) -> None:
    publish(plan, "train")
    arrays = plan_arrays(plan, {})
    assert ("train", 4) not in shape(arrays)
    assert [array.kind for array in arrays if not any(array.members)] == ["ptl", "evaluate"]


def test_nothing_is_queued_when_everything_is_published(plan: Plan) -> None:
    publish(plan, "train", "ptl", "evaluate")
    assert plan_arrays(plan, {}) == []


def test_a_stage_in_the_queue_is_waited_for_by_its_job(plan: Plan) -> None:
    in_flight = {key: f"7_{i}" for i, key in enumerate(keys_of(plan, "train"))}
    arrays = plan_arrays(plan, in_flight)
    assert "train" not in {array.kind for array in arrays}
    (chains,) = [array for array in arrays if array.kind == "ptl"]
    for task, jobs, members in zip(chains.tasks, chains.jobs, chains.members, strict=True):
        assert jobs == {in_flight[parent] for parent in plan.parents_of(task)}
        assert not members


def test_a_chain_whose_first_iteration_another_sweep_computes_waits_for_that_job(
    plan: Plan,
) -> None:
    publish(plan, "train")
    first = keys_of(plan, "ptl")[0]
    arrays = plan_arrays(plan, {first: "9_0"})
    (chains,) = [array for array in arrays if array.kind == "ptl"]
    index = next(i for i, task in enumerate(chains.tasks) if first in task.stages)
    assert chains.jobs[index] == {"9_0"}
    assert sum(map(bool, chains.jobs)) == 1


def test_arrays_are_cut_at_the_size_that_slurm_allows(plan: Plan) -> None:
    arrays = plan_arrays(plan, {}, max_array_size=3)
    assert shape(arrays)[:2] == [("train", 3), ("train", 1)]
    assert max(len(array.tasks) for array in arrays) <= 3
    names = [task.name for array in arrays for task in array.tasks]
    assert sorted(names) == sorted(task.name for task in plan.tasks)


def test_the_first_parts_of_cut_arrays_are_still_twins(plan: Plan) -> None:
    arrays = plan_arrays(plan, {}, max_array_size=3)
    chains = [array for array in arrays if array.kind == "ptl"]
    assert [array.twin for array in chains] == [0, 1]


def test_depths_never_fall(plan: Plan) -> None:
    arrays = plan_arrays(plan, {})
    highest = [
        max((m.array for members in array.members for m in members), default=-1) for array in arrays
    ]
    assert all(before <= after for before, after in pairwise(highest))


# --- several tasks in a job


@pytest.mark.parametrize("side_by_side", [2, 3, 16])
def test_jobs_of_several_tasks_hold_every_task_once_after_the_jobs_of_all_its_parents(
    plan: Plan, side_by_side: int
) -> None:
    arrays = plan_arrays(plan, {}, tasks_of_job=lambda _: side_by_side)
    assert [(a.kind, len(a.tasks)) for a in arrays] == shape(plan_arrays(plan, {}))
    names = [task.name for array in arrays for task in array.tasks]
    assert sorted(names) == sorted(task.name for task in plan.tasks)
    for number, array in enumerate(arrays):
        assert len(array.groups) == -(-len(array.tasks) // side_by_side)
        assert array.side_by_side == min(side_by_side, len(array.tasks))
        for index, group in enumerate(array.groups):
            parents = {parent for task in group for parent in plan.parents_of(task)}
            assert parents <= waited_stages(array, index, arrays)
            assert all(member.array < number for member in array.members[index])


def test_a_job_of_several_tasks_waits_for_the_jobs_in_the_queue_of_each(plan: Plan) -> None:
    in_flight = {key: f"7_{i}" for i, key in enumerate(keys_of(plan, "train"))}
    arrays = plan_arrays(plan, in_flight, tasks_of_job=lambda _: 2)
    (chains,) = [array for array in arrays if array.kind == "ptl"]
    assert sorted(map(len, chains.jobs)) == [2, 2]
    assert frozenset().union(*chains.jobs) == set(in_flight.values())


def test_a_kind_that_uses_no_gpu_has_a_job_for_each_task(plan: Plan) -> None:
    config = LauncherConfig(name="slurm", tasks_per_gpu=4)
    config.evaluate.gpus = 0
    arrays = plan_arrays(plan, {}, tasks_of_job=config.tasks_of_job)
    found = {(array.kind, array.side_by_side, len(array.groups)) for array in arrays}
    assert found == {("train", 4, 1), ("ptl", 4, 1), ("evaluate", 1, 4)}


def test_arrays_are_cut_by_their_jobs_and_not_by_their_tasks(plan: Plan) -> None:
    arrays = plan_arrays(plan, {}, max_array_size=2, tasks_of_job=lambda _: 2)
    assert [len(array.groups) for array in arrays] == [2, 2, 2, 2]
