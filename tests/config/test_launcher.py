"""The launcher's config: what a task asks SLURM for, and values that no job can have."""

import dataclasses
from typing import Any

import pytest
import yaml
from omegaconf import OmegaConf

from ptl_sweep.config import checks
from ptl_sweep.config.launcher import FIXED_OPTIONS, KEYS_OF_OPTIONS, TASK_KINDS
from ptl_sweep.config.schema import ConfigError, LauncherConfig, ResourcesConfig, conf_dir

SLURM_YAML = conf_dir() / "launcher" / "slurm.yaml"


def task(**values: Any) -> ResourcesConfig:
    return ResourcesConfig(**{"time_min": 60, **values})


def test_both_modules_raise_the_same_error() -> None:
    assert checks.ConfigError is ConfigError


def test_the_slurm_file_writes_out_every_key_that_slurm_reads_with_its_default() -> None:
    written = yaml.safe_load(SLURM_YAML.read_text(encoding="utf-8"))
    defaults = dataclasses.asdict(LauncherConfig(name="slurm"))
    assert written == {k: v for k, v in defaults.items() if k != "num_workers"}


@pytest.mark.parametrize("kind", TASK_KINDS)
def test_a_task_gets_what_its_kind_says(kind: str) -> None:
    own = task(gpus=0, cpus=5, mem_gb=7.5)
    config = LauncherConfig(name="slurm", **{kind: own})
    assert config.resources(kind) == own
    others = {k: LauncherConfig(name="slurm").resources(k) for k in TASK_KINDS if k != kind}
    assert {k: config.resources(k) for k in others} == others


@pytest.mark.parametrize(
    ("name", "value"), [("time_min", 7), ("gpus", 0), ("gpus", 1), ("cpus", 9), ("mem_gb", 1.5)]
)
def test_a_value_for_all_kinds_replaces_that_of_each_and_nothing_else(
    name: str, value: float
) -> None:
    config = LauncherConfig(name="slurm", **{name: value})
    for kind in TASK_KINDS:
        expected = dataclasses.replace(getattr(config, kind), **{name: value})
        assert config.resources(kind) == expected


IMPOSSIBLE: list[tuple[dict[str, Any], str]] = [
    ({"name": "cloud"}, "launcher.name must be one of inline, local, slurm; got 'cloud'"),
    ({"num_workers": 0}, "launcher.num_workers must be at least 1"),
    ({"array_parallelism": 0}, "launcher.array_parallelism must be at least 1"),
    ({"tasks_per_gpu": 0}, "launcher.tasks_per_gpu must be at least 1"),
    ({"tasks_per_gpu": 65}, "launcher.tasks_per_gpu must be at most 64"),
    ({"gpus": 2}, "launcher.gpus=2: a training is small and uses one process and one GPU"),
    ({"train": task(gpus=2)}, "launcher.train.gpus=2: a training is small"),
    ({"ptl": task(gpus=8)}, "launcher.ptl.gpus=8: a training is small"),
    ({"max_requeues": -1}, "launcher.max_requeues must be at least 0"),
    ({"signal_delay_s": 0}, "launcher.signal_delay_s must lie in [1, 65535]"),
    ({"signal_delay_s": 65536}, "launcher.signal_delay_s must lie in [1, 65535]"),
    ({"code": "copy"}, "launcher.code must be one of live, snapshot"),
    ({"code_change": "ignore"}, "launcher.code_change must be one of warn, refuse"),
    ({"setup": [["module load cuda"]]}, "launcher.setup must be a list of shell lines"),
    ({"time_min": 0}, "launcher.time_min must be at least 1"),
    ({"gpus": -1}, "launcher.gpus must be at least 0"),
    ({"cpus": 0}, "launcher.cpus must be at least 1"),
    ({"mem_gb": 0.0}, "launcher.mem_gb must be positive"),
    ({"train": task(time_min=0)}, "launcher.train.time_min must be at least 1"),
    ({"ptl": task(gpus=-1)}, "launcher.ptl.gpus must be at least 0"),
    ({"evaluate": task(cpus=0)}, "launcher.evaluate.cpus must be at least 1"),
    ({"reduce": task(mem_gb=-1.0)}, "launcher.reduce.mem_gb must be positive, got -1.0"),
    ({"reduce": task(mem_gb=float("nan"))}, "launcher.reduce.mem_gb must be finite"),
]


@pytest.mark.parametrize("launcher", ["slurm", "local"])
@pytest.mark.parametrize(("values", "message"), IMPOSSIBLE, ids=[m for _, m in IMPOSSIBLE])
def test_an_impossible_value_is_refused_by_its_full_key_under_every_launcher(
    launcher: str, values: dict[str, Any], message: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        LauncherConfig(**{"name": launcher, **values})
    assert str(caught.value).startswith(message)


def test_a_warning_comes_when_a_task_can_answer_to_it() -> None:
    LauncherConfig(name="slurm", evaluate=task(time_min=2), signal_delay_s=60)
    with pytest.raises(ConfigError, match=r"=61 may be at most 60 with launcher.evaluate"):
        LauncherConfig(name="slurm", evaluate=task(time_min=2), signal_delay_s=61)
    with pytest.raises(ConfigError, match=r"at most 0 with launcher.time_min=1 \(60 s\)"):
        LauncherConfig(name="slurm", time_min=1)


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ("90m", 90), ("90 min", 90), ("8h", 480), ("1.5h", 90), ("2d", 2880), ("480", 480),
        ("2:00:00", 120), ("0:00:01", 1), ("1-12:00:00", 2160), (7, 7),
    ],
)  # fmt: skip
def test_a_time_limit_is_written_as_people_and_sbatch_write_it(
    written: int | str, expected: int
) -> None:
    config = LauncherConfig(name="local", train=task(time_min=written))
    everywhere = LauncherConfig(name="local", time_min=written)
    assert config.resources("train").limit_min == expected
    assert {everywhere.resources(kind).limit_min for kind in TASK_KINDS} == {expected}


