"""From words to cells: Hydra's own path and ours agree, and mistakes become short messages."""

import os
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from ptl_sweep.config import Config, ConfigError
from ptl_sweep.sweep.composing import (
    Composition,
    compose_grid,
    compose_run,
    named_keys,
    refuse_additions,
    refuse_swept_experiment,
)
from ptl_sweep.sweep.grid import cell_id


def hydra_cells(overrides: Sequence[str]) -> list[Config]:
    composition = compose_run(["-m", *overrides])
    assert composition is not None
    return composition.cells


@pytest.mark.parametrize(
    ("overrides", "count"),
    [
        (["real_count=2,3", "synthetic=off", "target=field"], 2),
        (["synthetic='on'", 'target="karst"'], 1),
        (["seed=range(0,3)", "synthetic=on", "target=field"], 3),
        (["target=glob(ka*)", "real_count=choice(2,3)", "synthetic=off"], 2),
        (
            ["target=field", "synthetic=off,on", "synthetic.temperature=2.5", "train.num_steps=7"],
            2,
        ),
        (["train=paper", "translator=identity", "train.batch_size=3", "target=karst"], 2),
        (["synthetic=random", "synthetic.scales=[32,64]", "target=field", "target.name=meadow"], 1),
        (["experiment=demo", "target=yard", "sweep.name=x", "real_count=5"], 2),
        pytest.param(["real_count=3"], 6, marks=pytest.mark.slow),
        pytest.param(["experiment=demo", "seed=1,2"], 24, marks=pytest.mark.slow),
        (["synthetic.temperature=1,5", "synthetic.name=t${synthetic.temperature}", "target=yard",
          "synthetic=on"], 2),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else str(value),
)  # fmt: skip
def test_looking_at_a_grid_shows_the_cells_that_a_run_would_have(
    overrides: list[str], count: int
) -> None:
    looked, ran = compose_grid(overrides).cells, hydra_cells(overrides)
    assert len(looked) == count
    assert looked == ran


def test_the_order_of_words_changes_nothing() -> None:
    one = compose_grid(["target=field,karst", "real_count=3,2", "synthetic=off"]).cells
    two = compose_grid(["synthetic=off", "real_count=2,3", "target=karst,field"]).cells
    assert one == two
    assert [cell_id(config) for config in one] == sorted(cell_id(config) for config in one)


def test_without_m_there_is_one_cell() -> None:
    composition = compose_run(["real_count=3", "target=karst", "synthetic=off"])
    assert composition is not None
    assert [cell_id(c) for c in composition.cells] == [("miniature", 3, "off", "karst", 0)]


def test_composing_leaves_process_and_folder_as_they_were(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    environment, arguments = dict(os.environ), list(sys.argv)
    compose_run(["-m", "real_count=2,3", "target=field", "synthetic=off"])
    with pytest.raises(ConfigError):
        compose_run(["real_count=0"])
    assert (dict(os.environ), sys.argv, Path.cwd()) == (environment, arguments, tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_printing_the_config_composes_no_cell(capsys: pytest.CaptureFixture[str]) -> None:
    assert compose_run(["--cfg", "job", "real_count=3"]) is None
    assert "real_count: 3" in capsys.readouterr().out


def test_a_sweep_names_the_keys_of_its_words() -> None:
    assert named_keys(["target=a", "train.num_steps=3"]) == {"target", "train.num_steps"}
    assert {"dataset", "target"} <= named_keys(["experiment=paper"])


@pytest.mark.parametrize("words", ["a,b", "choice(a,b)", "glob(*)", "demo, paper"])
def test_an_experiment_cannot_be_swept(words: str) -> None:
    with pytest.raises(ConfigError, match="cannot be swept; run one command"):
        refuse_swept_experiment([f"experiment={words}"])
    refuse_swept_experiment(["experiment=demo", "seed=0,1"])


def test_no_key_is_added_or_removed() -> None:
    with pytest.raises(ConfigError, match="unknown key real_cuont; did you mean real_count"):
        refuse_additions(["+real_cuont=3"])
    for word in ("+real_count=3", "++real_count=3", "~real_count", "+experiment=demo"):
        with pytest.raises(ConfigError, match="no key can be added or removed"):
            refuse_additions([word])
    refuse_additions(["real_count=3", "+hydra.job.name=x"])


MISTAKES = {
    "unknown key": (["real_cuont=3"], "unknown key real_cuont; did you mean real_count?"),
    "unknown key in a group": (
        ["train.num_stepz=3"],
        "unknown key train.num_stepz; did you mean train.num_steps?",
    ),
    "key without its group": (
        ["num_steps=3"],
        "unknown key num_steps; did you mean train.num_steps?",
    ),
    "word for a number": (["real_count=x"], "real_count: 'x' is not an integer"),
    "fraction for a count": (["train.num_steps=2.5"], "train.num_steps: 2.5 is not an integer"),
    "null for a count": (["real_count=null"], "real_count: null is not an integer"),
    "word for a rate": (["train.learning_rate=low"], "train.learning_rate: 'low' is not a number"),
    "word for a switch": (
        ["translator.warm_start=maybe"],
        "translator.warm_start: 'maybe' is not true or false",
    ),
    "number for a list": (
        ["detector.anchor_sizes=3"],
        "detector.anchor_sizes: 3 is not a list of lists of numbers",
    ),
    "word in a list": (
        ["synthetic.scales=[a]"],
        "synthetic.scales: 'a' does not fit into a list of integers",
    ),
    "word for a size that may be null": (
        ["train.crop_size=big"],
        "train.crop_size: 'big' is not an integer or null",
    ),
    "impossible value": (
        ["synthetic.temperature=-1"],
        "synthetic.temperature must be positive, got -1.0",
    ),
    "one impossible value of many": (
        ["synthetic.temperature=1,-1", "target=field"],
        "synthetic.temperature must be positive, got -1.0",
    ),
    "unknown choice": (
        ["target=fields"],
        "unknown choice target=fields; did you mean field?\nallowed: ",
    ),
    "unknown choice of many": (
        ["synthetic=off,onn"],
        "unknown choice synthetic=onn; did you mean on?\nallowed: off, on, random",
    ),
    "unknown experiment": (
        ["experiment=dmo"],
        "unknown choice experiment=dmo; did you mean demo?\nallowed: ",
    ),
    "not a word of the grammar": (["real_count=[1"], "no viable alternative at input '[1'"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_answered_in_three_lines_with_key_and_mend(mistake: str) -> None:
    overrides, answer = MISTAKES[mistake]
    with pytest.raises(ConfigError) as caught:
        compose_grid(overrides)
    message = str(caught.value)
    assert message.startswith(answer)
    assert len(message.splitlines()) <= 3
    assert "hydra.cc" not in message


@pytest.mark.parametrize(
    "mistake", ["unknown key in a group", "word for a number", "unknown choice of many"]
)
def test_a_run_gives_the_same_answer_as_a_look(mistake: str) -> None:
    overrides, answer = MISTAKES[mistake]
    with pytest.raises(ConfigError) as caught:
        compose_run(["-m", *overrides])
    assert str(caught.value).startswith(answer)


def test_an_impossible_value_in_a_job_of_hydra_is_no_error_of_hydra(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(ConfigError, match=r"^synthetic.temperature must be positive, got -1.0$"):
        compose_run(["synthetic.temperature=-1"])
    assert capsys.readouterr().err == ""


def test_several_values_without_m_are_answered_with_m() -> None:
    with pytest.raises(ConfigError, match=r"^real_count=2,3: several values make a sweep.* -m$"):
        compose_run(["real_count=2,3"])


def test_a_composition_is_sorted_by_cell() -> None:
    cells = compose_grid(["real_count=3,2", "target=field", "synthetic=off"]).cells
    assert Composition.of(reversed(cells)).cells == cells


def test_a_class_of_the_files_is_added_by_a_plus() -> None:
    overrides = ["+dataset.categories.walker=person", "+target.categories.dog=other"]
    cells = compose_grid(overrides).cells
    assert {tuple(c.dataset.categories.items()) for c in cells} == {(("walker", "person"),)}
    assert {tuple(c.target.categories.items()) for c in cells} == {(("dog", "other"),)}
    with pytest.raises(ConfigError, match=r"write \+dataset\.categories\.walker=person"):
        compose_grid(["dataset.categories={walker: person}"])
