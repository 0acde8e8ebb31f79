"""What a first word on the command line does; without one, a sweep is planned and run."""

import logging
import time
from collections.abc import Sequence
from pathlib import Path

from ptl_sweep.cli.arguments import (
    FAILED,
    GRID_WORDS,
    OK,
    Command,
    command_parser,
    name_of,
    parse_overrides,
    parse_sweep,
)
from ptl_sweep.cli.cluster import cancel_command, logs_command, wait_command
from ptl_sweep.cli.data import (
    check_command,
    manifest_command,
    new_dataset_command,
    new_target_command,
    pool_command,
)
from ptl_sweep.cli.flags.flags import hydra_words, read_flags
from ptl_sweep.cli.measure.export import export_detections_command
from ptl_sweep.cli.measure.measure import measure_command
from ptl_sweep.cli.predict.export import export_command
from ptl_sweep.cli.predict.predict import predict_command
from ptl_sweep.cli.publish.publish import publish_command
from ptl_sweep.cli.report import report_command
from ptl_sweep.cli.store.store import store_command
from ptl_sweep.cli.sync import settle_mode, sync_command
from ptl_sweep.cli.tables import figure_command, table_command
from ptl_sweep.compose.compose import compose_grid, compose_run
from ptl_sweep.compose.grid import all_keys
from ptl_sweep.compose.requirements import needed_sets, refuse_missing_folders, rules
from ptl_sweep.compose.words import stray_word
from ptl_sweep.config.schema import Config, ConfigError, DatasetConfig
from ptl_sweep.datasets import registry
from ptl_sweep.detection.initial_weights.files import resolve_weights
from ptl_sweep.launchers import find_launcher
from ptl_sweep.launchers.slurm.queue import view_jobs
from ptl_sweep.ownership import missing_abilities
from ptl_sweep.pipeline import plan_text, status_text
from ptl_sweep.pipeline.plan import plan_sweep, save_plan
from ptl_sweep.pipeline.store_listing import StoreListing
from ptl_sweep.stages.inputs import WEIGHTS_FOLDER
from ptl_sweep.terminal import did_you_mean, output, print_json, say

WORK_TO_DO = 3  # not 2, which is a mistake of the user

log = logging.getLogger(__name__)


def run_sweep(arguments: list[str], command: str) -> int:
    """Compose, plan, run, and reduce what there is. Raises: ConfigError, DataError, SlurmError."""
    options, words = read_flags(arguments)
    if options.info:  # Hydra logs it to standard output, and no handler of ours repeats it
        for handler in logging.getLogger().handlers:
            handler.setLevel(logging.WARNING)
    started = time.monotonic()
    cells = compose_run([*hydra_words(options), *words])
    if cells is None:
        return OK
    count = len(cells)
    took = time.monotonic() - started
    say(f"composed {count} cell{'s' * (count != 1)} in {took:.1f} s")
    settle_mode(cells)
    started = time.monotonic()
    plan = plan_sweep(cells, f"python -m ptl_sweep {command}")
    say(plan_text.plan_text(plan))
    require_data(cells)
    config = cells[0]
    if not config.launcher.dry_run:
        save_plan(plan)
        warn_of_file_system(plan.store.root)
    say(f"planned in {time.monotonic() - started:.1f} s")
    launcher = find_launcher(config.launcher.name)
    if not launcher(plan, config.launcher, output()).run():
        return OK
    from ptl_sweep.reduce.run import reduce_sweep

    result = reduce_sweep(plan, config.tracking, jobs=view_jobs(plan))
    say(result.text)
    return FAILED if result.num_failed else OK


def warn_of_file_system(store: Path) -> None:
    """Say what the store's file system lacks, and what follows. Raises: OSError."""
    store.mkdir(parents=True, exist_ok=True)
    for missing in missing_abilities(store):
        log.warning(
            "the file system of %s has no %s; stages are claimed without: two workers that take "
            "over one dead claim in the same instant may both compute its stage; nothing is lost",
            store,
            missing,
        )


