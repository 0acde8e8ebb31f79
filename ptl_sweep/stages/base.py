"""A stage is a typed value: its fields and its parents' keys make its key, and are all it reads.

Fields marked NOT_IN_KEY say where something lies or what it is called; no result depends on them.
Everything else that a stage uses is hashed: what is not in its key is not in its reach.
"""

import functools
import typing
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import Field, dataclass, field, fields, is_dataclass
from enum import StrEnum
from types import UnionType
from typing import TYPE_CHECKING, Any, ClassVar

from ptl_sweep.config.choices import Choice
from ptl_sweep.detection.architectures import architecture_of
from ptl_sweep.ptl.methods import find_method
from ptl_sweep.ptl.methods.base import SyntheticMethod
from ptl_sweep.ptl.translators import find_translator
from ptl_sweep.ptl.translators.base import Translator
from ptl_sweep.stages.inputs import NOT_IN_KEY, DataSpec, DetectorSpec, InferenceSpec, PoolSpec
from ptl_sweep.store import stage_key

if TYPE_CHECKING:
    from ptl_sweep.stages.context import StageContext

FINDERS = {SyntheticMethod: find_method, Translator: find_translator}

_PLAIN = (str, int, float, type(None))  # most of the half a million values of a large plan

Summary = dict[str, Any]  # of meta.json: numbers and texts by name


class StageKind(StrEnum):
    """What a stage computes."""

    TRAIN = "train"
    PTL = "ptl"
    EVALUATE = "evaluate"


KINDS = tuple(StageKind)  # in the order in which a cell needs them


@dataclass(frozen=True, kw_only=True)
class Execution:
    """How a worker carries a stage out; no result depends on it."""

    checkpoint_minutes: float  # longest work that a killed job repeats
    image_cache_mb: int  # decoded images that one worker keeps
    device_cache_mb: int | None = None  # training images a GPU keeps; None: an eighth of its free


@dataclass(frozen=True, kw_only=True)
class Stage(ABC):
    """What is computed once and published under its key, ``<kind>-<label>-<12 hex>``."""

    kind: ClassVar[StageKind]
    version: ClassVar[int]  # raised when the code of this kind changes its results
    job_type: ClassVar[str]  # of its W&B run

    label: str = field(metadata=NOT_IN_KEY)  # readable part of the key
    parents: tuple[str, ...]  # keys of the stages whose files it reads
    num_threads: int  # CPU threads; results depend on it
    execution: Execution = field(metadata=NOT_IN_KEY)
    data: DataSpec  # the images that it is about
    detector: DetectorSpec
    inference: InferenceSpec

    @functools.cached_property
    def spec(self) -> dict[str, Any]:
        """Every field that decides the result, as JSON; parents apart."""
        content: dict[str, Any] = encode(self, keyed=True)
        del content["parents"]
        return content

    @functools.cached_property
    def key(self) -> str:
        """Derived from kind, version, fields and parents."""
        return stage_key(
            self.kind, self.label, version=self.version, spec=self.spec, parents=self.parents
        )

    @property
    def default_seconds(self) -> float:
        """Before such a stage was measured."""
        found: float = getattr(architecture_of(self.detector.config()).default_seconds, self.kind)
        return found

    @property
    @abstractmethod
    def inputs(self) -> dict[str, DataSpec | PoolSpec]:
        """The data sets that it reads, by their role: dataset, pool, target."""

    @property
    def toy_roles(self) -> set[str]:
        """The roles that the embedded toy world has among them."""
        return {role for role, data in self.inputs.items() if data.reader == "miniature"}

    @abstractmethod
    def run(self, ctx: "StageContext") -> Summary:
        """Compute the stage's files into `ctx.folder`. Raises: Interrupted."""

    def identity(self) -> dict[str, Any]:
        """What meta.json of the published stage says of it."""
        return {
            "kind": self.kind,
            "version": self.version,
            "spec": self.spec,
            "parents": list(self.parents),
        }


def encode(value: Any, *, keyed: bool) -> Any:
    """Dataclasses as mappings, tuples as lists; `keyed` leaves out NOT_IN_KEY."""
    if isinstance(value, _PLAIN):
        return value
    if is_dataclass(value) and not isinstance(value, type):
        named = {"method": value.method} if isinstance(value, Choice) else {}
        return named | {
            item.name: encode(getattr(value, item.name), keyed=keyed)
            for item in _fields(type(value))
            if not keyed or _is_keyed(item, getattr(value, item.name))
        }
    if isinstance(value, list | tuple):
        return [encode(item, keyed=keyed) for item in value]
    if isinstance(value, dict):
        return {key: encode(item, keyed=keyed) for key, item in value.items()}
    return value


@functools.cache
def _fields(cls: type[Any]) -> tuple[Field[Any], ...]:
    return fields(cls)


def _is_keyed(item: Field[Any], value: object) -> bool:
    if item.metadata.get("if_given", False):
        return value is not None if item.default is None else bool(value)
    return bool(item.metadata.get("in_key", True))


def decode(cls: type[Any], content: Mapping[str, Any]) -> Any:
    """The dataclass that `encode(..., keyed=False)` came from."""
    finder = FINDERS.get(cls)
    if finder is not None:
        content = dict(content)
        cls = finder(content.pop("method"))
    hints = _hints(cls)  # type: ignore[arg-type]
    return cls(
        **{
            item.name: _decoded(hints[item.name], content[item.name])
            for item in fields(cls)
            if item.name in content
        }
    )


@functools.cache
def _hints(cls: type) -> dict[str, Any]:
    return typing.get_type_hints(cls)


def _decoded(hint: Any, value: Any) -> Any:
    if isinstance(hint, UnionType):
        if value is None:
            return None
        hint, *others = [part for part in typing.get_args(hint) if part is not type(None)]
        if others:  # numbers and texts: JSON tells them apart
            return value
    if isinstance(hint, type) and is_dataclass(hint):
        return decode(hint, value)
    return tuple(value) if typing.get_origin(hint) is tuple else value
