"""What a grid needs of data on disk: a run refuses what lacks it, and `check` says all of it."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import NamedTuple

from ptl_sweep.compose.grid import real_count_fault
from ptl_sweep.compose.leakage import (
    require_clean_pool,
    require_clean_validation,
    require_held_out,
    require_separate,
)
from ptl_sweep.config.schema import Config, ConfigError, DatasetConfig, PoolConfig
from ptl_sweep.datasets import registry
from ptl_sweep.datasets.records import ImageSet
from ptl_sweep.datasets.validation import DataError
from ptl_sweep.store import canonical_json

ROLES = ("dataset", "validation", "target", "pool")
NO_VALIDATION = (
    "\n  or: analysis.calibration=crossfit, if the source has no part that no subset touches"
)


class Need(NamedTuple):
    """An image set that cells read."""

    role: str  # one of ROLES
    data: DatasetConfig | PoolConfig
    config: Config  # of the first cell that reads it

    @property
    def key(self) -> tuple[str, str]:
        """Equal for equal sets in one role."""
        return self.role, canonical_json(asdict(self.data))

    def read(self) -> ImageSet:
        """Read all of it. Raises: ConfigError, DataError."""
        if isinstance(self.data, PoolConfig):
            return registry.read_pool(self.data)
        try:
            return registry.read_split(self.data, self.data.split)
        except (ConfigError, DataError) as error:
            if self.role == "validation":
                raise type(error)(f"{error}{NO_VALIDATION}") from error
            raise

    def require(self) -> None:
        """Read it, unless an index says that it can be read. Raises: ConfigError, DataError."""
        try:
            found = (
                registry.pool_fingerprint(self.data)
                if isinstance(self.data, PoolConfig)
                else registry.fingerprint(self.data, self.data.split)
            )
        except (ConfigError, DataError):
            found = None
        if found is None:
            self.read()


class Rule(NamedTuple):
    """What must hold between sets; `check` raises ConfigError otherwise."""

    needs: tuple[tuple[str, str], ...]  # keys of the sets; the last one is to blame
    check: Callable[[], None]


def needed_sets(cells: Iterable[Config], *, with_pools: bool = False) -> list[Need]:
    """List the sets that cells read, each once; `with_pools`: pools that no cell uses as well."""
    needs: dict[tuple[str, str], Need] = {}
    for config in cells:
        for need in _needs_of(config, with_pools):
            needs.setdefault(need.key, need)
    return sorted(needs.values(), key=lambda need: ROLES.index(need.role))


def _needs_of(config: Config, with_pools: bool) -> Iterator[Need]:
    yield Need("dataset", config.dataset, config)
    if config.analysis.calibration == "validation":
        yield Need("validation", config.dataset.validation_config(), config)
    yield Need("target", config.target, config)
    if with_pools or config.synthetic.method != "off":
        yield Need("pool", config.pool, config)


def refuse_missing_folders(needs: Iterable[Need], data_root: str) -> None:
    """Name every folder at once where several are not there: mostly all hang on data_root.

    Raises: ConfigError.
    """
    roots = [need.data.root for need in needs if need.data.root is not None]
    missing = [root for root in dict.fromkeys(roots) if not Path(root).is_dir()]
    if len(missing) < 2:
        return  # its reader says what should lie there
    others = "" if Path(data_root).is_dir() else f"; data_root={data_root} is none either"
    raise ConfigError(
        f"{len(missing)} data sets are not there: {', '.join(missing)} are no folders{others}\n"
        "  fix: set data_root, or PTL_DATA once for all commands, to the folder that holds them"
    )


def rules(cells: Iterable[Config]) -> list[Rule]:
    """List what must hold between the sets of each cell, each rule once."""
    found: dict[str, Rule] = {}
    for config in cells:
        needs = {need.role: need.key for need in _needs_of(config, with_pools=False)}
        parts = {"dataset": config.dataset, "target": config.target}
        values = [asdict(part) for part in parts.values()]
        separate = partial(require_separate, config.dataset, config.target)
        pair = (needs["dataset"], needs["target"])
        found.setdefault(canonical_json(["separate", *values]), Rule(pair, separate))
        if "validation" in needs:
            clean = partial(require_clean_validation, config.dataset)
            both = (needs["dataset"], needs["validation"])
            found.setdefault(canonical_json(["clean", values[0]]), Rule(both, clean))
            held_out = partial(require_held_out, config.dataset, config.target)
            beside = (needs["target"], needs["validation"])
            found.setdefault(canonical_json(["held out", *values]), Rule(beside, held_out))
        for rule in _pool_rules(config, needs):
            found.setdefault(canonical_json(["pool", *rule.needs]), rule)
    return list(found.values())


def _pool_rules(config: Config, needs: Mapping[str, tuple[str, str]]) -> Iterator[Rule]:
    """List what must hold between a pool and what is tested or calibrated on."""
    uses = {
        "target": (config.target, "tested on"),
        "validation": (config.dataset.validation_config(), "calibrated on"),
    }
    for role, (data, use) in uses.items():
        if {role, "pool"} <= needs.keys():
            clean = partial(require_clean_pool, config.pool, data, use)
            yield Rule((needs[role], needs["pool"]), clean)


def too_few(cells: Iterable[Config], dataset: DatasetConfig, available: int) -> str | None:
    """Say that a cell asks for more real pictures of a data set than show a person, or None."""
    asking = [config for config in cells if config.dataset == dataset]
    largest = max(asking, key=lambda config: config.real_count, default=None)
    return None if largest is None else real_count_fault(largest, available)
