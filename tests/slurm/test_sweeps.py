"""Sweeps on a real SLURM: the numbers of the inline launcher, whatever happens to the jobs."""

import csv
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ptl_sweep.compose.compose import compose_grid
from ptl_sweep.launchers.slurm import commands as slurm
from ptl_sweep.launchers.slurm.journal import JobBook
from ptl_sweep.pipeline.plan import Plan, load_plan, plan_sweep

pytestmark = [pytest.mark.slurm, pytest.mark.timeout(900)]

GRID = ("real_count=2,3", "synthetic=off,on", "target=field,karst", "seed=0")
ON_SLURM = ("launcher=slurm", "launcher.cpus=1", "launcher.mem_gb=2", "launcher.time_min=30")


class Sweep:
    """A command line, its sweep on disk, and the verbs about it."""

    def __init__(self, run: Any, root: Path, arguments: tuple[str, ...]) -> None:
        self._run, self.root, self.arguments = run, root, arguments

    def submit(self, *more: str) -> Any:
        overrides = (*self.arguments, *ON_SLURM, f"sweep.root={self.root}", *more)
        last = {o.split("=")[0]: o for o in overrides}
        return self._run("-m", *last.values())

    def verb(self, name: str, *words: str) -> Any:
        return self._run(name, *words, f"sweep.root={self.root}")

    def dry_plan(self, *more: str) -> Plan:
        """The plan of the command line; nothing is written."""
        overrides = (*self.arguments, *more, f"sweep.root={self.root}")
        last = {o.split("=")[0]: o for o in overrides}
        return plan_sweep(compose_grid(list(last.values())), "")

    @property
    def plan(self) -> Plan:
        newest = max((self.root / "sweeps").glob("*/plan.json"), key=lambda p: p.stat().st_mtime)
        return load_plan(newest.parent)

    def wait(self) -> Any:
        return self.verb("wait", self.plan.name)

    def results(self) -> bytes:
        return (self.plan.folder / "results.csv").read_bytes()

    def rows(self) -> list[dict[str, str]]:
        return list(csv.DictReader(self.results().decode().splitlines()))

    def attempts(self, key: str) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self.plan.store.meta(key)["attempts"]
        return found

    def keys(self, kind: str, word: str = "") -> list[str]:
        return [k for k, s in self.plan.stages.items() if s.kind == kind and word in s.label]

    def job_of(self, key: str) -> str:
        return [job.id for job in JobBook(self.plan.folder).jobs() if key in job.stages][-1]

    def checkpoint(self, key: str) -> Path:
        return self.plan.store.work_folder(key) / "checkpoint.pt"


def without_launcher(arguments: list[str]) -> tuple[str, ...]:
    return tuple(a for a in arguments if a != "-m" and not a.startswith("launcher"))


@pytest.fixture
def small(run: Any, cluster: Any, tmp_path: Path, tiny: list[str]) -> Sweep:
    """8 cells of 12 stages, each a fraction of a second."""
    return Sweep(run, tmp_path / "outputs", (*GRID, *without_launcher(tiny)))


@pytest.fixture
def long(run: Any, cluster: Any, tmp_path: Path, long_grid: list[str]) -> Sweep:
    """The grid of `undisturbed`: seconds of training, a checkpoint after every step."""
    return Sweep(run, tmp_path / "outputs", without_launcher(long_grid))


@pytest.fixture(scope="session")
def inline_results(tmp_path_factory: pytest.TempPathFactory, tiny: list[str]) -> bytes:
    """results.csv of the same 8 cells, computed by the inline launcher."""
    root = tmp_path_factory.mktemp("inline")
    command = ["-m", "ptl_sweep", "-m", *GRID, *tiny, f"sweep.root={root}"]
    subprocess.run([sys.executable, *command], check=True, capture_output=True)
    (folder,) = (root / "sweeps").iterdir()
    return (folder / "results.csv").read_bytes()


def session_members(session: int) -> list[int]:
    """Processes of a session, from /proc."""
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = path.read_text().rpartition(")")[2].split()
        except (FileNotFoundError, ProcessLookupError):
            continue
        if int(fields[3]) == session:
            found.append(int(path.parent.name))
    return found


