"""Packing: move reference embeddings apart on the hypersphere, near a gallery."""

import dataclasses
import functools
import math
import os
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from hyperface_jax import checks
from hyperface_jax.bounds import certificate, max_cosine
from hyperface_jax.devices import processes, sharded
from hyperface_jax.embeddings import npz_file
from hyperface_jax.errors import InputError
from hyperface_jax.neighbours import hypersphere
from hyperface_jax.neighbours.precision import check_supported
from hyperface_jax.packing import checkpoint, descent, enrolled_limit, objective
from hyperface_jax.packing.algorithm1 import Algorithm1
from hyperface_jax.packing.algorithm2 import Algorithm2
from hyperface_jax.packing.annealed import Annealed
from hyperface_jax.packing.checkpointer import Checkpointer
from hyperface_jax.packing.config import SOLVER_VERSION, PackingConfig
from hyperface_jax.packing.enrolled_limit import keep_away
from hyperface_jax.packing.problem import Problem, nearest_reference
from hyperface_jax.packing.solver import Solver

SOLVERS: dict[str, Solver] = {
    "annealed": Annealed(),
    "algorithm1": Algorithm1(),
    "algorithm2": Algorithm2(),
}
# No gradient can part rows closer than this: the force between equal rows is along the
# rows themselves. They are nudged by a small angle, in radians.
_DUPLICATE_COSINE = 1 - 1e-6
_NUDGE = 0.02
_MOST_SWEEPS = 8


class PackingResult(NamedTuple):
    """What packing found. Every figure is recomputed from ``embeddings`` at the end.

    Attributes:
      embeddings: ``[n, d]`` float32, unit rows; row i started at row i of ``initial``.
      objective: ``J``, smaller is better.
      max_cosine: the largest cosine of a reference to another, moving or fixed.
      mean_nearest_cosine: the mean over references of the cosine to the nearest other.
      regularization: the mean cosine distance to the nearest gallery row; 0 without a
        gallery.
      bound: no ``n`` points in ``d`` dimensions have a smaller largest cosine; with
        fixed ones, no ``n + 1``: pairs of fixed points don't count in ``max_cosine``.
      gap: ``max_cosine - bound``, 0 at a proven optimum.
      nearest_cosine: ``[n]``, the cosine of each reference to the nearest other.
      gallery_cosine: ``[n]``, the cosine of each to its nearest gallery row.
      enrolled_cosine: the largest cosine of a reference to an enrolled embedding, in
        double precision; -1 without any. Beyond ``config.max_enrolled_cosine`` the
        constraint is not met.
      history: arrays ``[iterations]`` of ``objective``, ``max_cosine``,
        ``mean_nearest_cosine`` and ``regularization``, each before its iteration; the
        last is not followed, and missing, when its weight is 0.
      duplicates: how many rows of ``initial`` equalled another and were nudged.
      stopped: why the descent stopped, in a sentence: optimal, converged, finished,
        or out of time.
      seconds: the time the descent took, compilation included.
      config: the settings.
    """

    embeddings: np.ndarray
    objective: float
    max_cosine: float
    mean_nearest_cosine: float
    regularization: float
    bound: float
    gap: float
    nearest_cosine: np.ndarray
    gallery_cosine: np.ndarray
    enrolled_cosine: float
    history: dict[str, np.ndarray]
    duplicates: int
    stopped: str
    seconds: float
    config: PackingConfig


