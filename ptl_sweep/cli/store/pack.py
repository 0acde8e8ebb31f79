"""`store pack`: a sweep as one file for another machine."""

from pathlib import Path

from ptl_sweep.cli.arguments import OK, command_parser, find_sweep, parse_overrides
from ptl_sweep.cli.store.arguments import GROUP, find_store
from ptl_sweep.config.schema import ConfigError
from ptl_sweep.pipeline.upkeep.packing import Packed, pack_sweep
from ptl_sweep.terminal import answer, file_size, progress_bar

SUFFIX = ".tar"


def pack_command(arguments: list[str]) -> int:
    """Write a sweep into one .tar file for another machine: its tables and finished stages."""
    parser = command_parser(pack_command, group=GROUP)
    parser.add_argument("sweep", nargs="?", help="name or folder; default: the newest")
    parser.add_argument("file", type=Path, metavar="FILE.tar", help="the archive, a new file")
    overrides, options = parse_overrides(parser, arguments)
    path: Path = options.file
    if path.suffix != SUFFIX:
        raise ConfigError(f"{path}: the archive is a file that ends in {SUFFIX}, and comes last")
    plan = find_sweep(options.sweep, overrides)
    find_store(plan.root)
    with progress_bar() as bar:
        task = bar.add_task("packing stages", total=None)

        def show(done: int, total: int) -> None:
            bar.update(task, completed=done, total=total)

        packed = pack_sweep(plan, path, progress=show)
    content = {
        "archive": str(path),
        "bytes": packed.size,
        "sweep": packed.sweep,
        "stages": packed.stages,
        "unfinished": packed.num_missing,
    }
    answer(content, _text(path, packed), as_json=options.json)
    return OK


def _text(path: Path, packed: Packed) -> str:
    lines = [
        f"packed  {packed.sweep}: {len(packed.stages)} finished stages, {packed.num_files} files",
        f"into    {path} ({file_size(packed.size)})",
        f"there   python -m ptl_sweep store unpack {path.name}",
    ]
    if packed.num_missing:
        lines.append(
            f"note    {packed.num_missing} stages of the plan are not finished and not in it; the "
            "sweep's command\n        computes them, here or there"
        )
    return "\n".join(lines)
