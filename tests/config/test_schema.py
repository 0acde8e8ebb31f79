"""Config: every YAML of conf/ fits the dataclasses, and values that no run can use are refused."""

import dataclasses
import functools
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from omegaconf import OmegaConf

from ptl_sweep.config.checks import refuse_secret
from ptl_sweep.config.schema import (
    GROUPS,
    OVERLAYS,
    SYNTHETIC_SPELLINGS,
    Config,
    ConfigError,
    DatasetConfig,
    DetectorConfig,
    EvaluateConfig,
    GaussianConfig,
    LauncherConfig,
    PoolConfig,
    SweepConfig,
    SyntheticConfig,
    TilingConfig,
    TrackingConfig,
    TrainConfig,
    TranslatorConfig,
    conf_dir,
    register_schemas,
    typed,
)
from ptl_sweep.ptl.translators import translator_of

CHOICES = {
    group: sorted(path.stem for path in (conf_dir() / group).glob("*.yaml")) for group in GROUPS
}
# Row i takes choice i of every group, from the start again when a group has fewer.
ROWS = [
    [f"{group}={choices[row % len(choices)]}" for group, choices in CHOICES.items()]
    for row in range(max(map(len, CHOICES.values())))
]


@pytest.fixture(scope="module", autouse=True)
def _hydra() -> Iterator[None]:
    register_schemas()
    GlobalHydra.instance().clear()
    with initialize_config_dir(str(conf_dir()), version_base="1.3"):
        yield


@functools.cache
def composed(*overrides: str) -> Config:
    return typed(compose("config", overrides=list(overrides)))


@pytest.mark.parametrize("row", ROWS, ids=["-".join(row[2:4]) for row in ROWS])
def test_every_choice_of_every_group_composes_into_a_valid_config(row: list[str]) -> None:
    config = composed(*row)
    assert OmegaConf.missing_keys(OmegaConf.structured(config)) == set()
    chosen = dict(word.split("=") for word in row)
    chosen["synthetic"] = SYNTHETIC_SPELLINGS.get(chosen["synthetic"], chosen["synthetic"])
    if chosen["synthetic"] == "raw":  # goes without a translator, whichever is chosen for the rest
        chosen["translator"] = "identity"
    for group in ("synthetic", "translator", "detector", "launcher", "pool"):
        assert getattr(config, group).name == chosen[group]


def test_groups_of_the_schema_are_the_folders_of_conf() -> None:
    folders = {path.name for path in conf_dir().iterdir() if path.is_dir()}
    assert folders == {*GROUPS, *OVERLAYS}


def test_an_arm_is_named_as_its_file_and_takes_each_part_from_a_choice_of_its_group() -> None:
    arms = {path.stem for path in (conf_dir() / "arm").glob("*.yaml")}
    assert arms >= {"on", "off", "random", "null_pool"}
    for arm in arms:
        config = composed("experiment=demo_controls", f"arm={arm}", "synthetic=on", "seed=4")
        assert config.synthetic.name == arm
        chosen = {"synthetic": config.synthetic.method.replace("ptl", "on")}
        chosen |= {group: getattr(config, group).name for group in ("pool", "translator")}
        plain = composed(*(f"{group}={name}" for group, name in chosen.items()))
        assert dataclasses.replace(config.pool, world_seed=0) == plain.pool
        assert translator_of(config.translator, 1) == translator_of(plain.translator, 1)
        assert dataclasses.replace(config.synthetic, name=plain.synthetic.name) == plain.synthetic


def test_each_seed_of_the_controls_has_a_world_of_its_own_and_the_demo_has_one() -> None:
    for experiment, world in (("demo_controls", 3), ("demo", 0)):
        config = composed(f"experiment={experiment}", "seed=3")
        worlds = [part.world_seed for part in (config.dataset, config.pool, config.target)]
        assert worlds == [world] * 3


def test_the_tuned_arm_has_no_synthetic_images() -> None:
    config = composed("arm=off_tuned", "synthetic=on")
    train = config.train
    assert (config.synthetic.method, train.vertical_flip_probability, train.num_steps) == (
        "off", 0.5, 1440,
    )  # fmt: skip


