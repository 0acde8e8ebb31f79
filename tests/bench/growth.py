"""How time and memory grow: `python tests/bench/bench.py --growth`.

Each quantity is doubled a few times while all others stay. Seconds are those of the CPU; the
exponent is the slope of a straight line through the logarithms: 1 is linear, 0 constant.
"""

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from case import Setting, Timed
from looking import COMMAND, STAGES_PER_SEED, published_store, seconds_of
from rows.evaluating import Evaluation
from rows.making import NOBODY, detector, detector_config, random_boxes
from rows.pool import Pool

from ptl_sweep.compose.compose import compose_grid
from ptl_sweep.distance.gaussian import fit_gaussian, squared_mahalanobis
from ptl_sweep.pipeline.plan import plan_sweep

TURNS = 4  # the best one counts
DIMENSION = 256
SMALL_MB = 4

Work = Callable[[], Any]


class Axis(NamedTuple):
    """One quantity, the work that it makes, and the sizes at which that is measured."""

    what: str
    prepare: Callable[[int], AbstractContextManager[Work]]  # not measured itself
    first: int
    last: int  # about sixteen times the first


class Point(NamedTuple):
    """What the work took at one size."""

    size: int
    milliseconds: float
    megabytes: float | None  # on top of what the process held; None: not this process


def step(side: int, num_persons: int) -> AbstractContextManager[Work]:
    """The small detector's loss and gradient on two images."""
    rng = np.random.default_rng(0)
    net = detector(detector_config("retinanet_tiny")).train()
    images = torch.from_numpy(rng.random((2, 3, side, side), dtype=np.float32))
    boxes = [torch.from_numpy(random_boxes(rng, num_persons, side, side)) for _ in range(2)]
    nothing = [torch.from_numpy(NOBODY)] * 2

    def work() -> None:
        losses = net.losses(images, boxes, nothing)
        net.zero_grad()
        torch.autograd.backward(losses.classification + losses.box_regression)

    return nullcontext(work)


def pool(size: int) -> AbstractContextManager[Work]:
    """At two scales, by the small detector."""
    return nullcontext(Pool(Setting(), size, [48, 72], "retinanet_tiny").ours)


def detections(size: int) -> AbstractContextManager[Work]:
    """A hundred an image."""
    return nullcontext(Evaluation(size // 100).ours)


def features(size: int) -> AbstractContextManager[Work]:
    """Their distances to a Gaussian of 1,024 others."""
    rng = np.random.default_rng(0)
    gaussian = fit_gaussian(rng.normal(size=(4 * DIMENSION, DIMENSION)), "oas")
    given = rng.standard_normal((size, DIMENSION), dtype=np.float32)
    return nullcontext(lambda: squared_mahalanobis(given, gaussian))


def cells(size: int) -> AbstractContextManager[Work]:
    """Of the paper's detector, with so many seeds."""
    fixed = ["experiment=paper", "real_count=20", "synthetic=off", "target=icg"]
    words = [*fixed, f"seed=range(0,{size})"]
    return nullcontext(lambda: plan_sweep(compose_grid(words), "bench"))


@contextmanager
def stages(size: int) -> Iterator[Work]:
    """Seconds of CPU beyond imports, in a process of its own."""
    with published_store(max(1, size // STAGES_PER_SEED)) as store:
        yield lambda: Timed(None, seconds_of(COMMAND, "status", str(store.plan.folder)))


AXES = (
    Axis("loss and gradient, by persons an image", lambda size: step(256, size), 16, 256),
    Axis("loss and gradient, by pixels", lambda size: step(round(size**0.5), 10), 128**2, 512**2),
    Axis("gaps of a pool, by images", pool, 8, 128),
    Axis("AP@[.5:.95], by detections", detections, 2_000, 32_000),
    Axis("distances, by features", features, 8_000, 128_000),
    Axis("plan, by cells", cells, 64, 1024),
    Axis("status, by stages", stages, 240, 1920),
)


def points(axis: Axis, sizes: Iterable[int], turns: int) -> Iterator[Point]:
    """Measured from small to large, so that memory that was freed hides no growth."""
    for size in sizes:
        with axis.prepare(size) as work:
            taken = [_measured(work, size) for _ in range(turns)]
        taken = taken[1:] or taken  # the first one also fills caches
        best = min(taken, key=lambda one: one.milliseconds)
        yield best._replace(megabytes=max((one.megabytes for one in taken), key=_or_zero))


def _or_zero(megabytes: float | None) -> float:
    return 0.0 if megabytes is None else megabytes


def _measured(work: Work, size: int) -> Point:
    held = _peak_from_now()
    begun = time.process_time()  # of one thread; others at work on the machine do not count
    result = work()
    seconds = time.process_time() - begun
    if isinstance(result, Timed):
        return Point(size, result.seconds * 1e3, None)
    return Point(size, seconds * 1e3, None if held is None else _status_mb("VmHWM") - held)


def _peak_from_now() -> float | None:
    """Forget the highest memory so far; the present one, MB. None where /proc has no such file."""
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        return None
    return _status_mb("VmRSS")


def _status_mb(name: str) -> float:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith(f"{name}:"))


def exponent(sizes: Sequence[float], costs: Sequence[float]) -> float:
    """Slope of log cost over log size, by least squares, rounded; every cost is positive."""
    slope = float(np.polyfit(np.log(sizes), np.log(costs), 1)[0])
    return round(slope, 2) + 0.0  # minus zero becomes zero


def print_growth(*, small: bool) -> None:
    """Every axis with its points and exponents; small: two tiny sizes of each."""
    for axis in AXES:
        count = int(np.log2(axis.last / axis.first))
        sizes = (
            [axis.first >> 1, axis.first] if small else [axis.first << i for i in range(count + 1)]
        )
        found = list(points(axis, sizes, 1 if small else TURNS))
        print(f"{axis.what}: {summary(found)}")
        for one in found:
            memory = "" if one.megabytes is None else f"{one.megabytes:10.1f} MB"
            print(f"{one.size:12,}{one.milliseconds:12.1f} ms{memory}", flush=True)


def summary(found: Sequence[Point]) -> str:
    """The exponents; that of memory where three points or more show any."""
    sizes = [one.size for one in found]
    text = f"time ~ size^{exponent(sizes, [one.milliseconds for one in found]):.2f}"
    memory = [(one.size, one.megabytes) for one in found if one.megabytes is not None]
    seen = [(size, megabytes) for size, megabytes in memory if megabytes >= SMALL_MB]
    if len(seen) >= 3:
        return f"{text}, memory ~ size^{exponent(*zip(*seen, strict=True)):.2f}"
    if memory:
        return f"{text}, memory at most {max(megabytes for _, megabytes in memory):.0f} MB"
    return text
