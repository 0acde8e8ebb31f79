"""Keys: each config key is in the keys of exactly those stages whose results it changes."""

import copy
import dataclasses
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import pytest
import torch
from helpers.batches import draw_batch
from PIL import Image

from ptl_sweep.config.schema import Config, TilingConfig
from ptl_sweep.datasets import registry
from ptl_sweep.datasets.images import ImageCache
from ptl_sweep.detection.architectures.retinanet_r50 import ResNet50RetinaNet
from ptl_sweep.detection.pixels import View
from ptl_sweep.pipeline.plan import plan_sweep
from ptl_sweep.ptl.compositing import translate_images
from ptl_sweep.ptl.translators import translator_of
from ptl_sweep.ptl.translators.base import FitRun
from ptl_sweep.stages.training_set import TrainingSet, TransformedImage
from ptl_sweep.store import Store

Cells = Callable[..., list[Config]]

# Who is computed anew when a key changes. Stages of a cell with synthetic=off: train, and its
# evaluation; of one with synthetic=on: the same training, two PTL iterations, and theirs.
ALL = {"train", "ptl 1", "ptl 2", "evaluate off", "evaluate on"}
PTL = {"ptl 1", "ptl 2", "evaluate on"}
PTL_2 = {"ptl 2", "evaluate on"}
EVALUATE = {"evaluate off", "evaluate on"}
NOTHING: set[str] = set()

# Every leaf of Config: another value, and what it changes in the default (miniature) cell.
LAUNCHER_TEXTS = ("partition", "account", "qos", "constraint", "python", "code", "code_change")
LAUNCHER_NUMBERS = (
    "tasks_per_gpu",
    "array_parallelism", "time_min", "gpus", "cpus", "mem_gb", "signal_delay_s", "max_requeues",
)  # fmt: skip

