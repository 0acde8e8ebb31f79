"""A trained detector as its stage has published it: found by key, rebuilt from meta.json alone.

What decides a result stands in meta.json, so that a store without any plan is enough.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from ptl_sweep.config.schema import AnalysisConfig, ConfigError
from ptl_sweep.detection.detector import Detector
from ptl_sweep.detection.initial_weights.published import PUBLISHED
from ptl_sweep.distance.gaussian import StoredFeatures
from ptl_sweep.metrics.measure import read_training_features
from ptl_sweep.pipeline.plan import load_plan
from ptl_sweep.pipeline.upkeep.entries import Sort, read_entries
from ptl_sweep.pipeline.upkeep.used_stages import parents_of, plan_files
from ptl_sweep.stages.base import StageKind, decode
from ptl_sweep.stages.fitting import read_detector
from ptl_sweep.stages.inputs import DetectorSpec, InferenceSpec
from ptl_sweep.stages.train import FEATURES, MODEL
from ptl_sweep.store import Store
from ptl_sweep.terminal import close_match, did_you_mean

TRAINED = (StageKind.TRAIN, StageKind.PTL)
MAX_SHOWN = 5  # keys in a message


@dataclass(frozen=True, slots=True, kw_only=True)
class PublishedDetector:
    """A train or ptl stage of a store, and what its detector is read out with."""

    store: Store
    key: str
    spec: DetectorSpec
    inference: InferenceSpec
    num_threads: int  # CPU threads that its numbers were computed with
    commit: str | None  # of the code that trained it; None where no git was
    version: str | None  # of ptl_sweep then

    @classmethod
    def open(cls, store: Store, key: str) -> "PublishedDetector":
        """Read meta.json. Raises: StoreError when it is damaged, ConfigError for another kind."""
        meta = store.meta(key)
        if meta.get("kind") not in TRAINED:
            raise ConfigError(f"{key} trains no detector; give a train-... or ptl-... stage")
        try:
            spec = meta["spec"]
            named = {"name": spec["detector"]["architecture"], "weights": _weights_of(spec)}
            return cls(
                store=store,
                key=key,
                spec=decode(DetectorSpec, spec["detector"] | named),
                inference=decode(InferenceSpec, spec["inference"]),
                num_threads=spec["num_threads"],
                commit=meta.get("commit"),
                version=meta.get("versions", {}).get("ptl_sweep"),
            )
        except (KeyError, TypeError, AttributeError) as error:
            raise ConfigError(
                f"{store.path(key)} was published by another version of ptl_sweep "
                f"({type(error).__name__}: {error})\n  fix: run its sweep again with this one"
            ) from error

    def load(self, device: torch.device) -> Detector:
        """Load the network, ready for inference. Raises: StoreError for a damaged file."""
        return read_detector(self.spec, self.store.artifact(self.key, MODEL), device)

    def training_features(self) -> StoredFeatures:
        """Read the features of its training detections. Raises: StoreError for a damaged file."""
        return read_training_features(self.store.artifact(self.key, FEATURES))


def find_detector(store: Store, word: str) -> str:
    """Find the train or ptl stage whose key starts with `word`, or that an evaluate stage used.

    Raises: ConfigError for no or several of them, StoreError for a damaged meta.json.
    """
    entries = read_entries(store)
    published = [entry.key for entry in entries if entry.sort is Sort.STAGE]
    named = [word] if word in published else [key for key in published if key.startswith(word)]
    found = list(dict.fromkeys(_detector_of(store, key) for key in named))
    if len(found) > 1:
        shown = ", ".join(found[:MAX_SHOWN]) + (", ..." if len(found) > MAX_SHOWN else "")
        raise ConfigError(f"{word}: {len(found)} detectors are called that; give more of {shown}")
    if not found:
        unfinished = [entry.key for entry in entries if entry.sort is Sort.WORK_FOLDER]
        raise ConfigError(_unknown(store, word, published, unfinished))
    require_published(store, found[0])
    return found[0]


def require_published(store: Store, key: str) -> None:
    """Refuse a stage that nobody has finished. Raises: ConfigError."""
    if not store.is_published(key):
        raise ConfigError(
            f"{key} is not published in {store.root}: it was not computed to its end\n"
            "  fix: run the sweep's command again; `status` shows how far it is"
        )


def _detector_of(store: Store, key: str) -> str:
    """The stage itself, or the one that trained what it evaluated."""
    parents = parents_of(store, key)
    return parents[0] if key.startswith(f"{StageKind.EVALUATE}-") and parents else key


def _unknown(store: Store, word: str, published: list[str], unfinished: Iterable[str]) -> str:
    begun = [key for key in unfinished if key.startswith(word)]
    if begun:
        return (
            f"{begun[0]} is not published in {store.root}: it was not computed to its end\n"
            "  fix: run the sweep's command again; `status` shows how far it is"
        )
    trained = [key for key in published if key.startswith(tuple(f"{kind}-" for kind in TRAINED))]
    close = close_match(word, {key[: len(word)] for key in trained})
    meant = [key for key in trained if close is not None and key.startswith(close)]
    hint = did_you_mean(word, trained) or (f"; did you mean {meant[0]}?" if meant else "")
    shown = f"\nthere: {', '.join(trained[:MAX_SHOWN])}" if trained and not hint else ""
    return f"no stage {word} in {store.root}{hint}{shown}"


def _weights_of(spec: dict[str, Any]) -> str:
    """The initial weights by their SHA-256, as `detector.weights` names them."""
    sha256 = spec["detector"]["weights_sha256"]
    if sha256 is None:
        return "none"
    names = (file.name for file in PUBLISHED if sha256.startswith(file.sha256_prefix))
    return next(names, "a state dict")


def analysis_of(root: Path, key: str) -> AnalysisConfig:
    """Find how the newest sweep with this stage measures distances; the default without any.

    A plan that cannot be read is passed over.
    """
    paths = sorted(plan_files(root), key=lambda path: path.stat().st_mtime, reverse=True)
    for path in paths:
        try:
            if f'"{key}"' in path.read_text():
                return load_plan(path.parent).settings.analysis
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            continue
    return AnalysisConfig()
