"""What a first word on the command line does; without one, a sweep is planned and run."""

import argparse
import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from rich.console import Console

from ptl_sweep.config import Config, ConfigError
from ptl_sweep.datasets import registry
from ptl_sweep.detection import weights
from ptl_sweep.sweep import display
from ptl_sweep.sweep.composing import Composition, compose_grid, compose_run
from ptl_sweep.sweep.grid import close_match
from ptl_sweep.sweep.planner import PLAN, Plan, load_plan, newest_sweep, plan_sweep, save_plan
from ptl_sweep.sweep.specs import WEIGHTS_FOLDER

OK, FAILED, WORK_TO_DO = 0, 1, 2


def output() -> Console:
    """The terminal, or a pipe without ANSI; 100 columns when nobody says otherwise."""
    console = Console(highlight=False)
    return console if console.is_terminal else Console(highlight=False, width=display.WIDTH)


def run_sweep(arguments: list[str], command: str) -> int:
    """Compose, plan, run, reduce. Raises: ConfigError, DataError."""
    composed = compose_run(arguments)
    if composed is None:
        return OK
    plan = plan_sweep(composed.cells, f"python -m ptl_sweep {command}")
    console = output()
    console.print(display.plan_text(plan), markup=False, soft_wrap=True)
    require_data(composed)
    save_plan(plan)
    from ptl_sweep.sweep.launchers import LAUNCHERS

    config = composed.cells[0]
    LAUNCHERS[config.launcher.name](plan, config.launcher, console)
    return finish_sweep(plan, config, console)


def finish_sweep(plan: Plan, config: Config, console: Console) -> int:
    """Reduce what there is, gaps included, and end with the table and the report's path."""
    from ptl_sweep.sweep.reduce import reduce_sweep

    result = reduce_sweep(plan, config.tracking)
    console.print(result.text, markup=False, soft_wrap=True)
    return FAILED if result.num_failed else OK


def require_data(composed: Composition) -> None:
    """Every data set and weights file of the grid is there. Raises: ConfigError, DataError."""
    for config in composed.cells:
        for data in (config.dataset, config.target):
            if registry.fingerprint(data, data.split) is None:
                registry.read_split(data, data.split)
        if config.synthetic.method != "off" and registry.pool_fingerprint(config.pool) is None:
            registry.read_pool(config.pool)
        weights.resolve_weights(config.detector, Path(config.sweep.root) / WEIGHTS_FOLDER)


def _parser(verb: str, description: str) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog=f"python -m ptl_sweep {verb}", description=description)
    parser.add_argument("--json", action="store_true", help="machine-readable")
    return parser


def _split(arguments: Sequence[str]) -> tuple[list[str], list[str]]:
    """Flags and names; Hydra overrides (with or without -m)."""
    overrides = [a for a in arguments if "=" in a and not a.startswith("-")]
    return [a for a in arguments if a not in overrides and a not in ("-m", "--multirun")], overrides


def plan_verb(arguments: list[str]) -> int:
    """What a sweep would compute, without computing it."""
    parser = _parser("plan", plan_verb.__doc__ or "")
    parser.add_argument("--exit-code", action="store_true", help="0: nothing to do, 2: work to do")
    rest, overrides = _split(arguments)
    options = parser.parse_args(rest)
    plan = plan_sweep(compose_grid(overrides).cells, "plan")
    if options.json:
        _print_json(display.plan_json(plan))
    else:
        output().print(display.plan_text(plan), markup=False, soft_wrap=True)
    has_work = any(not plan.store.is_published(key) for key in plan.stages)
    return WORK_TO_DO if options.exit_code and has_work else OK


def status_verb(arguments: list[str]) -> int:
    """Stages by state, what runs now, and every failure with its mend."""
    parser = _parser("status", status_verb.__doc__ or "")
    parser.add_argument("sweep", nargs="?", help="name or folder; default: the newest")
    rest, overrides = _split(arguments)
    options = parser.parse_args(rest)
    plan = find_sweep(options.sweep, overrides)
    if options.json:
        _print_json(display.status_json(plan))
    else:
        output().print(display.status_text(plan), markup=False, soft_wrap=True)
    return OK


