"""From words to cells: Hydra's own path and ours agree, and mistakes become short messages."""

import os
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from ptl_sweep.compose import compose
from ptl_sweep.compose.cells.ids import cell_id
from ptl_sweep.compose.compose import (
    compose_grid,
    compose_run,
    in_order,
    named_keys,
    run_hydra,
)
from ptl_sweep.config.schema import Config, ConfigError


def hydra_cells(overrides: Sequence[str]) -> list[Config]:
    """Composed by Hydra's own sweeper and launcher."""
    return in_order(run_hydra(["-m", *overrides]))


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
        (["experiment=demo", "target=yard", "sweep.name=x", "real_count=5"], 3),
        (["synthetic=off,on,raw", "translator=color_stats,cyclegan", "target=field"], 6),
        pytest.param(["real_count=3"], 6, marks=pytest.mark.slow),
        pytest.param(["experiment=demo", "seed=1,2"], 54, marks=pytest.mark.slow),
        (["synthetic.temperature=1,5", "synthetic.name=t${synthetic.temperature}", "target=yard",
          "synthetic=on"], 2),
        (["seed=0,1", "target=yolo", "dataset=yolo", "target.root=/s/${seed}", "synthetic=on"], 2),
        (["data_root=/a,/b", "target=yolo", "dataset=yolo", "target.name=x${data_root}",
          "target.name=x", "synthetic=on"], 2),
        (["dataset.num_images=5,7", "target.reader=source", "target=yard", "synthetic=on"], 2),
        (["pool.altitude_m=null,[3.0,4.0]", "seed=0", "target=yard", "synthetic=on"], 2),
        (["gaussian.min_iou=0.2,0.3", "gaussian={min_iou: 0.4}", "target=yard", "synthetic=on"],
          2),
        (["train.num_steps=3,4", "train={num_steps: 5}", "target=yard", "synthetic=on"], 2),
        (["seed=5", "seed=0,1", "target=yard,field", "target=karst", "synthetic=on"], 2),
        (["launcher.train.cpus=2", "launcher.additional_parameters={nodelist: n1, mail-type: END}",
          "+target.categories.dog=other,ignore", "target=yard", "synthetic=on"], 2),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else str(value),
)  # fmt: skip
def test_a_grid_has_the_cells_that_hydra_would_run(overrides: list[str], count: int) -> None:
    ours, theirs = compose_grid(overrides, as_sweep=False), hydra_cells(overrides)
    assert len(ours) == count
    assert ours == theirs


def test_the_order_of_words_changes_nothing() -> None:
    one = compose_grid(["target=field,karst", "real_count=3,2", "synthetic=off"])
    two = compose_grid(["synthetic=off", "real_count=2,3", "target=karst,field"])
    assert one == two
    assert [cell_id(config) for config in one] == sorted(cell_id(config) for config in one)


def test_without_m_there_is_one_cell() -> None:
    composition = compose_run(["real_count=3", "target=karst", "synthetic=off"])
    assert composition is not None
    assert [cell_id(c) for c in composition] == [("miniature", 3, "off", "karst", 0)]


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