def test_a_grid_on_slurm_equals_the_inline_launcher_bit_for_bit_and_its_submitter_leaves_nothing(
    small: Sweep, cluster: Any, inline_results: bytes
) -> None:
    command = ["-m", "ptl_sweep", "-m", *small.arguments, *ON_SLURM, f"sweep.root={small.root}"]
    submitter = subprocess.Popen(
        [sys.executable, *command], start_new_session=True, stdout=subprocess.PIPE, text=True
    )
    output, _ = submitter.communicate(timeout=120)
    assert submitter.returncode == 0
    assert "queued  8 tasks in 4 arrays, reducer" in output
    assert session_members(submitter.pid) == []
    script = next((small.plan.folder / "logs" / "slurm").glob("*_submission.sh")).read_text()
    assert "#SBATCH --gpus-per-node=1" in script
    assert small.wait().code == 0
    assert small.results() == inline_results
    assert {row["status"] for row in small.rows()} == {"ok"}
    used = cluster.run(
        "sacct", "-X", "-n", "-P", "-j", small.job_of(small.keys("train")[0]), "-o", "AllocTRES"
    )
    assert "gres/gpu=1" in used


def test_two_tasks_on_a_gpu_have_one_job_and_the_numbers_of_the_inline_launcher_bit_for_bit(
    small: Sweep, cluster: Any, inline_results: bytes
) -> None:
    submitted = small.submit("launcher.tasks_per_gpu=2")
    assert "queued  8 tasks in 4 jobs in 4 arrays, reducer" in submitted.output
    plan = small.plan
    of_training = {small.job_of(key) for key in small.keys("train")}
    assert len(of_training) == 1
    assert small.wait().code == 0
    assert small.results() == inline_results
    assert all(len(small.attempts(key)) == 1 for key in plan.stages)
    used = cluster.run("sacct", "-X", "-n", "-P", "-j", *of_training, "-o", "AllocTRES")
    assert "cpu=2," in used
    assert "gres/gpu=1" in used
    assert "mem=4G" in used
    for task in plan.tasks:
        log = plan.log_path(task).read_text()
        assert log.startswith(f"{task.name}: SLURM job ")
        assert log.count("published ") == len(task.stages)


def test_a_warning_reaches_both_tasks_of_a_job_which_go_on_from_their_checkpoints(
    long: Sweep, cluster: Any, undisturbed: Any
) -> None:
    assert long.submit("launcher.tasks_per_gpu=2").code == 0
    keys = long.keys("train")
    (job,) = {long.job_of(key) for key in keys}
    cluster.wait_until(lambda: all(long.checkpoint(key).exists() for key in keys))
    assert not any(long.plan.store.is_published(key) for key in keys)
    cluster.run("scancel", "--signal=USR2", job)
    reduced = long.plan.folder / "reduced.json"
    cluster.wait_until(
        lambda: reduced.exists() and not slurm.read_queue(all_jobs(long)), timeout_s=400
    )
    assert long.results() == undisturbed.file("results.csv")
    for key in keys:
        assert [attempt["restart"] for attempt in long.attempts(key)] == [0, 1]


def test_a_failed_task_of_a_job_loses_neither_the_other_nor_what_needs_the_other(
    small: Sweep, cluster: Any, inline_results: bytes
) -> None:
    (bad,) = [
        k for k, s in small.dry_plan().stages.items() if s.kind == "train" and "-n3-" in s.label
    ]
    obstacle = small.root / "store" / f"{bad}.wip" / "manifest.json"
    obstacle.mkdir(parents=True)  # a folder where the training wants to write a file
    assert small.submit("launcher.tasks_per_gpu=2").code == 0
    waited = small.wait()
    assert waited.code == 1
    assert "IsADirectoryError" in waited.output
    needs = {k for k, s in small.plan.stages.items() if "-n3-" in s.label}
    assert {k for k in small.plan.stages if not small.plan.store.is_published(k)} == needs
    ended = cluster.run("sacct", "-X", "-n", "-P", "-j", small.job_of(bad), "-o", "State")
    assert "FAILED" in ended
    obstacle.rmdir()
    assert "queued  4 tasks in 4 arrays" in small.submit("launcher.tasks_per_gpu=2").output
    assert small.wait().code == 0
    assert small.results() == inline_results


def test_the_same_command_queues_nothing_when_all_is_in_the_queue_or_published(
    small: Sweep,
) -> None:
    assert small.submit().code == 0
    again = small.submit()
    assert again.code == 0
    assert "nothing to queue: every stage is published or in the queue" in again.output
    assert small.wait().code == 0
    finished = small.submit()
    assert finished.code == 0
    assert "nothing to queue: every cell is there" in finished.output
    assert all(len(small.attempts(key)) == 1 for key in small.plan.stages)


