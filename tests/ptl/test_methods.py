"""Synthetic methods by their defining properties: what each adds, and what each training sees."""

import json
import shutil
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
import safetensors.numpy
from helpers.sweeps import TINY
from hypothesis import given
from hypothesis import strategies as st

from ptl_sweep.config.schema import ConfigError, TrainRecipe
from ptl_sweep.datasets.records import ImageRecord
from ptl_sweep.detection import training as training_module
from ptl_sweep.detection.training import Interrupted
from ptl_sweep.pipeline.plan import Plan
from ptl_sweep.ptl.methods.base import TrainingPhase
from ptl_sweep.ptl.methods.pretrain_finetune import PretrainFinetune
from ptl_sweep.ptl.selection import select, select_nearest
from ptl_sweep.stages.fitting import planned_phases
from ptl_sweep.tracking import Companion
from ptl_sweep.worker.running import run_stage

CELL = ("real_count=3", "target=field", "seed=0", *TINY)
MakePlan = Callable[..., Plan]
gaps = st.lists(st.one_of(st.integers(0, 30), st.just(np.inf)), min_size=1, max_size=20)


@given(gaps, st.integers(1, 12), st.integers(0, 5))
def test_greedy_takes_exactly_the_nearest_images(
    values: list[float], num_images: int, seed: int
) -> None:
    gap = np.array(values, dtype=np.float64)
    chosen = select_nearest(gap, num_images, np.random.default_rng(seed))
    by_gap = len(chosen.indices) - chosen.num_selected_uniformly
    assert sorted(gap[chosen.indices[:by_gap]]) == sorted(gap[np.isfinite(gap)])[:num_images]
    assert len(set(chosen.indices)) == len(chosen.indices) == min(num_images, len(gap))
    assert chosen.num_missing == num_images - len(chosen.indices)
    assert np.isinf(gap[chosen.indices[by_gap:]]).all()


@given(st.permutations(range(12)), st.integers(1, 12), st.integers(0, 5))
def test_greedy_is_the_weighted_draw_as_its_temperature_goes_to_zero(
    gap: list[int], num_images: int, seed: int
) -> None:
    values = np.array(gap, dtype=np.float64)
    cold = select(values, num_images, 1e-6, np.random.default_rng(seed))
    nearest = select_nearest(values, num_images, np.random.default_rng(seed))
    assert cold.indices.tolist() == nearest.indices.tolist()


def computed(plan: Plan) -> list[str]:
    """Run every stage that trains; the keys of the ptl stages."""
    keys = [key for key, stage in plan.stages.items() if stage.kind != "evaluate"]
    for key in keys:
        run_stage(plan, key, should_stop=lambda: False, companion=Companion())
    return [key for key in keys if plan.stages[key].kind == "ptl"]


def added(plan: Plan, key: str) -> list[tuple[str, bytes]]:
    """Name and picture of each virtual image of a stage's training set, in order."""
    manifest = json.loads(plan.store.artifact(key, "manifest.json").read_text())
    return [
        (one["pool_id"], plan.store.artifact(one["stage"], one["file"]).read_bytes())
        for one in manifest["transformed"]
    ]


def weights(plan: Plan, key: str) -> dict[str, np.ndarray]:
    return safetensors.numpy.load_file(plan.store.artifact(key, "model.safetensors"))


def differ(one: dict[str, np.ndarray], other: dict[str, np.ndarray]) -> bool:
    return any(not np.array_equal(one[name], other[name]) for name in one)


def test_naive_merge_is_the_training_of_random_and_identity_at_one_iteration(
    make_plan: MakePlan,
) -> None:
    """All n T images at once, whatever the translator that the cell names."""
    two_times_three = ("synthetic.num_iterations=2", "synthetic.images_per_iteration=3")
    six = ("synthetic.num_iterations=1", "synthetic.images_per_iteration=6")
    merged = make_plan(*CELL, "synthetic=naive_merge", "translator=cyclegan", *two_times_three)
    drawn = make_plan(*CELL, "synthetic=random", "translator=identity", *six)
    (of_merged,), (of_drawn,) = computed(merged), computed(drawn)
    assert len(added(merged, of_merged)) == 6
    assert added(merged, of_merged) == added(drawn, of_drawn)
    assert not differ(weights(merged, of_merged), weights(drawn, of_drawn))


def test_naive_transform_translates_what_naive_merge_adds_as_it_is(make_plan: MakePlan) -> None:
    merged = make_plan(*CELL, "synthetic=naive_merge")
    translated = make_plan(*CELL, "synthetic=naive_transform", "translator=color_stats")
    (of_merged,), (of_translated,) = computed(merged), computed(translated)
    before, after = added(merged, of_merged), added(translated, of_translated)
    assert [name for name, _ in before] == [name for name, _ in after]
    assert all(one != other for (_, one), (_, other) in zip(before, after, strict=True))


