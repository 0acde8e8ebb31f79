"""`store du`: what a store holds."""

import logging
from dataclasses import asdict
from pathlib import Path

from ptl_sweep.cli.arguments import OK, command_parser
from ptl_sweep.cli.store.arguments import GROUP, parse_store
from ptl_sweep.config.schema import ConfigError
from ptl_sweep.pipeline.upkeep.measure import Amount, StoreUse, measure_store
from ptl_sweep.pipeline.upkeep.used_stages import UsedStages
from ptl_sweep.terminal import answer, file_size, text_table

log = logging.getLogger(__name__)


def du_command(arguments: list[str]) -> int:
    """Show what the store holds, or what a sweep has in it: stages, work folders, leftovers."""
    parser = command_parser(du_command, group=GROUP)
    store, plan, options = parse_store(parser, arguments)
    if plan is None:
        use = measure_store(store, used=_used(store.root.parent))
    else:
        use = measure_store(store, only=plan.stages.keys())
    content = {"store": str(store.root), "sweep": plan and plan.name, **asdict(use)}
    title = f"{store.root}: {file_size(use.total.size)}"
    answer(
        content,
        _text(title if plan is None else f"{plan.name} in {title}", use),
        as_json=options.json,
    )
    return OK


def _used(root: Path) -> set[str] | None:
    """Find the stages that plans need; None, with a warning, where a plan cannot be read."""
    try:
        return UsedStages(root).needed()
    except ConfigError as error:
        log.warning("%s", error)
        return None


def _text(title: str, use: StoreUse) -> str:
    unused = use.unused or {}
    header = ["", "number", "size"] + ["unused", "size"] * bool(unused)
    rows = [_row(kind, amount, unused.get(kind)) for kind, amount in use.stages.items()]
    rows += [
        _row("work folders (.wip)", use.work_folders),
        _row("claims", use.claims),
        _row("left by killed writers", use.remains),
        _row("other", use.other),
        _row("all", use.total, _sum(unused)),
    ]
    within = [
        _row("checkpoints", use.checkpoints),
        _row("set aside as damaged", use.set_aside),
        _row("temporary", use.temporaries),
    ]
    width = len(header)
    table = text_table(header, [row + [""] * (width - len(row)) for row in _of_width(rows, width)])
    files = text_table(["files among these", "number", "size"], _of_width(within, 3))
    live = f"claims: {use.live_claims} of live workers" if use.claims.number else ""
    return "\n".join([title, "", table, "", files, *([live] if live else [])])


def _of_width(rows: list[list[str]], width: int) -> list[list[str]]:
    return [row[:width] + [""] * (width - len(row)) for row in rows]


def _sum(amounts: dict[str, Amount]) -> Amount:
    parts = amounts.values()
    return Amount(sum(part.number for part in parts), sum(part.size for part in parts))


def _row(name: str, amount: Amount, unused: Amount | None = None) -> list[str]:
    cells = [name, str(amount.number), file_size(amount.size)]
    return cells if unused is None else [*cells, str(unused.number), file_size(unused.size)]
