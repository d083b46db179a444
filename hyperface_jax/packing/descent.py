"""The loop around a solver's steps: progress, stopping, checkpoints."""

import functools
import math
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import numpy as np

from hyperface_jax import interruptions
from hyperface_jax.devices import processes, sharded
from hyperface_jax.errors import InputError
from hyperface_jax.packing import checkpoint, objective

OnProgress = Callable[[int, objective.Terms], None]

_SECONDS_BETWEEN_REPORTS = 0.25
# Convergence is judged by what this many iterations gained over as many before.
_PATIENCE = 25
# An optimum is where the objective stays as low as it can be for this many iterations:
# on its way there it swings, and may touch the least value and leave it again.
_STEADY = 5


class Moment(NamedTuple):
    """When a step happens.

    Attributes:
      iteration: int32, counted from 0: decides batches and learning rates.
      remaining: float32, how many are to come after this one: as many as are set, or as
        the time permits: decides how far temperatures fall, and how fast.
    """

    iteration: Any
    remaining: Any


class Checkpoints(NamedTuple):
    """Where and when to keep checkpoints.

    Attributes:
      path: the file.
      fingerprint: of the run, see :func:`hyperface_jax.packing.checkpoint.fingerprint`.
      seconds: at least this long between two of them, where steps are short enough for
        an interruption to wait for.
    """

    path: Any
    fingerprint: str
    seconds: float


class Descent(NamedTuple):
    """What a descent found.

    Attributes:
      state: the solver's last state.
      history: ``[iterations, terms]`` float32, the terms before each iteration.
      stopped: why it stopped, in a sentence.
      seconds: how long it took, over all runs.
    """

    state: Any
    history: np.ndarray
    stopped: str
    seconds: float


def descend(
    state: Any,
    step: Callable[[Any, Moment], tuple[Any, objective.Terms]],
    config: Any,
    *,
    least_objective: float = -math.inf,
    is_settled: Callable[[Any], bool] | None = None,
    on_progress: OnProgress | None = None,
    checkpoints: Checkpoints | None = None,
) -> Descent:
    """Steps until optimal, converged, out of iterations or out of time.

    Args:
      state: where to start.
      step: one iteration.
      config: a :class:`hyperface_jax.PackingConfig`.
      least_objective: proven to be the least there can be.
      is_settled: whether a state is one in which small gains mean convergence; while
        a temperature has yet to fall, they do not. None: whether half the run is over.
      on_progress: called with the iterations done and the terms, a few times a second.
      checkpoints: where to keep them, or None. A descent found there is continued, to
        the same bits as if it had never stopped, unless time is limited; an interrupted
        one is saved first, and so is a finished one.

    Raises:
      InputError: the objective stopped being finite, or the checkpoint isn't ours.
    """
    history: list[np.ndarray] = []
    begun = time.monotonic()
    if checkpoints is not None and (found := _load(checkpoints, state)) is not None:
        state, history = sharded.put(found.state), list(found.history)
        begun -= found.seconds
    now = reported = saved = processes.agree(time.monotonic() - begun)
    pace = _Pace()

    def save() -> None:
        if checkpoints is not None:
            _save(checkpoints, state, history, now)

    def reason() -> str | None:
        if is_settled is not None:
            settled = functools.partial(is_settled, state)
        else:
            settled = functools.partial(_is_late, len(history), config)
        return _reason(history, now, config, least_objective, settled)

    # A step gives its input away to be overwritten: in the middle there is no state.
    with interruptions.held_back() as interrupted:
        while (stopped := reason()) is None:
            moment = _moment(len(history), now, pace.seconds, config)
            state, terms = step(state, moment)
            history.append(np.asarray(jax.device_get(terms), np.float32))
            _check_finite(history)
            # Time decides what to do next, so all processes go by the same clock.
            before, now = now, processes.agree(time.monotonic() - begun)
            pace.note(len(history), now)
            if on_progress is not None and now - reported > _SECONDS_BETWEEN_REPORTS:
                on_progress(len(history), objective.Terms(*map(float, history[-1])))
                reported = now
            if checkpoints is not None and interruptions.is_due(
                now - saved, checkpoints.seconds, now - before
            ):
                save()
                saved = now = processes.agree(time.monotonic() - begun)
            if processes.of_every_process(len(interrupted)).any():
                save()
                raise KeyboardInterrupt
        if saved < now:
            # What comes after may take long, or be interrupted.
            save()
    if on_progress is not None:
        on_progress(len(history), objective.Terms(*map(float, history[-1])))
    return Descent(state, np.stack(history), stopped, now)


