"""`store`: the group of commands that look after the store."""

from ptl_sweep.cli.arguments import SWEEP_WORDS, Command, command_parser, name_of
from ptl_sweep.cli.store.arguments import GROUP
from ptl_sweep.cli.store.clean import clean_command
from ptl_sweep.cli.store.du import du_command
from ptl_sweep.cli.store.pack import pack_command
from ptl_sweep.cli.store.unpack import unpack_command
from ptl_sweep.cli.store.verify import verify_command
from ptl_sweep.config.schema import ConfigError
from ptl_sweep.terminal import did_you_mean

VERBS: dict[str, Command] = {
    name_of(command): command
    for command in (du_command, verify_command, clean_command, pack_command, unpack_command)
}


def store_command(arguments: list[str]) -> int:
    """Look after the store, which all sweeps share: measure, verify, clean, carry elsewhere."""
    if arguments and arguments[0] in VERBS:
        return VERBS[arguments[0]](arguments[1:])
    if {"-h", "--help"} & set(arguments):
        _explain()
    words = [word for word in arguments if not word.startswith("-") and "=" not in word]
    problem = f"unknown verb {words[0]}{did_you_mean(words[0], VERBS)}" if words else "needs a verb"
    raise ConfigError(
        f"{GROUP}: {problem}\n"
        f"usage: python -m ptl_sweep {GROUP} {'|'.join(VERBS)} ...; each answers to --help"
    )


def _explain() -> None:
    """Print the help, and end with code 0."""
    parser = command_parser(store_command, words=SWEEP_WORDS, has_json=False)
    verbs = parser.add_subparsers(title="verbs; each answers to --help", metavar="VERB")
    for name, command in VERBS.items():
        verbs.add_parser(name, help=command.__doc__)
    parser.parse_args(["--help"])