def test_choices_of_a_group_differ_save_for_two_spellings_of_one() -> None:
    for group, choices in CHOICES.items():
        configs = {
            choice: dataclasses.asdict(getattr(composed(*row), group))
            for choice, row in zip(choices, ROWS, strict=False)
        }
        if group == "synthetic":
            for spelling, name in SYNTHETIC_SPELLINGS.items():
                assert configs.pop(spelling) == configs[name]
        first = list(configs.values())
        assert all(a != b for i, a in enumerate(first) for b in first[:i]), group


def test_on_and_off_are_words_not_booleans() -> None:
    assert composed("synthetic=on").synthetic.name == "on"
    assert composed("synthetic=off").synthetic.name == "off"
    assert composed("synthetic=off").synthetic.method == "off"
    assert composed("tracking=off").tracking.mode == "off"


def test_what_yaml_reads_without_quotes_is_another_spelling_of_on_and_off() -> None:
    written = yaml.safe_load("[{name: none, method: none}, {name: ptl, method: ptl}]")
    names = [(config.name, config.method) for config in (SyntheticConfig(**w) for w in written)]
    assert names == [("off", "off"), ("on", "ptl")]


def test_a_key_of_a_group_can_be_set_whatever_its_choice() -> None:
    config = composed("synthetic=off", "synthetic.temperature=3", "translator=identity")
    assert (config.synthetic.method, config.synthetic.temperature) == ("off", 3.0)
    assert composed("translator=identity", "translator.num_steps=7").translator.num_steps == 7


def test_a_temperature_is_a_number_or_a_share_of_the_effective_sample_size() -> None:
    assert repr(composed("synthetic.temperature=7").synthetic.temperature) == "7.0"
    assert composed("synthetic.temperature=ess:0.3").synthetic.temperature == "ess:0.3"


