"""What flags print in place of a run: the version, the help, and what a shell completes."""

import argparse
import os
import re
import string
from collections.abc import Sequence
from importlib.metadata import version
from itertools import chain
from pathlib import Path

from omegaconf import OmegaConf

from ptl_sweep.cli.flags.completion import completions
from ptl_sweep.cli.flags.flags import config_dir_word, read_flags
from ptl_sweep.compose.compose import compose_shown
from ptl_sweep.compose.own_choices import own_folder
from ptl_sweep.config.schema import conf_dir
from ptl_sweep.terminal import say

ANSWERED = {"--help", "-h", "--version", "--shell-completion", "-sc"}


def answer_flags(arguments: Sequence[str]) -> bool:
    """Print what flags of a run ask for; False: nothing, or what Hydra prints.

    It needs no command, so that --help starts fast. Raises: ConfigError.
    """
    if not arguments or re.match(r"[^-+~=][^=]*$", arguments[0]) or not ANSWERED & {*arguments}:
        return False
    options, words = read_flags(arguments)
    if options.version:
        say(f"ptl-sweep {version('ptl-sweep')}, Hydra {version('hydra-core')}")
    elif options.help:
        say(help_text([*words, *config_dir_word(options)], options))
    elif options.shell_completion and words[0].startswith("query="):
        say("\n".join(completions(os.environ["COMP_LINE"])))
    else:
        return False
    return True


def help_text(words: Sequence[str], options: argparse.Namespace) -> str:
    """Write what Hydra's --help writes, whose own way of listing the groups takes seconds.

    Raises: ConfigError.
    """
    config = compose_shown(words)
    template = string.Template(config.hydra.help.template)
    folder = options.config_dir or own_folder()
    shown = OmegaConf.create({k: v for k, v in config.items_ex(resolve=False) if k != "hydra"})
    return template.substitute(
        APP_CONFIG_GROUPS=_groups_text([conf_dir(), *([folder] if folder else [])]),
        CONFIG=OmegaConf.to_yaml(shown, resolve=options.resolve),
    )


def _groups_text(folders: Sequence[Path]) -> str:
    """List the choices of every group: the files below the folders."""
    groups: dict[str, set[str]] = {}
    for path in chain.from_iterable(folder.glob("*/*.yaml") for folder in folders):
        groups.setdefault(path.parent.name, set()).add(path.stem)
    return "".join(
        f"{group}: {', '.join(sorted(names))}\n" for group, names in sorted(groups.items())
    )
