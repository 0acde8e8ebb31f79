"""What each stage's result depends on, written out: the content of its key, and nothing else."""

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from ptl_sweep.config.schema import Config, ConfigError, DatasetConfig
from ptl_sweep.datasets import registry
from ptl_sweep.datasets.validation import DataError
from ptl_sweep.detection import weights
from ptl_sweep.store import Stage

VERSIONS = {"train": 1, "ptl": 1, "evaluate": 2}  # raise one when its code changes results

NO_VALIDATION = (
    "\n  or: analysis.calibration=crossfit, if the source has no part that no subset touches"
)
MISSING_WEIGHTS = "missing"
WEIGHTS_FOLDER = "weights"  # below sweep.root: published initial weights, put there by hand
# of a data set: shown, a place or resolved into `split`, never computed with
NOT_CONTENT = {"name", "root", "index_root", "licence", "citation", "validation_split"}
MINIATURE_ONLY = {"domain", "world_seed"}
FILES_ONLY = {"categories", "scene_fractions"}
STRIDED_READERS = {"okutama", "sard"}  # the only ones that read frame_stride
NOT_RESULT = {"checkpoint_minutes", "image_cache_mb"}  # of train: how, not what
NOT_INFERENCE = {"iterations", "score_thresholds"}  # of evaluate: read by the reducer
CYCLEGAN_KEYS = {
    "batch_size", "learning_rate", "lambda_cycle", "lambda_identity", "image_pool_size",
    "load_size", "crop_size", "base_channels", "num_residual_blocks",
}  # fmt: skip


def _without(values: Mapping[str, Any], names: set[str]) -> dict[str, Any]:
    return {key: value for key, value in values.items() if key not in names}


def data_content(config: DatasetConfig, split: str) -> dict[str, Any]:
    """What decides the images and boxes of one split; fingerprint None while no data is there."""
    unused = FILES_ONLY if config.reader == "miniature" else MINIATURE_ONLY
    if config.reader not in STRIDED_READERS:
        unused = unused | {"frame_stride"}
    content = _without(asdict(config), NOT_CONTENT | unused)
    return {**content, "split": split, "fingerprint": registry.fingerprint(config, split)}


def pool_content(config: Config) -> dict[str, Any]:
    """What decides the images of the virtual pool."""
    content = _without(asdict(config.pool), NOT_CONTENT)
    return {**content, "fingerprint": registry.pool_fingerprint(config.pool)}


def inference_setting(config: Config) -> dict[str, Any]:
    """The one setting of evaluation, features, Gaussian and distances."""
    setting = _without(asdict(config.evaluate), NOT_INFERENCE)
    if config.tiling.size is not None:
        setting["tiling"] = asdict(config.tiling)
    return setting


def detector_content(config: Config, weights_folder: Path) -> dict[str, Any]:
    """Architecture, initial weights by checksum, and how the detector is trained and read out."""
    try:
        sha256 = weights.weights_sha256(config.detector, weights_folder)
    except ConfigError:  # no file yet: a plan needs none, a run asks for it first
        sha256 = MISSING_WEIGHTS
    placed = config.train.crop_size or config.tiling.size  # crops or tiles around persons
    unused = set() if placed else {"positive_fraction"}
    return {
        "detector": {**_without(asdict(config.detector), {"name", "weights"}), "weights": sha256},
        "train": _without(asdict(config.train), NOT_RESULT | unused),
        "gaussian": _without(asdict(config.gaussian), {"covariance"}),
        "inference": inference_setting(config),
    }


def synthetic_content(config: Config, iteration: int) -> dict[str, Any]:
    """Keys that iteration t = 1.. of this method reads."""
    synthetic = config.synthetic
    names = {"method", "images_per_iteration"}
    if synthetic.method == "ptl":
        names |= {"temperature", "scales", "context"}
    content: dict[str, Any] = {name: getattr(synthetic, name) for name in sorted(names)}
    if synthetic.method == "ptl":
        content["covariance"] = config.gaussian.covariance
    return {**content, "iteration": iteration}


def translator_content(config: Config, iteration: int) -> dict[str, Any]:
    """Keys that this translator reads at this iteration."""
    translator = config.translator
    if translator.method == "identity":
        return {"method": "identity"}
    names = {"method", "min_crop_px"}
    if translator.method == "cyclegan":
        warm = iteration > 1 and translator.warm_start
        names |= CYCLEGAN_KEYS | {"num_warm_steps" if warm else "num_steps"}
    if translator.method == "color_stats":
        names |= {"load_size", "crop_size"}
    return {name: getattr(translator, name) for name in sorted(names)}


def train_stage(config: Config, weights_folder: Path) -> Stage:
    """The detector of t = 0: real pictures only, shared by synthetic off and on."""
    spec = {
        "dataset": data_content(config.dataset, config.dataset.split),
        "real_count": config.real_count,
        "seed": config.seed,
        **detector_content(config, weights_folder),
    }
    label = f"{config.dataset.name}-n{config.real_count}-s{config.seed}"
    return Stage(kind="train", label=label, version=VERSIONS["train"], spec=spec, parents=())


def ptl_stage(config: Config, iteration: int, parent: Stage, weights_folder: Path) -> Stage:
    """One PTL iteration: select, translate, add, train from the initial weights."""
    spec = {
        "dataset": data_content(config.dataset, config.dataset.split),
        "pool": pool_content(config),
        "real_count": config.real_count,
        "seed": config.seed,
        "synthetic": synthetic_content(config, iteration),
        "translator": translator_content(config, iteration),
        **detector_content(config, weights_folder),
    }
    label = (
        f"{config.dataset.name}-n{config.real_count}-s{config.seed}"
        f"-{config.synthetic.name}-t{iteration}"
    )
    return Stage(kind="ptl", label=label, version=VERSIONS["ptl"], spec=spec, parents=(parent.key,))


def evaluate_stage(config: Config, detector: Stage) -> Stage:
    """One detector on one target."""
    spec = {
        "target": data_content(config.target, config.target.split),
        "inference": inference_setting(config),
    }
    return Stage(
        kind="evaluate",
        label=f"{detector.label}-{config.target.name}",
        version=VERSIONS["evaluate"],
        spec=spec,
        parents=(detector.key,),
    )


def validation_stage(config: Config, detector: Stage) -> Stage:
    """One detector on what its source holds back, which `config.target` names.

    Raises: ConfigError, DataError that name the alternative, when the source holds nothing back.
    """
    try:
        return evaluate_stage(config, detector)
    except (ConfigError, DataError) as error:
        raise type(error)(f"{error}{NO_VALIDATION}") from error
