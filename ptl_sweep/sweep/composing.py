"""Hydra turns the command line into cells; what it refuses becomes a short message.

A run goes through Hydra's own sweeper and launcher. Verbs that only look (`plan`, `check`) use
Hydra's compose API, once per combination of group choices, because a cell costs 0.2 s there.
"""

import dataclasses
import itertools
import os
import re
import sys
import tempfile
import typing
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import hydra
from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf, open_dict
from omegaconf.errors import OmegaConfBaseException, ValidationError

from ptl_sweep.config import GROUPS, Config, ConfigError, conf_dir, register_schemas, typed
from ptl_sweep.sweep.grid import all_keys, cell_id, check_grid, close_match

TYPE_NAMES = {
    int: "an integer",
    float: "a number",
    bool: "true or false",
    str: "a text",
    list[int]: "a list of integers",
    list[float]: "a list of numbers",
    list[list[float]]: "a list of lists of numbers",
    dict[str, str]: "a mapping {NAME: meaning}",
}


@dataclass(frozen=True, slots=True)
class Composition:
    """The cells that a command line stands for, checked as a grid, in the order of their ids."""

    cells: list[Config]

    @classmethod
    def of(cls, cells: Iterable[Config]) -> "Composition":
        """Sorted, so that the order of words on a command line changes no file."""
        return cls(sorted(cells, key=cell_id))


def compose_run(arguments: Sequence[str]) -> Composition | None:
    """Run Hydra on the command line; None when it only printed something (--help, --cfg).

    Raises: ConfigError in at most three lines for anything that Hydra or a check refuses.
    """
    overrides = [a for a in arguments if not a.startswith("-")]
    refuse_additions(overrides)
    refuse_swept_experiment(overrides)
    composed: list[DictConfig] = []
    register_schemas()

    @hydra.main(version_base="1.3", config_path=str(conf_dir()), config_name="config")
    def collect(cfg: DictConfig) -> None:
        composed.append(cfg)  # checked later: Hydra announces an error of a job in its own way

    before = sys.argv, dict(os.environ)
    with tempfile.TemporaryDirectory(prefix="ptl-sweep-") as folder:
        os.environ |= {"PTL_HYDRA_DIR": folder, "HYDRA_FULL_ERROR": "1"}
        sys.argv = [
            "ptl-sweep",
            *arguments,
            "hydra/job_logging=none",
            "hydra/hydra_logging=none",
        ]
        try:
            collect()
            cells = [typed(cfg) for cfg in composed]
        except (HydraException, OmegaConfBaseException, ConfigError) as error:
            raise ConfigError(short_message(error)) from error
        finally:
            sys.argv = before[0]
            os.environ.clear()
            os.environ |= before[1]
    if not cells:
        return None
    check_grid(cells, named_keys(overrides))
    return Composition.of(cells)


def compose_grid(overrides: Sequence[str], *, as_sweep: bool = True) -> Composition:
    """The same cells as ``-m overrides``, without Hydra's launcher.

    `as_sweep=False` checks each cell by itself only: enough to look at its data sets.
    Raises: ConfigError as `compose_run`.
    """
    refuse_additions(overrides)
    refuse_swept_experiment(overrides)
    register_schemas()
    try:
        GlobalHydra.instance().clear()
        with initialize_config_dir(str(conf_dir()), version_base="1.3"):
            cells = [typed(cfg) for cfg in _compose_cells(overrides)]
    except (HydraException, OmegaConfBaseException, ConfigError) as error:
        raise ConfigError(short_message(error)) from error
    if as_sweep:
        check_grid(cells, named_keys(overrides))
    return Composition.of(cells)


def _compose_cells(overrides: Sequence[str]) -> Iterable[DictConfig]:
    parser = OverridesParser.create(GlobalHydra.instance().config_loader())  # which glob() asks
    given = parser.parse_overrides(list(overrides))
    swept = {o.key_or_group for o in given}
    fixed = [o.input_line for o in given if not o.is_sweep_override()]
    base = compose("config", overrides=[line for line in fixed if line], return_hydra_config=True)
    params: dict[str, str] = dict(base.hydra.sweeper.params or {})
    lines = [f"{key}={value}" for key, value in params.items() if key not in swept]
    axes = [_choices(o) for o in [*given, *parser.parse_overrides(lines)]]
    composed: dict[tuple[str, ...], DictConfig] = {}
    for combination in itertools.product(*axes):
        groups = tuple(o for o in combination if _key(o) in GROUPS or _key(o) == "experiment")
        if groups not in composed:
            composed[groups] = compose("config", overrides=list(groups))
        yield _with_values(composed[groups], [o for o in combination if o not in groups], parser)


def _key(override: str) -> str:
    return override.split("=", maxsplit=1)[0].lstrip("+~")


def _choices(override: Override) -> list[str]:
    """The plain overrides that a sweep override stands for."""
    if not override.is_sweep_override():
        assert override.input_line is not None
        return [override.input_line]
    values = [str(value) for value in override.sweep_string_iterator()]
    return [f"{override.get_key_element()}={value}" for value in values]


