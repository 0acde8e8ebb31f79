"""What a first word on the command line does; without one, a sweep is planned and run."""

import argparse
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path

from rich.console import Console

from ptl_sweep.cli.arguments import (
    FAILED,
    GRID_WORDS,
    OK,
    SWEEP_WORDS,
    parse_sweep_verb,
    split_overrides,
    verb_parser,
)
from ptl_sweep.cli.cluster import cancel_verb, logs_verb, wait_verb
from ptl_sweep.cli.data import check_verb, manifest_verb
from ptl_sweep.cli.publish.publish import publish_verb
from ptl_sweep.cli.report import report_verb
from ptl_sweep.cli.sync import sync_verb
from ptl_sweep.cli.tables import figure_verb, table_verb
from ptl_sweep.compose.compose import Composition, compose_grid, compose_run
from ptl_sweep.compose.leakage import require_separate
from ptl_sweep.config.schema import Config, ConfigError, DatasetConfig
from ptl_sweep.datasets import registry
from ptl_sweep.datasets.validation import DataError
from ptl_sweep.detection import weights
from ptl_sweep.launchers.slurm.queue import view_jobs
from ptl_sweep.pipeline import describe
from ptl_sweep.pipeline.graph import NO_VALIDATION
from ptl_sweep.pipeline.plan import Plan, plan_sweep, save_plan
from ptl_sweep.pipeline.store_listing import StoreListing
from ptl_sweep.stages.inputs import WEIGHTS_FOLDER
from ptl_sweep.store import canonical_json
from ptl_sweep.terminal import close_match, output, print_json

WORK_TO_DO = 3  # not 2, which is a mistake of the user


def run_sweep(arguments: list[str], command: str) -> int:
    """Compose, plan, run, reduce. Raises: ConfigError, DataError, SlurmError."""
    started = time.monotonic()
    composed = compose_run(arguments)
    if composed is None:
        return OK
    console = output()
    count = len(composed.cells)
    took = time.monotonic() - started
    console.print(f"composed {count} cell{'s' * (count != 1)} in {took:.1f} s")
    started = time.monotonic()
    plan = plan_sweep(composed.cells, f"python -m ptl_sweep {command}")
    console.print(describe.plan_text(plan), markup=False, soft_wrap=True)
    require_data(composed)
    config = composed.cells[0]
    if not config.launcher.dry_run:
        save_plan(plan)
    console.print(f"planned in {time.monotonic() - started:.1f} s")
    from ptl_sweep.launchers.local import LAUNCHERS

    if LAUNCHERS[config.launcher.name](plan, config.launcher, console):
        return finish_sweep(plan, config, console)
    return OK


def finish_sweep(plan: Plan, config: Config, console: Console) -> int:
    """Reduce what there is, gaps included, and end with the table and the report's path."""
    from ptl_sweep.reduce.run import reduce_sweep

    result = reduce_sweep(plan, config.tracking, jobs=view_jobs(plan))
    console.print(result.text, markup=False, soft_wrap=True)
    return FAILED if result.num_failed else OK


def require_data(composed: Composition) -> None:
    """Every data set and weights file is there, and no target shows what training may have seen.

    Raises: ConfigError, DataError.
    """
    pairs: dict[str, tuple[DatasetConfig, DatasetConfig]] = {}
    for config in composed.cells:
        for data in (config.dataset, config.target):
            if registry.fingerprint(data, data.split) is None:
                registry.read_split(data, data.split)
        if config.analysis.calibration == "validation":
            require_validation(config.dataset)
        pair = (config.dataset, config.target)
        pairs.setdefault(canonical_json([asdict(data) for data in pair]), pair)
        if config.synthetic.method != "off" and registry.pool_fingerprint(config.pool) is None:
            registry.read_pool(config.pool)
        weights.resolve_weights(config.detector, Path(config.sweep.root) / WEIGHTS_FOLDER)
    for dataset, target in pairs.values():
        require_separate(dataset, target)


def require_validation(dataset: DatasetConfig) -> None:
    """The source holds something back that calibrates distances. Raises: ConfigError, DataError."""
    held_out = dataset.validation_config()
    if registry.fingerprint(held_out, held_out.split) is None:
        try:
            registry.read_split(held_out, held_out.split)
        except (ConfigError, DataError) as error:
            raise type(error)(f"{error}{NO_VALIDATION}") from error


def plan_verb(arguments: list[str]) -> int:
    """What a sweep would compute, without computing it."""
    parser = verb_parser("plan", plan_verb.__doc__ or "", words=GRID_WORDS)
    parser.add_argument("--exit-code", action="store_true", help="0: nothing to do, 3: work to do")
    rest, overrides = split_overrides(arguments)
    options = parser.parse_args(rest)
    plan = plan_sweep(compose_grid(overrides).cells, "plan")
    listing = StoreListing(plan.store)
    if options.json:
        print_json(describe.plan_json(plan, listing))
    else:
        output().print(describe.plan_text(plan, listing), markup=False, soft_wrap=True)
    has_work = any(not listing.is_published(key) for key in plan.stages)
    return WORK_TO_DO if options.exit_code and has_work else OK


def status_verb(arguments: list[str]) -> int:
    """Stages by state, what runs now, and every failure with its fix."""
    parser = verb_parser("status", status_verb.__doc__ or "")
    parser.add_argument("--cells", action="store_true", help="list every cell and its state")
    plan, options = parse_sweep_verb(parser, arguments)
    jobs = view_jobs(plan)
    if options.json:
        print_json(describe.status_json(plan, jobs))
    else:
        output().print(describe.status_text(plan, jobs), markup=False, soft_wrap=True)
    if options.cells and not options.json:
        output().print(describe.cells_text(plan, jobs), markup=False, soft_wrap=True)
    return OK


def rerun_verb(arguments: list[str]) -> int:
    """Run one stage of a sweep in this process: to repeat a failure where it can be watched."""
    parser = argparse.ArgumentParser(
        prog="python -m ptl_sweep rerun", description=rerun_verb.__doc__, epilog=SWEEP_WORDS
    )
    parser.add_argument("key", help="key of the stage, as `status` shows it")
    plan, options = parse_sweep_verb(parser, arguments)
    if options.key not in plan.stages:
        close = close_match(options.key, plan.stages)
        raise ConfigError(
            f"no stage {options.key} in {plan.name}" + (f"; did you mean {close}?" if close else "")
        )
    from ptl_sweep.launchers.worker import run_single

    return FAILED if run_single(plan, options.key) else OK


def refuse_unknown_verb(arguments: Sequence[str]) -> None:
    """A first word that is neither a verb, a flag nor key=value. Raises: ConfigError."""
    if not arguments or arguments[0].startswith(("-", "~")) or "=" in arguments[0]:
        return
    close = close_match(arguments[0], VERBS)
    hint = f"; did you mean {close}?" if close else ""
    raise ConfigError(
        f"unknown verb {arguments[0]}{hint}\nverbs: {', '.join(VERBS)}; or key=value as in Hydra"
    )


VERBS: dict[str, Callable[[list[str]], int]] = {
    "plan": plan_verb,
    "status": status_verb,
    "wait": wait_verb,
    "cancel": cancel_verb,
    "logs": logs_verb,
    "check": check_verb,
    "manifest": manifest_verb,
    "rerun": rerun_verb,
    "report": report_verb,
    "table": table_verb,
    "figure": figure_verb,
    "publish": publish_verb,
    "sync": sync_verb,
}
