"""Class names of any language as words of a command line, where Hydra's grammar takes few signs.

A name that Hydra cannot read goes through it in plain letters, and is written back in the cells.
"""

import re
from collections.abc import Iterable, Iterator, Sequence

from ptl_sweep.config.schema import Config

_DOTTED = re.compile(r"(\+*(?:dataset|target)\.categories\.)([^=]+)(=.*)", re.DOTALL)
_WHOLE = re.compile(r"\+*((?:dataset|target)\.categories)=\s*\{(.*)\}\s*", re.DOTALL)
_PAIR = re.compile(r"""\s*("[^"]*"|'[^']*'|[^,:"'{}\[\]]+?)\s*:\s*([A-Za-z]+)\s*(?:,|$)""")
_PLAIN = re.compile(r"[A-Za-z_][A-Za-z0-9_ -]*", re.ASCII)  # what Hydra reads as a text
_SIGN = re.compile(r"[^A-Za-z0-9_-]", re.ASCII)


def with_plain_names(arguments: Iterable[str]) -> list[str]:
    """Replace class names that Hydra cannot read, in `categories.NAME=` and `categories={...}`."""
    return [word for argument in arguments for word in _plain_words(argument)]


def _plain_words(argument: str) -> Iterator[str]:
    if dotted := _DOTTED.fullmatch(argument):
        yield f"{dotted[1]}{_encoded(dotted[2])}{dotted[3]}"
        return
    whole = _WHOLE.fullmatch(argument)
    pairs = _PAIR.findall(whole[2]) if whole else []
    is_read = whole is not None and _PAIR.sub("", whole[2]).strip() == ""
    if whole is None or not is_read or all(_PLAIN.fullmatch(name) for name, _ in pairs):
        yield argument
        return
    for name, meaning in pairs:
        yield f"++{whole[1]}.{_encoded(name.strip(chr(34) + chr(39)))}={meaning}"


def _encoded(name: str) -> str:
    return _SIGN.sub(lambda sign: f"__u{ord(sign[0]):x}__", name)


def as_written(text: str) -> str:
    """Write back the names in a text, such as a message."""
    return re.sub(r"__u([0-9a-f]{1,6})__", lambda code: chr(int(code[1], 16)), text)


def write_names_back(cells: Sequence[Config]) -> None:
    """Give the class names of cells their own signs again."""
    for config in cells:
        for data in (config.dataset, config.target):
            data.categories = {as_written(name): kind for name, kind in data.categories.items()}
