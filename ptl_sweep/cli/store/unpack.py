"""`store unpack`: a sweep that was packed on another machine."""

from dataclasses import asdict
from pathlib import Path

from ptl_sweep.cli.arguments import OK, command_parser, parse_overrides, sweep_root
from ptl_sweep.cli.store.arguments import GROUP
from ptl_sweep.pipeline.upkeep.unpacking import Unpacked, unpack_sweep
from ptl_sweep.terminal import answer, file_size, progress_bar

MAX_SHOWN = 5  # stages in a note


def unpack_command(arguments: list[str]) -> int:
    """Take up a sweep that `store pack` has written; whatever is here already stays as it is."""
    parser = command_parser(unpack_command, group=GROUP)
    parser.add_argument("file", type=Path, metavar="FILE.tar", help="what `store pack` has written")
    overrides, options = parse_overrides(parser, arguments)
    with progress_bar() as bar:
        task = bar.add_task("unpacking stages", total=None)

        def show(done: int, total: int) -> None:
            bar.update(task, completed=done, total=total)

        found = unpack_sweep(options.file, sweep_root(overrides), progress=show)
    answer({**asdict(found), "folder": str(found.folder)}, _text(found), as_json=options.json)
    return OK


def _text(found: Unpacked) -> str:
    added = f"{len(found.added)} stages ({file_size(found.size)})"
    lines = [
        f"unpacked  {found.sweep}: {added}, {len(found.kept)} were here already",
        f"sweep     {found.folder}" + (" (was here: kept as it is)" if found.has_plan else ""),
        f"next      python -m ptl_sweep report {found.folder}",
    ]
    if found.differing:
        shown = ", ".join(found.differing[:MAX_SHOWN])
        more = ", ..." if len(found.differing) > MAX_SHOWN else ""
        lines.append(
            f"note      {len(found.differing)} of those that were here have other numbers than "
            f"those of the archive\n          (computed on another machine) and were kept: "
            f"{shown}{more}"
        )
    return "\n".join(lines)
