"""The Makefile: what its targets run is what the command line understands."""

import re
import shlex
import shutil
import subprocess
from pathlib import Path

import pytest

from ptl_sweep.cli.commands import COMMANDS
from ptl_sweep.compose.compose import compose_grid
from ptl_sweep.config.schema import ConfigError, conf_dir
from ptl_sweep.study.questions.forecast import MIN_TARGETS

ROOT = Path(__file__).resolve().parent.parent
CELLS = {  # target -> cells in the miniature world, in the paper's
    "paper": (27, 192),
    "table-crossdomain": (27, 192),
    "figure-t2t": (27, 192),
    "figure-apt2t": (27, 192),
    "figure-curve": (27, 192),
    "first-experiments": (27, 12),
}
WORLDS = ("miniature", "real")
BASELINES = (
    "off", "off_augmented", "naive_merge", "naive_transform", "pretrain_finetune", "random",
    "greedy", "on",
)  # fmt: skip
ARMS = {  # target -> arms in the miniature world, in the paper's
    "table-baselines": ((*BASELINES, "off_tuned"), BASELINES),
    "table-tau": (("off", "on", "random", "greedy"),) * 2,
    "table-n": (("off", "on"),) * 2,
    "table-translators": (("off", "on"),) * 2,
    "table-detectors": (("off", "on"),) * 2,
}

pytestmark = pytest.mark.skipif(shutil.which("make") is None, reason="needs make")


def make(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["make", "-n", *arguments], cwd=ROOT, capture_output=True, text=True, check=False
    )


def commands(*arguments: str) -> list[list[str]]:
    """What follows `python -m ptl_sweep` in the lines that make would run."""
    done = make(*arguments)
    assert done.returncode == 0, done.stderr
    lines = [shlex.split(line) for line in done.stdout.splitlines() if "-m ptl_sweep " in line]
    assert all(line[1:3] == ["-m", "ptl_sweep"] and "python" in line[0] for line in lines)
    return [line[3:] for line in lines]