def test_no_job_starts_before_a_job_of_others_that_the_sweep_waits_for(
    small: Sweep, cluster: Any
) -> None:
    foreign = cluster.run("sbatch", "--parsable", "--hold", "--output=/dev/null", "--wrap=true")
    wait = f'launcher.dependency="afterok:{foreign}"'
    assert small.submit(wait).code == 0
    waiting = {"Dependency", "JobHeldUser"}
    cluster.wait_until(lambda: {job.reason for job in cluster.queue()} == waiting)
    cluster.run("scontrol", "release", foreign)
    assert small.wait().code == 0


def test_evaluation_of_off_runs_while_ptl_of_the_same_seed_goes_on(
    small: Sweep, cluster: Any
) -> None:
    small.submit("translator.num_steps=400", "real_count=2")
    (train,) = small.keys("train")
    off = [key for key in small.keys("evaluate") if small.plan.stages[key].parents == (train,)]
    (chain,) = small.keys("ptl")
    cluster.wait_until(lambda: all(small.plan.store.is_published(key) for key in off))
    assert small.plan.store.is_running(chain)
    assert small.wait().code == 0


def killed_and_submitted_again(sweep: Sweep, cluster: Any, job: str) -> None:
    """SLURM takes the job for cancelled; the same command goes on from the checkpoint."""
    cluster.run("scancel", "--signal=KILL", job)
    cluster.wait_until(lambda: job not in slurm.read_queue([job]))
    assert sweep.wait().code == 1
    assert "ended without a result (CANCELLED" in sweep.verb("status", sweep.plan.name).output
    assert sweep.submit().code == 0


def requeued(sweep: Sweep, cluster: Any, job: str) -> None:
    cluster.run("scontrol", "requeue", job)


def preempted(sweep: Sweep, cluster: Any, job: str) -> None:
    """A job of a higher partition takes the whole node for a moment."""
    blocker = cluster.run(
        "sbatch", "--parsable", "-p", "high", "--gpus-per-node=2", "-c1", "--mem=100M",
        "--output=/dev/null", "--wrap", "sleep 3",
    ).strip()  # fmt: skip
    cluster.wait_until(lambda: blocker not in slurm.read_queue([blocker]))


DISTURBANCES = [
    pytest.param(killed_and_submitted_again, (), "train", id="SIGKILL"),
    pytest.param(requeued, ("tracking=offline",), "ptl", id="scontrol requeue"),
    pytest.param(preempted, ("launcher.partition=low",), "train", id="preemption"),
    pytest.param(preempted, ("launcher.partition=low",), "ptl", id="preemption in PTL"),
]


@pytest.mark.parametrize(("disturb", "settings", "kind"), DISTURBANCES)
def test_a_sweep_that_was_disturbed_in_mid_training_ends_with_the_same_numbers(
    disturb: Callable[[Sweep, Any, str], None],
    settings: tuple[str, ...],
    kind: str,
    long: Sweep,
    cluster: Any,
    undisturbed: Any,
) -> None:
    kept = [a for a in long.arguments if a.split("=")[0] not in {s.split("=")[0] for s in settings}]
    long.arguments = (*kept, *settings)
    assert long.submit().code == 0
    key = long.keys(kind)[0]
    cluster.wait_until(lambda: long.checkpoint(key).exists())
    assert not long.plan.store.is_published(key)
    disturb(long, cluster, long.job_of(key))
    reduced = long.plan.folder / "reduced.json"
    cluster.wait_until(lambda: reduced.exists() and not slurm.read_queue(all_jobs(long)))
    assert long.wait().code == 0
    assert long.results() == undisturbed.file("results.csv")
    attempts = long.attempts(key)
    assert len(attempts) == 2
    if disturb is killed_and_submitted_again:
        assert attempts[0]["job"] != attempts[1]["job"]
    else:
        assert attempts[0]["job"] == attempts[1]["job"]
        assert [attempt["restart"] for attempt in attempts] == [0, 1]


def all_jobs(sweep: Sweep) -> list[str]:
    return [job.id for job in JobBook(sweep.plan.folder).jobs()]


def steps_beyond_a_warning(undisturbed: Any) -> int:
    """Training steps of 90 s, as fast as the machine was; a warning comes 30 to 60 s after a start.

    What runs beside the tests may have ended since, so that the job is faster.
    """
    (key,) = [k for k in undisturbed.plan.stages if k.startswith("train-") and "-n2-" in k]
    lines = (undisturbed.plan.store.path(key) / "history.jsonl").read_text().splitlines()
    speeds = [json.loads(line).get("train/images_per_second", 0.0) for line in lines]
    return int(90 * max(speeds) / 2)  # a batch of long_grid is two images


