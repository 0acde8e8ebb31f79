"""`store verify`: whether a store is what was published."""

from dataclasses import asdict

from ptl_sweep.cli.arguments import FAILED, OK, command_parser
from ptl_sweep.cli.store.arguments import GROUP, parse_store
from ptl_sweep.pipeline.upkeep.verify import Finding, Verification, verify_store
from ptl_sweep.terminal import answer, file_size, progress_bar


def verify_command(arguments: list[str]) -> int:
    """Compare every file of the published stages with its checksum; exit code 1 for damage."""
    parser = command_parser(verify_command, group=GROUP)
    store, plan, options = parse_store(parser, arguments)
    with progress_bar() as bar:
        task = bar.add_task("reading stages", total=None)

        def show(done: int, total: int) -> None:
            bar.update(task, completed=done, total=total)

        found = verify_store(store, only=plan.stages if plan else None, progress=show)
    content = {"store": str(store.root), "sweep": plan and plan.name, **asdict(found)}
    answer({**content, "damaged": found.is_damaged}, _text(found), as_json=options.json)
    return FAILED if found.is_damaged else OK


def _text(found: Verification) -> str:
    damaged = {finding.key for finding in found.findings if finding.is_damage}
    notes = sum(not finding.is_damage for finding in found.findings)
    lines = [line for finding in found.findings for line in _finding_lines(finding)]
    lines.append(
        f"read    {found.stages} stages, {found.files} files, {file_size(found.size)}: "
        + (f"{len(damaged)} damaged" if damaged else "all as published")
        + (f"; {notes} file{'s' * (notes != 1)} too many" if notes else "")
    )
    return "\n".join(lines)


def _finding_lines(finding: Finding) -> list[str]:
    """Write the path on a line of its own, unbroken, so that it can be copied."""
    word = "damage" if finding.is_damage else "note"
    return [
        f"{word:<7} {finding.path}",
        f"        {finding.problem}",
        f"  fix   {finding.fix}",
    ]