def test_the_environment_names_the_default_launcher_and_the_data(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PTL_LAUNCHER", "inline")
    monkeypatch.setenv("PTL_DATA", str(tmp_path))
    config = composed("dataset=visdrone", "target=okutama")
    assert config.launcher.name == "inline"
    assert config.dataset.root == f"{tmp_path}/visdrone"
    assert config.target.root == f"{tmp_path}/okutama"


def test_a_target_that_reads_from_the_source_is_its_held_out_part() -> None:
    source = composed().dataset
    target = Config(
        real_count=1, dataset=source, target=DatasetConfig(name="held_out", reader="source")
    ).target
    assert (target.reader, target.domain) == (source.reader, source.domain)
    assert (target.name, target.split) == (f"{source.name}-validation", source.validation_split)


def test_a_number_of_target_images_holds_for_the_source_as_well() -> None:
    """A sweep over target=source,field with target.num_images tests on as many of each."""
    config = composed("target=source", "target.num_images=7", "dataset.num_images=20")
    assert (config.target.num_images, config.dataset.num_images) == (7, 20)
    assert composed("target=source", "dataset.num_images=20").target.num_images == 20


def test_tiles_of_the_paper_are_seen_pixel_for_pixel_and_on_the_grid_of_the_coarsest_level() -> (
    None
):
    config = composed("experiment=paper")
    size, overlap = config.tiling.size, config.tiling.overlap
    assert size == config.detector.min_size
    coarsest_stride = 8 * 2 ** (len(config.detector.anchor_sizes) - 1)
    assert (size - overlap) % coarsest_stride == 0


IMPOSSIBLE: list[tuple[type, dict[str, Any], str]] = [
    (Config, {"real_count": 0}, "real_count"),
    (Config, {"real_count": 1, "seed": -1}, "seed"),
    (DatasetConfig, {"name": "a/b"}, "name of dataset or target"),
    (DatasetConfig, {"name": ""}, "name of dataset or target"),
    (PoolConfig, {"name": "a b"}, "pool.name"),
    (SyntheticConfig, {"name": "on!"}, "synthetic.name"),
    (SweepConfig, {"name": "../up"}, "sweep.name"),
    (DatasetConfig, {"name": "d", "num_images": 0}, "d.num_images"),
    (DatasetConfig, {"name": "d", "scene_fractions": [0.5, 0.4]}, "d.scene_fractions"),
    (DatasetConfig, {"name": "d", "scene_fractions": [0.5, 0.4, 0.4]}, "d.scene_fractions"),
    (DatasetConfig, {"name": "d", "scene_fractions": [1.5, -0.5, 0.0]}, "d.scene_fractions"),
    (DatasetConfig, {"name": "d", "categories": {"man": "human"}}, "d.categories.man"),
    (DatasetConfig, {"name": "d", "world_seed": -1}, "d.world_seed"),
    (PoolConfig, {"world_seed": -1}, "pool.world_seed"),
    (PoolConfig, {"num_images": 0}, "pool.num_images"),
    (PoolConfig, {"image_size": 31}, "pool.image_size"),
    (PoolConfig, {"reader": "archangel", "domain": "virtual_null"}, "pool.domain"),
    (PoolConfig, {"altitude_m": [30.0]}, "pool.altitude_m"),
    (PoolConfig, {"altitude_m": [40.0, 30.0]}, "pool.altitude_m"),
    (PoolConfig, {"altitude_m": [0.0, 30.0]}, "pool.altitude_m"),
    (SyntheticConfig, {"num_iterations": 0}, "synthetic.num_iterations"),
    (SyntheticConfig, {"images_per_iteration": 0}, "synthetic.images_per_iteration"),
    (SyntheticConfig, {"temperature": 0.0}, "synthetic.temperature"),
    (SyntheticConfig, {"temperature": -1.0}, "synthetic.temperature"),
    (SyntheticConfig, {"temperature": float("nan")}, "synthetic.temperature"),
    (SyntheticConfig, {"temperature": "warm"}, "synthetic.temperature"),
    (SyntheticConfig, {"temperature": "ess:0"}, "synthetic.temperature"),
    (SyntheticConfig, {"temperature": "ess:0.0"}, "synthetic.temperature"),
    (SyntheticConfig, {"temperature": "ess:1"}, "synthetic.temperature"),
    (SyntheticConfig, {"temperature": "ess:0.999"}, "synthetic.temperature"),
    (SyntheticConfig, {"temperature": "ess:30%"}, "synthetic.temperature"),
    (SyntheticConfig, {"scales": []}, "synthetic.scales"),
    (SyntheticConfig, {"scales": [48, 8]}, "synthetic.scales"),
    (SyntheticConfig, {"context": 0.5}, "synthetic.context"),
    (TranslatorConfig, {"num_steps": 0}, "translator.num_steps"),
    (TranslatorConfig, {"num_warm_steps": -1}, "translator.num_warm_steps"),
    (TranslatorConfig, {"batch_size": 0}, "translator.batch_size"),
    (TranslatorConfig, {"learning_rate": 0.0}, "translator.learning_rate"),
    (TranslatorConfig, {"lambda_cycle": -1.0}, "translator.lambda_cycle"),
    (TranslatorConfig, {"lambda_identity": -1.0}, "translator.lambda_identity"),
    (TranslatorConfig, {"image_pool_size": -1}, "translator.image_pool_size"),
    (TranslatorConfig, {"crop": "round"}, "translator.crop"),
    (TranslatorConfig, {"crop_size": 12}, "translator.crop_size"),
    (TranslatorConfig, {"crop_size": 33, "load_size": 40}, "translator.crop_size"),
    (TranslatorConfig, {"crop_size": 64, "load_size": 60}, "translator.load_size"),
    (TranslatorConfig, {"base_channels": 2}, "translator.base_channels"),
    (TranslatorConfig, {"num_residual_blocks": 0}, "translator.num_residual_blocks"),
    (TranslatorConfig, {"min_crop_px": 0}, "translator.min_crop_px"),
    (DetectorConfig, {"architecture": "yolo"}, "detector.architecture"),
    (DetectorConfig, {"channels": 4}, "detector.channels"),
    (DetectorConfig, {"channels": 60}, "detector.channels"),
    (DetectorConfig, {"min_size": 16, "max_size": 64}, "detector.min_size"),
    (DetectorConfig, {"min_size": 800}, "detector.max_size"),
    (DetectorConfig, {"min_size": 800, "max_size": 600}, "detector.max_size"),
    (DetectorConfig, {"anchor_sizes": [[8.0], [16.0, 20.0]]}, "detector.anchor_sizes"),
    (TilingConfig, {"size": 63}, "tiling.size"),
    (TilingConfig, {"size": 128, "overlap": 65}, "tiling.overlap"),
    (TilingConfig, {"overlap": 15}, "tiling.overlap"),
    (TrainConfig, {"num_steps": 0}, "train.num_steps"),
    (TrainConfig, {"batch_size": 0}, "train.batch_size"),
    (TrainConfig, {"optimizer": "adam"}, "train.optimizer"),
    (TrainConfig, {"schedule": "cosine"}, "train.schedule"),
    (TrainConfig, {"learning_rate": -0.1}, "train.learning_rate"),
    (TrainConfig, {"weight_decay": -0.1}, "train.weight_decay"),
    (TrainConfig, {"warmup_steps": -1}, "train.warmup_steps"),
    (TrainConfig, {"clip_norm": 0.0}, "train.clip_norm"),
    (TrainConfig, {"crop_size": 16}, "train.crop_size"),
    (TrainConfig, {"positive_fraction": 1.5}, "train.positive_fraction"),
    (TrainConfig, {"flip_probability": -0.5}, "train.flip_probability"),
    (TrainConfig, {"vertical_flip_probability": 1.1}, "train.vertical_flip_probability"),
    (TrainConfig, {"rotate90_probability": -0.1}, "train.rotate90_probability"),
    (TrainConfig, {"copy_paste": -1}, "train.copy_paste"),
    (TrainConfig, {"subset_seed": -1}, "train.subset_seed"),
    (TrainConfig, {"real_fraction": -0.1}, "train.real_fraction"),
    (TrainConfig, {"real_fraction": 1.1}, "train.real_fraction"),
    (TrainConfig, {"colour_jitter": 2.0}, "train.colour_jitter"),
    (TrainConfig, {"precision": "float16"}, "train.precision"),
    (TrainConfig, {"num_threads": 0}, "train.num_threads"),
    (TrainConfig, {"checkpoint_minutes": -1.0}, "train.checkpoint_minutes"),
    (TrainConfig, {"image_cache_mb": 0}, "train.image_cache_mb"),
    (TrainConfig, {"device_cache_mb": -1}, "train.device_cache_mb"),
    (GaussianConfig, {"covariance": "full"}, "gaussian.covariance"),
    (GaussianConfig, {"detections": "all"}, "gaussian.detections"),
    (GaussianConfig, {"min_score": -0.1}, "gaussian.min_score"),
    (GaussianConfig, {"min_iou": 1.1}, "gaussian.min_iou"),
    (EvaluateConfig, {"iterations": "first"}, "evaluate.iterations"),
    (EvaluateConfig, {"score_thresholds": [0.1, 0.5]}, "evaluate.score_thresholds"),
    (EvaluateConfig, {"score_thresholds": [0.5, 0.1, 0.01]}, "evaluate.score_thresholds"),
    (EvaluateConfig, {"score_threshold": 0.02}, "evaluate.score_threshold"),
    (EvaluateConfig, {"nms_threshold": 1.5}, "evaluate.nms_threshold"),
    (EvaluateConfig, {"max_detections": 0}, "evaluate.max_detections"),
    (EvaluateConfig, {"candidates_per_level": 0}, "evaluate.candidates_per_level"),
    (EvaluateConfig, {"batch_size": 0}, "evaluate.batch_size"),
    (DatasetConfig, {"name": "d", "scene_fractions": [0.5, 0.5, float("nan")]}, "scene_fractions"),
    (DetectorConfig, {"aspect_ratios": []}, "detector.aspect_ratios"),
    (DetectorConfig, {"aspect_ratios": [0.0]}, "detector.aspect_ratios"),
    (DetectorConfig, {"aspect_ratios": [1.0, -1.0]}, "detector.aspect_ratios"),
    (DetectorConfig, {"anchor_sizes": []}, "detector.anchor_sizes"),
    (DetectorConfig, {"anchor_sizes": [[]]}, "detector.anchor_sizes"),
    (DetectorConfig, {"anchor_sizes": [[0.0], [8.0]]}, "detector.anchor_sizes"),
    (TrainConfig, {"learning_rate": 11.0}, "train.learning_rate"),
    (TranslatorConfig, {"learning_rate": 11.0}, "translator.learning_rate"),
    (SyntheticConfig, {"num_iterations": 100_000}, "synthetic.num_iterations"),
    (SyntheticConfig, {"options": {"gain": float("inf")}}, "synthetic.options.gain"),
    (TranslatorConfig, {"options": {"a\nb": 1}}, "translator.options"),
    (LauncherConfig, {"partition": "gpu\n#SBATCH --wrap=x"}, "launcher.partition"),
    (LauncherConfig, {"additional_parameters": {"nodelist": "a\nb"}}, "parameters.nodelist"),
    (LauncherConfig, {"setup": ["export WANDB_API_KEY=abc"]}, "launcher.setup sets WANDB_API_KEY"),
    (LauncherConfig, {"name": "cloud"}, "launcher.name"),
    (LauncherConfig, {"name": "local", "num_workers": 0}, "launcher.num_workers"),
    (TrackingConfig, {"mode": "on"}, "tracking.mode"),
]


@pytest.mark.parametrize(
    ("cls", "values", "key"), IMPOSSIBLE, ids=[f"{key}-{v}" for _, v, key in IMPOSSIBLE]
)
def test_an_impossible_value_is_refused_by_the_name_of_its_key(
    cls: type, values: dict[str, Any], key: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        cls(**values)
    assert key in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1


def test_a_choice_that_does_not_exist_is_answered_with_those_that_do() -> None:
    with pytest.raises(ConfigError, match=r"one of sgd, adamw; got 'adam'"):
        TrainConfig(optimizer="adam")


def keys_of(part: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Every key of a composed config with its value, nested dataclasses included."""
    for field in dataclasses.fields(part):
        value, name = getattr(part, field.name), f"{prefix}{field.name}"
        if dataclasses.is_dataclass(value):
            yield from keys_of(value, f"{name}.")
        else:
            yield name, value


def changed(part: Any, key: str, value: Any) -> Any:
    """A copy with another value of one key: every check runs again."""
    name, _, rest = key.partition(".")
    return dataclasses.replace(
        part, **{name: changed(getattr(part, name), rest, value) if rest else value}
    )


NUMBERS = [key for key, value in keys_of(Config(real_count=1)) if isinstance(value, int | float)
           and not isinstance(value, bool)]  # fmt: skip
TEXTS = [key for key, value in keys_of(Config(real_count=1)) if isinstance(value, str)]


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf"), 1e308, -1e308])
@pytest.mark.parametrize("key", NUMBERS)
def test_no_number_of_the_config_may_be_anything(key: str, value: float) -> None:
    with pytest.raises(ConfigError):
        changed(composed(), key, value)


@pytest.mark.parametrize("text", ["a\nb", "a\x00b", "export WANDB_API_KEY=0123"])
@pytest.mark.parametrize("key", TEXTS)
def test_no_text_of_the_config_may_break_its_line_or_hold_a_secret(key: str, text: str) -> None:
    with pytest.raises(ConfigError) as caught:
        changed(composed(), key, text)
    assert "0123" not in str(caught.value)


@pytest.mark.parametrize("text", ["a" * 10**6, "token" * 10**5, "a " * 10**5, "=" * 10**6])
def test_a_long_text_is_searched_for_secrets_in_no_time(text: str) -> None:
    started = time.process_time()
    refuse_secret("pool.root", text)
    assert time.process_time() - started < 2


@pytest.mark.parametrize("text", ["a=b_token=1", "x=1 DB_PASSWD = 1", "{AWS_SECRET=1}"])
def test_every_assignment_of_a_text_is_looked_at(text: str) -> None:
    with pytest.raises(ConfigError, match="sets"):
        refuse_secret("pool.root", text)
