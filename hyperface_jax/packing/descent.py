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
from hyperface_jax.packing.solver import Solver, Span, State
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
    if checkpointer is not None:
        checkpointer.saved_at = clock.now
    advance = sharded.jit(
        functools.partial(solvers.advance, solver=solver, config=config),
        donate_argnums=(0,),
    )
    reason = functools.partial(
        reason_to_stop, config=config, least_objective=least_objective
    )
    stopped = reason(history, clock.now, is_settled=settled)

    # A dispatch donates its input: meanwhile there is no state to save.
    with interruptions.held_back() as interrupted:
        while stopped is None:
            span = clock.span(len(history), config)
            reports, state_after = _dispatch(advance, state, problem, span)
            clock.note(len(reports), len(history) + len(reports))
            done = 0
            while stopped is None and done < len(reports):
                terms, settled = reports[done]
                done += 1
                history.append(terms)
                check_finite(history)
                # The time is known only at the end of the dispatch.
                seconds = clock.now if done == len(reports) else 0.0
                stopped = reason(history, seconds, is_settled=settled)
            state = state_after(done)
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
            # Measuring the result may take long or be interrupted.
            checkpointer.save(state, history, clock.now)
    if on_progress is not None:
        on_progress(len(history), Terms(*map(float, history[-1])))
    return Descent(state, np.stack(history), stopped, clock.now)


def _dispatch(
    advance: Callable, state: State, problem: Problem, span: Span
) -> tuple[list[tuple[np.ndarray, np.ndarray]], Callable[[int], State]]:
    """Does the steps of ``span``.

    Returns:
      For each step the terms ``[terms]`` before it and whether its state is settled;
      and a function from a number of steps, at least 1, to the state after them, to be
      called once.
    """
    # Kept to start again from, should the descent stop amid the dispatch.
    start = _copy(state) if span.count > 1 else None
    state, steps = advance(state, problem, span)
    # Copies, since views would keep the whole arrays of a dispatch alive.
    found = [array[: span.count].copy() for array in sharded.to_host(steps)]

    def state_after(done: int) -> State:
        if done == span.count:
            return state
        return advance(start, problem, span._replace(count=np.int32(done)))[0]

    return list(zip(*found, strict=True)), state_after


@jax.jit
def _copy(state: Any) -> Any:
    return jax.tree.map(jnp.copy, state)
