"""The detector that a command names: by the key of a stage, or by a cell of a sweep."""

import argparse
import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from ptl_sweep.cli.arguments import cells_of, cells_shown, find_sweep, sweep_root
from ptl_sweep.cli.store.arguments import find_store
from ptl_sweep.config.schema import ConfigError
from ptl_sweep.pipeline.plan import Plan

if TYPE_CHECKING:  # torch comes with it
    from ptl_sweep.predict.published import PublishedDetector

STAGE_WORDS = (
    "STAGE is the key of a stage in the store, or the first letters of it: train-..., ptl-..., or "
    "evaluate-... for the detector that was evaluated. A cell of a sweep may stand in its place, "
    "as real_count=20 synthetic=on seed=0 (axes that make no difference may be left out). "
    "key=value beside it is sweep.root=FOLDER alone, below which the store lies (default: outputs)."
)
OTHERS = {
    "FOLDER": "which detector, and a folder of pictures or one picture",
    "FILE.pt": "which detector, and the file to write",
}
_KEY_VALUE = re.compile(r"[a-z_.]+=")  # a path such as ./a=b is none


class Request(NamedTuple):
    """What was asked for."""

    root: Path  # sweep.root
    published: "PublishedDetector"
    place: Path  # the other name on the command line
    options: argparse.Namespace


def parse_request(parser: argparse.ArgumentParser, arguments: Sequence[str], other: str) -> Request:
    """Find the detector and the `other` name, FOLDER or FILE. Raises: ConfigError, StoreError."""
    parser.usage = f"{parser.prog} STAGE {other} [options]"
    parser.add_argument(
        "names", nargs="*", metavar=f"STAGE {other}", help=f"{OTHERS[other]}; see below"
    )
    parser.add_argument("--sweep", help="whose cell is meant: name or folder; default: the newest")
    settings = [word for word in arguments if _KEY_VALUE.match(word)]
    rest = [word for word in arguments if word not in settings]
    options = parser.parse_intermixed_args(rest)
    overrides = [word for word in settings if word.startswith("sweep.root=")]
    cell = [word for word in settings if word not in overrides]
    wanted = 1 if cell else 2
    if len(options.names) != wanted:
        got = f", got {' '.join(options.names)}" if options.names else ""
        raise ConfigError(
            f"needs a STAGE or a cell, and a {other}{got}\n"
            f"usage: {parser.prog} STAGE {other}, or {parser.prog} real_count=20 ... {other}"
        )
    root, key = _named(options, overrides, cell)
    from ptl_sweep.predict.published import PublishedDetector

    published = PublishedDetector.open(find_store(root), key)
    return Request(root, published, Path(options.names[-1]).expanduser(), options)


def _named(
    options: argparse.Namespace, overrides: Sequence[str], cell: Sequence[str]
) -> tuple[Path, str]:
    """The root, and the key of a detector that is published there."""
    if not cell:
        root = sweep_root(overrides)
        store = find_store(root)
        from ptl_sweep.predict.published import find_detector

        return root, find_detector(store, options.names[0])
    plan = find_sweep(options.sweep, overrides)
    return plan.root, detector_of(plan, cell)


def detector_of(plan: Plan, words: Sequence[str]) -> str:
    """Find the published detector of the cells that these words describe. Raises: ConfigError."""
    cells = cells_of(plan, words)
    found = list(dict.fromkeys(one.readings[-1].detector for one in cells))
    if len(found) != 1:
        raise ConfigError(
            f"{len(found)} detectors of {plan.name} are {' '.join(words) or 'meant'}; "
            f"for example: {cells_shown(cells or plan.cells)}"
        )
    from ptl_sweep.predict.published import require_published

    require_published(plan.store, found[0])
    return found[0]
