"""The store that a command of `store` is about, and the sweep, where it names one."""

import argparse
from collections.abc import Sequence
from pathlib import Path

from ptl_sweep.cli.arguments import find_sweep, parse_overrides, sweep_root
from ptl_sweep.config.schema import ConfigError
from ptl_sweep.pipeline.plan import Plan
from ptl_sweep.store import Store

GROUP = "store"


def parse_store(
    parser: argparse.ArgumentParser, arguments: Sequence[str]
) -> tuple[Store, Plan | None, argparse.Namespace]:
    """Find the store and the sweep, None for all of them, and the flags. Raises: ConfigError."""
    parser.add_argument("sweep", nargs="?", help="name or folder; default: the whole store")
    overrides, options = parse_overrides(parser, arguments)
    root = sweep_root(overrides)
    plan = find_sweep(options.sweep, overrides) if options.sweep is not None else None
    return find_store(root if plan is None else plan.root), plan, options


def find_store(root: Path) -> Store:
    """Find the store below sweep.root. Raises: ConfigError where there is none."""
    store = Store(root / "store")
    if not store.root.is_dir():
        raise ConfigError(
            f"no sweep has computed anything in {root}: {store.root} is no folder; "
            "start one, or set sweep.root=..."
        )
    return store
