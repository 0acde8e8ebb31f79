"""What a shell completes behind `ptl-sweep`: commands, sweeps, and Hydra's groups and keys."""

import contextlib
import io
import os
from collections.abc import Sequence
from pathlib import Path

from ptl_sweep.compose.compose import run_hydra
from ptl_sweep.pipeline.plan import PLAN

OF_SWEEPS = {
    "status", "wait", "cancel", "report", "sync", "publish", "table", "figure", "rerun", "store",
}  # fmt: skip
OF_GRIDS = {"plan", "check", "pool"}


def completions(line: str) -> list[str]:
    """List what the last word of a command line may become."""
    from ptl_sweep.cli.commands import COMMANDS  # which --help goes without
    from ptl_sweep.cli.measure.measure import FOLDER, measure_keys
    from ptl_sweep.cli.store.store import VERBS

    words = line.split()[1:]
    last = "" if line[-1:].isspace() or not words else words.pop()
    if not words:
        return [*_begun(last, list(COMMANDS)), *keys_of_hydra([last])]
    if words[0] in OF_SWEEPS:
        verbs = VERBS if words[0] == "store" else ()
        return _begun(last, [*verbs, *_sweeps(words)])
    if words[0] in OF_GRIDS:
        return keys_of_hydra([*words[1:], last])
    if words[0] == "measure" and last:  # without a letter, shells list the folders
        return _begun(last, [f"{key}=" for key in (FOLDER, *measure_keys())])
    return [] if words[0] in COMMANDS else keys_of_hydra([*words, last])


def _begun(word: str, choices: Sequence[str]) -> list[str]:
    return [choice for choice in choices if choice.startswith(word)]


def _sweeps(words: Sequence[str]) -> list[str]:
    """List the sweeps below sweep.root, the newest first."""
    root = next((word.partition("=")[2] for word in words if word.startswith("sweep.root=")), "")
    plans = Path(root or "outputs", "sweeps").glob(f"*/{PLAN}")
    newest_first = sorted(plans, key=lambda path: path.stat().st_mtime, reverse=True)
    return [path.parent.name for path in newest_first]


def keys_of_hydra(words: Sequence[str]) -> list[str]:
    """Ask Hydra, which knows groups, choices and keys; nothing where it stumbles.

    What it says then would stand in the middle of what is being typed.
    """
    known = [word for word in words[:-1] if "=" in word]
    line = " ".join(["ptl-sweep", *known, words[-1]])
    before, shown = dict(os.environ), io.StringIO()
    os.environ["COMP_LINE"] = line if words[-1] else f"{line.rstrip()} "
    try:
        with contextlib.redirect_stdout(shown), contextlib.redirect_stderr(io.StringIO()):
            run_hydra(["--shell-completion", "query=bash"])
    except (Exception, SystemExit):
        return []
    finally:
        if "COMP_LINE" in before:
            os.environ["COMP_LINE"] = before["COMP_LINE"]
        else:
            del os.environ["COMP_LINE"]
    return shown.getvalue().split()
