"""When a descent ends: optimal, converged, out of iterations or out of time."""

import math
from typing import Any

import numpy as np

from hyperface_jax.errors import InputError
from hyperface_jax.packing.config import PackingConfig

# Convergence is judged by what this many iterations gained over as many before.
_PATIENCE = 25
# An optimum is where the objective stays as low as it can be for this many iterations:
# before, it oscillates and may touch the least value in passing.
_STEADY = 5


def check_finite(history: list[np.ndarray]) -> None:
    """Raises InputError where the last terms of the objective are not finite."""
    if not np.isfinite(history[-1]).all():
        raise InputError(
            f"packing left the finite numbers at iteration {len(history)}; the "
            "learning_rate is too large: lower it"
        )


def reason_to_stop(
    history: list[np.ndarray],
    seconds: float,
    config: PackingConfig,
    *,
    least_objective: float,
    is_settled: Any,
) -> str | None:
    """Why to stop after the iterations of ``history``, or None to continue.

    Args:
      history: the terms of the objective before each iteration, ``[terms]`` each.
      seconds: how long they took.
      config: the settings.
      least_objective: proven to be the least there can be, or -inf.
      is_settled: whether small gains mean convergence; while a temperature has yet to
        fall, they do not.
    """
    done, tolerance = len(history), config.least_gain
    if done == 0:
        return None
    lately = [row[0] for row in history[-_STEADY:]]
    if done >= _STEADY and max(lately) <= least_objective + (tolerance or 0.0):
        return (
            "optimal: the objective is the least there can be, to within "
            f"{tolerance or 0:g}, after {done} iterations"
        )
    if tolerance is not None and _gain(history) < tolerance and is_settled:
        return (
            f"converged: the last {_PATIENCE} of {done} iterations lowered the "
            f"objective by less than {tolerance:g}"
        )
    if done >= config.iterations:
        return f"finished: all {done} iterations are done"
    if config.time_limit is not None and seconds >= config.time_limit:
        return f"time limit: {config.time_limit:g} s are over after {done} iterations"
    return None


def _gain(history: list[np.ndarray]) -> float:
    """How far the best objective fell lately; infinite before that is known."""
    if len(history) < 2 * _PATIENCE:
        return math.inf
    recent = [row[0] for row in history[-2 * _PATIENCE :]]
    return float(min(recent[:_PATIENCE]) - min(recent[_PATIENCE:]))
