"""The private cluster does what the tests of the SLURM launcher rely on."""

import os
import subprocess
from pathlib import Path

import pytest

pytestmark = pytest.mark.slurm

SCRIPT = Path(__file__).with_name("one_node.sh")
# A shell line that ends once the file beside the job's output exists.
UNTIL_TOLD = 'while [ ! -e "{told}" ]; do sleep 0.1; done'


def submit(cluster, script: str, *options: str) -> str:
    """The id of a batch job that runs the shell lines and keeps no output."""
    return cluster.run(
        "sbatch", "--parsable", "--output=/dev/null", *options, "--wrap", f"set -e\n{script}"
    )


def states(cluster) -> dict[str, str]:
    return {job.job_id: job.state for job in cluster.queue()}


def lines(path: Path) -> list[str]:
    return path.read_text().splitlines() if path.exists() else []


def is_alive(pid: int) -> bool:
    """Whether it runs; a zombie does not."""
    status = Path(f"/proc/{pid}/stat")
    return status.exists() and status.read_text().rpartition(")")[2].split()[0] != "Z"


def test_a_job_with_one_gpu_runs_and_is_told_of_one(cluster, tmp_path: Path) -> None:
    submit(cluster, f"echo $SLURM_GPUS_ON_NODE > {tmp_path}/gpus", "--gpus-per-node=1")
    cluster.wait_until(lambda: lines(tmp_path / "gpus") == ["1"])


def test_two_jobs_with_one_gpu_each_run_side_by_side(cluster, tmp_path: Path) -> None:
    wait = UNTIL_TOLD.format(told=tmp_path / "told")
    jobs = [submit(cluster, wait, "--gpus-per-node=1") for _ in range(2)]
    cluster.wait_until(lambda: states(cluster) == dict.fromkeys(jobs, "RUNNING"))
    (tmp_path / "told").touch()
    cluster.wait_until(lambda: not cluster.queue())


def test_a_job_waits_for_a_gpu_though_a_cpu_is_free(cluster, tmp_path: Path) -> None:
    wait = UNTIL_TOLD.format(told=tmp_path / "told")
    both = submit(cluster, wait, "--gpus-per-node=2")
    cluster.wait_until(lambda: states(cluster) == {both: "RUNNING"})
    third = submit(cluster, f"touch {tmp_path}/third", "--gpus-per-node=1")
    submit(cluster, f"touch {tmp_path}/without", "--time=1")
    cluster.wait_until((tmp_path / "without").exists)
    assert states(cluster)[third] == "PENDING"
    (tmp_path / "told").touch()
    cluster.wait_until((tmp_path / "third").exists)


def preempt(cluster, folder: Path, command: str, signal: str) -> list[str]:
    """What a low job that runs the command, and the high job that came later, wrote into journal.

    The low job holds the only node until the high one takes it, and ends in its second life.
    """
    journal = folder / "journal"
    whole_node = ("--cpus-per-task=2", "--time=60")
    low = submit(
        cluster, command, *whole_node, "--partition=low", "--requeue", f"--signal={signal}"
    )
    cluster.wait_until(lambda: lines(journal) == ["start 0"])
    submit(cluster, f"echo high >> {journal}", *whole_node, "--partition=high")
    cluster.wait_until(lambda: lines(journal)[-1] == "start 1")
    assert states(cluster) == {low: "RUNNING"}
    (folder / "told").touch()
    cluster.wait_until(lambda: not cluster.queue())
    return lines(journal)


def write_low_job(folder: Path, on_signal: str) -> Path:
    """A script that runs until told, and on USR2 writes so and does what is asked."""
    path = folder / "low.sh"
    path.write_text(f"""
        cd {folder}
        trap 'echo USR2 >> journal; {on_signal}' USR2
        echo start ${{SLURM_RESTART_COUNT:-0}} >> journal
        {UNTIL_TOLD.format(told="told")}
        echo end >> journal
    """)
    return path


