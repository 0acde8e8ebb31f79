"""From the tasks of a plan to SLURM arrays and what each of their tasks waits for."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from ptl_sweep.pipeline.graph import Task
from ptl_sweep.pipeline.plan import Plan
from ptl_sweep.stages.base import KINDS


@dataclass(frozen=True, slots=True)
class Member:
    """A task of an array of the same submission."""

    array: int  # index into the list of arrays
    index: int  # within the array


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskArray:
    """Tasks of one kind that are submitted together, and what each of them waits for."""

    kind: str
    tasks: tuple[Task, ...]
    members: tuple[frozenset[Member], ...]  # per task: tasks of this submission
    jobs: tuple[frozenset[str], ...]  # per task: jobs that were in the queue before

    @property
    def twin(self) -> int | None:
        """The array whose i-th task is all that the i-th task here waits for: aftercorr."""
        first = next(iter(self.members[0]), None)
        if first is None or any(self.jobs):
            return None
        expected = [frozenset({Member(first.array, i)}) for i in range(len(self.tasks))]
        return first.array if list(self.members) == expected else None


def plan_arrays(
    plan: Plan, in_flight: Mapping[str, str], max_array_size: int = 1001
) -> list[TaskArray]:
    """What is neither published nor in the queue, as arrays in an order that respects parents.

    `in_flight` maps a stage to the SLURM job that will publish it. An array holds tasks of one
    kind and one depth below the published stages; `max_array_size` is SLURM's MaxArraySize.
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
    place: dict[str, Member] = {}  # stage -> the task of this submission that computes it
    for level, kind in sorted(levels, key=lambda key: (key[0], KINDS.index(key[1]))):
        for part in _chunks(levels[level, kind], max_array_size):
            waits = [_waits_of(plan, task, in_flight, place) for task in part]
            place |= {
                key: Member(len(arrays), index)
                for index, task in enumerate(part)
                for key in task.stages
            }
            arrays.append(
                TaskArray(
                    kind=kind,
                    tasks=tuple(part),
                    members=tuple(members for members, _ in waits),
                    jobs=tuple(jobs for _, jobs in waits),
                )
            )
    return arrays


def _is_covered(plan: Plan, task: Task, in_flight: Mapping[str, str]) -> bool:
    """Whether every stage of the task is published or will be by a job in the queue."""
    return all(key in in_flight or plan.store.is_published(key) for key in task.stages)


def _waits_of(
    plan: Plan, task: Task, in_flight: Mapping[str, str], place: Mapping[str, Member]
) -> tuple[frozenset[Member], frozenset[str]]:
    """Tasks and jobs that must end well before this task: its parents', and who else makes its."""
    parents = {key for key in plan.parents_of(task) if not plan.store.is_published(key)}
    own = {key for key in task.stages if key in in_flight and not plan.store.is_published(key)}
    members = frozenset(place[key] for key in parents if key in place)
    jobs = frozenset(in_flight[key] for key in own | (parents - place.keys()) if key in in_flight)
    return members, jobs


def _chunks(tasks: list[Task], size: int) -> Iterator[list[Task]]:
    for start in range(0, len(tasks), size):
        yield tasks[start : start + size]
