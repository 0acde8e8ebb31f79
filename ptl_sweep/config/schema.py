"""Typed config of one cell of the grid: every key, its unit, its default, who chose it."""

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from hydra.core.config_store import ConfigStore
from omegaconf import MISSING, DictConfig, OmegaConf

from ptl_sweep.config.analysis import AnalysisConfig
from ptl_sweep.config.checks import (
    ConfigError,
    a_temperature,
    at_least,
    identifier,
    one_of,
    positive,
    usable,
)
from ptl_sweep.config.data import DatasetConfig, PoolConfig
from ptl_sweep.config.detector import (
    DetectorConfig,
    EvaluateConfig,
    FeatureConfig,
    GaussianConfig,
    InferenceConfig,
    TilingConfig,
    TrainConfig,
    TrainRecipe,
)
from ptl_sweep.config.launcher import LauncherConfig, ResourcesConfig

__all__ = [
    "GROUPS", "OVERLAYS", "SYNTHETIC_SPELLINGS", "THREAD_VARIABLES", "AnalysisConfig", "Config",
    "ConfigError",
    "DatasetConfig", "DetectorConfig", "EvaluateConfig", "FeatureConfig", "GaussianConfig",
    "InferenceConfig", "LauncherConfig", "PoolConfig", "ResourcesConfig", "SweepConfig",
    "SyntheticConfig", "TilingConfig", "TrackingConfig", "TrainConfig", "TrainRecipe",
    "TranslatorConfig", "conf_dir", "register_schemas", "typed",
]  # fmt: skip

# Words that YAML reads as they are, unlike on and off, which it takes for true and false. A cell
# has the name on the right, whichever of the two was written.
SYNTHETIC_SPELLINGS = {"none": "off", "ptl": "on"}

# Read by OpenMP and BLAS when they load; the last digits of a result depend on the thread count.
THREAD_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")


def conf_dir() -> Path:
    """Find the YAML files: inside the package in a wheel, beside it in a checkout."""
    package = Path(__file__).resolve().parent.parent
    for candidate in (package / "conf", package.parent / "conf"):
        if (candidate / "config.yaml").is_file():
            return candidate
    raise FileNotFoundError(
        f"no conf/config.yaml in {package} or {package.parent}; reinstall ptl-sweep"
    )


@dataclass(kw_only=True, slots=True)
class SyntheticConfig:
    """How virtual images enter the training set (PTL section 3)."""

    name: str = MISSING  # what the result columns show
    method: str = "ptl"  # none (or off): real images alone; ptl: by domain gap (eq. 5); random:
    # uniformly (our control); or the name of another file in ptl_sweep/ptl/methods
    num_iterations: int = 5  # T
    images_per_iteration: int = 100  # n, virtual images added per iteration
    temperature: int | float | str = 5.0  # tau of exp(-gap / tau), in squared Mahalanobis distance
    # (eq. 5); ess:0.3 is the tau whose effective sample size is that share of the pool images that
    # have a gap, found anew at each iteration; ours
    scales: list[int] = field(default_factory=lambda: [128, 256, 384, 512])  # S of eq. 4, pixels
    context: float = 1.0  # side of the square that is resized to s x s, in longer box sides; ours
    options: dict[str, Any] = field(default_factory=dict)  # parameters of a method of your own

    def __post_init__(self) -> None:
        """Give each spelling its one name, and reject values no run can use."""
        usable("synthetic", self)
        self.name = SYNTHETIC_SPELLINGS.get(self.name, self.name)
        if self.method == "none":
            self.method = "off"
        identifier("synthetic.name", self.name)
        at_least("synthetic.num_iterations", self.num_iterations, 1, 1000)
        at_least("synthetic.images_per_iteration", self.images_per_iteration, 1, 1_000_000)
        self.temperature = a_temperature("synthetic.temperature", self.temperature)
        at_least("synthetic.context", self.context, 1, 100)
        if not self.scales:
            raise ConfigError("synthetic.scales must name at least one size in pixels, got none")
        for scale in self.scales:
            at_least("synthetic.scales", scale, 16, 8192)