@pytest.mark.parametrize(
    "words",
    [["target=field", "--cfg", "job", "seed=3"], ["--cfg", "job", "target=field", "seed=3"]],
)
def test_flags_of_hydra_stand_anywhere_between_the_words(
    words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert compose_run(words) is None
    printed = capsys.readouterr().out
    assert "seed: 3" in printed
    assert "name: field" in printed


def test_a_sweep_names_the_keys_of_its_words() -> None:
    assert named_keys(["target=a", "train.num_steps=3"]) == {"target", "train.num_steps"}
    assert {"dataset", "target"} <= named_keys(["experiment=paper"])


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
        "synthetic.temperature must be positive, got -1",
    ),
    "one impossible value of many": (
        ["synthetic.temperature=1,-1", "target=field"],
        "synthetic.temperature must be positive, got -1",
    ),
    "unknown choice": (
        ["target=fields"],
        "unknown choice target=fields; did you mean field?\nallowed: ",
    ),
    "unknown choice of many": (
        ["synthetic=off,onn"],
        "unknown choice synthetic=onn; did you mean on?\nallowed: greedy, ",
    ),
    "a temperature that is no number": (
        ["synthetic.temperature=true"],
        "synthetic.temperature: True is not a number or a text",
    ),
    "unknown experiment": (
        ["experiment=dmo"],
        "unknown choice experiment=dmo; did you mean demo?\nallowed: ",
    ),
    "not a word of the grammar": (["real_count=[1"], "no viable alternative at input '[1'"),
    "unknown key in a group, swept": (
        ["train.num_stepz=3,4"],
        "unknown key train.num_stepz; did you mean train.num_steps?",
    ),
    "unknown key of the launcher": (
        ["launcher.partitoin=x"],
        "unknown key launcher.partitoin; did you mean launcher.partition?",
    ),
    "a key like none of its group": (
        ["launcher.foo=1"],
        "unknown key launcher.foo; launcher has: account, additional_parameters, array_",
    ),
    "a key like none of a group in a group": (
        ["launcher.train.foo=1"],
        "unknown key launcher.train.foo; launcher.train has: cpus, gpus, mem_gb, time_min",
    ),
    "a key like none at all": (["xyzzy=1"], "unknown key xyzzy; `python -m ptl_sweep --cfg job`"),
    "value for a group": (
        ["launcher.train=3"],
        "launcher.train: 3 is not a group; set its keys: launcher.train.cpus, launcher.train.gpus",
    ),
    "word for shell lines": (["launcher.setup=x"], "launcher.setup: 'x' is not a list of texts"),
    "number for a mapping": (
        ["launcher.additional_parameters=3"],
        "launcher.additional_parameters: 3 is not a mapping {NAME: value}",
    ),
    "list for a class": (
        ["+dataset.categories.walker=[a]"],
        "dataset.categories.walker: ['a'] is not a text",
    ),
    "class without a plus": (
        ["dataset.categories.walker=person"],
        "dataset.categories.walker is new: write +dataset.categories.walker=person",
    ),
    "option of sbatch without a plus": (
        ["launcher.additional_parameters.mail-type=END"],
        "launcher.additional_parameters.mail-type is new: write +launcher.additional_parameters.",
    ),
    "option of sbatch with brackets": (
        ["+launcher.additional_parameters.nodelist=gpu[01]"],
        "mismatched input '[' expecting <EOF>\nin +launcher.additional_parameters.nodelist=gpu[01]",
    ),
    "option of sbatch with a comma": (
        ["+launcher.additional_parameters.mail-type=END,FAIL"],
        "launcher must be the same in every cell of a sweep (a comma that is part of a value",
    ),
    "no single values": (["seed=interval(0,1)"], "seed=interval(0,1): a sweep needs single values"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_answered_in_three_lines_with_key_and_fix(mistake: str) -> None:
    overrides, answer = MISTAKES[mistake]
    with pytest.raises(ConfigError) as caught:
        compose_grid(overrides)
    message = str(caught.value)
    assert message.startswith(answer)
    assert len(message.splitlines()) <= 3
    assert "hydra.cc" not in message


@pytest.mark.parametrize(
    "mistake",
    [
        "unknown key in a group",
        "unknown key in a group, swept",
        "word for a number",
        "unknown choice of many",
        "option of sbatch without a plus",
    ],
)
def test_hydra_gives_the_same_answer_as_a_grid(mistake: str) -> None:
    overrides, _ = MISTAKES[mistake]
    answers = []
    for make_cells in (compose_grid, hydra_cells):
        with pytest.raises(ConfigError) as caught:
            make_cells(overrides)
        answers.append(str(caught.value))
    assert answers[0] == answers[1]


def test_an_impossible_value_in_a_job_of_hydra_is_no_error_of_hydra(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(ConfigError, match=r"^synthetic.temperature must be positive, got -1$"):
        compose_run(["synthetic.temperature=-1"])
    assert capsys.readouterr().err == ""


def test_several_values_without_m_are_answered_with_m() -> None:
    with pytest.raises(ConfigError, match=r"^real_count=2,3: several values make a sweep.* -m$"):
        compose_run(["real_count=2,3"])


def test_a_composition_is_sorted_by_cell() -> None:
    cells = compose_grid(["real_count=3,2", "target=field", "synthetic=off"])
    assert in_order(reversed(cells)) == cells


def test_an_option_of_sbatch_with_a_comma_in_one_cell_is_answered_with_quotes() -> None:
    with pytest.raises(ConfigError, match="needs quotes inside quotes"):
        compose_run(["+launcher.additional_parameters.mail-type=END,FAIL"])


def test_a_class_of_the_files_is_added_by_a_plus() -> None:
    overrides = ["+dataset.categories.walker=person", "+target.categories.dog=other"]
    cells = compose_grid(overrides)
    assert {tuple(c.dataset.categories.items()) for c in cells} == {(("walker", "person"),)}
    assert {tuple(c.target.categories.items()) for c in cells} == {(("dog", "other"),)}


OPTIONS = {
    "one": (["+launcher.additional_parameters.nodelist=gpu07"], {"nodelist": "gpu07"}),
    "a dash": (["+launcher.additional_parameters.mail-type=FAIL"], {"mail-type": "FAIL"}),
    "two, one by one": (
        ["+launcher.additional_parameters.nice=10", "+launcher.additional_parameters.gres=gpu:1"],
        {"nice": 10, "gres": "gpu:1"},
    ),
    "a mapping": (
        ["launcher.additional_parameters={nodelist: gpu07, mail-type: FAIL, exclusive: true}"],
        {"nodelist": "gpu07", "mail-type": "FAIL", "exclusive": True},
    ),
    "quotes": (
        ["launcher.additional_parameters={nodelist: 'gpu[01-04]', mail-type: \"END,FAIL\"}"],
        {"nodelist": "gpu[01-04]", "mail-type": "END,FAIL"},
    ),
}


@pytest.mark.parametrize("way", OPTIONS)
def test_options_of_sbatch_are_given_one_by_one_or_as_a_mapping(way: str) -> None:
    words, expected = OPTIONS[way]
    overrides = [*words, "target=field", "synthetic=on"]
    single = compose_run(overrides)
    assert single is not None
    for cells in (compose_grid(overrides), single):
        assert [cell.launcher.additional_parameters for cell in cells] == [expected]


def test_the_classes_of_the_files_are_given_as_a_mapping_too() -> None:
    (cell,) = compose_grid(["target.categories={dog: other}", "target=field", "synthetic=on"])
    assert cell.target.categories == {"dog": "other"}


@pytest.mark.parametrize("flag", ["-m", "--multirun"])
def test_a_plain_sweep_needs_no_sweeper_of_hydra(
    flag: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(compose, "run_hydra", pytest.fail)
    composition = compose_run(["real_count=2,3", flag, "target=field", "synthetic=off"])
    assert composition is not None
    assert [cell.real_count for cell in composition] == [2, 3]


def test_a_sweep_that_asks_hydra_for_something_goes_through_hydra() -> None:
    fixed = ["-m", "real_count=2", "target=field", "synthetic=off"]
    composition = compose_run([*fixed, "hydra.sweeper.params.seed='3,4'"])
    assert composition is not None
    assert [cell.seed for cell in composition] == [3, 4]


def test_parts_that_no_swept_value_reaches_are_made_once() -> None:
    cells = compose_grid(["seed=range(0,50)", "target=field", "synthetic=on"])
    assert [cell.seed for cell in cells] == list(range(50))
    assert len({id(cell.detector) for cell in cells}) == 1


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["+target.categories.Fußgänger=person"], {"Fußgänger": "person"}),
        (
            ["+target.categories.人=person", "+target.categories.*=other"],
            {"人": "person", "*": "other"},
        ),
        (
            ['+target.categories={"*":other,Fußgänger: person}'],
            {"*": "other", "Fußgänger": "person"},
        ),
        (
            ["target.categories={0:person, traffic light: other}"],
            {"0": "person", "traffic light": "other"},
        ),
        (["+target.categories.traffic light=other"], {"traffic light": "other"}),
        (["+target.categories.a.b=other"], {"a.b": "other"}),
    ],
)
def test_class_names_of_any_language_come_from_the_command_line(
    words: list[str], expected: dict[str, str]
) -> None:
    grid = ["target=field", "synthetic=on", *words]
    for cells in (compose_grid(grid), run_hydra(grid)):
        assert [cell.target.categories for cell in cells] == [expected]


def test_a_wrong_meaning_of_such_a_name_is_shown_as_written() -> None:
    with pytest.raises(ConfigError, match=r"categories\.Fußgänger"):
        compose_grid(["target=field", "synthetic=on", "+target.categories.Fußgänger=human"])


@pytest.mark.parametrize("role", ["dataset", "target", "pool"])
def test_the_miniature_world_reads_no_folder(role: str) -> None:
    with pytest.raises(
        ConfigError, match="of the miniature world, which is drawn and reads no folder"
    ):
        compose_grid(["target=field", "synthetic=on", f"{role}.root=/data/mine"])