def pack_embeddings(
    initial: Any,
    gallery: Any,
    config: PackingConfig | None = None,
    *,
    fixed: Any = None,
    enrolled: Any = None,
    on_progress: descent.OnProgress | None = None,
    checkpoint_path: str | os.PathLike[str] | None = None,
    checkpoint_seconds: float = 60.0,
    num_devices: int | None = None,
) -> PackingResult:
    """Spreads embeddings over the hypersphere while keeping them near a gallery.

    Memory: a few times ``n · d`` and ``m · d`` floats, and some tiles of ``block_size``
    squared; never ``n × n``.

    Args:
      initial: ``[n, d]``, unit rows, ``n >= 2`` (1 with ``fixed``): where the
        references start, usually rows of the gallery. NumPy or JAX, any floating dtype.
      gallery: ``[m, d]``, unit rows, embeddings of faces; never moved. None, or no
        effect on the result, when the regularisation weight is 0.
      config: the settings; None takes the defaults.
      fixed: ``[f, d]``, unit rows, references of an earlier set that stay where they
        are and are kept away from like any other; to grow a set.
      enrolled: ``[e, d]``, unit rows, embeddings of real people: no reference comes
        nearer to any of them than ``config.max_enrolled_cosine``, where possible.
      on_progress: called with the number of iterations done and the terms of the
        objective, a few times a second.
      checkpoint_path: a file to keep the state in, written when interrupted and every
        ``checkpoint_seconds``; the same call resumes from it, to the same bits on
        as many devices and without a time limit. The caller removes it once the
        result is safe.
      checkpoint_seconds: seconds between checkpoints.
      num_devices: over how many devices to spread the rows, those of all processes
        together; each holds ``1 / num_devices`` of them. Changes the result by
        rounding alone. None takes one, or, in a run of several processes, all.

    Returns:
      The packed embeddings and all that is measured of them.

    Examples:
      Three identities without a gallery end as far apart as three points can be, at the
      corners of a triangle:

      >>> import numpy as np
      >>> from hyperface_jax import PackingConfig, pack_embeddings
      >>> start = np.eye(4, dtype=np.float32)[:3]
      >>> packed = pack_embeddings(start, None, PackingConfig(regularization_weight=0))
      >>> round(packed.max_cosine, 4), packed.bound
      (-0.5, -0.5)

    Raises:
      InputError: malformed rows, dimensions that differ, too few rows, a checkpoint of
        another run, a descent that left the finite numbers, a precision that the
        devices don't have, or more devices than there are.
    """
    config = PackingConfig() if config is None else config
    checks.instance_of(config, "config", PackingConfig)
    checks.can_be_called(on_progress, "on_progress")
    checks.in_range(checkpoint_seconds, "checkpoint_seconds", 0)
    if checkpoint_path is not None:
        checkpoint_path = npz_file.path_of(checkpoint_path)
    if num_devices is not None:
        checks.whole_number(num_devices, "num_devices", 1, checks.MOST)
    with sharded.use_devices(num_devices):
        initial = checks.unit_rows(
            initial, "initial", min_rows=1 if fixed is not None else 2
        )
        config = config.for_rows(len(initial))
        if gallery is None and config.regularization_weight > 0:
            raise InputError(
                "gallery is None but regularization_weight is "
                f"{config.regularization_weight:g}; give a gallery, or a weight of 0"
            )
        check_supported(config.matmul_precision)
        given = Problem.beside(initial, gallery, fixed=fixed, enrolled=enrolled)
        checkpointer = None
        if checkpoint_path is not None:
            identity = _fingerprint(initial, given, config)
            checkpointer = Checkpointer(checkpoint_path, identity, checkpoint_seconds)
        return _pack(initial, given, config, on_progress, checkpointer)


def _pack(
    initial: np.ndarray,
    given: Problem,
    config: PackingConfig,
    on_progress: descent.OnProgress | None,
    checkpointer: Checkpointer | None,
) -> PackingResult:
    """:func:`pack_embeddings` of checked arrays on the devices that are in use."""
    processes.check_same("embeddings", initial, *given)
    # With a weight of 0 the gallery can't matter, and is not searched.
    pulls = config.regularization_weight > 0
    problem = sharded.put(given if pulls else given._replace(gallery=None))
    solver = SOLVERS[config.method]
    part = sharded.jit(functools.partial(_part_duplicates, config=config))
    init = sharded.jit(
        lambda x, problem: solver.init(keep_away(x, problem, config), problem, config)
    )
    x, duplicates = part(sharded.put(initial), problem)
    found = descent.descend(
        solver,
        init(x, problem),
        problem,
        config,
        least_objective=_least_objective(initial, given.fixed, config),
        on_progress=on_progress,
        checkpointer=checkpointer,
    )
    x = enrolled_limit.enforce(found.state.embeddings, problem, config)
    result = _measured(sharded.to_host(x), given, found, config)
    return result._replace(duplicates=int(duplicates))