@dataclass(kw_only=True, slots=True)
class TranslatorConfig:
    """Virtual -> real translation of person crops (PTL section 3.3; CycleGAN and FastCUT)."""

    name: str = MISSING
    method: str = "cyclegan"  # identity | color_stats | cyclegan | fastcut, or another file in
    # ptl_sweep/ptl/translators
    num_steps: int = 20000  # at iteration 1 and without warm start; ours
    num_warm_steps: int = 5000  # later iterations when warm_start is on; ours
    warm_start: bool = True  # start from the networks of the iteration before
    batch_size: int = 1
    learning_rate: float = 2e-4  # Adam (0.5, 0.999)
    lambda_cycle: float = 10.0  # cyclegan only
    lambda_identity: float = 0.5  # times lambda_cycle; cyclegan only
    image_pool_size: int = 50  # earlier fakes that the discriminators are shown; cyclegan only
    lambda_nce: float = 10.0  # of PatchNCE; fastcut only, as all up to projection_dim; its paper's
    nce_temperature: float = 0.07  # tau of PatchNCE, in units of cosine similarity
    num_patches: int = 256  # of each layer that PatchNCE compares, or all where there are fewer
    projection_dim: int = 256  # of the vectors that stand for patches
    crop: str = "square"  # square: 1.25 longer box sides, ours | tight: the box itself, as in PTL
    load_size: int = 144  # crops are resized to this side, pixels ...
    crop_size: int = 128  # ... and cut to this one, pixels
    base_channels: int = 64
    num_residual_blocks: int = 6
    min_crop_px: int = 16  # shorter crops train nothing and stay untranslated; ours
    options: dict[str, Any] = field(default_factory=dict)  # parameters of a translator of your own

    def __post_init__(self) -> None:
        """Reject values no run can use."""
        usable("translator", self)
        at_least("translator.num_steps", self.num_steps, 1)
        at_least("translator.num_warm_steps", self.num_warm_steps, 0)
        at_least("translator.batch_size", self.batch_size, 1, 100_000)
        positive("translator.learning_rate", self.learning_rate, 10)
        at_least("translator.lambda_cycle", self.lambda_cycle, 0)
        at_least("translator.lambda_identity", self.lambda_identity, 0)
        at_least("translator.image_pool_size", self.image_pool_size, 0, 1_000_000)
        at_least("translator.lambda_nce", self.lambda_nce, 0)
        positive("translator.nce_temperature", self.nce_temperature, 100)
        at_least("translator.num_patches", self.num_patches, 2, 1_000_000)
        at_least("translator.projection_dim", self.projection_dim, 1, 100_000)
        one_of("translator.crop", self.crop, ("square", "tight"))
        at_least("translator.crop_size", self.crop_size, 16, 8192)
        at_least("translator.load_size", self.load_size, self.crop_size, 8192)
        at_least("translator.base_channels", self.base_channels, 4, 4096)
        at_least("translator.num_residual_blocks", self.num_residual_blocks, 1, 100)
        at_least("translator.min_crop_px", self.min_crop_px, 1)
        if self.crop_size % 4:
            raise ConfigError(f"translator.crop_size must be a multiple of 4, got {self.crop_size}")


@dataclass(kw_only=True, slots=True)
class TrackingConfig:
    """The Weights & Biases mirror of history.jsonl; never part of a result."""

    mode: str = "offline"  # online | offline (WANDB_MODE wins over both) | off: no wandb at all
    project: str = "ptl-sweep"
    entity: str | None = None

    def __post_init__(self) -> None:
        """Reject values no run can use."""
        usable("tracking", self)
        one_of("tracking.mode", self.mode, ("online", "offline", "off"))


@dataclass(kw_only=True, slots=True)
class SweepConfig:
    """Name of the sweep and where everything is written."""

    name: str = "sweep"
    root: str = "outputs"  # holds store/, sweeps/, tracking/ and index/

    def __post_init__(self) -> None:
        """Reject values no run can use."""
        usable("sweep", self)
        identifier("sweep.name", self.name)


@dataclass(kw_only=True, slots=True)
class Config:
    """One cell: (dataset, real_count, synthetic, target, seed) and how it is computed."""

    real_count: int = MISSING  # real training images
    seed: int = 0  # subset, initial weights, order of batches, selection
    data_root: str = "data"  # parent of every data set's folder
    dataset: DatasetConfig = field(default_factory=DatasetConfig)
    pool: PoolConfig = field(default_factory=PoolConfig)
    target: DatasetConfig = field(default_factory=DatasetConfig)
    synthetic: SyntheticConfig = field(default_factory=SyntheticConfig)
    translator: TranslatorConfig = field(default_factory=TranslatorConfig)
    detector: DetectorConfig = field(default_factory=DetectorConfig)
    tiling: TilingConfig = field(default_factory=TilingConfig)
    train: TrainConfig = field(default_factory=TrainConfig)
    gaussian: GaussianConfig = field(default_factory=GaussianConfig)
    evaluate: EvaluateConfig = field(default_factory=EvaluateConfig)
    analysis: AnalysisConfig = field(default_factory=AnalysisConfig)
    launcher: LauncherConfig = field(default_factory=LauncherConfig)
    tracking: TrackingConfig = field(default_factory=TrackingConfig)
    sweep: SweepConfig = field(default_factory=SweepConfig)

    def __post_init__(self) -> None:
        """Reject values no run can use."""
        for key in ("real_count", "seed", "data_root"):
            usable(key, getattr(self, key))
        at_least("real_count", self.real_count, 1)
        at_least("seed", self.seed, 0)
        if self.target.reader == "source":  # the part of the source that is held out
            held_out = self.dataset.validation_config()
            wanted = self.target.num_images or held_out.num_images
            self.target = replace(held_out, num_images=wanted)
        for role in ("dataset", "pool", "target"):
            data = getattr(self, role)
            if data.index_root is None:
                setattr(self, role, replace(data, index_root=str(Path(self.sweep.root, "index"))))


GROUPS = (  # folders of conf/ that hold one choice each
    "dataset", "pool", "target", "synthetic", "translator", "detector", "train", "evaluate",
    "launcher", "tracking",
)  # fmt: skip

OVERLAYS = ("experiment", "arm")  # folders of conf/ whose files set keys of several groups


def register_schemas() -> None:
    """Give Hydra the dataclass that the YAML files fill."""
    ConfigStore.instance().store(name="schema", node=Config)


def typed(cfg: DictConfig) -> Config:
    """Turn the composed config into dataclasses, and run every check.

    Raises: ConfigError for an impossible value.
    """
    config = OmegaConf.to_object(cfg)
    assert isinstance(config, Config)
    return config
