"""launcher=slurm: print what is queued, or with dry_run what would be, and return."""

import time
from collections.abc import Sequence

from ptl_sweep.config.schema import LauncherConfig
from ptl_sweep.launchers.base import Launcher
from ptl_sweep.launchers.slurm import commands
from ptl_sweep.launchers.slurm.arrays import TaskArray, plan_arrays
from ptl_sweep.launchers.slurm.commands import SlurmError
from ptl_sweep.launchers.slurm.log_folder import check_log_folder
from ptl_sweep.launchers.slurm.sbatch import check_additional_parameters
from ptl_sweep.launchers.slurm.submit import Submitted, jobs_in_flight, submit
from ptl_sweep.pipeline import status
from ptl_sweep.pipeline.costs import measured_seconds
from ptl_sweep.pipeline.graph import Task
from ptl_sweep.pipeline.plan import Plan
from ptl_sweep.terminal import duration, say, text_table


class SlurmLauncher(Launcher):
    """Queues what is missing and returns: the sweep goes on without us."""

    def run(self) -> bool:
        """Submit, or show what would be.

        Raises: ConfigError when SLURM refuses, SlurmError when it does not answer.
        """
        plan, config = self.plan, self.config
        if config.dry_run:
            say(dry_run_text(plan, config))
        elif status.is_complete(plan):
            say(f"nothing to queue: every cell is there\nreport  {plan.folder}/report.html")
        else:
            started = time.monotonic()
            submitted = submit(plan, config)
            say(submission_text(plan, config, submitted))
            say(f"submitted in {time.monotonic() - started:.1f} s")
        return False


def dry_run_text(plan: Plan, config: LauncherConfig) -> str:
    """Arrays, dependencies, resources and hours; asks the queue where there is one.

    Raises: ConfigError for an option that sbatch does not have.
    """
    in_flight: dict[str, str] = {}
    note = ""
    try:
        check_log_folder(plan)
        check_additional_parameters(config)
        in_flight = jobs_in_flight(plan).stages
    except SlurmError as error:
        note = f"\nSLURM does not answer, so the queue counts as empty: {error}"
    arrays = plan_arrays(plan, in_flight, commands.max_array_size(), config.tasks_of_job)
    ids = [f"#{index}" for index in range(1, len(arrays) + 1)]
    hours = sum(_gpu_hours(plan, config, arrays))
    return (
        f"{_arrays_table(plan, config, arrays, ids)}\n"
        f"would queue {_count(arrays)} and a reducer after them: about {hours:.1f} GPU hours"
        f"{note}\ndry run: nothing was submitted"
    )


def submission_text(plan: Plan, config: LauncherConfig, submitted: Submitted) -> str:
    """What was queued, and how to follow it."""
    lines = []
    if submitted.cancelled:
        lines.append(f"cancelled {submitted.cancelled} jobs that could never have started")
    if submitted.reducer is None:
        lines.append("nothing to queue: every stage is published or in the queue")
        lines.append(
            "note    queued jobs keep the launcher.* that they were submitted with; `cancel`, then "
            "this command, gives them other ones"
        )
    else:
        if submitted.arrays:
            lines.append(_arrays_table(plan, config, submitted.arrays, submitted.ids))
        lines.append(f"queued  {_count(submitted.arrays)}, reducer {submitted.reducer}")
    verbs = ("status", "wait", "logs", "cancel")
    lines.append(f"next    python -m ptl_sweep {' | '.join(verbs)}  [{plan.name}]")
    return "\n".join(lines)


def _count(arrays: Sequence[TaskArray]) -> str:
    tasks = sum(len(array.tasks) for array in arrays)
    jobs = sum(len(array.groups) for array in arrays)
    side_by_side = f" in {_plural(jobs, 'job')}" if jobs < tasks else ""
    return f"{_plural(tasks, 'task')}{side_by_side} in {_plural(len(arrays), 'array')}"


def _plural(count: int, word: str) -> str:
    return f"{count} {word}{'s' * (count != 1)}"


def _arrays_table(
    plan: Plan, config: LauncherConfig, arrays: Sequence[TaskArray], ids: Sequence[str]
) -> str:
    header = ["kind", "job", "tasks", "stages", "waits for", "limit", "GPUs", "CPUs", "memory",
              "GPU h"]  # fmt: skip
    rows = []
    for array, job, hours in zip(arrays, ids, _gpu_hours(plan, config, arrays), strict=True):
        resources = config.resources(array.kind)
        rows.append(
            [
                array.kind,
                job,
                str(len(array.tasks)),
                str(sum(len(task.stages) for task in array.tasks)),
                _waits_text(config, array, ids),
                duration(60 * resources.limit_min),
                str(resources.gpus),
                str(resources.cpus * array.side_by_side),
                f"{resources.mem_gb * array.side_by_side:g} GB",
                f"{hours:.1f}",
            ]
        )
    return text_table(header, rows)


def _waits_text(config: LauncherConfig, array: TaskArray, ids: Sequence[str]) -> str:
    """`12, task by task`, or `12, 13`: arrays in which single tasks are waited for."""
    foreign = [config.dependency] if config.dependency else []
    if array.twin is not None:
        return ", ".join([*foreign, ids[array.twin], "task by task"])
    waited = {ids[member.array] for members in array.members for member in members}
    waited |= {job.partition("_")[0] for jobs in array.jobs for job in jobs}
    return ", ".join([*foreign, *sorted(waited)]) or "."


def _gpu_hours(plan: Plan, config: LauncherConfig, arrays: Sequence[TaskArray]) -> list[float]:
    """From the median time of such stages in the store, else from a guess (`plan` says which).

    A job takes as long as the longest of its tasks: as if they did not slow each other.
    """
    costs = measured_seconds(plan)

    def num_missing(task: Task) -> int:
        return sum(not plan.store.is_published(key) for key in task.stages)

    hours = []
    for array in arrays:
        missing = sum(max(map(num_missing, group)) for group in array.groups)
        seconds = missing * costs[array.kind].seconds
        hours.append(seconds * config.resources(array.kind).gpus / 3600)
    return hours
