"""A choice file of the user's own that Hydra cannot use is named with its fault and the fix."""

from collections.abc import Callable
from pathlib import Path

import pytest

from ptl_sweep.compose.compose import compose_grid, compose_run
from ptl_sweep.config.schema import ConfigError

GLOBAL = "# @package _global_\n"
FAULTS = {
    "a name without quotes": (
        GLOBAL + "defaults:\n  - override /synthetic: off\n",
        'the name of synthetic needs quotes: `- override /synthetic: "off"`',
    ),
    "a number for a name": (
        GLOBAL + "defaults:\n  - override /target: 5\n",
        'the name of target needs quotes: `- override /target: "5"`',
    ),
    "a one for a name": (
        GLOBAL + "defaults:\n  - override /target: 1\n",
        'the name of target needs quotes: `- override /target: "1"`',
    ),
    "a number among names": (
        GLOBAL + "defaults:\n  - override /target: [field, 5]\n",
        'the name of target needs quotes: `- override /target: "field", "5"`',
    ),
    "a switch for a group": (
        GLOBAL + "defaults:\n  - on: off\n", 'the name of a choice needs quotes: `- on: "off"`'
    ),
    "a bracket that is not closed": ("real_count: [5\n", "line 2: no YAML: expected ','"),
    "a tab": ("real_count:\n\t- 5\n", "cannot start any token\n  fix: indent with blanks"),
    "a key twice": (
        GLOBAL + "seed: 5\nseed: 6\n", "line 3: no YAML: found duplicate key seed"
    ),
    "an object of Python's": ("!!python/object:os.system {}\n", "line 1: no YAML: could not"),
    "a list": ("- a\n- b\n", "a choice is a mapping of keys to values"),
    "defaults that are no list": (GLOBAL + "defaults: off\n", "defaults: False is no list"),
    "parameters that are no mapping": (
        GLOBAL + "hydra:\n  sweeper:\n    params: 5\n", "hydra.sweeper.params: 5 is no mapping"
    ),
    "a value for a group": (
        GLOBAL + "synthetic: off\n",
        'synthetic is a group: write `- override /synthetic: "NAME"` below `defaults:`',
    ),
}  # fmt: skip


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The file of experiment=mine, not there yet."""
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "conf" / "experiment" / "mine.yaml"
    path.parent.mkdir(parents=True)
    return path


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("compose", [compose_grid, compose_run])
def test_a_file_that_cannot_be_used_is_named(
    fault: str, compose: Callable[[list[str]], object], own: Path
) -> None:
    content, message = FAULTS[fault]
    own.write_text(content)
    with pytest.raises(ConfigError) as refused:
        compose(["experiment=mine"])
    assert str(refused.value).startswith("conf/experiment/mine.yaml: ")
    assert message in str(refused.value)


def test_a_file_that_is_no_text_is_named(own: Path) -> None:
    own.write_bytes(b"real_count: \xff\n")
    with pytest.raises(ConfigError, match=r"mine\.yaml: no UTF-8 \(byte 12\)\n  fix: save"):
        compose_grid(["experiment=mine"])


def test_a_file_without_its_first_line_is_told_to_have_it(own: Path) -> None:
    own.write_text("real_count: 5\n")
    with pytest.raises(ConfigError, match="first line must be `# @package _global_`"):
        compose_grid(["experiment=mine"])


def test_a_folder_named_by_a_flag_is_looked_at_and_no_other(own: Path, tmp_path: Path) -> None:
    own.write_text("a: b: c\n")
    other = tmp_path / "choices"
    (other / "experiment").mkdir(parents=True)
    (other / "experiment" / "mine.yaml").write_text("real_count: [5\n")
    for words in (["--config-dir", "choices"], ["--config-dir=choices"], ["-cd", "choices"]):
        with pytest.raises(ConfigError, match=r"choices/experiment/mine\.yaml: line 2: no YAML"):
            compose_run(["experiment=mine", *words])


def test_a_file_that_names_itself_is_no_endless_search(own: Path) -> None:
    own.write_text(GLOBAL + "defaults:\n  - mine\n")
    with pytest.raises(ConfigError, match="name each other among their defaults without end"):
        compose_grid(["experiment=mine"])


def test_a_file_that_another_one_names_is_found(own: Path) -> None:
    own.write_text(GLOBAL + "defaults:\n  - override /target: lake\n")
    lake = own.parents[1] / "target" / "lake.yaml"
    lake.parent.mkdir()
    lake.write_text("name: [\n")
    with pytest.raises(ConfigError, match=r"^conf/target/lake\.yaml: line 2: no YAML"):
        compose_grid(["experiment=mine"])


@pytest.mark.parametrize("value", ["/abs", "a" * 5000, "../x", "mine/"])
@pytest.mark.parametrize("key", ["dataset.root", "dataset", "experiment"])
def test_words_that_name_no_file_are_no_trap_for_the_search(
    key: str, value: str, own: Path
) -> None:
    with pytest.raises(ConfigError):
        compose_grid([f"{key}={value}", "real_count=abc"])


@pytest.mark.parametrize("place", ["experiment/mine", "target/field", "target/off", "arm/mine"])
def test_a_file_that_no_word_uses_is_not_blamed(place: str, own: Path) -> None:
    """Nor one that the package has under that name, which Hydra takes."""
    path = own.parents[1] / f"{place}.yaml"
    path.parent.mkdir(exist_ok=True)
    path.write_text("real_count: [5\n")
    words = ["real_count=2", "synthetic=off", "target=field", "sweep.name=mine"]
    assert compose_grid(words)
    with pytest.raises(ConfigError, match="real_count: 'abc' is not an integer"):
        compose_grid([*words, "real_count=abc"])