TABLE: dict[str, tuple[Any, set[str]]] = {
    "analysis.shrinkage": ("ledoit_wolf", NOTHING),  # the reducer reads stages as they are
    "analysis.calibration": ("crossfit", NOTHING),
    "analysis.equal_n_shrinkage": (0.5, NOTHING),
    "analysis.equal_n_draws": (5, NOTHING),
    "analysis.equal_n_min": (60, NOTHING),
    "analysis.relative_n": (5, NOTHING),
    "analysis.relative_per_image": (2, NOTHING),
    "analysis.num_resamples": (200, NOTHING),
    "analysis.num_workers": (2, NOTHING),
    "analysis.ap_t2t.recall": ("matched", NOTHING),
    "analysis.ap_t2t.matching": ("distance", NOTHING),
    "analysis.ap_t2t.interpolation": ("area", NOTHING),
    "analysis.ap_t2t.null_draws": (5, NOTHING),
    "analysis.ap_t2t.equal_counts": ([8.0, 4.0, 2.0], NOTHING),
    "real_count": (21, ALL),
    "seed": (1, ALL),
    "data_root": ("/data", NOTHING),
    "dataset.name": ("town", ALL),  # part of the readable half of every key
    "dataset.reader": ("coco", ALL),
    "dataset.root": ("/data/town", NOTHING),
    "dataset.index_root": ("/data/index", NOTHING),
    "dataset.split": ("validation", ALL),
    "dataset.validation_split": ("test", NOTHING),
    "dataset.scene_fractions": ([0.5, 0.25, 0.25], NOTHING),
    "dataset.resplit": (True, NOTHING),  # read by yolo, coco and voc only
    "dataset.categories": ({"man": "person"}, NOTHING),
    "dataset.num_images": (50, ALL),
    "dataset.frame_stride": (3, NOTHING),  # read by okutama and sard only
    "dataset.domain": ("yard", ALL),
    "dataset.world_seed": (1, ALL),
    "dataset.licence": ("MIT", NOTHING),
    "dataset.citation": ("somebody", NOTHING),
    "pool.name": ("other", NOTHING),
    "pool.reader": ("archangel", PTL),
    "pool.root": ("/data/pool", NOTHING),
    "pool.index_root": ("/data/index", NOTHING),
    "pool.num_images": (50, PTL),
    "pool.image_size": (160, PTL),
    "pool.domain": ("virtual_null", PTL),
    "pool.altitude_m": ([30.0, 40.0], PTL),
    "pool.world_seed": (1, PTL),
    "pool.backgrounds": ("/data/ground", NOTHING),
    "pool.options": ({"shadow": 0.0}, PTL),
    "pool.licence": ("MIT", NOTHING),
    "pool.citation": ("somebody", NOTHING),
    "target.name": ("meadow", EVALUATE),
    "target.reader": ("coco", EVALUATE),
    "target.root": ("/data/meadow", NOTHING),
    "target.index_root": ("/data/index", NOTHING),
    "target.split": ("train", EVALUATE),
    "target.validation_split": ("test", NOTHING),
    "target.scene_fractions": ([0.5, 0.25, 0.25], NOTHING),
    "target.resplit": (True, NOTHING),  # read by yolo, coco and voc only
    "target.categories": ({"man": "person"}, NOTHING),
    "target.num_images": (50, EVALUATE),
    "target.frame_stride": (3, NOTHING),
    "target.domain": ("yard", EVALUATE),
    "target.world_seed": (1, EVALUATE),
    "target.licence": ("MIT", NOTHING),
    "target.citation": ("somebody", NOTHING),
    "synthetic.name": ("mine", PTL),
    "synthetic.method": ("random", PTL),
    "synthetic.num_iterations": (3, NOTHING),  # another stage, the earlier ones stay
    "synthetic.images_per_iteration": (41, PTL),
    "synthetic.temperature": (4.0, PTL),
    "synthetic.scales": ([48], PTL),
    "synthetic.context": (1.5, PTL),
    "synthetic.options": ({"images_per_iteration": 41}, PTL),
    "translator.name": ("mine", NOTHING),
    "translator.method": ("color_stats", PTL),
    "translator.num_steps": (90, PTL),
    "translator.num_warm_steps": (90, PTL_2),
    "translator.warm_start": (False, PTL_2),  # the first iteration has nothing to start from
    "translator.batch_size": (4, PTL),
    "translator.learning_rate": (1e-4, PTL),
    "translator.lambda_cycle": (5.0, PTL),
    "translator.lambda_identity": (0.1, PTL),
    "translator.image_pool_size": (10, PTL),
    "translator.lambda_nce": (5.0, NOTHING),  # read by fastcut only, as the next three
    "translator.nce_temperature": (0.1, NOTHING),
    "translator.num_patches": (64, NOTHING),
    "translator.projection_dim": (64, NOTHING),
    "translator.crop": ("tight", PTL),
    "translator.load_size": (40, PTL),
    "translator.crop_size": (28, PTL),
    "translator.base_channels": (8, PTL),
    "translator.num_residual_blocks": (2, PTL),
    "translator.min_crop_px": (9, PTL),
    "translator.options": ({"batch_size": 4}, PTL),
    "detector.name": ("mine", NOTHING),
    "detector.architecture": ("retinanet_r50", ALL),
    "detector.weights": ("WEIGHTS", ALL),  # a file of the test
    "detector.anchor_sizes": ([[14.0, 20.0], [30.0, 40.0]], ALL),
    "detector.aspect_ratios": ([1.0, 2.0, 3.0], ALL),
    "detector.min_size": (96, ALL),
    "detector.max_size": (200, ALL),
    "detector.channels": (64, ALL),
    "tiling.size": (96, ALL),
    "tiling.overlap": (48, NOTHING),  # there are no tiles
    "train.num_steps": (361, ALL),
    "train.batch_size": (9, ALL),
    "train.optimizer": ("sgd", ALL),
    "train.schedule": ("constant", ALL),
    "train.learning_rate": (0.002, ALL),
    "train.weight_decay": (0.0, ALL),
    "train.warmup_steps": (10, ALL),
    "train.clip_norm": (9.0, ALL),
    "train.crop_size": (96, ALL),
    "train.positive_fraction": (0.5, NOTHING),  # of crops, and whole images are trained on
    "train.real_fraction": (0.5, PTL),  # the first detector knows real images only
    "train.flip_probability": (0.4, ALL),
    "train.vertical_flip_probability": (0.5, ALL),
    "train.rotate90_probability": (0.5, ALL),
    "train.copy_paste": (2, ALL),
    "train.subset_seed": (1, ALL),
    "train.colour_jitter": (0.2, ALL),
    "train.precision": ("bfloat16", ALL),
    "train.num_threads": (2, ALL),
    "train.checkpoint_minutes": (0.5, NOTHING),
    "train.image_cache_mb": (64, NOTHING),
    "train.device_cache_mb": (64, NOTHING),
    "gaussian.covariance": ("ledoit_wolf", PTL),
    "gaussian.detections": ("pre_nms", ALL),
    "gaussian.min_score": (0.1, ALL),
    "gaussian.min_iou": (0.6, ALL),
    "evaluate.iterations": ("last", NOTHING),  # fewer evaluations, the others stay
    "evaluate.score_thresholds": ([0.02, 0.2, 0.6], NOTHING),
    "evaluate.score_threshold": (0.004, ALL),
    "evaluate.nms_threshold": (0.6, ALL),
    "evaluate.max_detections": (400, ALL),
    "evaluate.candidates_per_level": (2000, ALL),
    "evaluate.batch_size": (4, ALL),  # the last bits of a forward pass depend on it
    "launcher.name": ("inline", NOTHING),
    "launcher.num_workers": (9, NOTHING),
    **{f"launcher.{key}": ("other", NOTHING) for key in LAUNCHER_TEXTS},
    "launcher.dependency": ("afterok:1", NOTHING),
    **{f"launcher.{key}": (9, NOTHING) for key in LAUNCHER_NUMBERS},
    **{
        f"launcher.{kind}.{key}": (9, NOTHING)
        for kind in ("train", "ptl", "evaluate", "reduce")
        for key in ("time_min", "gpus", "cpus", "mem_gb")
    },
    "launcher.setup": (["module load cuda"], NOTHING),
    "launcher.additional_parameters": ({"nodelist": "gpu01"}, NOTHING),
    "launcher.dry_run": (True, NOTHING),
    "tracking.mode": ("online", NOTHING),
    "tracking.project": ("mine", NOTHING),
    "tracking.entity": ("me", NOTHING),
    "sweep.name": ("mine", NOTHING),
    "sweep.root": ("/scratch", NOTHING),
}