@pytest.fixture
def seen(monkeypatch: pytest.MonkeyPatch) -> list[list[bool]]:
    """Of each batch that a training plans, which images are virtual."""
    batches: list[list[bool]] = []
    plan_batch = training_module.plan_batch

    def plan(*args: Any, **more: Any) -> Any:
        batch = plan_batch(*args, **more)
        batches.append([sample.record.synthetic for sample in batch])
        return batch

    monkeypatch.setattr(training_module, "plan_batch", plan)
    return batches


FINETUNE = (*CELL, "synthetic=pretrain_finetune", "train.num_steps=7", "train.real_fraction=0.5")


def test_pretrain_finetune_sees_virtual_images_first_and_real_ones_alone_last(
    make_plan: MakePlan, seen: list[list[bool]]
) -> None:
    plan = make_plan(*FINETUNE)
    train, ptl = (key for key, stage in plan.stages.items() if stage.kind != "evaluate")
    run_stage(plan, train, should_stop=lambda: False, companion=Companion())
    assert len(seen) == 7
    assert not any(map(any, seen))
    run_stage(plan, ptl, should_stop=lambda: False, companion=Companion())
    assert len(seen) == 14, "as many steps as without virtual images"
    assert all(map(all, seen[7:11]))
    assert not any(map(any, seen[11:]))
    summary = plan.store.meta(ptl)["summary"]
    assert (summary["num_train_images"], summary["num_synthetic"]) == (7, 4)
    lines = plan.store.artifact(ptl, "history.jsonl").read_text().splitlines()
    rows = [row["train/step"] for row in map(json.loads, lines) if "train/step" in row]
    assert rows == [4, 7]
    assert not any("phase" in path.name for path in plan.store.path(ptl).iterdir())


def stopping_at(call: int) -> Callable[[], bool]:
    calls: Iterator[int] = iter(range(1000))
    return lambda: next(calls) >= call


def test_a_training_in_phases_that_was_stopped_anywhere_ends_with_the_same_weights(
    make_plan: MakePlan,
) -> None:
    plan = make_plan(*FINETUNE)
    (key,) = computed(plan)
    undisturbed = weights(plan, key)
    for call in (1, 5):
        shutil.rmtree(plan.store.path(key))
        with pytest.raises(Interrupted):
            run_stage(plan, key, should_stop=stopping_at(call), companion=Companion())
        assert not plan.store.is_published(key)
        run_stage(plan, key, should_stop=lambda: False, companion=Companion())
        assert not differ(weights(plan, key), undisturbed)


@given(st.floats(0.01, 0.99), st.integers(2, 300))
def test_phases_share_the_steps_of_one_training(share: float, num_steps: int) -> None:
    phases = (TrainingPhase(share), TrainingPhase(1 - share))
    first, last = planned_phases(phases, TrainRecipe(num_steps=num_steps), [])
    assert first.recipe.num_steps >= 1
    assert last.recipe.num_steps >= 1
    assert abs(first.recipe.num_steps - share * num_steps) <= 1
    assert (first.steps_before, last.steps_before) == (0, first.recipe.num_steps)
    assert last.steps_before + last.recipe.num_steps - num_steps in (0, 1)
    assert last.steps_before + last.recipe.num_steps == num_steps or num_steps < 51


def test_one_phase_is_the_recipe_as_it_is(make_record: Callable[..., ImageRecord]) -> None:
    records = [make_record("a", [[0.0, 0.0, 9.0, 9.0]])]
    recipe = TrainRecipe(num_steps=5, real_fraction=0.5)
    (only,) = planned_phases((TrainingPhase(1.0),), recipe, records)
    assert (only.recipe, only.records, only.steps_before) == (recipe, records, 0)


@pytest.mark.parametrize("share", [0.0, 1.0, -1.0])
def test_a_share_that_leaves_a_phase_without_steps_is_refused(share: float) -> None:
    with pytest.raises(ConfigError, match=r"synthetic\.options\.pretrain_share must lie in"):
        PretrainFinetune(images_per_iteration=1, num_iterations=1, pretrain_share=share)


def test_greedy_is_a_stage_that_no_temperature_changes(make_plan: MakePlan) -> None:
    plans = [
        make_plan(*CELL, "synthetic=greedy", f"synthetic.temperature={tau}") for tau in (1, 10)
    ]
    assert plans[0].stages.keys() == plans[1].stages.keys()
    (key,) = computed(plans[0])
    stored = json.loads(plans[0].store.artifact(key, "selection.json").read_text())
    gap = {one["image_id"]: one["gap"] for one in stored["pool"]}
    finite = sorted((value, name) for name, value in gap.items() if value is not None)
    picked = [(gap[name], name) for name in stored["selected"] if gap[name] is not None]
    assert sorted(picked) == finite[: len(picked)]
    assert picked
