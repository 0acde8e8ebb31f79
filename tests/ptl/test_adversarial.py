"""What every training of a generator against a discriminator promises, for each method."""

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers.translations import blocky_crops, fit_run, same_weights
from torch import Tensor, nn

from ptl_sweep.checkpoints import save_weights
from ptl_sweep.config.schema import TranslatorConfig
from ptl_sweep.detection.training import Interrupted
from ptl_sweep.ptl.adversarial import CHECKPOINT_NAME, TranslationDiverged, draw_batch, to_unit
from ptl_sweep.ptl.translators import translator_of
from ptl_sweep.ptl.translators.base import FitRun, GanTranslator
from ptl_sweep.ptl.translators.cyclegan import CycleGan

SOURCE, TARGET = blocky_crops(0), blocky_crops(1)


@pytest.fixture(params=["cyclegan", "fastcut"])
def method(request: pytest.FixtureRequest, tiny_config: TranslatorConfig) -> GanTranslator:
    """Each method, at an iteration that may start warm."""
    found = translator_of(replace(tiny_config, method=request.param), iteration=2)
    assert isinstance(found, GanTranslator)
    return found


class StoppedError(Exception):
    pass


def trained(method: GanTranslator, run: FitRun) -> nn.Module:
    fitted = method.train(SOURCE, TARGET, run)
    networks: nn.Module = fitted.networks  # type: ignore[attr-defined]
    return networks


def test_batches_are_cut_and_mirrored_pieces_of_the_crops(tiny_gan: CycleGan) -> None:
    config = replace(tiny_gan, batch_size=40)
    batch = draw_batch(torch.from_numpy(SOURCE), config, np.random.default_rng(5))
    assert batch.shape == (40, 3, 16, 16)
    views = to_unit(torch.from_numpy(SOURCE))
    pieces = [
        piece
        for view in views
        for top in range(3)
        for left in range(3)
        for piece in [view[:, top : top + 16, left : left + 16]]
    ]
    plain = [any(torch.equal(image, piece) for piece in pieces) for image in batch]
    mirrored = [any(torch.equal(image.flip(2), piece) for piece in pieces) for image in batch]
    assert all(p or m for p, m in zip(plain, mirrored, strict=True))
    assert any(plain)
    assert any(mirrored)


@pytest.mark.parametrize("stop_after", [1, 4])
def test_an_interrupted_training_ends_as_an_undisturbed_one(
    stop_after: int,
    method: GanTranslator,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    whole = trained(method, fit_run(tmp_path / "whole"))

    monkeypatch.setattr("ptl_sweep.ptl.adversarial.LOG_EVERY", 1)
    steps: list[int] = []

    def stop(step: int, losses: dict[str, float]) -> None:
        steps.append(step)
        if step == stop_after + 1:
            raise StoppedError

    folder = tmp_path / "part"
    with pytest.raises(StoppedError):
        trained(method, fit_run(folder, on_step=stop, checkpoint_minutes=0))
    torch.rand(5)
    rest: list[int] = []
    resumed = trained(method, fit_run(folder, on_step=lambda step, _: rest.append(step)))
    assert rest == list(range(stop_after + 1, 7))
    assert same_weights(whole, resumed)
    assert [path.name for path in folder.iterdir()] == [CHECKPOINT_NAME]


def test_a_finished_training_is_not_done_again(method: GanTranslator, tmp_path: Path) -> None:
    first = trained(method, fit_run(tmp_path))

    def never(step: int, losses: dict[str, float]) -> None:
        raise AssertionError

    assert same_weights(first, trained(method, fit_run(tmp_path, on_step=never)))


def test_the_seed_decides_the_weights(method: GanTranslator, tmp_path: Path) -> None:
    one, again, other = (
        trained(method, fit_run(tmp_path / name, seed=seed))
        for name, seed in (("one", 1), ("again", 1), ("other", 2))
    )
    assert same_weights(one, again)
    assert not same_weights(one, other)


def test_a_warm_start_continues_from_saved_networks(method: GanTranslator, tmp_path: Path) -> None:
    before = trained(method, fit_run(tmp_path / "before", seed=9))
    saved = tmp_path / "before.safetensors"
    save_weights(saved, before)
    warm = fit_run(tmp_path / "a", warm_start=saved)
    assert same_weights(before, trained(replace(method, num_warm_steps=0), warm))
    steps: list[int] = []
    warm = warm._replace(folder=tmp_path / "b", on_step=lambda step, _: steps.append(step))
    assert not same_weights(before, trained(method, warm))
    assert steps == [method.num_warm_steps]


def test_losses_are_reported_every_20_steps_and_at_the_last(
    method: GanTranslator, tmp_path: Path
) -> None:
    seen: dict[int, dict[str, float]] = {}
    config = replace(method, num_steps=43, crop_size=16, batch_size=1)
    trained(config, fit_run(tmp_path, on_step=seen.__setitem__))
    assert list(seen) == [20, 40, 43]
    assert {name.split("/")[0] for name in seen[20]} == {"translate"}
    assert all(math.isfinite(value) for losses in seen.values() for value in losses.values())


def test_a_loss_that_is_not_finite_stops_with_advice_and_saves_nothing(
    method: GanTranslator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(verdict: Tensor, wanted: float) -> Tensor:
        return verdict.sum() * math.nan

    monkeypatch.setattr("ptl_sweep.ptl.adversarial.squared_error", broken)
    with pytest.raises(TranslationDiverged, match=r"step 1 .*lower translator\.learning_rate"):
        trained(method, fit_run(tmp_path / "run", checkpoint_minutes=0))
    assert not (tmp_path / "run").exists()


def test_a_training_that_is_told_to_stop_goes_on_from_its_checkpoint(
    method: GanTranslator, tmp_path: Path
) -> None:
    config = replace(method, num_steps=4)
    whole = trained(config, fit_run(tmp_path / "whole"))
    stopped = fit_run(tmp_path / "stopped", should_stop=lambda: True)
    with pytest.raises(Interrupted, match="step 1 of 4"):
        trained(config, stopped)
    resumed = trained(config, fit_run(tmp_path / "stopped"))
    assert same_weights(whole, resumed)
