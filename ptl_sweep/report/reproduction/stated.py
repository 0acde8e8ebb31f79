"""What the papers state of their settings (papers/*.yaml), beside those of a sweep."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import yaml

PAPERS = Path(__file__).with_name("papers")
VARIED = "varied in this sweep"
# keys of where and how a stage is computed, which change no result, and names of files
NOT_OF_THE_METHOD = (
    "root", "index_root", "licence", "citation", "checkpoint_minutes", "image_cache_mb",
    "device_cache_mb", "num_workers",
)  # fmt: skip
METHOD = (
    "dataset", "pool", "target", "synthetic", "translator", "detector", "tiling", "train",
    "gaussian", "evaluate", "analysis",
)  # fmt: skip


class Stated(NamedTuple):
    """A setting that a paper states, and ours."""

    key: str
    paper: str
    where: str
    value: Any  # the paper's
    ours: str
    note: str

    @property
    def is_kept(self) -> bool:
        """Whether the sweep has the paper's value."""
        ours = yaml.safe_load(self.ours)
        if isinstance(self.value, list) and isinstance(ours, list):
            return sorted(map(str, self.value)) == sorted(map(str, ours))
        return bool(ours == self.value)


def stated_settings(settings: Mapping[str, str]) -> list[Stated]:
    """Every setting that a paper states, with that of the sweep or VARIED."""
    return [
        Stated(
            entry["key"],
            paper["paper"],
            entry["where"],
            entry["value"],
            settings.get(entry["key"], VARIED),
            entry.get("note", ""),
        )
        for paper in _papers()
        for entry in paper["settings"]
    ]


def other_settings(
    settings: Mapping[str, str], stated: Sequence[Stated]
) -> Iterator[tuple[str, str]]:
    """Yield every setting of the method that no paper is known to state: key and value."""
    known = {one.key for one in stated}
    for key, value in settings.items():
        part, _, name = key.partition(".")
        if part in METHOD and name not in NOT_OF_THE_METHOD and key not in known:
            yield key, value


def _papers() -> list[dict[str, Any]]:
    paths = sorted(PAPERS.glob("*.yaml"), reverse=True)  # PTL, whose text we read, first
    return [yaml.safe_load(path.read_text(encoding="utf-8")) for path in paths]
