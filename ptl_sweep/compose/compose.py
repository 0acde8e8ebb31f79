"""Hydra turns the command line into cells; what it refuses becomes a short message.

Hydra's own sweeper composes every cell twice, at 0.1 s each. A plain sweep (``-m key=value ...``)
and the commands that only look go through Hydra's compose API instead, once per combination of
group choices, and set the swept values themselves; tests hold the cells equal.
"""

import dataclasses
import io
import itertools
import os
import re
import sys
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, redirect_stdout
from typing import Any, NamedTuple

import hydra
from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from ptl_sweep.compose.cells.ids import cell_id
from ptl_sweep.compose.class_names import as_written, with_plain_names, write_names_back
from ptl_sweep.compose.errors import short_message
from ptl_sweep.compose.grid import (
    check_grid,
    declared_keys,
    is_group,
    mappings,
)
from ptl_sweep.compose.own_choices import with_own_choices, with_own_flag
from ptl_sweep.compose.own_faults import RAISED, name_fault
from ptl_sweep.compose.words import (
    key_of,
    refuse_additions,
    refuse_stray_words,
    refuse_swept_experiment,
    refuse_too_many,
    refuse_unreadable,
)
from ptl_sweep.config.schema import (
    GROUPS,
    OVERLAYS,
    Config,
    ConfigError,
    conf_dir,
    register_schemas,
    typed,
)
from ptl_sweep.terminal import write

SWEEP_FLAGS = {"-m", "--multirun"}
PARTS = tuple(field.name for field in dataclasses.fields(Config))


class SweptValue(NamedTuple):
    """One value of a swept key."""

    key: str
    value: Any


def compose_run(arguments: Sequence[str]) -> list[Config] | None:
    """Compose the cells of a command line; None when Hydra only printed something (--help, --cfg).

    Raises: ConfigError in at most three lines for anything that Hydra or a check refuses.
    """
    overrides = [a for a in arguments if not a.startswith("-")]
    if _is_plain_sweep(arguments):
        refuse_stray_words(overrides)
        return compose_grid(overrides)
    refuse_stray_words(arguments)
    refuse_additions(overrides)
    _refuse_unreadable([word for word in overrides if "=" in word])  # others belong to flags
    refuse_swept_experiment(overrides)
    cells = run_hydra(arguments)
    if not cells:
        return None
    check_grid(cells, named_keys(overrides))
    return in_order(cells)


def _refuse_unreadable(overrides: Sequence[str]) -> None:
    """Refuse words, with class names as the user wrote them. Raises: ConfigError."""
    try:
        refuse_unreadable(with_plain_names(overrides))
    except ConfigError as error:
        raise ConfigError(as_written(str(error))) from error


def _is_plain_sweep(arguments: Sequence[str]) -> bool:
    """Whether the cells depend on nothing that only Hydra's own sweeper knows."""
    flags = {a for a in arguments if a.startswith("-")}
    overrides = " ".join(a for a in arguments if not a.startswith("-"))
    asks_hydra = re.search(r"(^|\s)[+~]*hydra[./@=]|\$\{hydra:", overrides)
    return bool(flags) and flags <= SWEEP_FLAGS and not asks_hydra


def run_hydra(arguments: Sequence[str]) -> list[Config]:
    """Collect the cells that ``hydra.main`` calls its function with, each checked by itself.

    Raises: ConfigError as `compose_run`.
    """
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
            *_flags_first(_with_open_mappings(with_plain_names(with_own_flag(arguments)))),
            "hydra/job_logging=none",
            "hydra/hydra_logging=none",
        ]
        shown = io.StringIO()  # written at once: a closed pipe would be many errors of logging
        try:
            with _short_refusals(arguments), redirect_stdout(shown):
                collect()
                cells = [typed(cfg) for cfg in composed]
        finally:
            write(shown.getvalue())
            sys.argv = before[0]
            os.environ.clear()
            os.environ |= before[1]
    write_names_back(cells)
    return cells


@contextmanager
def _short_refusals(words: Sequence[str]) -> Iterator[None]:
    """Say in at most three lines what Hydra, a check or Python refuses. Raises: ConfigError."""
    try:
        yield
    except (HydraException, OmegaConfBaseException, ConfigError) as error:
        raise name_fault(words) or ConfigError(as_written(short_message(error))) from error
    except RAISED as error:
        fault = name_fault(words)
        if fault is None and isinstance(error, RecursionError):
            fault = ConfigError("choice files name each other among their defaults without end")
        if fault is None:
            raise
        raise fault from error


def _flags_first(arguments: Sequence[str]) -> list[str]:
    """Move words such as `seed=1` behind all flags: Hydra's parser wants them side by side."""
    return sorted(arguments, key=lambda a: a[:1] != "-" and ("=" in a or a.startswith("~")))


def in_order(cells: Iterable[Config]) -> list[Config]:
    """Sort cells by their ids, so that the order of words on a command line changes no file."""
    return sorted(cells, key=cell_id)


def compose_grid(overrides: Sequence[str], *, as_sweep: bool = True) -> list[Config]:
    """Compose the cells of ``-m overrides``, in the order of their ids.

    `as_sweep=False` checks each cell by itself only: enough to look at its data sets.
    Raises: ConfigError as `compose_run`.
    """
    with _composing(overrides) as words:
        cells = list(_compose_cells(words))
    write_names_back(cells)
    if as_sweep:
        check_grid(cells, named_keys(overrides))
    return in_order(cells)