def test_a_time_limit_shorter_than_the_work_is_survived_by_going_back_into_the_queue(
    long: Sweep, cluster: Any, undisturbed: Any, tmp_path: Path
) -> None:
    kept = tuple(a for a in long.arguments if a.split("=")[0] not in
                 {"train.num_steps", "real_count", "synthetic"})  # fmt: skip
    limits = ("launcher.time_min=2", "launcher.signal_delay_s=60", "launcher.max_requeues=50")
    steps = steps_beyond_a_warning(undisturbed)
    for factor in (1, 3, 9):  # the machine may have become faster still: more work then
        work = (f"train.num_steps={factor * steps}", "real_count=2", "synthetic=off")
        long.arguments = (*kept, *work)
        assert long.submit(*limits).code == 0
        (key,) = long.keys("train")
        cluster.wait_until((long.plan.folder / "reduced.json").exists, timeout_s=600)
        assert {row["status"] for row in long.rows()} == {"ok"}
        assert long.wait().code == 0
        attempts = long.attempts(key)
        if len(attempts) > 1:
            break
    assert len(attempts) >= 2
    assert {attempt["job"] for attempt in attempts} == {attempts[0]["job"]}
    inline = [*kept, *work, "launcher=inline", f"sweep.root={tmp_path / 'inline'}"]
    subprocess.run(
        [sys.executable, "-m", "ptl_sweep", "-m", *inline], check=True, capture_output=True
    )
    (folder,) = (tmp_path / "inline" / "sweeps").iterdir()
    assert long.results() == (folder / "results.csv").read_bytes()


def test_a_failed_stage_stops_only_what_needs_it_and_the_same_command_queues_the_rest(
    small: Sweep, cluster: Any, inline_results: bytes
) -> None:
    (bad,) = [
        k for k, s in small.dry_plan().stages.items() if s.kind == "train" and "-n3-" in s.label
    ]
    obstacle = small.root / "store" / f"{bad}.wip" / "manifest.json"
    obstacle.mkdir(parents=True)  # a folder where the training wants to write a file
    assert small.submit().code == 0
    waited = small.wait()
    assert waited.code == 1
    assert "IsADirectoryError" in waited.output
    needs = {k for k, s in small.plan.stages.items() if "-n3-" in s.label}
    assert {k for k in small.plan.stages if not small.plan.store.is_published(k)} == needs
    by_status = {row["real_count"]: set() for row in small.rows()}
    for row in small.rows():
        by_status[row["real_count"]].add(row["status"])
        assert ("IsADirectoryError" in row["reason"]) == (row["real_count"] == "3")
    assert by_status == {"2": {"ok"}, "3": {"failed"}}
    ended = cluster.run("sacct", "-X", "-n", "-P", "-j", small.job_of(bad).split("_")[0],
                        "-o", "JobID,State")  # fmt: skip
    assert "FAILED" in ended
    assert small.wait().code == 1
    obstacle.rmdir()
    again = small.submit()
    assert "queued  4 tasks in 4 arrays" in again.output
    assert small.wait().code == 0
    assert small.results() == inline_results
    assert len(small.attempts(bad)) == 2
    assert sum(len(small.attempts(key)) for key in small.plan.stages) == len(small.plan.stages) + 1


def test_two_sweeps_that_share_stages_compute_each_of_them_once(small: Sweep, cluster: Any) -> None:
    small.submit("target=field", "sweep.name=first")
    first = small.plan
    second = small.submit("sweep.name=second")
    assert "reducer" in second.output
    for name in ("first", "second"):
        assert small.verb("wait", name).code == 0
    stages = set(first.stages) | set(small.plan.stages)
    assert len(stages) == 16  # four detectors, each on two targets and on validation
    assert all(len(small.attempts(key)) == 1 for key in stages)
    shared = set(first.stages) & set(small.plan.stages)
    assert shared == set(first.stages)
    own = {key for job in JobBook(small.plan.folder).jobs() for key in job.stages}
    assert not own & {key for key in shared if first.stages[key].kind != "evaluate"}


def test_a_stage_that_a_process_outside_slurm_computes_is_waited_for(
    small: Sweep, cluster: Any
) -> None:
    plan = small.dry_plan("real_count=2", "synthetic=off", "target=field")
    (key,) = [k for k, s in plan.stages.items() if s.kind == "train"]
    with plan.store.claim(key):
        small.submit("real_count=2", "synthetic=off", "target=field")
        log = small.plan.log_path(small.plan.task_of(key))
        cluster.wait_until(lambda: log.exists() and "is being computed by" in log.read_text())
    assert small.wait().code == 0
    assert len(small.attempts(key)) == 1


