"""What sbatch is told: every key of the launcher, and no variable of a job that we run in."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest
import submitit

from ptl_sweep.config.schema import LauncherConfig
from ptl_sweep.launchers.slurm.sbatch import (
    refusal,
    sbatch_parameters,
    submission_environment,
)
from ptl_sweep.pipeline.plan import Plan

MakePlan = Callable[..., Plan]


@pytest.fixture
def plan(make_plan: MakePlan) -> Plan:
    return make_plan("real_count=2", "target=field", "train.num_threads=3")


def script(plan: Plan, config: LauncherConfig, kind: str, **more: object) -> str:
    """The batch script that submitit makes of our parameters."""
    from submitit.slurm.slurm import _make_sbatch_string

    parameters = sbatch_parameters(plan, config, kind, **more)  # type: ignore[arg-type]
    return str(_make_sbatch_string(command="python", folder=plan.folder, **parameters))


def test_every_key_reaches_the_batch_script(plan: Plan) -> None:
    config = LauncherConfig(
        name="slurm",
        partition="gpu",
        account="lab",
        qos="long",
        constraint="a100",
        setup=["module load cuda"],
        signal_delay_s=90,
        additional_parameters={"mail_type": "FAIL", "nodelist": "gpu07"},
    )
    config.ptl.time_min, config.ptl.cpus, config.ptl.gpus, config.ptl.mem_gb = 77, 5, 1, 1.5
    lines = script(plan, config, "ptl").splitlines()
    for option in (
        "partition=gpu", "account=lab", "qos=long", "constraint=a100", "signal=USR2@90",
        "mail-type=FAIL", "nodelist=gpu07", "time=77", "cpus-per-task=5", "gpus-per-node=1",
        "mem=1536M", "hold", "requeue", "kill-on-invalid-dep=yes",
        f"job-name={plan.name}:ptl",
    ):  # fmt: skip
        assert f"#SBATCH --{option}" in lines
    assert lines.index("module load cuda") < lines.index("export OMP_NUM_THREADS=3")
    assert "export SRUN_CPUS_PER_TASK=$SLURM_CPUS_PER_TASK" in lines


def test_a_job_of_several_tasks_has_cores_and_memory_for_each_and_one_gpu(plan: Plan) -> None:
    config = LauncherConfig(name="slurm", tasks_per_gpu=8, cpus=3, mem_gb=1.5)
    lines = script(plan, config, "train", side_by_side=4).splitlines()
    for option in ("cpus-per-task=12", "mem=6144M", "gpus-per-node=1"):
        assert f"#SBATCH --{option}" in lines


def test_what_is_not_set_is_left_to_the_site(plan: Plan) -> None:
    text = script(plan, LauncherConfig(name="slurm"), "reduce")
    for option in ("partition", "account", "qos", "constraint", "gpus-per-node", "dependency"):
        assert f"--{option}" not in text


def test_a_dependency_and_a_snapshot_are_passed_on(plan: Plan, tmp_path: Path) -> None:
    text = script(
        plan, LauncherConfig(name="slurm"), "train", dependency="afterok:7", python_path=tmp_path
    )
    assert "#SBATCH --dependency=afterok:7" in text
    assert f"export PYTHONPATH={tmp_path}${{PYTHONPATH:+:$PYTHONPATH}}" in text
    assert "export PYTHONSAFEPATH=1" in text


def test_submission_hides_the_job_that_it_runs_in_but_keeps_the_cluster_and_the_sites_defaults(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    outside = {"SLURM_CONF": "/etc/x.conf", "SLURM_JOB_ID": "7", "SLURM_MEM_PER_NODE": "4",
               "SBATCH_ACCOUNT": "lab", "SBATCH_PARTITION": "old"}  # fmt: skip
    for name, value in outside.items():
        monkeypatch.setenv(name, value)
    with submission_environment(LauncherConfig(name="slurm", partition="gpu")):
        inside = {name: os.environ.get(name) for name in outside}
    assert inside == {
        "SLURM_CONF": "/etc/x.conf",
        "SLURM_JOB_ID": None,
        "SLURM_MEM_PER_NODE": None,
        "SBATCH_ACCOUNT": "lab",
        "SBATCH_PARTITION": None,  # launcher.partition outranks it
    }
    assert {name: os.environ[name] for name in outside} == outside


def test_a_refusal_names_the_key_that_mends_it() -> None:
    said = "sbatch: error: invalid account or account/partition combination specified"
    assert "launcher.account" in refusal(said)
    time = "sbatch: error: Batch job submission failed: Requested time limit is invalid"
    assert "time_min" in refusal(time)
    assert refusal("something else") == "sbatch refused: something else"


def test_submitit_knows_every_parameter_that_we_pass(plan: Plan) -> None:
    parameters = sbatch_parameters(plan, LauncherConfig(name="slurm", partition="x"), "train")
    assert set(parameters) <= submitit.SlurmExecutor._valid_parameters()
