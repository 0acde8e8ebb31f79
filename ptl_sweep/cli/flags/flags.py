"""Flags of a run: those of Hydra, read here, so that Hydra meets none that it stumbles over."""

import argparse
import os
import re
from collections.abc import Iterable, Sequence
from itertools import pairwise
from pathlib import Path

from ptl_sweep.cli.arguments import PROGRAM, Parser, add_config_dir
from ptl_sweep.compose.errors import unknown_key
from ptl_sweep.compose.grid import all_keys
from ptl_sweep.compose.own_choices import search_word
from ptl_sweep.compose.words import refuse_stray_words
from ptl_sweep.config.schema import ConfigError
from ptl_sweep.terminal import did_you_mean

SWITCHES = {
    "--help": "-h", "--hydra-help": None, "--version": None, "--multirun": "-m", "--run": "-r",
    "--resolve": None, "--shell-completion": "-sc",
}  # fmt: skip
INFO = ("all", "config", "defaults", "defaults-tree", "plugins", "searchpath")
MODES = ("run", "multirun", "cfg", "info", "shell_completion")
SHELLS = ("bash", "fish", "zsh")


def read_flags(arguments: Sequence[str]) -> tuple[argparse.Namespace, list[str]]:
    """Separate flags from words such as `seed=1`, in whatever order. Raises: ConfigError."""
    parser = _parser()
    options, rest = parser.parse_known_args(_with_whole_info(arguments))
    words = [word for word in rest if not word.startswith("-")]
    if len(words) < len(rest):
        parser.error(_unknown_flag(next(word for word in rest if word not in words)))
    _refuse_paths(options)
    _refuse_combinations(options)
    _refuse_packages(options)
    if options.shell_completion:
        _refuse_shells(words)
    else:
        refuse_stray_words(words)
    return options, words


def hydra_words(options: argparse.Namespace) -> list[str]:
    """Write the flags as Hydra reads them, each one word."""
    flags = {f"--{name.replace('_', '-')}": value for name, value in vars(options).items()}
    return [
        flag if value is True else f"{flag}={value}"
        for flag, value in flags.items()
        if value not in (None, False)
    ]


def _parser() -> Parser:
    usage = f"{PROGRAM} [-m] key=value ...; --help lists the keys, --hydra-help the flags"
    parser = Parser(prog=PROGRAM, usage=usage, add_help=False, allow_abbrev=False)
    for flag, short in SWITCHES.items():
        parser.add_argument(*filter(None, (flag, short)), action="store_true")
    parser.add_argument("--cfg", "-c", choices=("job", "hydra", "all"))
    parser.add_argument("--info", "-i", choices=INFO, nargs="?", const="all")
    parser.add_argument("--package", "-p")
    parser.add_argument("--config-name", "-cn")
    parser.add_argument("--config-path", "-cp")
    parser.add_argument("--experimental-rerun")
    add_config_dir(parser, "")
    return parser


def _with_whole_info(arguments: Iterable[str]) -> list[str]:
    """Write `--info=all` for `--info`, which would take the next word for what it should show."""
    words = list(arguments)
    for index, (word, after) in enumerate(pairwise([*words, ""])):
        if word in ("--info", "-i") and ("=" in after or after == ""):
            words[index] = "--info=all"
    return words


def _unknown_flag(word: str) -> str:
    flag, _, value = word.partition("=")
    key = flag.lstrip("-").replace("-", "_")
    if key in all_keys():
        return f"{flag}: keys have no dashes; write {key}={value or 'VALUE'}"
    known = [*SWITCHES, "--cfg", "--info", "--package", "--config-dir"]
    return f"there is no flag {flag}{did_you_mean(flag, known)}"


def _refuse_paths(options: argparse.Namespace) -> None:
    """Refuse another config than the package's, and a pickle, which can run any code."""
    name = options.config_name
    if name not in (None, "config"):
        raise ConfigError(
            f"--config-name {name}: there is one config, and experiments change it\n"
            "  fix: experiment=NAME; a file of your own lies in conf/experiment/NAME.yaml"
        )
    if options.config_path is not None:
        raise ConfigError(
            f"--config-path {options.config_path}: the config is that of the package\n"
            "  fix: --config-dir DIR adds choices of your own to it"
        )
    if options.experimental_rerun is not None:
        raise ConfigError(
            "--experimental-rerun loads a pickle, which may run any code\n"
            f"  fix: the same command again goes on; `{PROGRAM} rerun KEY` repeats one stage"
        )
    if options.config_dir is not None:
        search_word(options.config_dir)


def _refuse_combinations(options: argparse.Namespace) -> None:
    """Refuse two flags that each say what the command does, as Hydra does."""
    given = [mode for mode in MODES if getattr(options, mode)]
    if len(given) > 1:
        first, second = (f"--{mode.replace('_', '-')}" for mode in given[:2])
        raise ConfigError(
            f"{first} and {second} exclude each other: leave one out\n"
            f"  fix: --cfg and --info show one cell; `{PROGRAM} plan key=a,b` shows a grid"
        )
    if options.resolve and not (options.cfg or options.help):
        raise ConfigError("--resolve says how to print: add --cfg job, or --help")
    if options.package is not None and not options.cfg:
        raise ConfigError("--package says what to print: add --cfg job")


def _refuse_packages(options: argparse.Namespace) -> None:
    package = options.package
    if package in (None, "_global_", *all_keys()):
        return
    if options.cfg == "job" or package.partition(".")[0] != "hydra":
        raise ConfigError(f"--package: {unknown_key(package)}")


def _refuse_shells(words: Sequence[str]) -> None:
    """Refuse what is not one of `install=bash`, `uninstall=bash` and a shell's own question."""
    asked = words[0] if len(words) == 1 else ""
    if not re.fullmatch(rf"(install|uninstall|query)=({'|'.join(SHELLS)})", asked):
        raise ConfigError(
            f"--shell-completion takes install=SHELL or uninstall=SHELL; shells: "
            f'{", ".join(SHELLS)}\n  fix: eval "$(ptl-sweep -sc install=bash)"'
        )
    if asked.startswith("query") and "COMP_LINE" not in os.environ:
        raise ConfigError(
            f"{asked} is the question of a shell, which sets COMP_LINE\n"
            '  fix: eval "$(ptl-sweep -sc install=bash)"'
        )


def config_dir_word(options: argparse.Namespace) -> list[str]:
    """Write --config-dir as an override, for those who compose without Hydra's command line."""
    folder: Path | None = options.config_dir
    return [] if folder is None else [search_word(folder)]
