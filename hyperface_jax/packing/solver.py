"""What a method of packing is, and how several of its steps run in one dispatch."""

import functools
import math
from typing import Any, NamedTuple, Protocol, TypeVar

import chex
import jax
import jax.numpy as jnp
import numpy as np

from hyperface_jax.packing.config import PackingConfig
from hyperface_jax.packing.objective import Terms
from hyperface_jax.packing.problem import Problem

State = TypeVar("State")

# Capacity for the terms of one dispatch; more steps would save nothing measurable.
MOST_STEPS = 256


class Countdown(NamedTuple):
    """Where in the run a step is.

    Attributes:
      iteration: int32, counted from 0; decides batches and learning rates.
      remaining: float32, how many iterations follow this one: as many as are set or as
        the time permits; decides how far temperatures fall, and how fast.
    """

    iteration: Any
    remaining: Any


class Solver(Protocol[State]):
    """A method of packing: pure functions, traced by JAX.

    A state is a pytree of arrays with the attribute ``embeddings`` ``[n, d]``, unit
    rows. Checkpoints keep its leaves, so changing them needs another
    ``SOLVER_VERSION``.
    """

    def init(self, x: jax.Array, problem: Problem, config: PackingConfig) -> State:
        """Returns the state before the first step.

        Args:
          x: ``[n, d]``, unit rows, where to start.
          problem: what surrounds them.
          config: the settings.
        """

    def step(
        self,
        state: State,
        problem: Problem,
        countdown: Countdown,
        config: PackingConfig,
    ) -> tuple[State, Terms]:
        """Does one iteration.

        Args:
          state: of :meth:`init` or the previous step.
          problem: what surrounds the references.
          countdown: where in the run this step is.
          config: the settings.

        Returns:
          The next state, and the terms of the objective before the step.
        """

    def is_settled(self, state: State, done: Any, config: PackingConfig) -> Any:
        """Whether small gains mean convergence, after ``done`` iterations.

        By default they do in the second half of a run.
        """
        del state
        return done >= (config.iterations + 1) // 2


class Span(NamedTuple):
    """The steps of one dispatch.

    Attributes:
      first: int32, the iteration of the first step, from 0.
      count: int32, how many, at most ``MOST_STEPS``.
      last: int32, the last iteration of the whole run.
      affordable: float32, how many iterations there is time for after the first;
        infinite without a time limit.
    """

    first: Any
    count: Any
    last: Any
    affordable: Any

    @classmethod
    def of(
        cls, first: int, count: int, last: int, affordable: float = math.inf
    ) -> "Span":
        """Builds a span from Python's numbers."""
        return cls(*map(np.int32, (first, count, last)), np.float32(affordable))


class Steps(NamedTuple):
    """What the steps of a dispatch report; entries beyond their number are zero.

    Attributes:
      terms: ``[MOST_STEPS, terms]`` float32, the objective before each step.
      is_settled: ``[MOST_STEPS]`` bool, of the state after each step.
    """

    terms: jax.Array
    is_settled: jax.Array


@functools.partial(jax.jit, static_argnames=("solver", "config"), donate_argnums=0)
def advance(
    state: State,
    problem: Problem,
    span: Span,
    *,
    solver: Solver[State],
    config: PackingConfig,
) -> tuple[State, Steps]:
    """Does the steps of ``span``; the state is donated.

    One program serves any number of steps, so that results do not depend on how steps
    are grouped into dispatches.

    Args:
      state: of ``solver.init`` or the previous dispatch.
      problem: what surrounds the references.
      span: which steps.
      solver: the method.
      config: the settings.

    Returns:
      The state after the last step, and what each reports.
    """
    chex.assert_rank((state.embeddings, problem.fixed, problem.enrolled), 2)
    chex.assert_rank(tuple(span), 0)

    def one(i: jax.Array, carry: tuple[State, Steps]) -> tuple[State, Steps]:
        state, steps = carry
        iteration = span.first + i
        remaining = jnp.minimum(
            (span.last - iteration).astype(jnp.float32),
            jnp.maximum(span.affordable - i.astype(jnp.float32), 0.0),
        )
        countdown = Countdown(iteration, remaining)
        state, terms = solver.step(state, problem, countdown, config)
        settled = solver.is_settled(state, iteration + 1, config)
        return state, Steps(
            steps.terms.at[i].set(jnp.stack(terms)),
            steps.is_settled.at[i].set(settled),
        )

    nothing = Steps(
        jnp.zeros((MOST_STEPS, len(Terms._fields))), jnp.zeros(MOST_STEPS, bool)
    )
    return jax.lax.fori_loop(0, span.count, one, (state, nothing))