def compose_shown(overrides: Sequence[str]) -> DictConfig:
    """Compose one config with Hydra's own part in it, for a text; a swept key keeps its default.

    Raises: ConfigError as `compose_run`.
    """
    with _composing(overrides) as words:
        given = OverridesParser.create().parse_overrides(words)
        fixed = [_line(o) for o in given if not o.is_sweep_override()]
        return compose("config", overrides=fixed, return_hydra_config=True)


@contextmanager
def _composing(overrides: Sequence[str]) -> Iterator[list[str]]:
    """Let Hydra's compose API read the words, own choices added. Raises: ConfigError."""
    refuse_additions(overrides)
    _refuse_unreadable(overrides)
    refuse_swept_experiment(overrides)
    register_schemas()
    GlobalHydra.instance().clear()
    with (
        _short_refusals(overrides),
        initialize_config_dir(str(conf_dir()), version_base="1.3"),
    ):
        yield _with_open_mappings(with_plain_names(with_own_choices(overrides)))


def _compose_cells(overrides: Sequence[str]) -> Iterator[Config]:
    parser = OverridesParser.create(GlobalHydra.instance().config_loader())  # which glob() asks
    given = parser.parse_overrides(list(overrides))
    fixed = [_line(o) for o in given if not o.is_sweep_override()]
    base = compose("config", overrides=fixed, return_hydra_config=True)
    params = [f"{key}={value}" for key, value in (base.hydra.sweeper.params or {}).items()]
    # As in Hydra's sweeper: the last word for a key counts, in the place of the first.
    words = {o.get_key_element(): o for o in [*parser.parse_overrides(params), *given]}
    by_value = [o for o in words.values() if _is_value_axis(o, words.values())]
    by_hydra = [_lines(o) for o in words.values() if o not in by_value]
    axes = [
        [SweptValue(o.key_or_group, one.value()) for one in parser.parse_overrides(_lines(o))]
        for o in by_value
    ]
    refuse_too_many([*map(len, by_hydra), *map(len, axes)])
    for lines in itertools.product(*by_hydra):
        yield from _cells_of(compose("config", overrides=list(lines)), axes)


def _line(override: Override) -> str:
    assert override.input_line is not None
    return override.input_line


def _lines(override: Override) -> list[str]:
    """List the plain overrides that an override stands for."""
    if not override.is_sweep_override():
        return [_line(override)]
    if not override.is_discrete_sweep():
        raise ConfigError(
            f"{_line(override)}: a sweep needs single values, such as a,b or range(0,3)"
        )
    lines = [f"{override.get_key_element()}={v}" for v in override.sweep_string_iterator()]
    if not lines:
        raise ConfigError(f"{_line(override)}: a sweep without a single value")
    return lines


def _is_value_axis(override: Override, others: Iterable[Override]) -> bool:
    """Whether setting the value after all other words gives what Hydra's order gives."""
    key = override.key_or_group
    declared = declared_keys().get(key)
    if not override.is_sweep_override() or override.get_key_element() != key:
        return False
    if declared is None or is_group(declared) or key in mappings():
        return False
    keys = {o.key_or_group for o in others if not _is_choice(o)}
    return not any(key.startswith(f"{k}.") or k.startswith(f"{key}.") for k in keys)


def _is_choice(override: Override) -> bool:
    """Whether it chooses a file of conf/: Hydra takes those before any value."""
    return override.key_or_group in {*GROUPS, *OVERLAYS} and "{" not in _line(override)


def _cells_of(cfg: DictConfig, axes: Sequence[Sequence[SweptValue]]) -> Iterator[Config]:
    """Set every combination of values in place: each sets the same keys, so none is left over.

    Cells share the parts that no value reaches.
    """
    varying = _reached(cfg, [axis[0].key for axis in axes])
    shared = {name: _plain(cfg[name]) for name in PARTS if name not in varying}
    for values in itertools.product(*axes):
        for value in values:
            OmegaConf.update(cfg, value.key, value.value, merge=True)
        yield Config(**shared, **{name: _plain(cfg[name]) for name in varying})


def _plain(value: Any) -> Any:
    return OmegaConf.to_object(value) if OmegaConf.is_config(value) else value


def _reached(cfg: DictConfig, keys: Iterable[str]) -> set[str]:
    """Find the parts of the config that change with `keys`, through interpolations as well."""
    names = {key.split(".")[0] for key in keys}
    written = re.findall(r"\$\{([^}]*)", str(OmegaConf.to_container(cfg, resolve=False)))
    if any(word in text for text in written for word in (*names, "${")):
        return set(PARTS)
    return names


def _with_open_mappings(arguments: Iterable[str]) -> list[str]:
    """Let ``launcher.additional_parameters={...}`` bring new names, which Hydra calls adding."""
    whole = re.compile(rf"\+*((?:{'|'.join(map(re.escape, mappings()))})=\s*\{{.*)", re.DOTALL)
    return [whole.sub(r"+\1", argument) for argument in arguments]


def named_keys(overrides: Iterable[str]) -> set[str]:
    """List the keys that a command line sets; an experiment counts as naming its data."""
    keys = {key_of(override) for override in overrides}
    return keys | ({"dataset", "target"} if "experiment" in keys else set())
