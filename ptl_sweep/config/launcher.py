"""Typed config of where stages run and of what their SLURM jobs ask for; never part of a result."""

import math
import re
from dataclasses import dataclass, field, replace
from typing import Any

from omegaconf import MISSING

from ptl_sweep.config.checks import ConfigError, at_least, in_range, one_of, positive, usable
from ptl_sweep.config.choices import choice_names

TASK_KINDS = ("train", "ptl", "evaluate", "reduce")
MAX_SIGNAL_DELAY_S = 65535  # sbatch(1), --signal
LOOKS_EVERY_S = 30  # slurmctld looks at time limits so often, and warns a look too early
START_S = 30  # from the start of a job to the moment in which its Python answers to signals

KEYS_OF_OPTIONS = {  # options of sbatch that keys of the launcher stand for
    "partition": "launcher.partition",
    "account": "launcher.account",
    "qos": "launcher.qos",
    "constraint": "launcher.constraint",
    "time": "launcher.time_min",
    "gpus-per-node": "launcher.gpus",
    "cpus-per-task": "launcher.cpus",
    "mem": "launcher.mem_gb",
    "array": "launcher.array_parallelism",
    "signal": "launcher.signal_delay_s",
    "dependency": "launcher.dependency",
}
FIXED_OPTIONS = {  # the order of the tasks and what is known about their jobs hang on these
    "hold", "output", "error", "open-mode", "job-name", "requeue",
    "kill-on-invalid-dep",
}  # fmt: skip
COUNTS = {  # options that would give one task more than one process, node or GPU can use
    "ntasks", "ntasks-per-node", "ntasks-per-core", "ntasks-per-gpu", "ntasks-per-socket",
    "nodes", "gpus", "gpus-per-task", "gpus-per-socket",
}  # fmt: skip
_AFTER = r"after(ok|any|notok)?(:\d+(_\d+)?)+"
DEPENDENCY = re.compile(rf"{_AFTER}(,{_AFTER})*")
MAX_TASKS_PER_GPU = 64  # a CUDA context alone takes 0.5 GB
SIDE_BY_SIDE = (
    "a training is small and uses one process and one GPU; run more of them side by side: "
    "launcher=slurm runs up to launcher.array_parallelism jobs of one GPU each, launcher=local "
    "uses every GPU of the machine, and launcher.tasks_per_gpu puts several on one"
)


@dataclass(kw_only=True, slots=True)
class ResourcesConfig:
    """What SLURM gives to one task of a kind; read by slurm only."""

    time_min: int | str  # time limit: minutes, or a time such as 8h or 2:00:00; a task that reaches
    # it goes on in its next run
    gpus: int = 1  # 1 or 0: a task uses one
    cpus: int = 4  # cores; no result depends on them (train.num_threads)
    mem_gb: float = 32.0  # host memory, GB of 1024 MB

    @property
    def limit_min(self) -> int:
        """The time limit, once the launcher's config has read it."""
        return int(self.time_min)


