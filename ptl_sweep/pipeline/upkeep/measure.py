"""How much a store holds, by what it is."""

from collections.abc import Set
from dataclasses import dataclass, field

from ptl_sweep.ownership import read_claim
from ptl_sweep.pipeline.upkeep.entries import (
    CHECKPOINT,
    REMAINS,
    SET_ASIDE,
    Entry,
    File,
    Sort,
    files_of,
    is_unfinished,
    read_entries,
)
from ptl_sweep.stages.base import KINDS
from ptl_sweep.store import Store


@dataclass(slots=True)
class Amount:
    """So many things, and their bytes."""

    number: int = 0
    size: int = 0

    def add(self, size: int) -> None:
        """Count one more."""
        self.number += 1
        self.size += size


def _per_kind() -> dict[str, Amount]:
    return {kind.value: Amount() for kind in KINDS}


@dataclass(slots=True, kw_only=True)
class StoreUse:
    """What a store holds; the parts down to `other` add up to `total`."""

    stages: dict[str, Amount] = field(default_factory=_per_kind)  # by kind
    work_folders: Amount = field(default_factory=Amount)
    claims: Amount = field(default_factory=Amount)
    remains: Amount = field(default_factory=Amount)  # of writers that were killed
    other: Amount = field(default_factory=Amount)  # nothing that a sweep has made
    total: Amount = field(default_factory=Amount)
    unused: dict[str, Amount] | None = None  # stages, by kind, that no plan needs; None: not known
    # among the files of those:
    checkpoints: Amount = field(default_factory=Amount)
    set_aside: Amount = field(default_factory=Amount)
    temporaries: Amount = field(default_factory=Amount)
    live_claims: int = 0


def measure_store(
    store: Store, *, only: Set[str] | None = None, used: Set[str] | None = None
) -> StoreUse:
    """Count what the store holds, or what belongs to the stages `only`.

    With `used`, the stages that some plan needs, the others are counted once more as unused.
    Raises: OSError.
    """
    use = StoreUse(unused=None if used is None else _per_kind())
    for entry in read_entries(store):
        if only is not None and entry.key not in only:
            continue
        size = sum(_counted(use, file) for file in files_of(entry))
        use.total.add(size)
        _part_of(use, entry).add(size)
        if entry.sort == Sort.STAGE and used is not None and entry.key not in used:
            assert use.unused is not None
            use.unused[_kind_of(entry)].add(size)
        if entry.sort == Sort.CLAIM:
            claim = read_claim(entry.path)
            use.live_claims += claim is not None and not claim.is_stale
    return use


def _part_of(use: StoreUse, entry: Entry) -> Amount:
    if entry.sort == Sort.STAGE:
        return use.stages[_kind_of(entry)]
    if entry.sort in REMAINS:
        return use.remains
    named = {Sort.WORK_FOLDER: use.work_folders, Sort.CLAIM: use.claims}
    return named.get(entry.sort, use.other)


def _kind_of(entry: Entry) -> str:
    return entry.key.partition("-")[0]


def _counted(use: StoreUse, file: File) -> int:
    """Size of a file, after it was counted among those of its suffix."""
    if is_unfinished(file.path):
        use.temporaries.add(file.size)
    elif file.path.name.endswith(SET_ASIDE):
        use.set_aside.add(file.size)
    elif file.path.suffix == CHECKPOINT:
        use.checkpoints.add(file.size)
    return file.size