# Keys that a choice does not use are in no key: (changes first, key, other value, effect).
CONDITIONAL: list[tuple[dict[str, Any], str, Any, set[str]]] = [
    ({"dataset.reader": "yolo"}, "dataset.scene_fractions", [0.5, 0.25, 0.25], ALL),
    ({"dataset.reader": "yolo"}, "dataset.resplit", True, ALL),
    ({"dataset.reader": "coco"}, "dataset.categories", {"man": "person"}, ALL),
    ({"target.reader": "coco"}, "target.categories", {"man": "person"}, EVALUATE),
    ({"dataset.reader": "visdrone"}, "dataset.domain", "yard", NOTHING),
    ({"dataset.reader": "visdrone"}, "dataset.world_seed", 5, NOTHING),
    ({"synthetic.temperature": 4.0}, "synthetic.temperature", "ess:0.3", PTL),
    ({"synthetic.temperature": "ess:0.4"}, "synthetic.temperature", "ess:0.3", PTL),
    ({"synthetic.method": "random"}, "synthetic.temperature", 4.0, NOTHING),
    ({"synthetic.method": "random"}, "synthetic.scales", [48], NOTHING),
    ({"synthetic.method": "random"}, "synthetic.context", 1.5, NOTHING),
    ({"synthetic.method": "random"}, "gaussian.covariance", "pinv", NOTHING),
    ({"synthetic.method": "random"}, "synthetic.images_per_iteration", 41, PTL),
    ({"translator.warm_start": False}, "translator.num_warm_steps", 90, NOTHING),
    ({"translator.warm_start": False}, "translator.num_steps", 90, PTL),
    ({"train.crop_size": 96}, "train.positive_fraction", 0.5, ALL),
    ({"tiling.size": 96}, "train.positive_fraction", 0.5, ALL),
    ({"tiling.size": 96}, "tiling.overlap", 48, ALL),
    *(
        ({"translator.method": "identity"}, f"translator.{name}", value, NOTHING)
        for name, value in {
            "num_steps": 90, "num_warm_steps": 90, "warm_start": False, "batch_size": 4,
            "learning_rate": 1e-4, "lambda_cycle": 5.0, "lambda_identity": 0.1,
            "image_pool_size": 10, "lambda_nce": 5.0, "nce_temperature": 0.1, "num_patches": 64,
            "projection_dim": 64, "crop": "tight", "load_size": 40, "crop_size": 28,
            "base_channels": 8, "num_residual_blocks": 2, "min_crop_px": 9,
        }.items()
    ),
    *(
        ({"translator.method": "color_stats"}, f"translator.{name}", value, effect)
        for name, value, effect in [
            ("num_steps", 90, NOTHING),
            ("warm_start", False, NOTHING),
            ("learning_rate", 1e-4, NOTHING),
            ("base_channels", 8, NOTHING),
            ("crop", "tight", PTL),
            ("load_size", 40, PTL),
            ("crop_size", 28, PTL),
            ("min_crop_px", 9, PTL),
        ]
    ),
    *(
        ({"translator.method": "fastcut"}, f"translator.{name}", value, effect)
        for name, value, effect in [
            ("lambda_nce", 5.0, PTL),
            ("nce_temperature", 0.1, PTL),
            ("num_patches", 64, PTL),
            ("projection_dim", 64, PTL),
            ("num_steps", 90, PTL),
            ("num_warm_steps", 90, PTL_2),
            ("warm_start", False, PTL_2),
            ("crop", "tight", PTL),
            ("lambda_cycle", 5.0, NOTHING),
            ("lambda_identity", 0.1, NOTHING),
            ("image_pool_size", 10, NOTHING),
        ]
    ),
]  # fmt: skip


