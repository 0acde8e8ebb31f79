"""docs/notebook.ipynb: its cells run, and what stands below them is of the kind that they show."""

from pathlib import Path
from typing import Any

import pytest
from helpers.notebook import code_cells, execute, outline, output_of, run_cell
from helpers.sweeps import Sweep

NOTEBOOK = Path(__file__).parents[1] / "docs" / "notebook.ipynb"


@pytest.fixture
def beside(tiny_sweep: Sweep, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory with the tiny sweep in outputs/."""
    (tmp_path / "outputs").symlink_to(tiny_sweep.root)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_every_cell_runs_and_shows_what_the_notebook_shows(beside: Path) -> None:
    names: dict[str, Any] = {}
    cells = code_cells(NOTEBOOK)
    assert len(cells) >= 7
    for number, cell in enumerate(cells, start=1):
        source = "".join(cell["source"]).replace("real_count=20", "real_count=3")
        shown = run_cell(source, names)
        assert cell["execution_count"] == number
        assert shown
        assert outline(shown) == outline(output_of(cell))


def test_writing_outputs_anew_changes_them_alone(beside: Path) -> None:
    copy = beside / "notebook.ipynb"
    text = NOTEBOOK.read_text(encoding="utf-8").replace("real_count=20", "real_count=3")
    copy.write_text(text, encoding="utf-8")
    execute(copy)
    for ours, theirs in zip(code_cells(copy), code_cells(NOTEBOOK), strict=True):
        assert ours.keys() == theirs.keys()
        assert outline(output_of(ours)) == outline(output_of(theirs))


def test_an_outline_tells_columns_and_words_apart_and_no_numbers() -> None:
    names: dict[str, Any] = {}
    one = run_cell(
        "import polars as pl\nf = pl.DataFrame({'a': [1, 2], 'b': [0.5, 1e-9]})\nf", names
    )
    assert outline(one) == outline(run_cell("f.head(1)", names))
    assert outline(one) != outline(run_cell("f.rename({'a': 'c'})", names))
    assert outline(one) != outline(run_cell("f.select('b', 'a')", names))
    assert outline("12 features by -0.5") == outline("7 features by 1e-5") == ["# features by #"]
