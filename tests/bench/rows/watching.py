"""Times single steps from inside a training that is run as a whole."""

import time

from case import Setting
from timing import synchronise


class StepClock:
    """Passed as `should_stop`, which a training calls once before every step; it never stops it.

    The seconds are those between two calls, so they hold `steps` steps with the preparation of
    their batches, and not what comes before the first step and after the last.
    """

    def __init__(self, setting: Setting, steps: int) -> None:
        # the first steps on a card choose kernels and fill the caches of its allocator
        self.warm_up = 3 if setting.device == "cuda" and not setting.small else 0
        self.setting, self.steps = setting, steps
        self.num_steps = self.warm_up + steps + 1  # that the training must take
        self._calls, self._begun, self._ended = 0, 0.0, 0.0

    def __call__(self) -> bool:
        """Read the time at the first and the last step that count."""
        if self._calls == self.warm_up:
            self._begun = self._now()
        elif self._calls == self.warm_up + self.steps:
            self._ended = self._now()
        self._calls += 1
        return False

    @property
    def seconds(self) -> float:
        """Seconds of a step, mean."""
        assert self._ended, f"the training took {self._calls} steps, not {self.num_steps}"
        return (self._ended - self._begun) / self.steps

    def _now(self) -> float:
        synchronise(self.setting)
        return time.perf_counter()
