"""Command line: ``python -m ptl_sweep [-m] key=value ...``, or a command in front of the rest."""

import logging
import os
import shlex
import sys
from collections.abc import Sequence

# Everything of ours is imported late, so that Ctrl-C is answered from the first moment on.

FAILED_CELLS, USER_MISTAKE, INTERRUPTED = 1, 2, 130

log = logging.getLogger("ptl_sweep")


def main(arguments: Sequence[str]) -> int:
    """Run a command or a sweep. Returns 0, 1 for failed cells, 2 for a mistake of the user."""
    try:
        return _main(arguments)
    except KeyboardInterrupt:
        return _interrupted()


def _interrupted() -> int:
    log.error("interrupted; the same command goes on where this one stopped")
    return INTERRUPTED


def _main(arguments: Sequence[str]) -> int:
    from ptl_sweep.cli.flags.answers import answer_flags
    from ptl_sweep.cli.os_errors import os_error_text
    from ptl_sweep.compose.errors import brief_words, refuse_secrets
    from ptl_sweep.config.schema import ConfigError
    from ptl_sweep.datasets.validation import DataError

    try:
        refuse_secrets(arguments)
        return 0 if answer_flags(arguments) else _command(arguments)
    except (ConfigError, DataError) as error:
        log.error("%s", brief_words(str(error)))  # noqa: TRY400 a mistake needs no traceback
        return USER_MISTAKE
    except BrokenPipeError:
        raise  # `cli` knows: what reads our output has read enough
    except OSError as error:
        log.debug("the error in full", exc_info=True)
        log.error("%s", os_error_text(error))  # noqa: TRY400 it names file and fix
        return FAILED_CELLS


def _command(arguments: Sequence[str]) -> int:
    from ptl_sweep.cli import commands
    from ptl_sweep.launchers.slurm.commands import SlurmError
    from ptl_sweep.ownership import StageClaimedError
    from ptl_sweep.store import StoreError

    try:
        if arguments and arguments[0] in commands.COMMANDS:
            return commands.COMMANDS[arguments[0]](list(arguments[1:]))
        commands.refuse_unknown_command(arguments)
        return commands.run_sweep(list(arguments), command=shlex.join(arguments))
    except (StoreError, StageClaimedError, SlurmError) as error:
        log.error("%s", error)  # noqa: TRY400
        return FAILED_CELLS


def cli() -> None:
    """Entry point of the console script."""
    logging.basicConfig(level=logging.WARNING, format="%(message)s", stream=sys.stderr)
    try:
        from ptl_sweep.config.schema import THREAD_VARIABLES
    except KeyboardInterrupt:
        sys.exit(_interrupted())
    os.environ |= dict.fromkeys(THREAD_VARIABLES, "1")
    try:
        code = main(sys.argv[1:])
        sys.stdout.flush()
    except BrokenPipeError:  # of `| head`; what is left to write at exit goes nowhere, silently
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = FAILED_CELLS
    sys.exit(code)


if __name__ == "__main__":
    cli()