def require_data(cells: Sequence[Config]) -> None:
    """Refuse data or weights that are missing, and images that serve two purposes.

    Raises: ConfigError, DataError.
    """
    needs = needed_sets(cells)
    refuse_missing_folders(needs, cells[0].data_root)
    for need in needs:
        need.require()
    for config in cells:
        resolve_weights(config.detector, Path(config.sweep.root) / WEIGHTS_FOLDER)
    for rule in rules(cells):
        rule.check()
    for need in needs:
        if need.role == "target" and isinstance(need.data, DatasetConfig):
            _warn_of_nobody(need.data)


def _warn_of_nobody(target: DatasetConfig) -> None:
    if registry.num_eligible(target, target.split) == 0:
        log.warning(
            "target %s (%s): no image shows a person, so AP and what is made of it stay empty (-); "
            "check its labels, its categories and its split",
            *(target.name, target.split),
        )


def plan_command(arguments: list[str]) -> int:
    """Show what a sweep would compute, without computing it."""
    parser = command_parser(plan_command, words=GRID_WORDS)
    parser.add_argument("--exit-code", action="store_true", help="0: nothing to do, 3: work to do")
    overrides, options = parse_overrides(parser, arguments)
    plan = plan_sweep(compose_grid(overrides), "plan")
    listing = StoreListing(plan.store)
    if options.json:
        print_json(plan_text.plan_json(plan, listing))
    else:
        say(plan_text.plan_text(plan, listing))
    has_work = any(not listing.is_published(key) for key in plan.stages)
    return WORK_TO_DO if options.exit_code and has_work else OK


def status_command(arguments: list[str]) -> int:
    """Show stages by state, what runs now, and every failure with its fix."""
    parser = command_parser(status_command)
    parser.add_argument("--cells", action="store_true", help="list every cell and its state")
    plan, options = parse_sweep(parser, arguments)
    jobs = view_jobs(plan)
    if options.json:
        print_json(status_text.status_json(plan, jobs))
    else:
        say(status_text.status_text(plan, jobs))
        if options.cells:
            say(status_text.cells_text(plan, jobs))
    return OK


def rerun_command(arguments: list[str]) -> int:
    """Run one stage of a sweep in this process: to repeat a failure where it can be watched."""
    parser = command_parser(rerun_command, has_json=False)
    parser.add_argument("key", help="key of the stage, as `status` shows it")
    plan, options = parse_sweep(parser, arguments)
    if options.key not in plan.stages:
        hint = did_you_mean(options.key, plan.stages)
        raise ConfigError(f"no stage {options.key} in {plan.name}{hint}")
    from ptl_sweep.worker.running import run_single

    return FAILED if run_single(plan, options.key) else OK


def refuse_unknown_command(arguments: Sequence[str]) -> None:
    """Refuse a first word that is no command, flag or key=value. Raises: ConfigError."""
    if not arguments or arguments[0].startswith(("-", "~")) or "=" in arguments[0]:
        return
    if arguments[0] in all_keys() or not arguments[0].replace("-", "").isalpha():
        raise ConfigError(stray_word(arguments[0]))
    raise ConfigError(
        f"unknown command {arguments[0]}{did_you_mean(arguments[0], COMMANDS)}\n"
        f"commands: {', '.join(COMMANDS)}; or key=value as in Hydra; --help explains them"
    )


COMMANDS: dict[str, Command] = {
    name_of(command): command
    for command in (
        plan_command, status_command, wait_command, cancel_command, logs_command, check_command,
        new_dataset_command, new_target_command, manifest_command, pool_command, rerun_command,
        report_command, table_command, figure_command, publish_command, sync_command, store_command,
        predict_command, export_command, export_detections_command, measure_command,
    )
}  # fmt: skip