@pytest.mark.parametrize("written", ["soon", "8 hours", "2:00", "1:60:00", "-1h", "", "1e3"])
def test_what_is_no_time_is_refused_with_examples(written: str) -> None:
    with pytest.raises(ConfigError, match=r"^launcher.ptl.time_min must be minutes, or .* 8h, "):
        LauncherConfig(name="slurm", ptl=task(time_min=written))


@pytest.mark.parametrize("jobs", ["afterok:1", "afterany:1:2,after:3_4", "afternotok:7"])
def test_jobs_of_others_can_be_waited_for(jobs: str) -> None:
    assert LauncherConfig(name="slurm", dependency=jobs).dependency == jobs
    for wrong in ("1", "afterok", f"{jobs},", f"{jobs} --wrap=x", "singleton"):
        with pytest.raises(ConfigError, match=r"^launcher.dependency must name jobs as afterok:1"):
            LauncherConfig(name="slurm", dependency=wrong)


def test_a_short_limit_disturbs_no_launcher_that_has_none() -> None:
    assert LauncherConfig(name="local", time_min=1).signal_delay_s > 60


@pytest.mark.parametrize("launcher", ["inline", "local"])
def test_a_dry_run_is_refused_where_it_would_do_nothing(launcher: str) -> None:
    with pytest.raises(ConfigError, match=f"launcher={launcher} submits nothing"):
        LauncherConfig(name=launcher, dry_run=True)
    assert LauncherConfig(name="slurm", dry_run=True).dry_run


@pytest.mark.parametrize("option", sorted({*KEYS_OF_OPTIONS, *FIXED_OPTIONS}))
def test_an_option_that_is_set_elsewhere_is_refused_in_both_spellings_with_the_key_to_use(
    option: str,
) -> None:
    answer = KEYS_OF_OPTIONS.get(option, "is set by ptl_sweep")
    for name in (option, option.replace("-", "_")):
        with pytest.raises(ConfigError) as caught:
            LauncherConfig(name="slurm", additional_parameters={name: "x"})
        assert str(caught.value).startswith(f"launcher.additional_parameters.{name}: --{option} ")
        assert answer in str(caught.value)


def test_the_keys_that_are_offered_for_options_exist() -> None:
    names = {f"launcher.{field.name}" for field in dataclasses.fields(LauncherConfig)}
    assert set(KEYS_OF_OPTIONS.values()) <= names


@pytest.mark.parametrize("value", [["a"], {"a": "b"}, None])
def test_a_further_option_holds_one_value(value: object) -> None:
    with pytest.raises(ConfigError, match=r"additional_parameters.nodelist must be a text"):
        LauncherConfig(name="slurm", additional_parameters={"nodelist": value})


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("ntasks", 2), ("ntasks", "4"), ("ntasks_per_node", 2), ("nodes", 2), ("nodes", "1-2"),
        ("gpus", "a100:2"), ("gpus-per-task", 2), ("gres", "gpu:2"), ("gres", "shard:4,gpu:h100:8"),
    ],
)  # fmt: skip
def test_more_processes_nodes_or_gpus_than_a_task_uses_are_refused_with_what_to_do(
    option: str, value: str | int
) -> None:
    with pytest.raises(ConfigError) as caught:
        LauncherConfig(name="slurm", additional_parameters={option: value})
    assert str(caught.value).startswith(f"launcher.additional_parameters.{option}={value}: a train")
    assert "launcher.tasks_per_gpu puts several on one" in str(caught.value)


@pytest.mark.parametrize(
    "options",
    [{"ntasks": 1}, {"nodes": "1"}, {"gres": "gpu:a100:1"}, {"gres": "shard:4"}, {"nice": 10}],
)
def test_what_gives_a_task_one_process_and_one_gpu_is_taken(options: dict[str, Any]) -> None:
    assert LauncherConfig(name="slurm", additional_parameters=options)


def test_tasks_side_by_side_are_refused_by_the_launcher_that_runs_one_after_the_other() -> None:
    with pytest.raises(ConfigError, match="launcher=local runs them side by side"):
        LauncherConfig(name="inline", tasks_per_gpu=2)
    for name in ("local", "slurm"):
        assert LauncherConfig(name=name, tasks_per_gpu=2).tasks_per_gpu == 2


def test_further_options_keep_their_types() -> None:
    options = {"mail-type": "FAIL", "nice": 10, "exclusive": True, "x": 0.5}
    config = LauncherConfig(name="slurm", additional_parameters=options)
    composed = OmegaConf.to_object(OmegaConf.structured(config))
    assert isinstance(composed, LauncherConfig)
    assert composed == config
    assert [type(v) for v in composed.additional_parameters.values()] == [str, int, bool, float]
