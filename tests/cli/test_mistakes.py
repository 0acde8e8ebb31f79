"""What users get wrong: a command ends with its code, a first line that names it, and a fix."""

import os
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any, NamedTuple

import pytest

FLAGS = "usage: python -m ptl_sweep [-m] key=value ...; --help lists the keys, --hydra-help the"


class Mistake(NamedTuple):
    """A command as it is typed behind `ptl-sweep`."""

    command: str
    first: str  # how the first line begins
    fix: str = ""  # a part of any line, where the first does not say it all
    code: int = 2


KEYS = [
    Mistake("real_cuont=3", "unknown key real_cuont; did you mean real_count?"),
    Mistake("plan real_cuont=3", "unknown key real_cuont; did you mean real_count?"),
    Mistake("+real_cuont=3", "unknown key real_cuont; did you mean real_count?"),
    Mistake("-m train.num_stepz=3,4", "unknown key train.num_stepz; did you mean train.num_steps?"),
    Mistake("plan num_stepz=3", "unknown key num_stepz; did you mean train.num_steps?"),
    Mistake("plan gpu=0", "unknown key gpu; GPUs are chosen in front: CUDA_VISIBLE_DEVICES=0"),
    Mistake("plan gpus=2", "unknown key gpus; GPUs are chosen in front: CUDA_VISIBLE_DEVICES=0"),
    Mistake("plan ü=3", "unknown key ü", "--cfg job` lists all"),
    Mistake("~real_count", "~real_count: no key can be added or removed; write real_count=VALUE"),
    Mistake("arm.name=x", "arm.name=x: arm holds no keys; arm=NAME chooses a file"),
    Mistake("=3", "=3: the name of a key is missing; write key=value"),
    Mistake("plan =", "=: the name of a key is missing; write key=value"),
    Mistake("plan launcher.after=x", "unknown key launcher.after; launcher has: account"),
]
WORDS = [
    Mistake("real_count 20", "real_count stands alone: write real_count=VALUE, without blanks"),
    Mistake("plan real_count 20", "real_count stands alone: write real_count=VALUE, without"),
    Mistake("-m real_count=10, 20", "real_count=10,: values of a sweep stand without blanks"),
    Mistake("plan real_count=10, 20", "real_count=10,: values of a sweep stand without blanks"),
    Mistake("plan real_count=10 ,20", ",20 is neither a flag nor key=value"),
    Mistake("real_count=20 '#' few", "#: a command line has no comments; leave it out"),
    Mistake("plan '#'", "#: a command line has no comments; leave it out"),
    Mistake("-m real_count=20 ü", "ü is neither a flag nor key=value"),
    Mistake("plan ''", "an empty word is neither a flag nor key=value"),
    Mistake("plam", "unknown command plam; did you mean plan?", "--help explains them"),
    Mistake("new-targt x", "unknown command new-targt; did you mean new-target?"),
    Mistake("help", "unknown command help", "--help explains them"),
]
VALUES = [
    Mistake("real_count=x", "real_count: 'x' is not an integer"),
    Mistake("plan real_count=", "real_count: '' is not an integer"),
    Mistake("synthetic.temperature=-1", "synthetic.temperature must be positive, got -1"),
    Mistake(
        "real_count=2,3", "real_count=2,3: several values make a sweep, which needs the flag -m"
    ),
    Mistake(
        "-m real_count=1000 target=field synthetic=off",
        "real_count=1000, but miniature (train) has 200 images with persons; use 1..200",
    ),
    Mistake("target=karstt", "unknown choice target=karstt; did you mean karst?", "allowed: coco"),
    Mistake("plan target=", "unknown choice target=", "allowed: coco"),
    Mistake("plan synthetic=yes", "unknown choice synthetic=yes", ", off, on, "),
    Mistake("plan synthetic=True", "synthetic=True: synthetic takes", "did you mean on?"),
    Mistake("plan synthetic=false", "synthetic=false: synthetic takes", "did you mean off?"),
    Mistake(
        "plan 'target=[field,yard]'",
        "target=[field,yard]: target takes the name of a choice",
        "fix: target=field,yard sweeps over them",
    ),
    Mistake("plan 'target=#'", "target=#: # needs quotes: 'target=\"#\"'"),
    Mistake("plan dataset=a#b", "dataset=a#b: # needs quotes"),
    Mistake("plan dataset=ü", "dataset=ü: letters beyond ASCII need quotes: 'dataset=\"ü\"'"),
    Mistake("plan dataset.root=/a=b", "dataset.root=/a=b: = needs quotes: 'dataset.root=\"/a=b\"'"),
    Mistake("plan 'launcher.python=a;b'", "launcher.python=a;b: ; needs quotes"),
    Mistake(
        "plan 'detector.anchor_sizes=[14, 20]'",
        "detector.anchor_sizes: [14, 20] is not a list of lists of numbers; write [[14, 20]]",
    ),
    Mistake("-m experiment=demo,paper", "experiment=demo,paper", "run one command for each"),
    Mistake(
        "-m experiment=own_data",
        "this experiment needs dataset=NAME, one of beaches, coco,",
        "new-dataset",
    ),
    Mistake("target.name=a/b", "name of dataset or target", "'a/b'"),
]
PATHS = [
    Mistake(
        "plan pool.root=~/cutouts",
        "pool.root=~/cutouts: no shell reads ~ there; write pool.root=$HOME/",
    ),
    Mistake(
        "plan dataset=yolo dataset.root=~/data", "dataset.root=~/data: no shell reads ~", "$HOME"
    ),
    Mistake("plan dataset.root=" + "a" * 100_000, "dataset.root=aaa", "add dataset=yolo"),
    Mistake("plan --config-dir nowhere", "--config-dir nowhere is not a folder"),
    Mistake("check -cd nowhere", "--config-dir nowhere is not a folder"),
    Mistake("-cd nowhere --cfg job", "--config-dir nowhere is not a folder"),
    Mistake(
        "-m target.root=/x target=field,karst real_count=2 synthetic=off",
        "target.root is one",
        "set data_root",
    ),
    Mistake(
        "-m real_count=2 target=okutama synthetic=off",
        "dataset miniature and target okutama",
        "name both",
    ),
    Mistake(
        "real_count=2 dataset=visdrone target=visdrone data_root=/nowhere",
        "data set 'visdrone': /nowhere/visdrone is not a folder",
        "fix: set root",
    ),
    Mistake(
        "-m real_count=2 synthetic=off dataset=visdrone target=okutama,icg data_root=/nowhere",
        "3 data sets are not there: /nowhere/visdrone, /nowhere/",
        "data_root=/nowhere is none either",
    ),
    Mistake("check real_count=2 --sheet /proc/x", "/proc/x: ", "check the path", code=1),
    Mistake("real_count=2 sweep.root=/proc/x", "/proc/x: ", "check the path", code=1),
    Mistake("new-target x --root /nowhere", "/nowhere is not a folder", "fix: name the folder"),
]
OF_RUNS = [
    Mistake("--cgf job", "there is no flag --cgf; did you mean --cfg?", FLAGS),
    Mistake("-x real_count=3", "there is no flag -x", FLAGS),
    Mistake("--real_count=20", "--real_count: keys have no dashes; write real_count=20"),
    Mistake("--real-count 20", "--real-count: keys have no dashes; write real_count=VALUE"),
    Mistake(
        "-m --cfg job", "--multirun and --cfg exclude each other: leave one out", "plan key=a,b"
    ),
    Mistake("-m --info", "--multirun and --info exclude each other: leave one out", "plan key=a,b"),
    Mistake("--cfg", "argument --cfg/-c: expected one argument", FLAGS),
    Mistake("--cfg jop", "argument --cfg/-c: invalid choice: 'jop' (choose from 'job'", FLAGS),
    Mistake("--info foo", "argument --info/-i: invalid choice: 'foo'", "'searchpath'"),
    Mistake("--resolve", "--resolve says how to print: add --cfg job"),
    Mistake("--package train", "--package says what to print: add --cfg job"),
    Mistake("--cfg job --package trian", "--package: unknown key trian; did you mean train?"),
    Mistake("-cn demo", "--config-name demo: there is one config", "fix: experiment=NAME"),
    Mistake("-cp /x", "--config-path /x: the config is that of the package", "--config-dir DIR"),
    Mistake("--experimental-rerun x", "--experimental-rerun loads a pickle", "rerun KEY"),
    Mistake("-sc install", "--shell-completion takes install=SHELL", 'eval "$(ptl-sweep -sc'),
    Mistake("-sc install=tcsh", "--shell-completion takes install=SHELL", "bash, fish, zsh"),
    Mistake("-sc query=bash", "query=bash is the question of a shell", 'eval "$(ptl-sweep -sc'),
]
OF_COMMANDS = [
    Mistake("plan experiment=demo --cfg job", "plan: --cfg is a flag of `python -m ptl_sweep key="),
    Mistake("plan --jsn", "plan: there is no flag --jsn; did you mean --json?", "usage: python -m"),
    Mistake("plan help", "help is neither a flag nor key=value"),
    Mistake("plan --config-dir", "plan: argument --config-dir/-cd: expected one argument", "usage"),
    Mistake(
        "new-target", "new-target: the following arguments are required: NAME, --root", "usage"
    ),
    Mistake(
        "manifest", "manifest: the following arguments are required: FOLDER, --pattern", "usage"
    ),
    Mistake("table", "table: the following arguments are required: name", "usage: python -m"),
    Mistake(
        "predict", "needs a STAGE or a cell, and a FOLDER", "usage: python -m ptl_sweep predict"
    ),
    Mistake("measure", "needs one folder of detections", "usage: python -m ptl_sweep measure DIR"),
    Mistake("measure a detections=b", "needs one folder of detections, got b and a", "usage"),
    Mistake("measure nowhere", "nowhere is no folder of detections", "holds train/ and a folder"),
    Mistake("measure detections=nowhere", "nowhere is no folder of detections", "fix: name"),
    Mistake("measure nowhere --catgory x", "measure: there is no flag --catgory", "--category?"),
    Mistake("measure nowhere --equal-n x", "measure: argument --equal-n: must be a whole number"),
    Mistake("measure nowhere seed=1", "seed: this command takes detections=DIR, analysis.*, gaus"),
    Mistake(
        "measure nowhere analysis.shrinkge=oas",
        "analysis.shrinkge: this command takes",
        "did you mean analysis.shrinkage?",
    ),
    Mistake("measure nowhere analysis.shrinkage=pinv", "analysis.shrinkage must be one of"),
    Mistake("measure nowhere analysis.relative_n=4,8", "analysis.relative_n=4,8: one value for"),
    Mistake("export-detections", "needs a cell and one DIR", "usage: python -m ptl_sweep export-"),
    Mistake("export-detections seed=0 lab", "no sweep in outputs/sweeps; start one"),
    Mistake("store", "store: needs a verb", "du|verify|clean"),
    Mistake("store duu", "store: unknown verb duu; did you mean du?"),
    Mistake("status nowhere", "no sweep nowhere in outputs/sweeps, which holds none"),
    Mistake("status", "no sweep in outputs/sweeps; start one, or set sweep.root="),
    Mistake("logs nosuch", "no sweep in outputs/sweeps; start one, or set sweep.root="),
    Mistake("status seed=3", "seed: this command takes a sweep and sweep.root=... only"),
]
MACHINES = [
    Mistake("plan launcher=slrum", "unknown choice launcher=slrum; did you mean slurm?"),
    Mistake("plan launcher.gpus=2", "launcher.gpus=2: a training is small", "tasks_per_gpu"),
    Mistake(
        "plan +launcher.additional_parameters.ntasks=2",
        "launcher.additional_parameters.ntasks=2: a training is small",
        "launcher.tasks_per_gpu puts several on one",
    ),
    Mistake(
        "plan launcher.time_min=soon",
        "launcher.time_min must be minutes, or a time such as 90m, 8h",
    ),
    Mistake("plan launcher.train.time_min=0h", "launcher.train.time_min must be at least 1, got 0"),
    Mistake("plan launcher.dependency=123", "launcher.dependency must name jobs as afterok:123"),
    Mistake("plan launcher.mem_gb=32G", "launcher.mem_gb: '32G' is not a number or null"),
    Mistake(
        "launcher=local launcher.dry_run=true", "launcher.dry_run shows what launcher=slurm", "plan"
    ),
    Mistake("plan launcher.num_workers=0", "launcher.num_workers must be at least 1, got 0"),
]
MISTAKES = [*KEYS, *WORDS, *VALUES, *PATHS, *OF_RUNS, *OF_COMMANDS, *MACHINES]