def _with_values(cfg: DictConfig, overrides: Sequence[str], parser: Any) -> DictConfig:
    """Value overrides, in place: every cell of a sweep sets the same keys, so none is left over."""
    parsed = parser.parse_overrides(list(overrides))
    for override in parsed:
        with open_dict(cfg):
            if OmegaConf.select(cfg, override.key_or_group, default=KeyError) is KeyError:
                _require_key(override.key_or_group)
            OmegaConf.update(cfg, override.key_or_group, override.value(), merge=True)
    return cfg


def _require_key(key: str) -> None:
    if key not in all_keys() and not key.startswith("hydra") and not _is_class(key):
        raise ConfigError(_unknown_key(key))


def _is_class(key: str) -> bool:
    """Whether a key is a class of the files: `categories` is the one mapping with free keys."""
    return re.match(r"(dataset|target)\.categories\.", key) is not None


def named_keys(overrides: Iterable[str]) -> set[str]:
    """Keys that a command line sets; an experiment counts as naming its data."""
    keys = {_key(override) for override in overrides}
    return keys | ({"dataset", "target"} if "experiment" in keys else set())


def refuse_additions(overrides: Iterable[str]) -> None:
    """``+key=value`` and ``~key``: all keys exist and every one is needed. Raises: ConfigError."""
    for override in overrides:
        key = _key(override)
        if not override.startswith(("+", "~")) or key.startswith("hydra") or _is_class(key):
            continue
        if key not in {*all_keys(), "experiment"}:
            raise ConfigError(_unknown_key(key))
        raise ConfigError(f"{override}: no key can be added or removed; write {key}=VALUE")


def refuse_swept_experiment(overrides: Iterable[str]) -> None:
    """``experiment=a,b`` silently drops both grids in Hydra. Raises: ConfigError."""
    for override in overrides:
        if re.match(r"experiment=.*[,(]", override):
            raise ConfigError(
                f"{override}: an experiment is a whole grid and cannot be swept; run one command "
                "for each experiment"
            )


def short_message(error: BaseException) -> str:
    """At most three lines: key, nearest match, allowed values."""
    chain: list[BaseException] = []
    current: BaseException | None = error
    while current is not None and current not in chain:
        chain.append(current)
        current = current.__cause__ or current.__context__
    for link in chain:
        if isinstance(link, ConfigError):
            return str(link)
    text = "\n".join(str(link) for link in reversed(chain))
    unknown = re.search(r"Key '([^']+)' (?:not in|is not in struct)", text)
    if unknown:
        full = re.search(r"full_key: (\S+)", text) or re.search(r"override '([^']+)'", text)
        return _unknown_key(full.group(1) if full else unknown.group(1))
    choice = re.search(r"Could not find '([^'/]+)/([^']+)'", text)
    if choice:
        return _unknown_choice(choice.group(1), choice.group(2))
    swept = re.search(r"Ambiguous value for argument '(.+)'", text)
    if swept:
        return f"{swept.group(1)}: several values make a sweep, which needs the flag -m"
    return _wrong_type(chain) or _first_lines(text)


def _wrong_type(chain: Iterable[BaseException]) -> str | None:
    """`real_count: 'x' is not an integer`."""
    for link in chain:
        if isinstance(link, ValidationError) and link.full_key:
            key, _, item = link.full_key.partition("[")
            value = "null" if link.value is None else repr(link.value)
            return f"{key}: {value} {'does not fit into' if item else 'is not'} {_type_name(key)}"
    return None


def _type_name(key: str) -> str:
    """What a key holds, in words."""
    declared: Any = Config
    for part in key.split("."):
        declared = {f.name: f.type for f in dataclasses.fields(declared)}[part]
    parts = typing.get_args(declared)
    if type(None) not in parts:
        return TYPE_NAMES[declared]
    return TYPE_NAMES[next(part for part in parts if part is not type(None))] + " or null"


def _unknown_key(key: str) -> str:
    if _is_class(key):
        return f"{key} is new: write +{key}=person (or other, or ignore)"
    close = close_match(key, all_keys())
    if close is None:
        close = close_match(key.rsplit(".", 1)[-1], {k.rsplit(".", 1)[-1] for k in all_keys()})
    hint = f"; did you mean {close}?" if close else "; `python -m ptl_sweep --cfg job` lists all"
    return f"unknown key {key}{hint}"


def _unknown_choice(group: str, choice: str) -> str:
    choices = sorted(path.stem for path in (conf_dir() / group).glob("*.yaml"))
    close = close_match(choice, choices)
    hint = f"; did you mean {close}?" if close else ""
    allowed = f"\nallowed: {', '.join(choices)}" if choices else f"\nno group {group}"
    return f"unknown choice {group}={choice}{hint}{allowed}"


def _first_lines(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    noise = re.compile(r"(object_type|reference_type|set |See https:|None$|.*\$VALUE)")
    wanted = [line for line in lines if not noise.match(line)]
    return "\n".join(dict.fromkeys(wanted[:3]))
