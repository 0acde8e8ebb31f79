"""Words that Hydra stumbles over: each is refused by its key, and the machine is not filled."""

import pytest

from ptl_sweep.compose.compose import compose_grid, compose_run
from ptl_sweep.compose.errors import LONGEST, refuse_secrets
from ptl_sweep.compose.words import (
    MOST_VALUES,
    refuse_additions,
    refuse_swept_experiment,
)
from ptl_sweep.config.schema import ConfigError

HUGE = "1" + "0" * 5000
REFUSED = {
    "a blank after a comma": (
        "real_count=10,",
        "real_count=10,: .*without blanks, real_count=10,VALUE",
    ),
    "a key of an overlay": ("arm.name=x", "^arm.name=x: arm holds no keys; arm=NAME chooses"),
    "a list for lists": (
        "detector.anchor_sizes=[14, 20]",
        r"^detector.anchor_sizes: .14, 20. is not a list of lists of numbers; write ..14, 20..",
    ),
    "letters beyond ASCII": (
        "dataset.root=/tmp/ü",
        "letters beyond ASCII need quotes: 'dataset.root=\"/tmp/ü\"'",
    ),
    "null for a key": ("launcher={null: 1}", "^launcher={null: 1}: null is the name of no key"),
    "null for a key, in a list": ("pool.options={a: [1,{null: 2}]}", "null is the name of no key"),
    "null for a key, swept": ("target={name: a},{null: 1}", "null is the name of no key"),
    "an integer of thousands of digits": (f"seed={HUGE}", "^seed: .* thousands of digits"),
    "one in a list": (f"synthetic.scales=[{HUGE}]", "^synthetic.scales: .* thousands of digits"),
    "lists without end": ("seed=" + "[" * 600 + "]" * 600, "seed=.*without end"),
    "a range that fills the memory": ("seed=range(0,1000000000)", "^seed=.* at most 100000 values"),
    "a range of fractions without end": ("train.learning_rate=range(0,1,1e-9)", "at most 100000"),
    "a range without step": ("seed=range(0,1,0)", "^seed: .*step is not 0"),
    "a range without values": ("seed=range(3,0)", "^seed=.*without a single value"),
    "a glob without values": ("train.num_steps=glob(*)", "train.num_steps"),
    "a list for a choice": ("synthetic=[1,2]", r"^synthetic=\[1,2\]: synthetic takes"),
    "a list for a choice by interpolation": ("gaussian=${oc.dict.keys:train}", "gaussian takes"),
    "an interpolation for a group": ("detector=${..seed}", "^detector=.*detector takes"),
    "nothing for a choice": ("dataset=null", "^dataset=null: dataset takes the name of a choice"),
    "a number among choices": ("target=field,3", "^target=field,3: target takes the name"),
    "an interpolation for a mapping": (
        "launcher.additional_parameters=${dataset}",
        "launcher.additional_parameters takes {key: value}",
    ),
    "an interpolation without its name": ("train.num_steps=${oc.env:}", "train.num_steps"),
    "a value twice": ("real_count=20,20", "write each value once"),
    "no word of the grammar": ("train.schedule='", "in train.schedule='"),
}


@pytest.mark.parametrize("what", REFUSED)
def test_a_word_is_refused_by_its_key(what: str) -> None:
    word, answer = REFUSED[what]
    with pytest.raises(ConfigError, match=answer) as caught:
        compose_grid(["target=field", "synthetic=on", word])
    assert all(len(line) < LONGEST + 100 for line in str(caught.value).split("\n"))


@pytest.mark.parametrize(
    "what", ["a range that fills the memory", "an integer of thousands of digits"]
)
def test_hydra_is_not_asked_either(what: str) -> None:
    word, answer = REFUSED[what]
    with pytest.raises(ConfigError, match=answer):
        compose_run([word, "hydra.job.name=x"])


def test_ranges_that_multiply_beyond_all_bounds_are_refused() -> None:
    assert MOST_VALUES < 1000 * 1000
    with pytest.raises(ConfigError, match="the grid has 1000000 cells, and a sweep at most 100000"):
        compose_grid(["seed=range(0,1000)", "real_count=range(1,1001)", "target=field",
                      "synthetic=on"])  # fmt: skip


@pytest.mark.parametrize("key", ["launcher.reduce.time_min", "+launcher.train.gpus", "seed"])
def test_a_secret_in_the_value_of_any_key_is_refused_and_not_repeated(key: str) -> None:
    with pytest.raises(ConfigError, match=f"^{key.lstrip('+')} sets WANDB_API_KEY") as caught:
        refuse_secrets([f"{key}='export WANDB_API_KEY=0123'"])
    assert "0123" not in str(caught.value)
    refuse_secrets(["--pattern=token=(.*)"])  # of another command


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
    refuse_additions(["real_count=3", "+hydra.job.name=x", "+dataset.categories={walker: person}"])


def test_an_escaped_comma_ends_a_text() -> None:
    (cell, *_) = compose_grid(["target.citation=Smith\\,", "synthetic=off", "target=field"])
    assert cell.target.citation == "Smith,"


def test_letters_beyond_ascii_are_read_as_the_message_says() -> None:
    (cell, *_) = compose_grid(
        ['target.root="/tmp/ü"', "synthetic=off", "target=yolo"], as_sweep=False
    )
    assert cell.target.root == "/tmp/ü"