@pytest.fixture(autouse=True)
def _empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("WANDB_MODE", "disabled")


def check(mistake: Mistake, outcome: Any) -> None:
    assert outcome.code == mistake.code, outcome.errors
    lines = outcome.errors.splitlines()
    assert 1 <= len(lines) <= 3
    assert lines[0].startswith(mistake.first)
    assert mistake.fix in outcome.errors
    assert "Traceback" not in outcome.errors


@pytest.mark.parametrize("mistake", MISTAKES, ids=[m.command[:60] for m in MISTAKES])
def test_a_mistake_ends_with_its_code_a_first_line_that_names_it_and_the_fix(
    mistake: Mistake, run: Any
) -> None:
    check(mistake, run(*shlex.split(mistake.command)))
    assert not Path("outputs").exists()  # nothing was planned, nothing queued


VARIABLES = {
    "PTL_CONF": ("nowhere", "PTL_CONF=nowhere is not a folder: make it, or unset PTL_CONF"),
    "PTL_LAUNCHER": (
        "slrum",
        "unknown choice launcher=slrum (of PTL_LAUNCHER); did you mean slurm",
    ),
    "PTL_TRACKING": ("wadb", "unknown choice tracking=wadb (of PTL_TRACKING); did you mean wandb"),
}


@pytest.mark.parametrize("variable", VARIABLES)
def test_a_variable_of_the_site_that_is_wrong_is_named(
    variable: str, run: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    value, first = VARIABLES[variable]
    monkeypatch.setenv(variable, value)
    for command in ("plan", "real_count=2", "--help"):
        check(Mistake(command, first), run(*command.split()))


FILES = {
    "# @package _global_\ndefaults:\n  - override /synthetic: off\n": "needs quotes",
    "real_count: [5\n": "line 2: no YAML",
    "real_count:\n\t- 5\n": "fix: indent with blanks",
}


@pytest.mark.parametrize("content", FILES)
def test_an_own_file_that_cannot_be_used_is_named_where_ptl_conf_points(
    content: str, run: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "choices of mine" / "experiment" / "mine.yaml"
    path.parent.mkdir(parents=True)
    path.write_text(content)
    monkeypatch.setenv("PTL_CONF", str(path.parent.parent))
    check(Mistake("plan", f"{path}: ", FILES[content]), run("plan", "experiment=mine"))
    path.write_text("# @package _global_\nreal_count: 7\n")
    assert run("plan", "experiment=mine", "target=field", "synthetic=off").code == 0


def process(command: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """A shell's command with `ptl-sweep` in it, in a process of its own."""
    program = shlex.join([sys.executable, "-m", "ptl_sweep"])
    return subprocess.run(
        ["bash", "-o", "pipefail", "-c", command.replace("ptl-sweep", program)],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
    )


def test_a_mistake_in_a_process_of_its_own_is_the_same(tmp_path: Path) -> None:
    done = process("ptl-sweep -m real_count=x,3")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "real_count: 'x' is not an integer\n"
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("printed", ["--help", "--cfg job", "--info", "plan --json target=field"])
def test_a_pipe_that_is_closed_ends_a_command_silently(printed: str) -> None:
    done = process(f"ptl-sweep {printed} | true")
    assert done.stderr == ""


def test_a_terminal_of_ascii_shows_other_letters_as_codes() -> None:
    words = "dataset=yolo target=yolo 'dataset.root=\"/nowhere/ü\"'"
    ascii_only = {"LC_ALL": "C", "PYTHONIOENCODING": "ascii"}
    done = process(
        f"ptl-sweep --cfg job {words} | grep nowhere; ptl-sweep check {words}", **ascii_only
    )
    assert "root: /nowhere/\\xfc" in done.stdout
    assert "/nowhere/\\xfc is not a folder" in done.stdout + done.stderr
    assert "Traceback" not in done.stderr