def _fingerprint(initial: np.ndarray, given: Problem, config: PackingConfig) -> str:
    """What a checkpoint must equal for its descent to be this one."""
    settings = {**dataclasses.asdict(config), "solver": SOLVER_VERSION}
    if config.matmul_precision == "float32":
        # Checkpoints of earlier versions, which had no choice, remain valid.
        del settings["matmul_precision"]
    gallery = given.fixed[:0] if given.gallery is None else given.gallery
    return checkpoint.fingerprint(
        settings, initial, gallery, given.fixed, given.enrolled
    )


def _least_objective(
    initial: np.ndarray, fixed: np.ndarray, config: PackingConfig
) -> float:
    """A bound on the objective, proven where all references move and are looked at."""
    in_batches = config.method == "algorithm2" and config.batch_size < len(initial)
    if config.reduction != "min" or len(fixed) or in_batches:
        return -math.inf
    return max_cosine.max_cosine_bound(*initial.shape) - 1


def _part_duplicates(
    x: jax.Array, problem: Problem, config: PackingConfig
) -> tuple[jax.Array, jax.Array]:
    """Nudges rows that equal an earlier or fixed row, since no gradient parts them."""
    row = jnp.arange(len(x))

    def equal(x: jax.Array) -> jax.Array:
        cosine, other = nearest_reference(
            x, problem.fixed, block_size=config.block_size
        )
        # Of two equal rows the first stays where it is.
        return (cosine > _DUPLICATE_COSINE) & ((other < row) | (other >= len(x)))

    def nudge(found: tuple) -> tuple:
        x, now, ever, sweep = found
        key = jax.random.fold_in(jax.random.key(config.seed), sweep)
        noise = hypersphere.sample_uniform(key, *x.shape)
        nudged = hypersphere.normalize_rows(x + _NUDGE * noise)
        x = jnp.where(now[:, None], nudged, x)
        return x, equal(x), ever | now, sweep + 1

    # Rounding may make two of three equal rows find the third, so one sweep may not do.
    now = equal(x)
    x, _, ever, _ = jax.lax.while_loop(
        lambda found: jnp.any(found[1]) & (found[3] < _MOST_SWEEPS),
        nudge,
        (x, now, jnp.zeros_like(now), 0),
    )
    return x, jnp.sum(ever)


def _measured(
    embeddings: np.ndarray,
    given: Problem,
    found: descent.Descent,
    config: PackingConfig,
) -> PackingResult:
    """The result, every figure recomputed from the embeddings ``[n, d]``."""
    enrolled_cosine = -1.0
    if len(given.enrolled):
        enrolled_cosine = certificate.largest_cosine(
            embeddings,
            given.enrolled,
            config.max_enrolled_cosine,
            block_size=config.block_size,
        ).cosine
    terms, nearest_cosine, gallery_cosine = objective.measure(
        embeddings,
        given.gallery,
        fixed=given.fixed,
        regularization_weight=config.regularization_weight,
        reduction=config.reduction,
        block_size=config.block_size,
    )
    history = dict(zip(objective.Terms._fields, found.history.T, strict=True))
    if config.regularization_weight == 0:
        # The gallery was not searched.
        del history["regularization"]
    n, d = embeddings.shape
    bound = max_cosine.max_cosine_bound(n + min(len(given.fixed), 1), d)
    return PackingResult(
        embeddings,
        *terms,
        bound=bound,
        gap=terms.max_cosine - bound,
        nearest_cosine=nearest_cosine,
        gallery_cosine=gallery_cosine,
        enrolled_cosine=enrolled_cosine,
        history=history,
        duplicates=0,
        stopped=found.stopped,
        seconds=found.seconds,
        config=config,
    )