@pytest.mark.parametrize("world", WORLDS)
@pytest.mark.parametrize("target", CELLS)
def test_the_sweep_of_a_target_composes_and_its_verbs_name_that_sweep(
    target: str, world: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, *verbs = commands(target, f"WORLD={world}", "LAUNCHER=inline", "ARGS=data_root=x")
    assert run[0] == "-m"
    cells = compose_grid(run[1:])
    assert len(cells) == CELLS[target][WORLDS.index(world)]
    assert {cell.launcher.name for cell in cells} == {"inline"}
    assert [line[0] for line in verbs] == ["wait", *([] if target == "paper" else [verbs[-1][0]])]
    monkeypatch.chdir(tmp_path)
    for verb, *arguments in verbs:
        assert cells[0].sweep.name in arguments
        with pytest.raises(ConfigError, match=r"^no sweep") as refused:  # its words are right
            COMMANDS[verb](arguments)
        assert f"no sweep {cells[0].sweep.name} in" in str(refused.value)


def test_a_dose_is_chosen_on_the_sources_own_pictures_at_three_numbers_or_more() -> None:
    for world in WORLDS:
        (run, wait, table, figure) = commands("figure-dose", f"WORLD={world}", "ARGS=data_root=x")
        cells = compose_grid(run[1:])
        numbers = {c.synthetic.images_per_iteration for c in cells if c.synthetic.name != "off"}
        assert len(numbers) >= 3
        assert {cell.synthetic.num_iterations for cell in cells} == {1}
        assert any(cell.target.name.endswith("-validation") for cell in cells)
        assert len({cell.seed for cell in cells}) == 6
        assert {cell.train.real_fraction for cell in cells} >= {0.5, None}
        assert [table[:3], figure[:3]] == [["table", "dose", "dose"], ["figure", "dose", "dose"]]
        assert wait[1] == cells[0].sweep.name == "dose"


def test_open_questions_are_the_dose_and_three_tables_of_one_sweep_with_six_seeds() -> None:
    for world in WORLDS:
        args = (f"WORLD={world}", "ARGS=data_root=x")
        found, dose = (commands(name, *args) for name in ("open-questions", "figure-dose"))
        assert found[: len(dose)] == dose
        run, wait, *tables, figure = found[len(dose) :]
        cells = compose_grid(run[1:])
        assert wait[1] == cells[0].sweep.name == "questions"
        named = [(table[1], table[2]) for table in tables]
        assert named == [(name, "questions") for name in ("predictors", "errors", "forecast")]
        assert figure[:3] == ["figure", "clusters", "questions"]
        assert len({cell.target.name for cell in cells}) >= MIN_TARGETS
        assert len({cell.seed for cell in cells}) == 6
        assert {cell.synthetic.name for cell in cells} == {"off", "on"}


def test_first_experiments_are_one_iteration_to_one_target_with_three_seeds() -> None:
    for world in WORLDS:
        cells = compose_grid(commands("first-experiments", f"WORLD={world}")[0][1:])
        assert {cell.synthetic.num_iterations for cell in cells} == {1}
        assert len({cell.target.name for cell in cells}) == 1
        assert {cell.seed for cell in cells} == {0, 1, 2}
        assert {cell.evaluate.iterations for cell in cells} == {"all"}
    assert {(c.dataset.name, c.target.name, c.real_count) for c in cells} == {
        ("visdrone", "okutama", 20), ("visdrone", "okutama", 50),
    }  # fmt: skip


def test_controls_are_one_sweep_that_runs_every_arm_against_the_demo() -> None:
    ((flag, *overrides),) = commands("demo-controls")
    assert flag == "-m"
    cells = compose_grid([*overrides, "target=field", "seed=0,5"])
    arms = {cell.synthetic.name for cell in cells}
    assert arms >= {"off", "off_tuned", "on", "random", "identity", "null_pool"}
    assert {(cell.synthetic.name, cell.seed) for cell in cells} == {
        (arm, seed) for arm in arms for seed in (0, 5)
    }
    assert len(cells) == 2 * len(arms) == 16
    assert {cell.real_count for cell in cells} == {20}


def test_every_arm_is_part_of_the_controls_or_the_baselines() -> None:
    swept = {
        cell.synthetic.name
        for experiment in ("demo_controls", "baselines")
        for cell in compose_grid([f"experiment={experiment}", "target=field", "seed=0"])
    }
    assert swept == {path.stem for path in (conf_dir() / "arm").glob("*.yaml")}


@pytest.mark.parametrize("world", WORLDS)
@pytest.mark.parametrize("target", ARMS)
def test_a_table_of_arms_has_a_sweep_of_its_own_with_six_seeds(target: str, world: str) -> None:
    run, *verbs = commands(target, f"WORLD={world}", "ARGS=data_root=x")
    name = target.removeprefix("table-")
    assert [line[:-1] for line in verbs] == [["wait"], ["table", "effects"], ["table", "contrasts"]]
    assert {line[-1] for line in verbs} == {name}
    place = {"miniature": "field", "real": "okutama"}[world]
    cells = compose_grid([*run[1:], "real_count=20", f"target={place}"])
    assert {cell.sweep.name for cell in cells} == {name}
    asked = ARMS[target][WORLDS.index(world)]
    assert {cell.synthetic.name for cell in cells} == set(asked)
    worlds = {cell.seed: cell.dataset.world_seed for cell in cells}
    assert worlds == {seed: seed * (world == "miniature") for seed in range(6)}


def test_tables_and_figures_share_the_sweep_of_paper() -> None:
    sharing = [target for target in CELLS if target != "first-experiments"]
    for world in WORLDS:
        assert len({tuple(commands(target, f"WORLD={world}")[0]) for target in sharing}) == 1


def test_the_root_reaches_every_command_and_other_arguments_only_the_sweep() -> None:
    run, *verbs = commands("figure-t2t", "ARGS=sweep.root=/y data_root=/d sweep.name=z")
    assert run[-4:] == ["sweep.root=/y", "data_root=/d", "sweep.name=z", "sweep.name=paper"]
    assert compose_grid(run[1:])[0].sweep.name == "paper"
    assert verbs == [
        ["wait", "paper", "sweep.root=/y"],
        ["figure", "t2t", "paper", "sweep.root=/y"],
    ]


def test_an_unknown_world_is_refused_with_those_that_exist() -> None:
    done = make("paper", "WORLD=moon")
    assert done.returncode != 0
    assert "WORLD is real or miniature, not moon" in done.stderr


def test_every_target_is_phony_and_explained_by_help() -> None:
    text = (ROOT / "Makefile").read_text()
    phony = set(" ".join(re.findall(r"^\.PHONY: (.*)", text, re.M)).split())
    shown = subprocess.run(
        ["make", "help"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout
    assert phony == set(re.findall(r"^  make (\S+)", shown, re.M))
    assert phony >= set(CELLS)
