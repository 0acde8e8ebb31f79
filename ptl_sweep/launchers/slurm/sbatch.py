"""How an array is described to sbatch, in whose words it refuses, and which key fixes that."""

import math
import os
import shlex
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from ptl_sweep.config.schema import THREAD_VARIABLES, ConfigError, LauncherConfig
from ptl_sweep.launchers.slurm import commands
from ptl_sweep.launchers.slurm.commands import SlurmError
from ptl_sweep.pipeline.plan import Plan
from ptl_sweep.terminal import close_match

# Defaults that a site or a user sets in the environment; a value in launcher.* outranks them.
SITE_VARIABLES = {
    "partition": "SBATCH_PARTITION",
    "account": "SBATCH_ACCOUNT",
    "qos": "SBATCH_QOS",
    "constraint": "SBATCH_CONSTRAINT",
}


def sbatch_parameters(
    plan: Plan,
    config: LauncherConfig,
    kind: str,
    dependency: str | None = None,
    python_path: Path | None = None,
    side_by_side: int = 1,
) -> dict[str, Any]:
    """What submitit is told about an array whose jobs run so many tasks of this kind."""
    resources = config.resources(kind)
    site = {name: getattr(config, name) for name in SITE_VARIABLES}
    optional = {**site, "dependency": dependency or None, "gpus_per_node": resources.gpus or None}
    own = {"hold": True, "requeue": True, "kill-on-invalid-dep": "yes"}
    extra = {name.replace("_", "-"): value for name, value in config.additional_parameters.items()}
    return {
        **{name: value for name, value in optional.items() if value is not None},
        "job_name": job_name(plan, kind),
        "time": resources.limit_min,
        "mem": f"{math.ceil(1024 * resources.mem_gb * side_by_side)}M",
        "cpus_per_task": resources.cpus * side_by_side,
        "array_parallelism": config.array_parallelism,
        "signal_delay_s": config.signal_delay_s,
        "stderr_to_stdout": True,
        "setup": [*config.setup, *_environment_lines(plan, python_path)],
        "additional_parameters": {**own, **extra},
    }


def job_name(plan: Plan, kind: str) -> str:
    """What squeue shows."""
    return f"{plan.name}:{kind}"


def _environment_lines(plan: Plan, python_path: Path | None) -> list[str]:
    """What a worker reads before Python starts."""
    num_threads = plan.num_threads
    lines = [f"export {name}={num_threads}" for name in THREAD_VARIABLES]
    lines.append(
        "export SRUN_CPUS_PER_TASK=$SLURM_CPUS_PER_TASK"
    )  # 22.05: srun inherits it no more
    if python_path is not None:
        path = shlex.quote(str(python_path.resolve()))
        lines.append(f"export PYTHONPATH={path}${{PYTHONPATH:+:$PYTHONPATH}}")
        lines.append("export PYTHONSAFEPATH=1")  # else a checkout as working folder comes first
    return lines


@contextmanager
def submission_environment(config: LauncherConfig) -> Iterator[None]:
    """Without the variables of a job we may run in, but with those that a site sets for sbatch."""
    import submitit

    wanted = {"SLURM_CONF"} | {
        variable for name, variable in SITE_VARIABLES.items() if getattr(config, name) is None
    }
    kept = {name: os.environ[name] for name in wanted if name in os.environ}
    with submitit.helpers.clean_env():
        os.environ |= kept
        yield


def check_additional_parameters(config: LauncherConfig) -> None:
    """Every name is an option of this cluster's sbatch. Raises: ConfigError, SlurmError."""
    valid = commands.sbatch_options()
    for name in config.additional_parameters:
        option = name.replace("_", "-")
        if option not in valid:
            close = close_match(option, valid)
            hint = f"; did you mean {close}?" if close else ""
            raise ConfigError(
                f"launcher.additional_parameters.{name}: sbatch has no option --{option}{hint}\n"
                f"it has: {', '.join(sorted(valid))}"
            )


def refusal(said: str) -> str:
    """The words of sbatch, and the key that fixes them."""
    words = [line.partition("error: ")[2] for line in said.splitlines() if "error: " in line]
    text = "; ".join(words) or said.strip()
    hints = {
        "partition": "launcher.partition",
        "account": "launcher.account",
        "qos": "launcher.qos",
        "feature": "launcher.constraint",
        "node configuration": "launcher.{train,ptl,evaluate,reduce}.{gpus,cpus,mem_gb}",
        "dependency": "launcher.dependency",
        "time limit": "launcher.{train,ptl,evaluate,reduce}.time_min",
    }
    keys = [key for word, key in hints.items() if word in text.lower()]
    lines = [f"sbatch refused: {text}"]
    if keys:
        lines.append(f"set {' or '.join(keys)}; nothing was queued")
    if "launcher.partition" in keys:
        with suppress(SlurmError):
            there = sorted(set(commands.ask("sinfo", "-h", "-o", "%R").split()))
            lines.append(f"partitions here: {', '.join(there)}")
    return "\n".join(lines)
