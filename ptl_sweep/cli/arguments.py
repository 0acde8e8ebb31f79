"""The command line of a command: flags, names and overrides, and the sweep that they mean."""

import argparse
import logging
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NoReturn

from ptl_sweep.compose.cells.ids import CellId, named_axes, value_text
from ptl_sweep.compose.own_choices import search_word
from ptl_sweep.compose.words import refuse_stray_words
from ptl_sweep.config.schema import ConfigError
from ptl_sweep.pipeline.graph import Cell
from ptl_sweep.pipeline.plan import Plan, find_plan
from ptl_sweep.terminal import did_you_mean

log = logging.getLogger(__name__)

OK, FAILED = 0, 1
PROGRAM = "python -m ptl_sweep"
FLAGS_OF_RUNS = {
    "--cfg", "-c", "--info", "-i", "--resolve", "--package", "-p", "--run", "-r", "--hydra-help",
    "--version", "--shell-completion", "-sc",
}  # fmt: skip
Command = Callable[[list[str]], int]  # its arguments -> the exit code

SWEEP_WORDS = (
    "Of key=value this command takes sweep.root=FOLDER alone, below which sweeps are looked for "
    "(default: outputs)."
)
GRID_WORDS = (
    "key=value as in a run: a grid, such as real_count=20,50 target=field; -m may be left out. "
    "The keys: python -m ptl_sweep --help."
)


class Parser(argparse.ArgumentParser):
    """A parser whose refusals are mistakes like all others: one line, and how the command goes."""

    def error(self, message: str) -> NoReturn:
        """Refuse what was typed. Raises: ConfigError."""
        command = self.prog.removeprefix(PROGRAM).strip()
        usage = " ".join(self.format_usage().split())
        raise ConfigError(f"{command}{': ' * bool(command)}{message}\n{usage}")


def name_of(command: Command) -> str:
    """Name the word that a user types: `new-target` for `new_target_command`."""
    return command.__name__.removesuffix("_command").replace("_", "-")


def command_parser(
    command: Command, *, group: str = "", words: str | None = SWEEP_WORDS, has_json: bool = True
) -> argparse.ArgumentParser:
    """Make the parser of a command, of a group or not; `words` says which key=value it takes."""
    prog = f"{PROGRAM} {group} {name_of(command)}".replace("  ", " ")
    parser = Parser(prog=prog, description=command.__doc__, epilog=words)
    if has_json:
        parser.add_argument("--json", action="store_true", help="machine-readable")
    if words == GRID_WORDS:
        add_config_dir(parser, "choices of your own beside those of the package; default: ./conf")
    return parser


def add_config_dir(parser: argparse.ArgumentParser, meaning: str) -> None:
    """Let a command take Hydra's flag for another folder of choices."""
    parser.add_argument("--config-dir", "-cd", metavar="DIR", type=Path, help=meaning)


def whole_number(text: str) -> int:
    """Read a flag's value, 0 or more. Raises: ArgumentTypeError, which ends with code 2."""
    try:
        number = int(text)
    except ValueError:
        number = -1
    if number < 0:
        raise argparse.ArgumentTypeError(f"must be a whole number, 0 or more, got {text[:40]}")
    return number


def parse_overrides(
    parser: argparse.ArgumentParser, arguments: Sequence[str]
) -> tuple[list[str], argparse.Namespace]:
    """Separate Hydra's overrides, given with or without -m, from flags and names.

    Raises: ConfigError for a folder of choices that is not there, and for a word too many.
    """
    overrides = [a for a in arguments if "=" in a and not a.startswith("-")]
    rest = [a for a in arguments if a not in overrides and a not in ("-m", "--multirun")]
    options, stray = parser.parse_known_args(rest)
    if stray and not stray[0].startswith("-"):
        refuse_stray_words([*overrides[-1:], *stray])
    if stray:
        parser.error(_unknown_flag(parser, stray[0].partition("=")[0]))
    folder: Path | None = getattr(options, "config_dir", None)
    return overrides if folder is None else [*overrides, search_word(folder)], options


def _unknown_flag(parser: argparse.ArgumentParser, flag: str) -> str:
    if flag in FLAGS_OF_RUNS:
        return f"{flag} is a flag of `{PROGRAM} key=value ...`, without a command in front"
    own = re.findall(r"--[a-z-]+", parser.format_usage())
    return f"there is no flag {flag}{did_you_mean(flag, own)}"


def parse_sweep(
    parser: argparse.ArgumentParser, arguments: Sequence[str]
) -> tuple[Plan, argparse.Namespace]:
    """Find the sweep that a command is about, and its flags. Raises: ConfigError."""
    parser.add_argument("sweep", nargs="?", help="name or folder; default: the newest")
    overrides, options = parse_overrides(parser, arguments)
    return find_sweep(options.sweep, overrides), options


def find_sweep(name: str | None, overrides: Sequence[str]) -> Plan:
    """Find a sweep by name or folder, the newest of a sweep.name, or the newest below sweep.root.

    Raises: ConfigError.
    """
    return find_plan(sweep_root(overrides), name)


def sweep_root(overrides: Sequence[str]) -> Path:
    """Read sweep.root, the only override of these commands. Raises: ConfigError for another."""
    settings = dict(o.split("=", 1) for o in overrides)
    unknown = set(settings) - {"sweep.root"}
    if unknown:
        raise ConfigError(
            f"{sorted(unknown)[0]}: this command takes a sweep and sweep.root=... only"
        )
    return Path(settings.get("sweep.root", "outputs"))


def cells_of(plan: Plan, words: Sequence[str]) -> list[Cell]:
    """Find the cells that words such as `real_count=20 synthetic=on` describe.

    Raises: ConfigError for a word that names no axis.
    """
    named = named_axes(dict(word.split("=", 1) for word in words), plan.axes)
    whole = CellId.__annotations__
    wanted = {
        axis: int(text) if whole.get(axis) is int and text.isdecimal() else text
        for axis, text in named.items()
    }
    return [cell for cell in plan.cells if cell.is_at(wanted)]


def cells_shown(cells: Sequence[Cell]) -> str:
    """Write the first four cells as they are typed."""
    return "; ".join(
        " ".join(f"{axis}={value_text(value)}" for axis, value in cell.coordinates.items())
        for cell in cells[:4]
    )
