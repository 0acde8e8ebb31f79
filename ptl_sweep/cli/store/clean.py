"""`store clean`: removes from a store what is of no use."""

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ptl_sweep.cli.arguments import OK, command_parser, parse_overrides, sweep_root
from ptl_sweep.cli.store.arguments import GROUP, find_store
from ptl_sweep.config.schema import ConfigError
from ptl_sweep.pipeline.upkeep.leftovers import Leftover, clock_of, find_leftovers
from ptl_sweep.pipeline.upkeep.removal import remove_leftovers
from ptl_sweep.pipeline.upkeep.used_stages import UsedStages, plan_files
from ptl_sweep.store import Store
from ptl_sweep.terminal import WIDTH, answer, file_size, progress_bar

UNCONFIRMED = "nothing was removed: --unused deletes published stages; add --yes to have it done"


@dataclass(frozen=True, slots=True)
class Cleaning:
    """What was removed, or would be."""

    store: Store
    items: Sequence[Leftover]
    is_done: bool
    note: str = ""

    @property
    def size(self) -> int:
        """Bytes of all of it."""
        return sum(item.size for item in self.items)


def clean_command(arguments: list[str]) -> int:
    """Remove what is of no use: temporary files, dead claims, work folders of published stages."""
    parser = command_parser(clean_command, group=GROUP)
    parser.add_argument("--dry-run", action="store_true", help="say what would go, remove nothing")
    parser.add_argument(
        "--unused",
        action="store_true",
        help="also stages and work folders that no plan.json below sweep.root needs; wants --yes",
    )
    parser.add_argument("--yes", action="store_true", help="really remove what --unused lists")
    overrides, options = parse_overrides(parser, arguments)
    cleaning = _clean(find_store(sweep_root(overrides)), options)
    answer(_content(cleaning), _text(cleaning), as_json=options.json)
    return OK


def _clean(store: Store, options: argparse.Namespace) -> Cleaning:
    """List what may go, and remove it where that was asked for. Raises: ConfigError, OSError."""
    used = _used(store.root.parent) if options.unused else None
    if options.dry_run or (options.unused and not options.yes):
        note = "" if options.dry_run else UNCONFIRMED
        return Cleaning(store, find_leftovers(store, used=used), is_done=False, note=note)
    leftovers = find_leftovers(store, now=clock_of(store.root), used=used)
    with progress_bar() as bar:
        task = bar.add_task("removing", total=None)

        def show(done: int, total: int) -> None:
            bar.update(task, completed=done, total=total)

        gone = remove_leftovers(store, leftovers, used=used, progress=show)
    return Cleaning(store, gone, is_done=True)


def _used(root: Path) -> UsedStages:
    """What the sweeps need. Raises: ConfigError where there is none: all would look unused."""
    if not plan_files(root):
        raise ConfigError(
            f"{root} has no plan.json of any sweep, so that every stage looks unused\n"
            "  fix: bring back the folder sweeps/, or delete the store by hand"
        )
    return UsedStages(root)


def _content(cleaning: Cleaning) -> dict[str, object]:
    return {
        "store": str(cleaning.store.root),
        "removed": cleaning.is_done,
        "note": cleaning.note,
        "bytes": cleaning.size,
        "items": [
            {"path": str(item.path), "what": item.sort, "reason": item.reason, "bytes": item.size}
            for item in cleaning.items
        ],
    }


def _text(cleaning: Cleaning) -> str:
    if not cleaning.items:
        return f"nothing to remove in {cleaning.store.root}"
    verb, freed = ("removed", "freed") if cleaning.is_done else ("would remove", "would free")
    lines = [_line(verb, item, cleaning.store.root) for item in cleaning.items]
    lines.append(f"{freed} {file_size(cleaning.size)} in {cleaning.store.root}")
    return "\n".join([*lines, *([cleaning.note] if cleaning.note else [])])


def _line(verb: str, item: Leftover, store: Path) -> str:
    """One line where it fits; a name is never broken, so that it can be copied."""
    what = f"{verb}  {item.path.relative_to(store)} ({file_size(item.size)})"
    line = f"{what}: {item.reason}"
    return line if len(line) <= WIDTH else f"{what}:\n        {item.reason}"