def leaves(node: Any, prefix: str = "") -> Iterator[str]:
    for item in dataclasses.fields(node):
        value = getattr(node, item.name)
        if dataclasses.is_dataclass(value):
            yield from leaves(value, f"{prefix}{item.name}.")
        else:
            yield prefix + item.name


def with_value(config: Config, key: str, value: Any) -> Config:
    twin = copy.deepcopy(config)
    *parts, name = key.split(".")
    node: Any = twin
    for part in parts:
        node = getattr(node, part)
    setattr(node, name, value)
    return twin


def stage_keys(config: Config) -> dict[str, str]:
    """Keys of the stages of the cell and of its twin without synthetic images."""
    off = with_value(with_value(config, "synthetic.method", "off"), "synthetic.name", "off")
    off = with_value(off, "synthetic.options", {})  # of another method
    plan = plan_sweep([off, config], "")
    with_off, with_on = plan.cells
    keys = {"train": with_off.readings[0].detector, "evaluate off": with_off.readings[0].evaluate}
    last = with_on.readings[-1].detector
    chain = [key for key in plan.stages if key.startswith("ptl-")]
    keys |= {f"ptl {t}": key for t, key in enumerate(chain, start=1)}
    assert last == chain[-1]
    second = next(
        key
        for key, stage in plan.stages.items()
        if stage.kind == "evaluate" and stage.parents == (chain[min(2, len(chain)) - 1],)
    )
    return {**keys, "evaluate on": second}


