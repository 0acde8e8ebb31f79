"""What every command prints with: lines of 100 columns, tables, times, sizes, JSON."""

import difflib
import json
import sys
import textwrap
from collections.abc import Iterable, Sequence

from rich.console import Console
from rich.progress import Progress

WIDTH = 100


def duration(seconds: float) -> str:
    """Write seconds as `3 s`, `4 min 05 s`, `2 h 10 min`."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"


def file_size(count: int) -> str:
    """Write bytes as `12 B`, `3.4 kB`, `5.6 MB`; a kB is 1000 bytes, as `df -H` counts."""
    size = float(count)
    for unit in ("B", "kB", "MB", "GB"):
        if size < 999.95:
            return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1000
    return f"{size:.1f} TB"


def wrap(text: str) -> str:
    """Break a text into lines of at most WIDTH columns; later lines are indented.

    Never within a word: a stage's key is copied from here.
    """
    indent = " " * 8
    return textwrap.fill(
        text, WIDTH, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False
    )


def text_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Align columns, the first on the left and the others on the right."""
    widths = [max(len(row[i]) for row in [header, *rows]) for i in range(len(header))]
    lines = []
    for row in [header, *rows]:
        cells = [
            cell.ljust(w) if i == 0 else cell.rjust(w)
            for i, (cell, w) in enumerate(zip(row, widths, strict=True))
        ]
        lines.append("  ".join(cells).rstrip())
    return "\n".join(lines)


def output() -> Console:
    """Open the terminal, or a pipe of 100 columns without ANSI."""
    console = Console(highlight=False)
    return console if console.is_terminal else Console(highlight=False, width=WIDTH)


def say(text: str) -> None:
    """Print a text as it is: brackets are no markup, and no line is broken.

    A sign that the terminal cannot show, as of a file name that is not UTF-8, is written as a code.
    """
    console = output()
    console.print(_shown(text, console.encoding), markup=False, soft_wrap=True)


def write(text: str) -> None:
    """Write a text of others, tabs included, with signs as `say` writes them."""
    sys.stdout.write(_shown(text, sys.stdout.encoding or "utf-8"))


def _shown(text: str, encoding: str) -> str:
    return text.encode(encoding, "backslashreplace").decode(encoding)


def print_json(content: object) -> None:
    """Print what --json shows."""
    sys.stdout.write(json.dumps(content, indent=1) + "\n")


def answer(content: object, text: str, *, as_json: bool) -> None:
    """Print the content for a script, or the text for a person."""
    if as_json:
        print_json(content)
    else:
        say(text)


def progress_bar() -> Progress:
    """Show progress on standard error while it lasts; nothing where that is not a terminal."""
    console = Console(stderr=True)
    return Progress(console=console, transient=True, disable=not console.is_terminal)


def close_match(word: str, choices: Iterable[str]) -> str | None:
    """Find the choice that `word` was probably meant to be; None when none is like it."""
    close = difflib.get_close_matches(word, list(choices), n=1, cutoff=0.6)
    return close[0] if close else None


def did_you_mean(word: str, choices: Iterable[str]) -> str:
    """Ask `; did you mean CHOICE?`, for the end of a message; empty when none is like the word."""
    close = close_match(word, choices)
    return f"; did you mean {close}?" if close else ""