def _load(checkpoints: Checkpoints, state: Any) -> checkpoint.Checkpoint | None:
    """The checkpoint of a descent of states like ``state``; all processes find it."""
    with processes.together():
        found = checkpoint.load(
            checkpoints.path, sharded.logical(state), checkpoints.fingerprint
        )
    processes.check_shared(checkpoints.path, 0 if found is None else found.iteration)
    return found


def _save(
    checkpoints: Checkpoints, state: Any, history: list[np.ndarray], seconds: float
) -> None:
    # Processes gather the state together; one of them writes it.
    whole = sharded.to_host(state)
    reached = checkpoint.Checkpoint(len(history), seconds, whole, np.stack(history))
    with processes.together():
        if processes.is_main_process():
            checkpoint.save(checkpoints.path, reached, checkpoints.fingerprint)


class _Pace:
    """How long an iteration takes.

    The first of a process does not count, since it includes compiling.

    Attributes:
      seconds: 0 while that isn't known.
    """

    def __init__(self) -> None:
        self.seconds = 0.0
        self._since: tuple[int, float] | None = None

    def note(self, done: int, now: float) -> None:
        """Told after every iteration."""
        if self._since is None:
            self._since = done, now
        else:
            self.seconds = (now - self._since[1]) / (done - self._since[0])


def _moment(iteration: int, now: float, pace: float, config: Any) -> Moment:
    remaining = config.iterations - 1 - iteration
    if config.time_limit is not None and pace > 0:
        affordable = (config.time_limit - now) / pace - 1
        remaining = min(remaining, max(0.0, affordable))
    return Moment(np.int32(iteration), np.float32(remaining))


def _check_finite(history: list[np.ndarray]) -> None:
    if not np.isfinite(history[-1]).all():
        raise InputError(
            f"packing left the finite numbers at iteration {len(history)}; the "
            "learning_rate is too large: lower it"
        )


def _reason(
    history: list[np.ndarray],
    seconds: float,
    config: Any,
    least_objective: float,
    is_settled: Callable[[], bool],
) -> str | None:
    """Why to stop now, or None to go on."""
    done, tolerance = len(history), config.least_gain
    if done == 0:
        return None
    lately = [row[0] for row in history[-_STEADY:]]
    if done >= _STEADY and max(lately) <= least_objective + (tolerance or 0.0):
        return (
            "optimal: the objective is the least there can be, to within "
            f"{tolerance or 0:g}, after {done} iterations"
        )
    if tolerance is not None and _gain(history) < tolerance and is_settled():
        return (
            f"converged: the last {_PATIENCE} of {done} iterations lowered the "
            f"objective by less than {tolerance:g}"
        )
    if done >= config.iterations:
        return f"finished: all {done} iterations are done"
    if config.time_limit is not None and seconds >= config.time_limit:
        return f"time limit: {config.time_limit:g} s are over after {done} iterations"
    return None


def _is_late(done: int, config: Any) -> bool:
    return 2 * done >= config.iterations


def _gain(history: list[np.ndarray]) -> float:
    """By how much the best objective fell of late; infinite before that is known."""
    if len(history) < 2 * _PATIENCE:
        return math.inf
    recent = [row[0] for row in history[-2 * _PATIENCE :]]
    return float(min(recent[:_PATIENCE]) - min(recent[_PATIENCE:]))