def changed_stages(one: dict[str, str], two: dict[str, str]) -> set[str]:
    return {name for name in one.keys() & two.keys() if one[name] != two[name]}


@pytest.fixture(scope="module")
def cell(cells: Cells) -> Config:
    config = cells("real_count=20", "synthetic=on", "target=field", "sweep.root=/nowhere")[0]
    return with_value(config, "evaluate.iterations", "all")


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("weights") / "detector.safetensors"
    path.write_bytes(b"weights")
    return str(path)


@pytest.fixture(autouse=True)
def _large_with_two_levels(monkeypatch: pytest.MonkeyPatch) -> None:
    """A key is changed alone, so the anchors of the tiny network must do for the large one."""
    monkeypatch.setattr(ResNet50RetinaNet, "num_levels", 2)


def test_the_table_covers_every_key_of_the_config(cell: Config) -> None:
    assert set(TABLE) == set(leaves(cell))


@pytest.mark.parametrize("key", TABLE)
def test_a_config_key_is_in_the_keys_of_exactly_the_stages_that_it_changes(
    key: str, cell: Config, weights: str
) -> None:
    value, expected = TABLE[key]
    changed = with_value(cell, key, weights if value == "WEIGHTS" else value)
    assert changed != cell
    assert changed_stages(stage_keys(cell), stage_keys(changed)) == expected


@pytest.mark.parametrize(
    ("first", "key", "value", "expected"),
    CONDITIONAL,
    ids=[f"{next(iter(first.values()))}-{key}" for first, key, *_ in CONDITIONAL],
)
def test_a_key_that_a_choice_does_not_use_is_in_no_key(
    first: dict[str, Any], key: str, value: Any, expected: set[str], cell: Config
) -> None:
    for name, chosen in first.items():
        cell = with_value(cell, name, chosen)
    changed = with_value(cell, key, value)
    assert changed != cell
    assert changed_stages(stage_keys(cell), stage_keys(changed)) == expected


def test_evaluating_all_iterations_keeps_the_stages_of_evaluating_the_last(cell: Config) -> None:
    last = with_value(cell, "evaluate.iterations", "last")
    few, many = set(plan_sweep([last], "").stages), set(plan_sweep([cell], "").stages)
    assert few < many
    assert {key.split("-")[0] for key in many - few} == {"evaluate"}


def test_one_iteration_of_one_is_the_first_of_five(cell: Config) -> None:
    chains = [
        [k for k in plan_sweep([with_value(cell, "synthetic.num_iterations", n)], "").stages
         if k.startswith("ptl-")]
        for n in (1, 5)
    ]  # fmt: skip
    assert [len(chain) for chain in chains] == [1, 5]
    assert chains[1][:1] == chains[0]


def test_off_is_one_stage_whatever_the_iterations_it_does_not_run(cell: Config) -> None:
    off = with_value(with_value(cell, "synthetic.method", "off"), "synthetic.name", "off")
    plans = [
        plan_sweep([with_value(off, key, value)], "")
        for key, value in [
            ("synthetic.num_iterations", 1),
            ("synthetic.num_iterations", 5),
            ("synthetic.temperature", 9.0),
            ("translator.num_steps", 9),
            ("pool.num_images", 9),
        ]
    ]
    assert all(set(plan.stages) == set(plans[0].stages) for plan in plans)
    assert [stage.kind for stage in plans[0].stages.values()] == ["train", "evaluate"]


def test_weights_are_in_the_key_by_content_not_by_path(cell: Config, tmp_path: Path) -> None:
    def train_key(path: Path) -> str:
        return stage_keys(with_value(cell, "detector.weights", str(path)))["train"]

    one, two, other = (tmp_path / name for name in ("a.pt", "b.pt", "c.pt"))
    one.write_bytes(b"weights")
    two.write_bytes(b"weights")
    other.write_bytes(b"other weights")
    assert train_key(one) == train_key(two) != train_key(other)


