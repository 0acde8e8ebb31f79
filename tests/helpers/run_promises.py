"""What the table of runs in docs/wandb.md promises of each job type."""

import re
from collections.abc import Iterable
from fnmatch import fnmatch
from pathlib import Path
from typing import NamedTuple

PAGE = Path(__file__).parents[2] / "docs" / "wandb.md"


class Promises(NamedTuple):
    """Of one job type; `*` stands for any text."""

    names: list[str]  # of history, pictures and tables
    artifacts: list[str]


def promised(job_type: str) -> Promises:
    """The row of a job type; whatever is named `<after something>` there is an artifact."""
    (line,) = [row for row in PAGE.read_text().splitlines() if row.startswith(f"| `{job_type}` |")]
    quoted = [name for cell in line.split("|")[3:] for name in re.findall(r"`([^`]+)`", cell)]
    artifacts = [re.sub(r"<[^>]+>", "*", name) for name in quoted if "<" in name]
    return Promises([name for name in quoted if "<" not in name], artifacts)


def differences(names: Iterable[str], patterns: Iterable[str]) -> list[str]:
    """Names that no pattern promises, and patterns that no name keeps."""
    found, expected = set(names), set(patterns)
    unknown = [n for n in found if not any(fnmatch(n, pattern) for pattern in expected)]
    missing = [p for p in expected if not any(fnmatch(name, p) for name in found)]
    return sorted([f"not promised: {n}" for n in unknown] + [f"not there: {p}" for p in missing])