def test_cancel_ends_the_jobs_of_one_sweep_only(small: Sweep, cluster: Any) -> None:
    small.submit("real_count=2", "synthetic=off", "sweep.name=kept")
    small.submit("real_count=3", "synthetic=off", "sweep.name=ended")
    cancelled = small.verb("cancel", "ended")
    assert "cancelled" in cancelled.output
    assert small.verb("wait", "kept").code == 0
    assert small.verb("wait", "ended").code == 1
    (key,) = small.keys("train", "-n3-")
    assert (
        "failed"
        not in json.loads(small.verb("status", "ended", "--json").output)["stages"].values()
    )
    assert not small.plan.store.is_published(key)
    assert small.submit("real_count=3", "synthetic=off", "sweep.name=ended").code == 0
    assert small.verb("wait", "ended").code == 0


def test_jobs_that_can_never_start_are_named_and_replaced_by_the_same_command(
    small: Sweep, cluster: Any
) -> None:
    one = ("real_count=2", "synthetic=on", "target=field", "evaluate.iterations=all",
           "synthetic.num_iterations=2")  # fmt: skip
    assert small.submit(*one, "launcher.cpus=3").code == 0  # accepted, though a node has two
    stuck = small.wait()
    assert stuck.code == 1
    assert "cannot start: PartitionConfig" in stuck.output
    assert "no job of it can go on" in stuck.output
    fixed = small.submit(*one)
    assert "that could never have started" in fixed.output
    assert small.wait().code == 0


def test_what_sbatch_refuses_is_said_with_the_key_that_mends_it_and_nothing_stays_queued(
    small: Sweep, cluster: Any
) -> None:
    refused = small.submit("launcher.partition=moon")
    assert refused.code == 2
    assert "invalid partition" in refused.errors
    assert "launcher.partition" in refused.errors
    assert "debug, high, low" in refused.errors
    unknown = small.submit("launcher.additional_parameters={nodlist: gpu01}")
    assert unknown.code == 2
    assert "sbatch has no option --nodlist; did you mean nodelist?" in unknown.errors
    assert cluster.queue() == []


def test_jobs_of_a_submission_that_was_killed_are_replaced(small: Sweep, cluster: Any) -> None:
    plan = small.dry_plan()
    left = cluster.run(
        "sbatch", "--parsable", "--hold", f"--job-name={plan.name}:train", "--wrap", "true"
    ).strip()
    assert small.submit().code == 0
    assert left not in slurm.read_queue([left])
    assert small.wait().code == 0


def test_a_snapshot_keeps_the_code_that_was_submitted(small: Sweep, cluster: Any) -> None:
    one = ("real_count=2", "synthetic=off", "target=field")
    assert small.submit(*one, "launcher.code=snapshot").code == 0
    assert small.wait().code == 0
    (copy,) = (small.plan.folder / "code").iterdir()
    (key,) = small.keys("train")
    meta = small.plan.store.meta(key)
    assert (meta["code"], meta["code_changed"]) == (copy.name, False)
    log = small.plan.log_path(small.plan.task_of(key)).read_text()
    assert f"package {copy}" in log


def test_logs_finds_the_log_of_a_cell(small: Sweep, cluster: Any) -> None:
    small.submit("real_count=2", "synthetic=off", "target=field")
    assert small.wait().code == 0
    shown = small.verb("logs", "real_count=2", "target=field")
    assert "published evaluate-miniature-n2-s0-field" in shown.output
    assert "SLURM job" in shown.output


def test_without_accounting_a_killed_job_is_still_noticed_and_fixed(
    run: Any, cluster_without_accounting: Any, tmp_path: Path, long_grid: list[str]
) -> None:
    cluster = cluster_without_accounting
    arguments = without_launcher(long_grid)
    sweep = Sweep(run, tmp_path / "outputs", arguments)
    one = ("real_count=2", "synthetic=off")
    assert sweep.submit(*one).code == 0
    (key,) = sweep.keys("train")
    cluster.wait_until(lambda: sweep.checkpoint(key).exists())
    cluster.run("scancel", "--signal=KILL", sweep.job_of(key))
    assert sweep.wait().code == 1
    shown = sweep.verb("status", sweep.plan.name).output
    assert "ended without a result (no accounting says why)" in shown
    assert sweep.submit(*one).code == 0
    assert sweep.wait().code == 0
    assert len(sweep.attempts(key)) == 2
