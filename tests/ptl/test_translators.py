from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import pytest
import torch
from helpers.closeness import assert_pixels_close

from ptl_sweep.config.choices import choice_names
from ptl_sweep.config.schema import ConfigError, TranslatorConfig
from ptl_sweep.datasets.images import ImageCache
from ptl_sweep.ptl.crops import CropSet
from ptl_sweep.ptl.translators import translator_of
from ptl_sweep.ptl.translators.base import FitRun, FittedTranslator
from ptl_sweep.ptl.translators.color_stats import ColorStatistics, channel_statistics

METHODS = choice_names("ptl_sweep.ptl.translators")
LEARNING = ["cyclegan", "fastcut"]  # what trains networks


def crop_set(seed: int, n: int, side: int = 18) -> CropSet:
    rng = np.random.default_rng(seed)
    centre = rng.uniform(80, 150, size=(n, 1, 1, 3))
    pixels = (centre + rng.normal(0, 20, size=(n, side, side, 3))).clip(0, 255).astype(np.uint8)
    return CropSet(pixels, np.arange(n), np.zeros(n, dtype=np.int64))


def fit(config: TranslatorConfig, folder: Path, **changes: Any) -> FittedTranslator:
    """Fit to crops that are given, at iteration 2."""
    crops = {"source": crop_set(0, 6), "target": crop_set(1, 4)}
    crops |= {name: changes.pop(name) for name in ("source", "target") if name in changes}
    arguments: dict[str, Any] = {
        "seed": 0,
        "folder": folder,
        "warm_start": None,
        "on_step": lambda _step, _losses: None,
        "device": torch.device("cpu"),
        "checkpoint_minutes": 5.0,
        "should_stop": lambda: False,
    }
    run = FitRun(**(arguments | changes))
    given = [crops["source"], crops["target"]]
    with mock.patch("ptl_sweep.ptl.translators.base.person_crops", side_effect=given):
        return translator_of(config, 2).fit_records([], [], run, ImageCache(1))


@pytest.mark.parametrize("method", METHODS)
def test_every_method_gives_crops_of_the_same_shape_and_the_same_again(
    method: str, tiny_config: TranslatorConfig, tmp_path: Path
) -> None:
    config = replace(tiny_config, method=method)
    crops = crop_set(2, 5, side=16).pixels
    translated = [fit(config, tmp_path / name).translate(crops) for name in "ab"]
    assert translated[0].shape == crops.shape
    assert translated[0].dtype == np.uint8
    assert np.array_equal(*translated)
    assert np.array_equal(translated[0], crops) == (method == "identity")
    assert fit(config, tmp_path / "a").translate(crops[:0]).shape == (0, 16, 16, 3)


def test_a_method_that_is_no_file_of_the_folder_is_refused_with_those_that_are(
    tiny_config: TranslatorConfig,
) -> None:
    with pytest.raises(
        ConfigError, match="one of color_stats, cyclegan, fastcut, identity; got gan"
    ):
        translator_of(replace(tiny_config, method="gan"), 1)


@pytest.mark.parametrize("method", METHODS)
def test_an_option_that_a_method_does_not_have_is_refused(
    method: str, tiny_config: TranslatorConfig
) -> None:
    with pytest.raises(ConfigError, match=r"translator\.options\.strength"):
        translator_of(replace(tiny_config, method=method, options={"strength": 1}), 1)


@pytest.mark.parametrize("method", LEARNING)
def test_only_a_later_iteration_starts_warm_and_only_when_asked_to(
    method: str, tiny_config: TranslatorConfig
) -> None:
    config = replace(tiny_config, method=method)
    steps = [
        translator_of(replace(config, warm_start=warm), iteration).num_warm_steps
        for warm in (True, False)
        for iteration in (1, 2)
    ]
    assert steps == [None, 2, None, None]


def test_color_statistics_become_those_of_a_target_crop(
    tiny_config: TranslatorConfig, tmp_path: Path
) -> None:
    target = crop_set(1, 4)
    translator = fit(replace(tiny_config, method="color_stats"), tmp_path, target=target)
    crops = crop_set(2, 8, side=16).pixels
    mean, sd = channel_statistics(translator.translate(crops))
    wanted_mean, wanted_sd = channel_statistics(target.pixels)
    nearest = np.abs(mean[:, None] - wanted_mean).max(axis=2).argmin(axis=1)
    assert np.abs(mean - wanted_mean[nearest]).max() < 0.5
    assert np.abs(sd - wanted_sd[nearest]).max() < 0.5
    assert len(set(nearest.tolist())) > 1


def test_a_flat_crop_is_shifted_and_not_blown_up() -> None:
    translator = ColorStatistics(np.full((1, 3), 100.0), np.full((1, 3), 20.0), seed=0)
    translated = translator.translate(np.full((1, 16, 16, 3), 7, dtype=np.uint8))
    assert np.array_equal(translated, np.full_like(translated, 100))


@pytest.mark.parametrize("method", sorted({*METHODS} - {"identity"}))
@pytest.mark.parametrize(("source", "target", "missing"), [(0, 3, "virtual"), (3, 0, "real")])
def test_without_crops_of_one_side_persons_stay_untranslated_with_a_reason(
    method: str,
    source: int,
    target: int,
    missing: str,
    tiny_config: TranslatorConfig,
    tmp_path: Path,
) -> None:
    translator = fit(
        replace(tiny_config, method=method),
        tmp_path,
        source=crop_set(0, source),
        target=crop_set(1, target),
    )
    assert not translator.changes_pixels
    assert translator.reason is not None
    assert f"no {missing} person crop" in translator.reason


@pytest.mark.parametrize("method", LEARNING)
def test_batches_do_not_change_a_translation(
    method: str, tiny_config: TranslatorConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    translator = fit(replace(tiny_config, method=method), tmp_path)
    crops = crop_set(2, 7, side=16).pixels
    whole = translator.translate(crops)
    monkeypatch.setattr("ptl_sweep.ptl.adversarial.PIXELS_PER_FORWARD", 2 * 16 * 16)
    assert_pixels_close(translator.translate(crops), whole)


@pytest.mark.parametrize("method", LEARNING)
def test_the_saved_networks_warm_start_the_next_iteration_unless_it_is_off(
    method: str, tiny_config: TranslatorConfig, tmp_path: Path
) -> None:
    config = replace(tiny_config, method=method)
    first = fit(config, tmp_path / "one")
    saved = tmp_path / "translator.safetensors"
    first.save(saved)
    crops = crop_set(2, 3, side=16).pixels
    kept = replace(config, num_warm_steps=0)
    warm = fit(kept, tmp_path / "two", warm_start=saved, seed=1)
    assert np.array_equal(warm.translate(crops), first.translate(crops))
    cold = fit(replace(kept, warm_start=False), tmp_path / "three", warm_start=saved, seed=1)
    absent = fit(kept, tmp_path / "four", seed=1)
    assert np.array_equal(cold.translate(crops), absent.translate(crops))
    assert not np.array_equal(cold.translate(crops), first.translate(crops))
