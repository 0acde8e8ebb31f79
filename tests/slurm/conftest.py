"""A private one-node SLURM for the tests of this folder, which `make test-slurm` runs."""

import getpass
import os
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from datetime import datetime, timedelta
from pathlib import Path
from typing import NamedTuple

import pytest

from ptl_sweep.cli import waiting

SCRIPT = Path(__file__).with_name("one_node.sh")
FIXTURES = ("cluster", "cluster_without_accounting")
DAEMONS = ("munged", "slurmctld", "slurmd")
ACCOUNTING_DAEMONS = ("mariadbd", "slurmdbd")
# slurmd tells a job from its life before by the second in which it starts, and kills it ("Job
# credential revoked") when that is the same; hence SLURM's own two minutes.
RESTART = timedelta(seconds=2)
POLL_S = 0.3
COMMAND_TIMEOUT_S = 60
NUM_LOG_LINES = 30


class QueuedJob(NamedTuple):
    """A line of squeue; an array is one line a task."""

    job_id: str  # 12, or 12_3 for a task of an array
    state: str  # PENDING, RUNNING, COMPLETING ...
    reason: str  # why it pends: BeginTime, Dependency, JobHeldUser, Resources ...


class Cluster(NamedTuple):
    """A SLURM that is up: partitions debug (the default), low and high, 2 CPUs, 2 GPUs."""

    conf: Path

    def environment(self) -> dict[str, str]:
        """This process's environment, in which SLURM's commands talk to this cluster."""
        return os.environ | {"SLURM_CONF": str(self.conf)}

    def run(self, *command: str) -> str:
        """Standard output without the last line end; CalledProcessError with both streams."""
        try:
            return self._run(*command, check=True).stdout.strip()
        except subprocess.CalledProcessError as error:
            error.add_note(f"{error.stdout}{error.stderr}")
            raise

    def queue(self) -> list[QueuedJob]:
        """Every job that has not ended."""
        return [QueuedJob(*line.split("|")) for line in self._squeue("--format=%i|%T|%r")]

    def nudge(self) -> None:
        """Let requeued jobs start in two seconds instead of two minutes."""
        latest = datetime.now() + 1.5 * RESTART
        fields = "--Format=JobArrayID:|,Reason:|,EligibleTime:|"
        for line in self._squeue("--states=PENDING", fields):
            job_id, reason, eligible = line.split("|")[:3]
            if reason == "BeginTime" and datetime.fromisoformat(eligible) > latest:
                start = f"StartTime=now+{RESTART.seconds}"
                # Not checked: it may have started or ended since.
                self._run("scontrol", "update", f"jobid={job_id}", start)

    def wait_until(
        self, condition: Callable[[], bool], *, nudging: bool = True, timeout_s: float = 180
    ) -> None:
        """Until the condition holds, nudging requeued jobs meanwhile; the test fails at timeout."""
        deadline = time.monotonic() + timeout_s
        while not condition():
            if time.monotonic() > deadline:
                pytest.fail(f"{condition} does not hold after {timeout_s} s\n{self._report()}")
            if nudging:
                self.nudge()
            time.sleep(POLL_S)

    def cancel_all(self) -> None:
        """No job is left, and none is still ending."""

        def is_empty() -> bool:
            # Not checked, and again each time: a job may end, or be requeued, meanwhile.
            self._run("scancel", "--quiet", f"--user={getpass.getuser()}")
            return not self.queue()

        self.wait_until(is_empty, nudging=False, timeout_s=60)

    def _run(self, *command: str, check: bool = False) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            command,
            env=self.environment(),
            check=check,
            capture_output=True,
            text=True,
            timeout=COMMAND_TIMEOUT_S,
        )

    def _squeue(self, *options: str) -> list[str]:
        return self.run("squeue", "--noheader", "--array", *options).splitlines()

    def _report(self) -> str:
        parts = ["queue:", *(" ".join(job) for job in self.queue())]
        for daemon in ("slurmctld", "slurmd"):
            path = self.conf.parent / "log" / f"{daemon}.log"
            parts += [f"end of {path}:", *path.read_text().splitlines()[-NUM_LOG_LINES:]]
        return "\n".join(parts)


StartCluster = Callable[..., AbstractContextManager[Cluster]]


def _require(*programs: str) -> None:
    path = f"{os.environ['PATH']}:/usr/sbin:/sbin"
    missing = [program for program in programs if shutil.which(program, path=path) is None]
    if not missing:
        return
    reason = f"no {', '.join(missing)}: apt-get install slurm-wlm munge slurmdbd mariadb-server"
    if os.environ.get("PTL_REQUIRE_SLURM") == "1":
        pytest.fail(reason)
    pytest.skip(reason)


@pytest.fixture(scope="session")
def start_cluster(tmp_path_factory: pytest.TempPathFactory) -> StartCluster:
    """For a test that needs a cluster of its own: `with start_cluster() as mine`."""

    @contextmanager
    def start(*options: str) -> Iterator[Cluster]:
        _require("sbatch", *DAEMONS, *(ACCOUNTING_DAEMONS if "--accounting" in options else ()))
        folder = tmp_path_factory.mktemp("slurm")  # short, as the paths of sockets must be
        up = [str(SCRIPT), "up", str(folder), *options]
        try:
            done = subprocess.run(up, check=False, capture_output=True, text=True)
            if done.returncode != 0:
                pytest.fail(done.stdout + done.stderr)
            yield Cluster(folder / "slurm.conf")
        finally:
            subprocess.run((SCRIPT, "down", folder), check=False)

    return start


@pytest.fixture(scope="session")
def cluster(start_cluster: StartCluster) -> Iterator[Cluster]:
    """A cluster that keeps accounts: sacct knows jobs that have ended, an unknown account fails."""
    with start_cluster("--accounting") as running:
        yield running


@pytest.fixture(scope="session")
def cluster_without_accounting(start_cluster: StartCluster) -> Iterator[Cluster]:
    """A cluster without slurmdbd: sacct fails, squeue forgets a job minutes after its end."""
    with start_cluster() as running:
        yield running


@pytest.fixture(autouse=True)
def _look_often(monkeypatch: pytest.MonkeyPatch) -> None:
    """`wait` asks this SLURM more often than it would ask one that others use."""
    monkeypatch.setattr(waiting, "ASK_S", 2.0)


@pytest.fixture(autouse=True)
def _no_job_is_left(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> Iterator[None]:
    """SLURM_CONF names the test's cluster while it runs; afterwards its jobs are gone."""
    for name in FIXTURES:
        if name in request.fixturenames:
            monkeypatch.setenv("SLURM_CONF", str(request.getfixturevalue(name).conf))
    yield
    for name in FIXTURES:
        if name in request.fixturenames:
            request.getfixturevalue(name).cancel_all()
