"""The loop around a solver: dispatches steps, reports, saves and stops."""

import functools
import math
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from hyperface_jax import interruptions
from hyperface_jax.devices import processes, sharded
from hyperface_jax.packing import solver as solvers
from hyperface_jax.packing.checkpointer import Checkpointer
from hyperface_jax.packing.clock import Clock
from hyperface_jax.packing.config import PackingConfig
from hyperface_jax.packing.objective import Terms
from hyperface_jax.packing.problem import Problem
from hyperface_jax.packing.solver import Solver, Span, State, Steps
from hyperface_jax.packing.stop_rules import check_finite, reason_to_stop

OnProgress = Callable[[int, Terms], None]

_SECONDS_BETWEEN_REPORTS = 0.25


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
    solver: Solver[State],
    state: State,
    problem: Problem,
    config: PackingConfig,
    *,
    least_objective: float = -math.inf,
    on_progress: OnProgress | None = None,
    checkpointer: Checkpointer | None = None,
) -> Descent:
    """Steps until optimal, converged, out of iterations or out of time.

    Short steps are dispatched several at once; the result and where it stops do not
    depend on how many.

    Args:
      solver: the method.
      state: where to start, on the devices in use; donated.
      problem: what surrounds the references, on the devices in use.
      config: the settings, its number of iterations filled in.
      least_objective: proven to be the least there can be.
      on_progress: called with the iterations done and the terms, a few times a second.
      checkpointer: keeps checkpoints, or None. A descent found there is resumed, to
        the same bits as if it had never stopped, unless time is limited; an interrupted
        one is saved first, and so is a finished one.

    Raises:
      InputError: the objective stopped being finite, or the checkpoint isn't ours.
    """
    history: list[np.ndarray] = []
    clock, settled = Clock(), np.bool(False)
    if checkpointer is not None and (found := checkpointer.load(state)) is not None:
        clock = Clock(found.seconds)
        settled = solver.is_settled(found.state, found.iteration, config)
        state, history = sharded.put(found.state), list(found.history)
    reported = clock.now
    advance = sharded.jit(
        functools.partial(solvers.advance, solver=solver, config=config),
        donate_argnums=(0,),
    )
    reason = functools.partial(
        reason_to_stop, config=config, least_objective=least_objective
    )
    stopped = reason(history, clock.now, is_settled=settled)

    # A dispatch gives its input away to be overwritten: meanwhile there is no state.
    with interruptions.held_back() as interrupted:
        while stopped is None:
            span = clock.span(len(history), config)
            # To go back to, where the reason to stop is in the middle.
            start = _copy(state) if span.count > 1 else None
            state, steps = advance(state, problem, span)
            reports = _reports(steps, span)
            clock.note(len(reports), len(history) + len(reports))
            for i, (terms, settled) in enumerate(reports, start=1):
                history.append(terms)
                check_finite(history)
                # The time is known at the end of the dispatch alone.
                seconds = clock.now if i == len(reports) else 0.0
                stopped = reason(history, seconds, is_settled=settled)
                if stopped is not None and i < len(reports):
                    state, _ = advance(start, problem, span._replace(count=np.int32(i)))
                    break
            if on_progress is not None and (
                clock.now - reported > _SECONDS_BETWEEN_REPORTS
            ):
                on_progress(len(history), Terms(*map(float, history[-1])))
                reported = clock.now
            if checkpointer is not None and checkpointer.is_due(
                clock.now, clock.dispatch_seconds
            ):
                checkpointer.save(state, history, clock.now)
                checkpointer.saved_at = clock.read()
            if processes.of_every_process(len(interrupted)).any():
                if checkpointer is not None:
                    checkpointer.save(state, history, clock.now)
                raise KeyboardInterrupt
        if checkpointer is not None and checkpointer.saved_at < clock.now:
            # What comes after may take long, or be interrupted.
            checkpointer.save(state, history, clock.now)
    if on_progress is not None:
        on_progress(len(history), Terms(*map(float, history[-1])))
    return Descent(state, np.stack(history), stopped, clock.now)


def _reports(steps: Steps, span: Span) -> list[tuple[np.ndarray, np.ndarray]]:
    """The terms ``[terms]`` of each step, and whether its state is settled."""
    found = sharded.to_host(steps)
    # Copies: a view would keep the room for all steps of a dispatch.
    return list(zip(*(array[: span.count].copy() for array in found), strict=True))


@jax.jit
def _copy(state: Any) -> Any:
    return jax.tree.map(jnp.copy, state)