def test_files_of_a_data_set_are_in_the_key_by_content_not_by_path(
    cell: Config, tmp_path: Path
) -> None:
    """The same pictures elsewhere, or copied anew, are the same data set; other boxes are not."""

    def key(name: str, box: str, mtime: int) -> str:
        root = tmp_path / name
        for part in ("images", "labels"):
            (root / part).mkdir(parents=True)
        Image.new("RGB", (64, 64)).save(root / "images" / "a.png")
        (root / "labels" / "a.txt").write_text(f"0 {box}\n")
        (root / "data.yaml").write_text("names: [person]\n")
        os.utime(root / "labels" / "a.txt", (mtime, mtime))
        config = with_value(cell, "dataset.reader", "yolo")
        config.dataset.split = "all"
        config.dataset.index_root = str(tmp_path / "index")
        return stage_keys(with_value(config, "dataset.root", str(root)))["train"]

    first = key("here", "0.5 0.5 0.2 0.4", 10**9)
    assert first == key("there", "0.5 0.5 0.2 0.4", 10**9 + 7)
    assert first != key("third", "0.5 0.5 0.2 0.5", 10**9)


def test_positive_fraction_changes_no_batch_of_whole_images(cell: Config) -> None:
    """Why it is in no key without train.crop_size and tiling.size."""
    data = with_value(cell, "dataset.num_images", 6).dataset
    records = registry.read_split(data, "train").records

    def images(tile_size: int | None = None, **values: Any) -> torch.Tensor:
        config = dataclasses.replace(cell.train, **values)
        rng = np.random.default_rng(0)
        fill = torch.zeros(3, 1, 1)
        cache = ImageCache(2**24)
        view = View(None, TilingConfig(size=tile_size))
        return draw_batch(records, config, rng, cache=cache, view=view, fill=fill).images

    assert torch.equal(images(), images(positive_fraction=0.0))
    for part in ({"crop_size": 64}, {"tile_size": 64}):
        assert not torch.equal(images(**part), images(**part, positive_fraction=0.0))


def test_a_training_set_says_which_of_its_images_are_synthetic(cell: Config) -> None:
    """Why train.real_fraction is in no key of a training on real images."""
    data = with_value(cell, "dataset.num_images", 3).dataset
    real = registry.read_split(data, "train").records
    image = TransformedImage(
        stage="ptl-x", file="0.png", pool_id="v-0", iteration=1, width=8, height=8, boxes=[]
    )
    store = Store(Path("/nowhere"))
    records = TrainingSet(real, (image,)).records(store, own=("ptl-x", Path("/nowhere")))
    assert [record.synthetic for record in records] == [False, False, False, True]


def test_color_statistics_depend_on_the_size_that_crops_are_loaded_at(
    cell: Config, tmp_path: Path
) -> None:
    """Why translator.load_size is in the keys of this method."""
    data = with_value(cell, "dataset.num_images", 3).dataset
    pool = registry.read_pool(with_value(cell, "pool.num_images", 2).pool).records

    def pictures(**values: Any) -> np.ndarray:
        config = dataclasses.replace(cell.translator, method="color_stats", **values)
        method, cache = translator_of(config, 1), ImageCache(2**24)
        run = FitRun(
            seed=0,
            folder=tmp_path,
            warm_start=None,
            on_step=mock.Mock(),
            device=torch.device("cpu"),
            checkpoint_minutes=5.0,
            should_stop=lambda: False,
        )
        real = registry.read_split(data, "train").records
        fitted = method.fit_records(pool, real, run, cache)
        return np.stack([image.image for image in translate_images(pool, fitted, method, cache)])

    assert np.array_equal(pictures(), pictures(num_steps=9, base_channels=8))
    assert not np.array_equal(pictures(), pictures(load_size=64))