@dataclass(kw_only=True, slots=True)
class LauncherConfig:
    """Where stages run. Every key but the first three is read by slurm only."""

    name: str = MISSING  # inline: this process; local: worker processes here; slurm: its jobs;
    # or the name of another file or folder in ptl_sweep/launchers
    num_workers: int | None = None  # most tasks side by side, read by local only; null: as many as
    # the GPUs take (GPUs x tasks_per_gpu), and 2 on a machine without a GPU
    tasks_per_gpu: int = 1  # most tasks on one GPU, for local and slurm: a tiny detector leaves a
    # big card idle; slurm gives a job of n tasks n times the cores and memory of one

    partition: str | None = None  # null: what the site has set
    account: str | None = None  # null: what the site has set
    qos: str | None = None  # null: what the site has set
    constraint: str | None = None  # features that the node must have; null: any
    dependency: str | None = None  # of other jobs than ours, before every job: afterok:123
    array_parallelism: int = 64  # jobs of one array that run at once
    additional_parameters: dict[str, Any] = field(default_factory=dict)  # of sbatch: {nodelist: x}

    # Of one task of each kind; values ours: nothing of the paper's size was timed yet.
    train: ResourcesConfig = field(default_factory=lambda: ResourcesConfig(time_min=480))
    ptl: ResourcesConfig = field(default_factory=lambda: ResourcesConfig(time_min=1440))
    evaluate: ResourcesConfig = field(default_factory=lambda: ResourcesConfig(time_min=120))
    reduce: ResourcesConfig = field(
        default_factory=lambda: ResourcesConfig(time_min=60, gpus=0, cpus=2, mem_gb=16.0)
    )
    time_min: int | str | None = None  # as above, for every kind; null: as each kind says
    gpus: int | None = None  # for every kind
    cpus: int | None = None  # for every kind
    mem_gb: float | None = None  # for every kind

    signal_delay_s: int = 120  # the warning (USR2) comes so long before the time limit: checkpoint
    max_requeues: int = 20  # how often a task that reaches its time limit goes back into the queue
    setup: list[str] = field(default_factory=list)  # shell lines before Python: module load ...
    python: str | None = None  # command that starts Python in a job; null: the one that submits
    code: str = "live"  # live: a job runs the package as it is then; snapshot: as it is now
    code_change: str = "warn"  # warn | refuse: a task that finds other code than was submitted
    dry_run: bool = False  # print arrays, what waits for what and GPU hours; submit nothing

    def __post_init__(self) -> None:
        """Reject values no run can use."""
        usable("launcher", self)
        one_of("launcher.name", self.name, choice_names("ptl_sweep.launchers"))
        at_least("launcher.num_workers", self.num_workers, 1, 1024)
        at_least("launcher.tasks_per_gpu", self.tasks_per_gpu, 1, MAX_TASKS_PER_GPU)
        at_least("launcher.array_parallelism", self.array_parallelism, 1)
        at_least("launcher.max_requeues", self.max_requeues, 0)
        in_range("launcher.signal_delay_s", self.signal_delay_s, 1, MAX_SIGNAL_DELAY_S)
        one_of("launcher.code", self.code, ("live", "snapshot"))
        one_of("launcher.code_change", self.code_change, ("warn", "refuse"))
        self._refuse_what_does_nothing()
        if not all(isinstance(line, str) for line in self.setup):
            raise ConfigError(f"launcher.setup must be a list of shell lines, got {self.setup}")
        if self.dependency is not None and not DEPENDENCY.fullmatch(self.dependency):
            raise ConfigError(
                "launcher.dependency must name jobs as afterok:123, afterany:123:124, after:123 or "
                f"several of them with commas between; got {self.dependency!r}"
            )
        _check_additional(self.additional_parameters)
        self._check_resources()

    def resources(self, kind: str) -> ResourcesConfig:
        """What one task of this kind (train, ptl, evaluate or reduce) asks for."""
        assert kind in TASK_KINDS
        own: ResourcesConfig = getattr(self, kind)
        names = ("time_min", "gpus", "cpus", "mem_gb")
        given = {name: getattr(self, name) for name in names if getattr(self, name) is not None}
        return replace(own, **given)

    def tasks_of_job(self, kind: str) -> int:
        """How many tasks of this kind one SLURM job runs side by side: one, without a GPU."""
        return self.tasks_per_gpu if self.resources(kind).gpus else 1

    def _refuse_what_does_nothing(self) -> None:
        if self.dry_run and self.name not in ("slurm", MISSING):
            raise ConfigError(
                f"launcher.dry_run shows what launcher=slurm would submit; launcher={self.name} "
                "submits nothing: `python -m ptl_sweep plan` shows what it would run"
            )
        if self.tasks_per_gpu > 1 and self.name == "inline":
            raise ConfigError(
                f"launcher.tasks_per_gpu={self.tasks_per_gpu}: launcher=inline runs one task after "
                "the other; launcher=local runs them side by side"
            )

    def _check_resources(self) -> None:
        parts = {f"launcher.{kind}": getattr(self, kind) for kind in TASK_KINDS}
        for key, part in {"launcher": self, **parts}.items():
            part.time_min = minutes(f"{key}.time_min", part.time_min)
            at_least(f"{key}.time_min", part.time_min, 1)
            at_least(f"{key}.gpus", part.gpus, 0)
            if part.gpus is not None and part.gpus > 1:
                raise ConfigError(f"{key}.gpus={part.gpus}: {SIDE_BY_SIDE}")
            at_least(f"{key}.cpus", part.cpus, 1)
            positive(f"{key}.mem_gb", part.mem_gb)
        for kind in TASK_KINDS:
            limit_s = 60 * self.resources(kind).limit_min
            most = limit_s - LOOKS_EVERY_S - START_S
            if self.name == "slurm" and self.signal_delay_s > most:
                key = "launcher" if self.time_min is not None else f"launcher.{kind}"
                raise ConfigError(
                    f"launcher.signal_delay_s={self.signal_delay_s} may be at most {most} with "
                    f"{key}.time_min={limit_s // 60} ({limit_s} s): SLURM warns up to "
                    f"{LOOKS_EVERY_S} s earlier, and a task that is still starting would die of "
                    "it; raise the time limit, or lower the delay"
                )


def minutes(key: str, value: int | str | None) -> int | None:
    """Read a time as people and sbatch write it, in minutes, rounded up. Raises: ConfigError."""
    if not isinstance(value, str):
        return value
    short = re.fullmatch(r"(\d{1,6}(?:\.\d{1,3})?) ?(m|min|h|d)?", value)
    if short:
        return math.ceil(float(short[1]) * {"h": 60, "d": 24 * 60}.get(short[2], 1))
    clock = re.fullmatch(r"(?:(\d{1,3})-)?(\d{1,4}):([0-5]\d):([0-5]\d)", value)
    if clock is None:
        raise ConfigError(
            f"{key} must be minutes, or a time such as 90m, 8h, 2d, 2:00:00 or 1-12:00:00; "
            f"got {value!r}"
        )
    days, hours, whole, seconds = (int(part or 0) for part in clock.groups())
    return (24 * days + hours) * 60 + whole + (seconds > 0)


def _check_additional(parameters: dict[str, Any]) -> None:
    """Only options that no other key sets, with values that fit on a line. Raises: ConfigError."""
    for name, value in parameters.items():
        key, option = f"launcher.additional_parameters.{name}", name.replace("_", "-")
        if option in KEYS_OF_OPTIONS:
            raise ConfigError(f"{key}: --{option} has a key of its own, {KEYS_OF_OPTIONS[option]}")
        if option in FIXED_OPTIONS:
            raise ConfigError(f"{key}: --{option} is set by ptl_sweep and cannot be changed")
        if not isinstance(value, str | int | float):
            raise ConfigError(f"{key} must be a text, a number, true or false; got {value!r}")
        if _count(option, value) > 1:
            raise ConfigError(f"{key}={value}: {SIDE_BY_SIDE}")


def _count(option: str, value: str | float) -> int:
    """How many processes, nodes or GPUs one job would get by an option; 1 where it gives none."""
    gpus = r"\bgpu(?::[\w.-]+)?:(\d+)\b" if option == "gres" else r"(\d+)$"
    counts = re.findall(gpus, str(value)) if option in {*COUNTS, "gres"} else ()
    return max(map(int, counts), default=1)
