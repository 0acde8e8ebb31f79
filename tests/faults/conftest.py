"""Prints fault, tries, survived and lost at the end of `make faults`."""

import json
import os
from collections.abc import Callable, Generator, Iterator
from typing import Any

import pytest
from helpers.fault_trials import Tally
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.backends.backend_svg import FigureCanvasSVG

EMPTY_SVG = b'<svg xmlns="http://www.w3.org/2000/svg" width="1pt" height="1pt"/>'

SHARE = float(os.environ.get("PTL_FAULTS_SHARE", "1"))  # of the trials; CI runs a part


@pytest.fixture(scope="session")
def share() -> float:
    """Which part of all trials is run, above 0 and at most 1."""
    return SHARE


@pytest.fixture
def tally(record_property: Callable[[str, object], None]) -> Iterator[Tally]:
    """Filled by a test, which fails when something was lost."""
    row = Tally("")
    yield row
    notes = ", ".join(f"{word} {count}" for word, count in sorted(row.notes.items()))
    record_property("faults", json.dumps([row.fault, row.tries, row.lost, notes]))


@pytest.fixture
def blank_figures(monkeypatch: pytest.MonkeyPatch) -> None:
    """Figures are made and saved, but not rendered: four fifths of the time of a report."""
    monkeypatch.setattr(
        FigureCanvasSVG, "print_svg", lambda _, file, **_options: file.write(EMPTY_SVG)
    )
    monkeypatch.setattr(FigureCanvasAgg, "print_png", lambda _, path, **_options: path.touch())


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, Any, Any]:
    """What was captured may hold signs that no process can send to another."""
    report = yield
    report.sections = [
        (name, text.encode("utf-8", "backslashreplace").decode()) for name, text in report.sections
    ]
    return report


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """The table, from whichever process ran a test."""
    rows = []
    for outcome in ("passed", "failed", "error", ""):
        for report in terminalreporter.getreports(outcome):
            found = dict(getattr(report, "user_properties", []))
            if getattr(report, "when", "") == "teardown" and "faults" in found:
                rows.append(json.loads(found["faults"]))
    if not rows:
        return
    terminalreporter.section("faults")
    terminalreporter.line(f"{'fault':<58} {'tries':>6} {'survived':>8} {'lost':>5}  of which")
    for fault, tries, lost, notes in sorted(rows):
        terminalreporter.line(
            f"{fault:<58} {tries:>6} {tries - len(lost):>8} {len(lost):>5}  {notes}"
        )
    for fault, _, lost, _ in rows:
        for one in lost[:10]:
            terminalreporter.line(f"LOST {fault}: {one}")
