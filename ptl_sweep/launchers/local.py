"""launcher=local: worker processes side by side on this machine, with a progress table."""

import contextlib
import os
import signal
import subprocess
import time
from dataclasses import dataclass, field

from rich.console import Console, Group
from rich.live import Live

from ptl_sweep.config.schema import LauncherConfig
from ptl_sweep.launchers.base import RETRY_CLAIMED_S, Launcher
from ptl_sweep.launchers.slurm import commands
from ptl_sweep.pipeline import status, status_text
from ptl_sweep.pipeline.graph import Task
from ptl_sweep.pipeline.plan import Plan
from ptl_sweep.worker.cards import card_environment, freest_card, visible_cards
from ptl_sweep.worker.running import ExitCode, worker_environment

POLL_S = 0.2
WORKERS_WITHOUT_GPU = 2
STOP_PATIENCE_S = 60.0  # a worker writes its checkpoint within this time


class SweepInterrupted(KeyboardInterrupt):
    """Ctrl-C, SIGTERM or a closed terminal; every worker has written its checkpoint."""


@dataclass(slots=True)
class _Running:
    task: Task
    process: subprocess.Popen[bytes]
    card: str | None = None  # the GPU that it sees alone; None: a machine without
    started: float = field(default_factory=time.monotonic)


