"""docs/results-miniature.md: its tables are those that lie in outputs/example/miniature."""

import csv
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
TABLES = sorted((ROOT / "outputs" / "example" / "miniature").glob("*.csv"))
PAGE = (ROOT / "docs" / "results-miniature.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("path", TABLES, ids=lambda path: path.stem)
def test_a_table_of_the_page_is_that_of_its_sweep(path: Path) -> None:
    with path.open(encoding="utf-8", newline="") as file:
        header, *rows = ["| " + " | ".join(cells) + " |" for cells in csv.reader(file)]
    start = f"<!-- {path.stem} -->\n\n{header}\n"
    assert start in PAGE
    shown = PAGE.split(start)[1].split("\n\n")[0].splitlines()
    assert shown[1:] == rows
