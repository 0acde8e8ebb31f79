"""Commands about data on disk: `check` reads what a grid names, others make pools."""

import argparse
import inspect
import json
from dataclasses import asdict
from pathlib import Path

from ptl_sweep.cli.arguments import GRID_WORDS, OK, command_parser, parse_overrides
from ptl_sweep.cli.check import check_data
from ptl_sweep.compose.compose import compose_grid, named_keys
from ptl_sweep.compose.detect_format import describe_format, detect_format
from ptl_sweep.compose.grid import check_cells
from ptl_sweep.compose.new_target import target_path, write_target
from ptl_sweep.config.schema import ConfigError
from ptl_sweep.datasets import registry
from ptl_sweep.datasets.readers.archangel import MANIFESTS
from ptl_sweep.datasets.readers.build_manifest import ManifestSummary, build_manifest
from ptl_sweep.datasets.readers.export_pool import export_pool
from ptl_sweep.datasets.validation import data_error
from ptl_sweep.store import is_disk_full
from ptl_sweep.terminal import answer, progress_bar, wrap


def check_command(arguments: list[str]) -> int:
    """Read every data set, pool and target of the grid once and say what is in it."""
    parser = command_parser(check_command, words=GRID_WORDS)
    parser.add_argument("--strict", action="store_true", help="warnings are errors")
    parser.add_argument("--fast", action="store_true", help="read the headers of pictures alone")
    parser.add_argument("--sheet", metavar="FOLDER", help="draw example pictures with boxes there")
    overrides, options = parse_overrides(parser, arguments)
    cells = compose_grid(overrides, as_sweep=False)
    keys = named_keys(overrides)
    groups = {key.split(".")[0] for key in keys}
    one_role = len(groups & {"dataset", "target", "pool"}) == 1  # the others are not looked at
    check_cells(cells, keys | {"dataset", "target"} if one_role else keys)
    checked = check_data(cells, named=overrides, sheet=options.sheet, fast=options.fast)
    answer(checked.as_json(), checked.text(), as_json=options.json)
    return checked.exit_code(strict=options.strict)


def manifest_command(arguments: list[str]) -> int:
    """Write the manifest of a virtual pool: boxes from masks, everything else from file names."""
    parser = command_parser(manifest_command, words=None)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    rules = inspect.cleandoc(build_manifest.__doc__ or "").split("\n\n")
    parser.epilog = "\n\n".join(rules[1:-1])  # between the summary and what callers must know
    parser.add_argument("folder", metavar="FOLDER", type=Path, help="holds images and masks")
    parser.add_argument("--pattern", required=True, help="of an image's path, a regular expression")
    parser.add_argument("--masks", default="masks/{stem}.png", help="default: masks/{stem}.png")
    parser.add_argument("--output", type=Path, help=f"default: FOLDER/{MANIFESTS[0]}")
    options = parser.parse_args(arguments)
    path = options.output or options.folder / MANIFESTS[0]
    summary = _build(options.folder, options.pattern, path, options.masks)
    content = {**summary._asdict(), "path": str(summary.path)}
    answer(content, _manifest_text(summary), as_json=options.json)
    return OK


def new_target_command(arguments: list[str]) -> int:
    """Describe a folder of labelled pictures as a target: its format, split and classes."""
    parser = command_parser(new_target_command, words=None)
    parser.add_argument("name", metavar="NAME", help="what target=NAME and the tables will say")
    parser.add_argument("--root", type=Path, required=True, help="the folder of the data set")
    parser.add_argument(
        "--person", action="append", default=[], metavar="CLASS",
        help="a class that is a person (may be repeated; default: those that are called so)",
    )  # fmt: skip
    options = parser.parse_args(arguments)
    path = target_path(options.name)
    found = detect_format(options.root.expanduser().absolute(), options.name, options.person)
    text = write_target(path, options.root.expanduser(), found)
    words = [f"target={options.name}"]
    checked = check_data(compose_grid(words, as_sweep=False), named=words, sheet=None)
    content = {
        "path": str(path), "reader": found.reader, "split": found.split,
        "categories": found.categories, "check": checked.as_json(),
    }  # fmt: skip
    found_text = wrap(f"found   {describe_format(found)}")
    lines = [found_text, f"wrote   {path}", "", text, checked.text()]
    lines.append(f"next    python -m ptl_sweep check target={options.name} --sheet outputs/sheets")
    answer(content, "\n".join(lines), as_json=options.json)
    return checked.exit_code(strict=False)


def pool_command(arguments: list[str]) -> int:
    """Write the virtual pool of a grid to files: images, a mask for each person, a manifest."""
    parser = command_parser(pool_command, words=GRID_WORDS)
    parser.add_argument("--export", metavar="FOLDER", type=Path, required=True, help="an empty one")
    overrides, options = parse_overrides(parser, arguments)
    pools = {
        json.dumps(asdict(cell.pool)): cell.pool for cell in compose_grid(overrides, as_sweep=False)
    }
    if len(pools) > 1:
        raise ConfigError(f"the grid has {len(pools)} pools: leave one value for each key of pool")
    (config,) = pools.values()
    pool = registry.read_pool(config)
    with progress_bar() as bar:
        task = bar.add_task("writing images", total=len(pool.records))

        def show(done: int, total: int) -> None:
            bar.update(task, completed=done, total=total)

        path = export_pool(pool, options.export, show)
    words = f"pool=archangel pool.root={options.export}"
    text = (
        f"wrote   {path}: {len(pool.records)} images, {pool.num_persons} persons\n"
        f"next    python -m ptl_sweep check {words}"
    )
    content = {"path": str(path), "images": len(pool.records), "persons": pool.num_persons}
    answer(content, text, as_json=options.json)
    return OK


def _build(folder: Path, pattern: str, path: Path, masks: str) -> ManifestSummary:
    """Run `build_manifest` with a progress bar. Raises: ConfigError, DataError."""
    with progress_bar() as bar:
        task = bar.add_task("reading masks", total=None)

        def show(done: int, total: int) -> None:
            bar.update(task, completed=done, total=total)

        try:
            return build_manifest(folder, pattern, path, masks=masks, progress=show)
        except OSError as error:
            if is_disk_full(error):
                raise
            fix = "name another --output"
            raise data_error(path, f"cannot be written: {error.strerror}", fix) from error


def _manifest_text(summary: ManifestSummary) -> str:
    lines = [f"wrote   {summary.path}: {summary.num_images} images"]
    reasons = {
        "do not match the pattern": summary.num_unmatched,
        "have no mask": summary.num_without_mask,
        "have an empty mask": summary.num_empty_masks,
    }
    left_out = [f"{count} {reason}" for reason, count in reasons.items() if count]
    if left_out:
        first = ", ".join(summary.examples)
        lines.append(wrap(f"left    {', '.join(left_out)}; the first are {first}"))
    if summary.path.name in MANIFESTS:
        pool = f"pool=archangel pool.root={summary.path.parent}"
        lines.append(f"next    python -m ptl_sweep check {pool}")
    return "\n".join(lines)
