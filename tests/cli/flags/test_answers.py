"""Help and flags of a run: what Hydra would print, wherever the flags stand."""

from pathlib import Path
from typing import Any

import pytest

from ptl_sweep.cli.flags.flags import hydra_words, read_flags
from ptl_sweep.compose.compose import run_hydra


def hydras(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    capsys.readouterr()
    with pytest.raises(SystemExit):
        run_hydra(arguments)
    return capsys.readouterr().out


@pytest.mark.parametrize("words", [(), ("real_count=3", "experiment=demo")])
def test_help_is_the_text_of_hydra_with_choices_of_ones_own(
    words: tuple[str, ...],
    run: Any,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    own = tmp_path / "conf" / "target" / "quarry.yaml"
    own.parent.mkdir(parents=True)
    own.write_text("name: quarry\n")
    shown = run("--help", *words).output
    assert "quarry, sard" in shown
    assert shown == hydras(capsys, "--help", *words)
    assert run(*words, "-h").output == shown


def test_help_leaves_out_what_is_swept(run: Any) -> None:
    assert "\nreal_count: 20\n" in run("-m", "real_count=2,3", "--help").output


@pytest.mark.parametrize("command", ["plan", "new-target", "store"])
def test_help_of_a_command_is_not_that_of_a_run(
    command: str, run: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        run(command, "--help")
    assert capsys.readouterr().out.startswith(f"usage: python -m ptl_sweep {command}")


def test_flags_stand_anywhere_and_info_takes_no_word_for_what_it_shows() -> None:
    options, words = read_flags(["target=field", "--info", "seed=1", "-cd", "."])
    assert words == ["target=field", "seed=1"]
    assert hydra_words(options) == ["--info=all", "--config-dir=."]
    options, words = read_flags(["seed=1", "-i", "defaults"])
    assert (hydra_words(options), words) == (["--info=defaults"], ["seed=1"])
