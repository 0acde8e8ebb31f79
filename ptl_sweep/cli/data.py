"""Commands about data on disk: `check` reads what a grid names, others make pools."""

import argparse
import inspect
import json
import shlex
from dataclasses import asdict
from pathlib import Path

from ptl_sweep.cli.arguments import (
    GRID_WORDS,
    OK,
    Command,
    add_config_dir,
    command_parser,
    parse_overrides,
)
from ptl_sweep.cli.check import check_data
from ptl_sweep.compose.choice_file import WrittenChoice, write_choice
from ptl_sweep.compose.compose import compose_grid, named_keys
from ptl_sweep.compose.detect_format import describe_format, detect_format
from ptl_sweep.compose.detect_source import describe_source, detect_source
from ptl_sweep.compose.grid import check_cells
from ptl_sweep.compose.own_choices import default_folder, new_choice, search_word
from ptl_sweep.config.schema import ConfigError, DatasetConfig
from ptl_sweep.datasets import registry
from ptl_sweep.datasets.readers.archangel.build_manifest import ManifestSummary, build_manifest
from ptl_sweep.datasets.readers.archangel.export_pool import export_pool
from ptl_sweep.datasets.readers.archangel.reader import MANIFESTS
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
    options = _choice_options(new_target_command, "target", arguments)
    path = new_choice("target", options.name, options.config_dir)
    found = detect_format(options.root, options.name, options.person)
    config = DatasetConfig(
        name=options.name, reader=found.reader, root=str(options.root), split=found.split,
        categories=found.categories,
    )  # fmt: skip
    written = write_choice(path, config, is_source=False)
    told = [f"found   {describe_format(found)}", f"wrote   {path}"]
    return _answer_choice(options, written, [f"target={options.name}"], told)


def new_dataset_command(arguments: list[str]) -> int:
    """Describe a folder of labelled pictures as a source: what trains and what is held out."""
    options = _choice_options(new_dataset_command, "dataset", arguments)
    path = new_choice("dataset", options.name, options.config_dir)
    found = detect_source(options.root, options.name, options.person)
    written = write_choice(path, found.config, is_source=True)
    told = [f"found   {describe_source(found)}", f"wrote   {path}"]
    if found.reason:
        told.insert(1, f"why     {found.reason}")
    words = [f"dataset={options.name}"]
    if not found.has_validation:
        words.append("analysis.calibration=crossfit")
        told.append(f"note    nothing can be held out, so every run needs {words[-1]}")
    return _answer_choice(options, written, words, told)


def _choice_options(command: Command, group: str, arguments: list[str]) -> argparse.Namespace:
    parser = command_parser(command, words=None)
    parser.add_argument("name", metavar="NAME", help=f"what {group}=NAME and the tables will say")
    parser.add_argument("--root", type=Path, required=True, help="the folder of the data set")
    parser.add_argument(
        "--person", action="append", default=[], metavar="CLASS",
        help="a class that is a person (may be repeated; default: those that are called so)",
    )  # fmt: skip
    add_config_dir(parser, f"write DIR/{group}/NAME.yaml (default: conf, where runs look for it)")
    options = parser.parse_args(arguments)
    root = options.root.expanduser()
    options.root = root.resolve() if ".." in root.parts else root.absolute()  # links stay
    options.is_default = options.config_dir is None
    options.config_dir = options.config_dir or default_folder()
    return options


def _answer_choice(
    options: argparse.Namespace, written: WrittenChoice, words: list[str], told: list[str]
) -> int:
    """Check what was written, and show all of it."""
    path, config, text = written
    other = [] if options.is_default else [search_word(options.config_dir)]
    checked = check_data(compose_grid([*words, *other], as_sweep=False), named=words, sheet=None)
    content = {
        "path": str(path), "reader": config.reader, "split": config.split,
        "categories": config.categories, "check": checked.as_json(),
    }  # fmt: skip
    flag = "" if options.is_default else f" --config-dir {shlex.quote(str(options.config_dir))}"
    shown = [
        line if line.startswith("wrote") else wrap(line) for line in told
    ]  # a path stays whole
    lines = [*shown, "", text, checked.text()]
    lines.append(
        f"next    python -m ptl_sweep check {' '.join(words)}{flag} --sheet outputs/sheets"
    )
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
