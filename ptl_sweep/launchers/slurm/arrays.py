"""From the tasks of a plan to SLURM arrays and what each of their tasks waits for."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

from ptl_sweep.pipeline.graph import Task
from ptl_sweep.pipeline.plan import Plan
from ptl_sweep.stages.base import KINDS

Item = TypeVar("Item")


@dataclass(frozen=True, slots=True)
class Member:
    """A job of an array of the same submission."""

    array: int  # index into the list of arrays
    index: int  # within the array


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskArray:
    """Jobs of one kind of task that are submitted together, and what each of them waits for."""

    kind: str
    groups: tuple[tuple[Task, ...], ...]  # per job: the tasks that it runs side by side, mostly one
    members: tuple[frozenset[Member], ...]  # per job: jobs of this submission
    jobs: tuple[frozenset[str], ...]  # per job: jobs that were in the queue before

    @property
    def tasks(self) -> list[Task]:
        """The tasks of all jobs."""
        return [task for group in self.groups for task in group]

    @property
    def side_by_side(self) -> int:
        """Most tasks of one job."""
        return max(map(len, self.groups))

    @property
    def twin(self) -> int | None:
        """The array whose i-th job is all that the i-th job here waits for: aftercorr."""
        first = next(iter(self.members[0]), None)
        if first is None or any(self.jobs):
            return None
        expected = [frozenset({Member(first.array, i)}) for i in range(len(self.groups))]
        return first.array if list(self.members) == expected else None


def plan_arrays(
    plan: Plan,
    in_flight: Mapping[str, str],
    max_array_size: int = 1001,
    tasks_of_job: Callable[[str], int] = lambda _: 1,
) -> list[TaskArray]:
    """What is neither published nor in the queue, as arrays in an order that respects parents.

    `in_flight` maps a stage to the SLURM job that will publish it. An array holds tasks of one
    kind and one depth below the published stages; `max_array_size` is SLURM's MaxArraySize.
    `tasks_of_job` says how many tasks of a kind one job takes at most.
    """
    levels: dict[tuple[int, str], list[Task]] = {}
    depth: dict[str, int] = {}  # of the task that computes a stage
    for task in plan.tasks:
        if _is_covered(plan, task, in_flight):
            continue
        level = max((depth[p] + 1 for p in plan.parents_of(task) if p in depth), default=0)
        depth |= dict.fromkeys(task.stages, level)
        levels.setdefault((level, task.kind), []).append(task)
    arrays: list[TaskArray] = []
    place: dict[str, Member] = {}  # stage -> the job of this submission that computes it
    for level, kind in sorted(levels, key=lambda key: (key[0], KINDS.index(key[1]))):
        groups = list(_chunks(levels[level, kind], tasks_of_job(kind)))
        for part in _chunks(groups, max_array_size):
            waits = [_waits_of_group(plan, group, in_flight, place) for group in part]
            place |= {
                key: Member(len(arrays), index)
                for index, group in enumerate(part)
                for task in group
                for key in task.stages
            }
            arrays.append(
                TaskArray(
                    kind=kind,
                    groups=tuple(map(tuple, part)),
                    members=tuple(members for members, _ in waits),
                    jobs=tuple(jobs for _, jobs in waits),
                )
            )
    return arrays


def _is_covered(plan: Plan, task: Task, in_flight: Mapping[str, str]) -> bool:
    """Whether every stage of the task is published or will be by a job in the queue."""
    return all(key in in_flight or plan.store.is_published(key) for key in task.stages)


def _waits_of_group(
    plan: Plan, group: Sequence[Task], in_flight: Mapping[str, str], place: Mapping[str, Member]
) -> tuple[frozenset[Member], frozenset[str]]:
    waits = [_waits_of(plan, task, in_flight, place) for task in group]
    members = frozenset[Member]().union(*(members for members, _ in waits))
    return members, frozenset[str]().union(*(jobs for _, jobs in waits))


def _waits_of(
    plan: Plan, task: Task, in_flight: Mapping[str, str], place: Mapping[str, Member]
) -> tuple[frozenset[Member], frozenset[str]]:
    """Tasks and jobs that must end well before this task: its parents', and who else makes its."""
    parents = {key for key in plan.parents_of(task) if not plan.store.is_published(key)}
    own = {key for key in task.stages if key in in_flight and not plan.store.is_published(key)}
    members = frozenset(place[key] for key in parents if key in place)
    jobs = frozenset(in_flight[key] for key in own | (parents - place.keys()) if key in in_flight)
    return members, jobs


def _chunks(items: Sequence[Item], size: int) -> Iterator[Sequence[Item]]:
    for start in range(0, len(items), size):
        yield items[start : start + size]