def report_verb(arguments: list[str]) -> int:
    """Reduce a sweep again: results.csv, summary.csv and report.html from the store alone."""
    parser = _parser("report", report_verb.__doc__ or "")
    parser.add_argument("sweep", nargs="?", help="name or folder; default: the newest")
    rest, overrides = _split(arguments)
    options = parser.parse_args(rest)
    plan = find_sweep(options.sweep, overrides)
    from ptl_sweep.config import TrackingConfig
    from ptl_sweep.sweep.reduce import reduce_sweep

    result = reduce_sweep(plan, TrackingConfig(mode="off"))
    if options.json:
        _print_json({"sweep": plan.name, "report": str(result.report)})
    else:
        output().print(result.text, markup=False, soft_wrap=True)
    return OK


def check_verb(arguments: list[str]) -> int:
    """Read every data set, pool and target of the grid once and say what is in it."""
    parser = _parser("check", check_verb.__doc__ or "")
    parser.add_argument("--strict", action="store_true", help="warnings are errors")
    parser.add_argument("--sheet", metavar="FOLDER", help="draw example pictures with boxes there")
    rest, overrides = _split(arguments)
    options = parser.parse_args(rest)
    from ptl_sweep.sweep.checking import check_data

    cells = compose_grid(overrides, as_sweep=False).cells
    checked = check_data(cells, named=overrides, sheet=options.sheet)
    if options.json:
        _print_json(checked.as_json())
    else:
        output().print(checked.text(), markup=False, soft_wrap=True)
    return checked.exit_code(strict=options.strict)


def rerun_verb(arguments: list[str]) -> int:
    """Run one stage of a sweep in this process: to repeat a failure where it can be watched."""
    parser = argparse.ArgumentParser(
        prog="python -m ptl_sweep rerun", description=rerun_verb.__doc__
    )
    parser.add_argument("key", help="key of the stage, as `status` shows it")
    parser.add_argument("sweep", nargs="?", help="name or folder; default: the newest")
    rest, overrides = _split(arguments)
    options = parser.parse_args(rest)
    plan = find_sweep(options.sweep, overrides)
    if options.key not in plan.stages:
        close = close_match(options.key, plan.stages)
        raise ConfigError(
            f"no stage {options.key} in {plan.name}" + (f"; did you mean {close}?" if close else "")
        )
    from ptl_sweep.sweep.worker import run_single

    return FAILED if run_single(plan, options.key) else OK


def find_sweep(name: str | None, overrides: Sequence[str]) -> Plan:
    """A sweep by name, by folder, or the newest below sweep.root. Raises: ConfigError."""
    settings = dict(o.split("=", 1) for o in overrides)
    unknown = set(settings) - {"sweep.root"}
    if unknown:
        raise ConfigError(f"{sorted(unknown)[0]}: this verb takes a sweep and sweep.root=... only")
    root = Path(settings.get("sweep.root", "outputs"))
    folder = newest_sweep(root) if name is None else _named_sweep(root, name)
    if folder is None:
        raise ConfigError(f"no sweep in {root / 'sweeps'}; start one, or set sweep.root=...")
    return load_plan(folder)


def _named_sweep(root: Path, name: str) -> Path:
    for folder in (Path(name), root / "sweeps" / name):
        if (folder / PLAN).is_file():
            return folder
    names = sorted(path.parent.name for path in (root / "sweeps").glob(f"*/{PLAN}"))
    short = [n for n in names if n.startswith(f"{name}-")]
    if len(short) == 1:
        return root / "sweeps" / short[0]
    close = close_match(name, names)
    hint = f"; did you mean {close}?" if close else ""
    there = f"\nthere: {', '.join(names[:20])}" if names else ", which holds none"
    raise ConfigError(f"no sweep {name} in {root / 'sweeps'}{hint}{there}")


def _print_json(content: object) -> None:
    sys.stdout.write(json.dumps(content, indent=1) + "\n")


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
    "check": check_verb,
    "rerun": rerun_verb,
    "report": report_verb,
}