class LocalLauncher(Launcher):
    """Runs ready tasks side by side, spread over the GPUs, and shows how far they are."""

    def __init__(self, plan: Plan, config: LauncherConfig, console: Console) -> None:
        super().__init__(plan, config, console)
        self.waiting = self.missing_tasks()
        self.running: list[_Running] = []
        self.not_before: dict[str, float] = {}  # task -> monotonic time of its next try
        self.started = time.monotonic()
        self.cards = visible_cards() if self.waiting else []

    @property
    def most_at_once(self) -> int:
        """How many tasks may run side by side: what was asked for, and what the GPUs take."""
        if not self.cards:
            return self.config.num_workers or WORKERS_WITHOUT_GPU
        places = len(self.cards) * self.config.tasks_per_gpu
        return min(self.config.num_workers or places, places)

    def run(self) -> bool:
        """Until nothing runs and nothing can start. Raises: SweepInterrupted when told to stop."""
        if not self.waiting:
            return True
        self._say_where()
        if commands.is_there():
            self.console.print(
                "this machine submits to SLURM: launcher=slurm queues the sweep there"
            )
        before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGHUP)}
        for number, handler in before.items():
            if handler is not signal.SIG_IGN:  # as under nohup, which asks to go on
                signal.signal(number, signal.default_int_handler)  # as Ctrl-C
        try:
            self._run()
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)
        return True

    def _say_where(self) -> None:
        """How the tasks are spread over the GPUs, or what the want of one costs."""
        if not self.cards:
            self.check_without_gpu()
            return
        cards, each = len(self.cards), self.config.tasks_per_gpu
        text = f"{cards} GPU{'s' * (cards != 1)}: up to {self.most_at_once} tasks at once"
        wanted = self.config.num_workers
        if wanted is None or wanted > self.most_at_once:
            text += f", launcher.tasks_per_gpu={each} on one"
        if wanted is not None and wanted > self.most_at_once:
            needed = -(-wanted // cards)
            text += f"; launcher.num_workers={wanted} needs launcher.tasks_per_gpu={needed}"
        self.console.print(text, highlight=False, soft_wrap=True)

    def _run(self) -> None:
        with Live(
            console=self.console,
            auto_refresh=False,
            transient=True,
            redirect_stdout=False,
            redirect_stderr=False,
        ) as live:
            try:
                self._loop(live)
            except KeyboardInterrupt as error:
                self._stop_workers()
                raise SweepInterrupted from error

    def _loop(self, live: Live) -> None:
        drawn = 0.0
        while True:
            self._start_ready()
            if not self.running and not self._is_held_up():
                return
            time.sleep(POLL_S)
            for ended in [r for r in self.running if r.process.poll() is not None]:
                self.running.remove(ended)
                self._settle(ended)
            if time.monotonic() - drawn > 1 and self.console.is_terminal:
                drawn = time.monotonic()
                live.update(self._view(), refresh=True)

    def _start_ready(self) -> None:
        for task in list(self.waiting):
            if len(self.running) >= self.most_at_once:
                return
            if self._is_ready(task):
                self.waiting.remove(task)
                card = self._next_card()
                self.running.append(_Running(task, self._spawn(task, card), card))

    def _next_card(self) -> str | None:
        taken = [running.card for running in self.running]
        return freest_card(self.cards, taken, self.config.tasks_per_gpu)

    def _spawn(self, task: Task, card: str | None) -> subprocess.Popen[bytes]:
        """A session of its own, so that Ctrl-C reaches the launcher alone."""
        path = self.plan.log_path(task)
        path.parent.mkdir(parents=True, exist_ok=True)
        num_threads = self.plan.stages[task.stages[0]].num_threads
        with path.open("ab") as file:
            return subprocess.Popen(
                self.command(task),
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=subprocess.STDOUT,
                env=card_environment(worker_environment(num_threads), card),
                start_new_session=True,
            )

    def _is_ready(self, task: Task) -> bool:
        return time.monotonic() >= self.not_before.get(task.name, 0) and all(
            self.plan.store.is_published(parent) for parent in self.plan.parents_of(task)
        )

    def _is_held_up(self) -> bool:
        """Whether a waiting task may still start: another sweep is computing what it needs."""
        return any(name in self.not_before for name in (task.name for task in self.waiting))

    def _settle(self, ended: _Running) -> None:
        code = ended.process.returncode
        seconds = time.monotonic() - ended.started
        if code == ExitCode.CLAIMED:
            self.not_before[ended.task.name] = time.monotonic() + RETRY_CLAIMED_S
            self.waiting.append(ended.task)
            return
        self.not_before.pop(ended.task.name, None)
        if code not in (ExitCode.OK, ExitCode.INTERRUPTED):
            self._record_crash(ended)
        if not self.console.is_terminal or code != ExitCode.OK:
            outcome = {0: "done", int(ExitCode.INTERRUPTED): "stopped"}.get(code, "FAILED")
            done, total = self._num_published(), len(self.plan.stages)
            self.console.print(
                f"{outcome:7} {ended.task.name}  {seconds:.0f} s  {done}/{total} stages",
                highlight=False,
                soft_wrap=True,
            )

    def _record_crash(self, ended: _Running) -> None:
        """For a worker that could not say why it ended: killed, out of memory, or never begun."""
        code, store = ended.process.returncode, self.plan.store
        key = next((k for k in ended.task.stages if not store.is_published(k)), None)
        if key is None or store.failure(key) is not None:
            return
        name = f"signal {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"
        hint = "its log may say why"
        if code == -signal.SIGKILL:
            hint = (
                "mostly the kernel's answer to a full memory: fewer launcher.num_workers or a "
                "smaller train.batch_size help"
            )
        error = RuntimeError(f"the worker process ended with {name}; {hint}")
        store.record_failure(key, error, log_path=self.plan.log_path(ended.task))

    def _num_published(self) -> int:
        return sum(self.plan.store.is_published(key) for key in self.plan.stages)

    def _view(self) -> Group:
        return status_text.progress_view(
            self.plan,
            status.stage_states(self.plan),
            elapsed_s=time.monotonic() - self.started,
            num_workers=self.most_at_once,
        )

    def _stop_workers(self) -> None:
        for running in self.running:
            with contextlib.suppress(ProcessLookupError):
                running.process.terminate()
        with contextlib.suppress(OSError):  # a terminal that was closed
            self.console.print("stopping: workers write their checkpoints", highlight=False)
        deadline = time.monotonic() + STOP_PATIENCE_S
        for running in self.running:
            with contextlib.suppress(subprocess.TimeoutExpired):
                running.process.wait(max(0.1, deadline - time.monotonic()))
            if running.process.poll() is None:
                os.killpg(running.process.pid, signal.SIGKILL)
                running.process.wait()