def test_preemption_signals_the_batch_script_and_requeues_the_job(cluster, tmp_path: Path) -> None:
    job = write_low_job(tmp_path, on_signal=":")
    journal = preempt(cluster, tmp_path, f". {job}", signal="B:USR2@10")
    assert journal == ["start 0", "USR2", "high", "start 1", "end"]


def test_a_preempted_step_is_signalled_and_may_requeue_its_own_job(cluster, tmp_path: Path) -> None:
    job = write_low_job(tmp_path, on_signal="scontrol requeue $SLURM_JOB_ID")
    journal = preempt(cluster, tmp_path, f"srun bash {job}", signal="USR2@10")
    assert journal == ["start 0", "USR2", "high", "start 1", "end"]


def test_a_held_child_runs_after_the_parent_that_it_was_given(cluster, tmp_path: Path) -> None:
    journal = tmp_path / "journal"
    child = submit(cluster, f"echo child >> {journal}", "--hold")
    parent = submit(cluster, f"echo parent >> {journal}", "--hold")
    assert {job.reason for job in cluster.queue()} == {"JobHeldUser"}
    cluster.run("scontrol", "update", f"jobid={child}", f"dependency=afterok:{parent}")
    cluster.run("scontrol", "release", child)
    cluster.wait_until(lambda: (child, "PENDING", "Dependency") in cluster.queue())
    cluster.run("scontrol", "release", parent)
    cluster.wait_until(lambda: not cluster.queue())
    assert lines(journal) == ["parent", "child"]


def test_cancel_all_leaves_no_job_of_any_state(cluster, tmp_path: Path) -> None:
    submit(cluster, "sleep 1000", "--array=0-3")
    submit(cluster, "sleep 1000", "--hold")
    requeued = submit(cluster, "sleep 1000", "--requeue", "--partition=high")
    cluster.wait_until(lambda: states(cluster)[requeued] == "RUNNING")
    cluster.run("scontrol", "requeue", requeued)
    cluster.cancel_all()
    assert cluster.queue() == []


def test_accounting_knows_how_a_job_ended(cluster) -> None:
    job = submit(cluster, "exit 3")
    cluster.wait_until(lambda: not cluster.queue())
    state = ("sacct", "--noheader", "--parsable2", "--allocations", "--format=State,ExitCode")
    cluster.wait_until(lambda: cluster.run(*state, f"--jobs={job}") == "FAILED|3:0")


def test_accounting_refuses_an_account_that_nobody_opened(cluster) -> None:
    with pytest.raises(subprocess.CalledProcessError) as error:
        submit(cluster, "true", "--account=nobody")
    assert "Invalid account" in error.value.stderr


def test_without_accounting_sacct_fails(cluster_without_accounting) -> None:
    with pytest.raises(subprocess.CalledProcessError) as error:
        cluster_without_accounting.run("sacct")
    assert "accounting storage is disabled" in error.value.stderr


def test_slurm_conf_names_the_cluster_of_the_test(cluster_without_accounting) -> None:
    assert os.environ["SLURM_CONF"] == str(cluster_without_accounting.conf)


def test_two_clusters_are_up_at_once_and_know_nothing_of_each_other(
    cluster, cluster_without_accounting
) -> None:
    held = submit(cluster, "true", "--hold")
    assert states(cluster) == {held: "PENDING"}
    assert states(cluster_without_accounting) == {}


def test_down_ends_the_processes_of_a_running_job(start_cluster, tmp_path: Path) -> None:
    file = tmp_path / "pid"
    with start_cluster() as short_lived:
        submit(short_lived, f"trap '' TERM; sleep 1000 & echo $! > {file}; wait")
        short_lived.wait_until(lambda: lines(file) != [])
        (pid,) = lines(file)
        assert is_alive(int(pid))
    assert not is_alive(int(pid))


def test_up_wants_a_new_folder(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    up = subprocess.run([SCRIPT, "up", tmp_path], check=False, capture_output=True, text=True)
    assert (up.returncode, up.stdout) == (1, "")
    assert up.stderr == f"one_node.sh: {tmp_path} is not empty: choose a new DIR\n"
