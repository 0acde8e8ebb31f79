"""One look at a store's folder, for commands that ask about thousands of stages."""

import os
from collections import defaultdict
from dataclasses import dataclass, field
from typing import Any

from ptl_sweep.store import Store, StoreError

HASH_LENGTH = len("-0123456789ab")  # of a key, after its label


@dataclass(slots=True)
class StoreListing:
    """What the store held when this was made."""

    store: Store
    _names: set[str] = field(init=False)
    _by_label: dict[str, list[str]] = field(init=False)  # `<kind>-<label>` -> published keys

    def __post_init__(self) -> None:
        """List the folder; one that is not there is empty."""
        try:
            with os.scandir(self.store.root) as entries:
                self._names = {entry.name for entry in entries}
        except (FileNotFoundError, NotADirectoryError):
            self._names = set()
        self._by_label = defaultdict(list)
        for name in sorted(self._names):
            if "." not in name[-HASH_LENGTH:] and name[:-HASH_LENGTH]:
                self._by_label[name[:-HASH_LENGTH]].append(name)

    def is_published(self, key: str) -> bool:
        """Whether the whole stage is there; a stage in work may have been published since."""
        return key in self._names or (f"{key}.wip" in self._names and self.store.is_published(key))

    def is_running(self, key: str) -> bool:
        """Whether a live worker owns the stage."""
        return f"{key}.claim" in self._names and self.store.is_running(key)

    def failure(self, key: str) -> dict[str, Any] | None:
        """FAILED.json of a stage whose last attempt raised, else None."""
        return self.store.failure(key) if f"{key}.wip" in self._names else None

    def meta(self, key: str) -> dict[str, Any]:
        """meta.json of a published stage. Raises: StoreError when it cannot be read."""
        return self.store.meta(key)

    def started(self, key: str) -> float:
        """When a published stage was begun, seconds since 1970; 0 where meta.json is damaged."""
        try:
            return float(self.meta(key)["started"])
        except (StoreError, KeyError):
            return 0.0

    def labelled(self, kind: str, label: str) -> list[str]:
        """Published stages of one kind and label, whatever their settings."""
        return self._by_label.get(f"{kind}-{label}", [])

    def starting(self, prefix: str) -> list[str]:
        """Published stages whose key starts with `prefix`."""
        return [
            k for label, keys in self._by_label.items() if label.startswith(prefix) for k in keys
        ]
