"""Learning, exact resume, schedules and refusals of training."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from ptl_sweep.config.schema import ConfigError, TilingConfig
from ptl_sweep.datasets.images import ImageCache
from ptl_sweep.datasets.records import ImageRecord
from ptl_sweep.detection.detector import Detector, build_detector
from ptl_sweep.detection.networks.retinanet import RetinaNet
from ptl_sweep.detection.pixels import View
from ptl_sweep.detection.training import (
    Interrupted,
    TrainingDiverged,
    learning_rate,
    train_detector,
)

Log = list[tuple[int, dict[str, float]]]


@pytest.fixture
def train(
    draw: Callable, training_with: Callable, tiny_with: Callable, cache: ImageCache, tmp_path: Path
) -> Callable[..., tuple[Detector, Log]]:
    """Trains retinanet_tiny on six drawn pictures; returns the detector and what was reported."""
    records: list[ImageRecord] = [draw(seed) for seed in range(6)]

    def run(
        folder: str,
        *,
        stop_after: int | None = None,
        seed: int = 1,
        checkpoint_minutes: float = 5.0,
        **changes: object,
    ) -> tuple[Detector, Log]:
        detector = build_detector(tiny_with(), torch.Generator().manual_seed(0))
        (tmp_path / folder).mkdir(exist_ok=True)
        log: Log = []
        asked = iter(range(10**6))
        train_detector(
            detector,
            records,
            training_with(**changes),
            seed=seed,
            folder=tmp_path / folder,
            cache=cache,
            on_step=lambda step, metrics: log.append((step, metrics)),
            view=View(None, TilingConfig()),
            checkpoint_minutes=checkpoint_minutes,
            should_stop=lambda: next(asked) == stop_after,
        )
        return detector, log

    return run


def same(a: Detector, b: Detector) -> bool:
    other = b.state_dict()
    return all(torch.equal(value, other[name]) for name, value in a.state_dict().items())


def without_speed(log: Log) -> Log:
    return [
        (step, {k: v for k, v in row.items() if k != "train/images_per_second"})
        for step, row in log
    ]


@pytest.mark.parametrize("optimizer", ["adamw", "sgd"])
@pytest.mark.parametrize("crop_size", [None, 48])
def test_interrupted_training_ends_bit_for_bit_as_an_undisturbed_one(
    train: Callable, optimizer: str, crop_size: int | None
) -> None:
    changes = {"optimizer": optimizer, "crop_size": crop_size}
    whole, whole_log = train("whole", **changes)
    with pytest.raises(Interrupted, match="step 5"):
        train("parts", stop_after=5, **changes)
    resumed, log = train("parts", **changes)
    assert same(whole, resumed)
    assert without_speed(log) == without_speed(whole_log)


def test_killed_training_resumes_from_the_last_checkpoint(
    train: Callable, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, _ = train("whole")
    real = RetinaNet.losses
    calls = iter(range(1000))

    def dies(self: RetinaNet, *args: object) -> object:
        if next(calls) == 7:
            raise KeyboardInterrupt
        return real(self, *args)

    monkeypatch.setattr(RetinaNet, "losses", dies)
    with pytest.raises(KeyboardInterrupt):
        train("killed", checkpoint_minutes=0.0)
    monkeypatch.setattr(RetinaNet, "losses", real)
    resumed, _ = train("killed")
    assert same(whole, resumed)


@pytest.mark.parametrize("content", [b"", b"no checkpoint", bytes(1000)])
def test_a_training_whose_checkpoint_is_damaged_begins_anew_with_the_same_result(
    train: Callable, tmp_path: Path, content: bytes
) -> None:
    whole, _ = train("whole")
    path = tmp_path / "damaged" / "checkpoint.pt"
    path.parent.mkdir()
    path.write_bytes(content)
    again, _ = train("damaged")
    assert same(whole, again)
    assert path.with_name("checkpoint.pt.damaged").read_bytes() == content


def test_finished_training_is_not_repeated(train: Callable) -> None:
    first, _ = train("once")
    again, log = train("once")
    assert same(first, again)
    assert log == []


def test_weights_depend_on_the_seed_and_not_on_global_state(train: Callable) -> None:
    torch.manual_seed(5)
    before = torch.get_rng_state()
    first, _ = train("first")
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(6)
    second, _ = train("second")
    other, _ = train("other", seed=2)
    assert same(first, second)
    assert not same(first, other)


def test_reports_every_20_steps_and_at_the_end(train: Callable) -> None:
    _, log = train("log", num_steps=45, batch_size=1)
    assert [step for step, _ in log] == [20, 40, 45]
    for _, row in log:
        assert row["train/loss"] == row["train/loss_classification"] + row["train/loss_box"]
        assert row["train/images_per_second"] > 0


def test_loss_falls_on_drawn_rectangles(train: Callable) -> None:
    detector, log = train("learn", num_steps=40, batch_size=4)
    assert not detector.training
    assert log[-1][1]["train/loss"] < 0.7 * log[0][1]["train/loss"]


def test_non_finite_loss_stops_with_step_and_remedy(
    train: Callable, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    real = RetinaNet.losses
    calls = iter(range(1000))

    def breaks(self: RetinaNet, *args: object) -> object:
        losses = real(self, *args)
        factor = float("nan") if next(calls) == 6 else 1.0
        return losses._replace(classification=losses.classification * factor)

    monkeypatch.setattr(RetinaNet, "losses", breaks)
    with pytest.raises(TrainingDiverged, match=r"step 7 of 12.*train\.learning_rate"):
        train("nan")
    assert not (tmp_path / "nan" / "checkpoint.pt").exists()


def test_a_precision_that_the_processor_lacks_is_refused(train: Callable) -> None:
    with pytest.raises(ConfigError, match=r"train\.precision=tf32 needs a CUDA GPU"):
        train("tf32", precision="tf32")


def test_bfloat16_on_a_cpu_rounds_learns_and_is_the_same_twice(
    train: Callable, monkeypatch: pytest.MonkeyPatch
) -> None:
    # without the instructions torch computes it slowly, and so few steps bear that
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"amx_bf16": True})
    (_, [(_, exact)]), (_, [(_, mixed)]) = (
        train(name, num_steps=1, precision=name) for name in ("float32", "bfloat16")
    )
    assert mixed["train/loss"] != exact["train/loss"]
    assert mixed["train/loss"] == pytest.approx(exact["train/loss"], rel=2**-7)  # 8 bits
    first, ((_, early), (_, late)) = train("first", num_steps=40, precision="bfloat16")
    again, _ = train("again", num_steps=40, precision="bfloat16")
    assert same(first, again)
    assert late["train/loss"] < early["train/loss"]
    assert all(value.dtype == torch.float32 for value in first.parameters())


def test_warm_up_is_linear_and_then_constant(training_with: Callable) -> None:
    config = training_with(schedule="constant", warmup_steps=4, learning_rate=0.1)
    rates = [learning_rate(config, step) for step in range(7)]
    np.testing.assert_allclose(rates, [0.025, 0.05, 0.075, 0.1, 0.1, 0.1, 0.1])
    assert learning_rate(training_with(schedule="constant", warmup_steps=0), 0) == 3e-3


@pytest.mark.parametrize(("steps", "warm"), [(360, 20), (30, 20), (100, 0), (7, 2)])
def test_onecycle_is_torchs(training_with: Callable, steps: int, warm: int) -> None:
    config = training_with(num_steps=steps, warmup_steps=warm)
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1.0)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer,
        config.learning_rate,
        total_steps=steps,
        pct_start=min(0.3, warm / steps),
        div_factor=10,
        final_div_factor=20,
        cycle_momentum=False,
    )
    expected = []
    for _ in range(steps):
        expected.append(schedule.get_last_lr()[0])
        optimizer.step()
        if len(expected) < steps:
            schedule.step()
    found = [learning_rate(config, step) for step in range(steps)]
    np.testing.assert_allclose(found, expected, rtol=1e-12)


@pytest.mark.parametrize(("steps", "warm"), [(1, 0), (1, 1), (2, 1), (10, 1), (4, 4)])
def test_onecycle_of_a_few_steps_stays_positive(
    training_with: Callable, steps: int, warm: int
) -> None:
    config = training_with(num_steps=steps, warmup_steps=warm)
    assert all(0 < learning_rate(config, step) <= 3e-3 for step in range(steps))
