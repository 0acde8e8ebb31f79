"""What mkdocs adds to the pages: the tables of configuration.md, and the figure of outputs/example.

The tables come from the dataclasses of the config and the comments behind their fields, and from
the YAML files of conf/, so that they cannot fall behind either.
"""

import ast
import dataclasses
import inspect
import io
import textwrap
import tokenize
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple, get_type_hints

import yaml
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from omegaconf import MISSING

from ptl_sweep.config.schema import GROUPS, Config, conf_dir

MARKER = "<!-- the tables of every key -->"
FIGURE = "outputs/example/figure.png"
MANY = 4  # a key that more choices set is shown without their values


class Key(NamedTuple):
    """One key of the config."""

    name: str  # dotted, as on the command line
    default: object
    meaning: str


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """The example's figure becomes a file of the site."""
    path = Path(config.config_file_path).parent / FIGURE
    files.append(File.generated(config, "figure.png", abs_src_path=str(path)))
    return files


def on_page_markdown(markdown: str, **_event: object) -> str:
    """The marker of configuration.md becomes its tables."""
    return markdown.replace(MARKER, configuration_tables()) if MARKER in markdown else markdown


def keys_of(cls: type[Any], prefix: str = "") -> Iterator[Key]:
    """Every key below a dataclass, with the comment behind its field. Raises: ValueError."""
    meanings, hints = field_comments(cls), get_type_hints(cls)
    for item in dataclasses.fields(cls):
        name = f"{prefix}{item.name}"
        if dataclasses.is_dataclass(hints[item.name]):
            yield from _nested_keys(item, hints[item.name], name)
            continue
        meaning = meanings.get(item.name, "")
        yield Key(name, _default(item), meaning)


def _nested_keys(item: Any, cls: type[Any], name: str) -> Iterator[Key]:
    """Keys of a part, with the defaults that this field gives it."""
    given = item.default_factory() if item.default_factory is not cls else None
    for key in keys_of(cls, f"{name}."):
        inner = key.name.removeprefix(f"{name}.")
        yield key if given is None else key._replace(default=getattr(given, inner, key.default))


def _default(item: Any) -> object:
    if item.default is not dataclasses.MISSING:
        return item.default
    return MISSING if item.default_factory is dataclasses.MISSING else item.default_factory()


def field_comments(cls: type[Any]) -> dict[str, str]:
    """The comment behind each field, with the lines of comment that follow it."""
    source = textwrap.dedent(inspect.getsource(cls))
    comments = {
        token.start[0]: (token.string.lstrip("# "), token.line.lstrip().startswith("#"))
        for token in tokenize.generate_tokens(io.StringIO(source).readline)
        if token.type == tokenize.COMMENT
    }
    (tree,) = ast.parse(source).body
    assert isinstance(tree, ast.ClassDef)
    found = {}
    for node in tree.body:
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            line = node.end_lineno or node.lineno
            words = [comments[line][0]] if line in comments else []
            while words and comments.get(line + 1, ("", False))[1]:
                line += 1
                words.append(comments[line][0])
            found[node.target.id] = " ".join(words)
    return found


def choices(group: str) -> dict[str, Mapping[str, Any]]:
    """What the YAML files of a group set, by the name of the choice."""
    return {
        path.stem: yaml.safe_load(path.read_text(encoding="utf-8")) or {}
        for path in sorted((conf_dir() / group).glob("*.yaml"))
    }


def about(path: Path) -> str:
    """The sentences that open a YAML file of conf/, up to its first command or blank line."""
    words = []
    for line in path.read_text(encoding="utf-8").splitlines():
        text = line.removeprefix("#").removeprefix(" ")
        if line.startswith("# @package"):
            continue
        if not line.startswith("#") or not text or text.startswith(" "):
            break
        words.append(text)
    return " ".join(words)


def configuration_tables() -> str:
    """Every key of the config, a section for each of its parts."""
    parts: dict[str, list[Key]] = {}
    for key in keys_of(Config):
        part = key.name.partition(".")[0] if "." in key.name else ""
        parts.setdefault(part, []).append(key)
    sections = [_section(part, keys) for part, keys in parts.items()]
    return "\n\n".join([*sections, _arms(), _experiments()])


def _section(part: str, keys: list[Key]) -> str:
    group = choices(part) if part in GROUPS else {}
    base = yaml.safe_load((conf_dir() / "config.yaml").read_text(encoding="utf-8"))
    lines = [f"## `{part}`" if part else "## The cell", ""]
    if part:
        hint = get_type_hints(Config)[part]
        lines += [(inspect.getdoc(hint) or "").replace("\n", " "), ""]
    if group:
        lines += [*_choices_table(part), ""]
    lines += ["| key | default | meaning |", "|---|---|---|"]
    for key in keys:
        defaults = _defaults(key, group, base)
        lines.append(f"| `{key.name}` | {defaults} | {_cell(key.meaning)} |")
    return "\n".join(lines)


def _defaults(key: Key, group: Mapping[str, Mapping[str, Any]], base: Mapping[str, Any]) -> str:
    """The default of the dataclass, and what choices of its group and config.yaml set instead."""
    path = key.name.split(".")
    shown = [] if key.default == MISSING else [_value(key.default)]
    found = {name: _look_up(values, path[1:]) for name, values in group.items()}
    setting = {n: v for n, v in found.items() if v is not None and v != key.default}
    if len(setting) > MANY:
        shown.append("each choice sets it")
    else:
        shown += [f"`{name}`: {_value(value)}" for name, value in setting.items()]
    common = _look_up(base, path)
    if common is not None and common != key.default:
        shown.append(f"`conf/config.yaml`: {_value(common)}")
    return "; ".join(shown) or "none: required"


def _look_up(values: Any, path: list[str]) -> Any:
    for name in path:
        values = values.get(name) if isinstance(values, Mapping) else None
    return values


def _value(value: object) -> str:
    shown = {None: "null", True: "true", False: "false"}
    if value is None or isinstance(value, bool):
        return f"`{shown[value]}`"
    return f"`{value}`" if value != "" else "empty"


def _cell(text: str) -> str:
    """Text that stands in a cell of a table: its bars escaped, its angle brackets shown."""
    for plain, escaped in (("|", "\\|"), ("<", "&lt;"), ("*", "\\*")):
        text = text.replace(plain, escaped)
    return text


def _choices_table(folder: str) -> list[str]:
    rows = [
        f"| `{path.stem}` | {_cell(about(path))} |"
        for path in sorted((conf_dir() / folder).glob("*.yaml"))
    ]
    return [f"| `{folder}=` | what it is |", "|---|---|", *rows]


def _arms() -> str:
    opening = """\
An arm is a file in `conf/arm/` that sets `synthetic.name` and `synthetic.method`, and what goes
with them in other groups, so that one sweep compares methods, translators and pools. It wins over
`synthetic=`, of which one value is enough: `synthetic=on arm=on,identity`."""
    return "\n".join(["## `arm`", "", opening, "", *_choices_table("arm")])


def _experiments() -> str:
    opening = """\
An experiment is a file in `conf/experiment/` that sets keys of several groups and the grid itself.
What the command line says wins over it."""
    lines = ["## `experiment`", "", opening]
    for path in sorted((conf_dir() / "experiment").glob("*.yaml")):
        lines += ["", f"### `experiment={path.stem}`", "", "```yaml"]
        lines += [path.read_text(encoding="utf-8").rstrip(), "```"]
    return "\n".join(lines)
