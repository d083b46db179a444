"""The time of a descent, the same in all processes, and what there is time for."""

import math
import time

from hyperface_jax.devices import processes
from hyperface_jax.packing.config import PackingConfig
from hyperface_jax.packing.solver import MOST_STEPS, Span

# How long a dispatch is to take: long enough for the host's share of it to vanish,
# short enough for progress, signals and time limits.
SECONDS_A_DISPATCH = 0.05


class Clock:
    """Measures a descent and decides how many steps to dispatch at once.

    All processes of a run must call its methods together: they go by the time of
    process 0, since time decides what to do next.

    Args:
      spent: seconds that earlier runs of the same descent took.

    Attributes:
      now: seconds since the descent began, over all runs, when last read.
      dispatch_seconds: how long the last dispatch took.
    """

    def __init__(self, spent: float = 0.0) -> None:
        self._begun = time.monotonic() - spent
        self.dispatch_seconds = 0.0
        self._steps_at_once = 1
        # Iterations done and the time, after the first dispatch: that one includes
        # compilation and says nothing of the pace.
        self._since: tuple[int, float] | None = None
        self._pace = 0.0
        self.read()

    def read(self) -> float:
        """Reads the time."""
        self.now = processes.agree(time.monotonic() - self._begun)
        return self.now

    def span(self, done: int, config: PackingConfig) -> Span:
        """The steps to dispatch next, at least one.

        Args:
          done: iterations done so far, fewer than ``config.iterations``.
          config: the settings.
        """
        last, affordable = config.iterations - 1, math.inf
        if config.time_limit is not None and self._pace > 0:
            affordable = max(0.0, (config.time_limit - self.now) / self._pace - 1)
        count = min(self._steps_at_once, last - done + 1, affordable + 1)
        return Span.of(done, int(max(1, count)), last, affordable)

    def note(self, steps: int, done: int) -> None:
        """Reads the time after a dispatch.

        Args:
          steps: how many steps it had.
          done: iterations done, these included.
        """
        before, now = self.now, self.read()
        self.dispatch_seconds = now - before
        if self._since is None:
            self._since = done, now
            return
        self._pace = (now - self._since[1]) / (done - self._since[0])
        # By doubling, so that one dispatch that seemed short can do no harm.
        seconds_a_step = self.dispatch_seconds / steps
        fitting = SECONDS_A_DISPATCH / max(seconds_a_step, 1e-9)
        self._steps_at_once = int(
            max(1, min(fitting, 2 * self._steps_at_once, MOST_STEPS))
        )
