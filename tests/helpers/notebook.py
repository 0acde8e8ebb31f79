"""Runs the cells of docs/notebook.ipynb as Jupyter does, without Jupyter.

To write its outputs anew, beside the folder `outputs` of the sweep that it names:
`PYTHONPATH=tests python -m helpers.notebook docs/notebook.ipynb`
"""

import ast
import contextlib
import io
import json
import re
import sys
from pathlib import Path
from typing import Any

Cell = dict[str, Any]


def code_cells(path: Path) -> list[Cell]:
    """The cells with code, in order."""
    document = json.loads(path.read_text(encoding="utf-8"))
    return [cell for cell in document["cells"] if cell["cell_type"] == "code"]


def run_cell(source: str, names: dict[str, Any]) -> str:
    """What a cell prints, and the value of its last line; later cells see its names."""
    tree = ast.parse(source)
    last = tree.body.pop() if isinstance(tree.body[-1], ast.Expr) else None
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        exec(compile(tree, "notebook", "exec"), names)
        value = (
            eval(compile(ast.Expression(last.value), "notebook", "eval"), names) if last else None
        )
    return printed.getvalue() + ("" if value is None else repr(value))


def output_of(cell: Cell) -> str:
    """What the notebook shows below a cell."""
    return "".join("".join(one["data"]["text/plain"]) for one in cell["outputs"])


def outline(text: str) -> list[str]:
    """A text without numbers, and a frame without its rows: the same for every sweep."""
    kept = [
        line for line in text.split("╞", maxsplit=1)[0].splitlines() if not re.match("[┌╞└]", line)
    ]
    return [
        re.sub(r"-?\d[\d.e+-]*", "#", " ".join(re.split(r"[\s│┆]+", line))).strip() for line in kept
    ]


def execute(path: Path) -> None:
    """Run the notebook and write its outputs into it."""
    document, names = json.loads(path.read_text(encoding="utf-8")), {}
    number = 0
    for cell in document["cells"]:
        if cell["cell_type"] == "code":
            number += 1
            text = run_cell("".join(cell["source"]), names)
            cell["execution_count"] = number
            result = {"output_type": "execute_result", "execution_count": number, "metadata": {}}
            result["data"] = {"text/plain": text.splitlines(keepends=True)}
            cell["outputs"] = [result] if text else []
    path.write_text(json.dumps(document, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


if __name__ == "__main__":
    execute(Path(sys.argv[1]))
