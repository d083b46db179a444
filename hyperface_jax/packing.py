"""Packing: move reference embeddings apart on the hypersphere, near a gallery."""

import dataclasses
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from hyperface_jax import (
    algorithm1,
    algorithm2,
    annealed,
    bounds,
    checks,
    hypersphere,
    objective,
    similarity,
)
from hyperface_jax.commands import InputError

METHODS = {
    "annealed": annealed,
    "algorithm1": algorithm1,
    "algorithm2": algorithm2,
}
_DEFAULT_ITERATIONS = {"annealed": 300, "algorithm1": 100_000, "algorithm2": 100_000}
_DEFAULT_LEARNING_RATE = {"annealed": 1.0, "algorithm1": 0.01, "algorithm2": 0.01}
# Rows closer than this can't be told apart by a gradient: the push between equal rows
# is along the rows themselves. They are nudged by a small angle, in radians.
_DUPLICATE_COSINE = 1 - 1e-6
_NUDGE = 0.02
_SECONDS_BETWEEN_REPORTS = 0.25
_DIVERGED = (
    "packing left the finite numbers by iteration {}; the learning_rate is too large: "
    "lower it"
)

OnProgress = Callable[[int, objective.Terms], None]


@dataclasses.dataclass(frozen=True)
class PackingConfig:
    """How to pack.

    Attributes:
      method: ``"annealed"`` (smoothed repulsion, converges in hundreds of iterations),
        ``"algorithm1"`` (the paper's) or ``"algorithm2"`` (the paper's, on batches).
      num_iterations: at least 1; None takes 300 for annealed and the paper's 100,000
        for the others.
      learning_rate: more than 0; for algorithm1 and algorithm2 Adam's initial rate,
        None takes 0.01; for annealed the step's length relative to the curvature, None
        takes 1.
      decay_rate: algorithm1 and algorithm2: the rate is multiplied by this, in (0, 1],
        …
      decay_every: … every so many iterations.
      batch_size: algorithm2: references drawn an iteration, at least 2; more than there
        are means all.
      batch_distances: algorithm2: distances within the ``"batch"``, or from the batch
        to ``"all"`` references.
      regularization_weight: ``α`` >= 0, how much staying near the gallery counts
        against being apart; 0 forgets the gallery.
      reduction: ``"min"`` maximises the smallest distance between two references,
        ``"mean_nearest"`` the mean distance to the nearest other.
      block_size: side of the tiles of cosines in memory, at least 1; None takes 512;
        more than there are rows means one tile.
      seed: of algorithm2's batches, and of the nudges that separate equal rows; nothing
        else is random.
    """

    method: str = "annealed"
    num_iterations: int | None = None
    learning_rate: float | None = None
    decay_rate: float = 0.75
    decay_every: int = 5000
    batch_size: int = 1000
    batch_distances: str = "batch"
    regularization_weight: float = 0.5
    reduction: str = "min"
    block_size: int | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        checks.one_of(self.method, "method", tuple(METHODS))
        checks.one_of(self.reduction, "reduction", objective.REDUCTIONS)
        if self.num_iterations is not None:
            checks.in_range(self.num_iterations, "num_iterations", 1)
        if self.learning_rate is not None:
            checks.in_range(self.learning_rate, "learning_rate", 0, 1e6, open_low=True)
        checks.in_range(self.decay_rate, "decay_rate", 0, 1, open_low=True)
        checks.in_range(self.decay_every, "decay_every", 1)
        checks.in_range(self.batch_size, "batch_size", 2)
        checks.one_of(self.batch_distances, "batch_distances", algorithm2.DISTANCES)
        checks.in_range(self.regularization_weight, "regularization_weight", 0, 1e6)
        if self.block_size is not None:
            checks.in_range(self.block_size, "block_size", 1)
        checks.in_range(self.seed, "seed", 0, 2**32 - 1)

    @property
    def iterations(self) -> int:
        """The number of iterations, the method's default filled in."""
        return self.num_iterations or _DEFAULT_ITERATIONS[self.method]

    @property
    def step_size(self) -> float:
        """The learning rate, the method's default filled in."""
        return self.learning_rate or _DEFAULT_LEARNING_RATE[self.method]


class PackingResult(NamedTuple):
    """What packing found. Every figure is recomputed from ``embeddings`` at the end.

    Attributes:
      embeddings: ``[n, d]`` float32, unit rows; row i started at row i of ``initial``.
      objective: ``J``, smaller is better.
      max_cosine: the largest cosine between two references.
      mean_nearest_cosine: the mean over references of the cosine to the nearest other.
      regularization: the mean cosine distance to the nearest gallery row; 0 without a
        gallery.
      bound: no ``n`` points in ``d`` dimensions have a smaller largest cosine.
      gap: ``max_cosine - bound``, 0 at a proven optimum.
      nearest_cosine: ``[n]``, the cosine of each reference to the nearest other.
      gallery_cosine: ``[n]``, the cosine of each to its nearest gallery row.
      history: arrays ``[iterations]`` of ``objective``, ``max_cosine``,
        ``mean_nearest_cosine`` and ``regularization``, each before its iteration.
      duplicates: how many rows of ``initial`` equalled another and were nudged.
      seconds: the time taken, compilation included.
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
    history: dict[str, np.ndarray]
    duplicates: int
    seconds: float
    config: PackingConfig


def pack_embeddings(
    initial: Any,
    gallery: Any,
    config: PackingConfig | None = None,
    *,
    on_progress: OnProgress | None = None,
) -> PackingResult:
    """Spreads embeddings over the hypersphere while keeping them near a gallery.

    Memory: a few times ``n · d`` and ``m · d`` floats, and some tiles of ``block_size``
    squared; never ``n × n``.

    Args:
      initial: ``[n, d]``, unit rows, ``n >= 2``: where the references start, usually
        rows of the gallery. NumPy or JAX, any floating dtype.
      gallery: ``[m, d]``, unit rows, embeddings of faces; never moved. None, or no
        effect on the result, when the regularisation weight is 0.
      config: the settings; None takes the defaults.
      on_progress: called with the number of iterations done and the terms of the
        objective, a few times a second.

    Returns:
      The packed embeddings and all that is measured of them.

    Raises:
      InputError: malformed rows, dimensions that differ, fewer than 2 rows, or a
        descent that left the finite numbers.
    """
    config = config or PackingConfig()
    started = time.monotonic()
    initial = checks.unit_rows(initial, "initial", min_rows=2)
    if gallery is not None:
        gallery = checks.unit_rows(gallery, "gallery")
        checks.same_dimension(initial, gallery, "initial and gallery")
    elif config.regularization_weight > 0:
        raise InputError(
            "gallery is None but regularization_weight is "
            f"{config.regularization_weight:g}; give a gallery, or a weight of 0"
        )
    x, duplicates = _separate(initial, config)
    # With a weight of 0 the gallery can't matter: one row spares its searches.
    pulling = gallery if config.regularization_weight > 0 else initial[:1]
    x, history = _descend(x, jnp.asarray(pulling), config, on_progress)
    embeddings = np.asarray(x)
    if not np.isfinite(embeddings).all():
        raise InputError(_DIVERGED.format(config.iterations))
    terms, nearest_cosine, gallery_cosine = objective.measure(
        embeddings,
        gallery,
        regularization_weight=config.regularization_weight,
        reduction=config.reduction,
        block_size=config.block_size,
    )
    bound = bounds.max_cosine_bound(*embeddings.shape)
    return PackingResult(
        embeddings,
        *terms,
        bound=bound,
        gap=terms.max_cosine - bound,
        nearest_cosine=nearest_cosine,
        gallery_cosine=gallery_cosine,
        history=history,
        duplicates=duplicates,
        seconds=time.monotonic() - started,
        config=config,
    )


def _separate(initial: np.ndarray, config: PackingConfig) -> tuple[jax.Array, int]:
    """Nudges rows that equal an earlier row, which no gradient could part."""
    x = jnp.asarray(initial)
    cosine, other = similarity.nearest_other(x, block_size=config.block_size)
    equal = cosine > _DUPLICATE_COSINE
    # Of two equal rows the first stays where it is.
    equal &= other < jnp.arange(len(x))
    noise = hypersphere.sample_uniform(jax.random.key(config.seed), *x.shape)
    nudged = hypersphere.normalize_rows(x + _NUDGE * noise)
    return jnp.where(equal[:, None], nudged, x), int(jnp.sum(equal))


def _descend(
    x: jax.Array,
    gallery: jax.Array,
    config: PackingConfig,
    on_progress: OnProgress | None,
) -> tuple[jax.Array, dict[str, np.ndarray]]:
    method = METHODS[config.method]
    state = method.init(x, gallery, config)
    history: list[objective.Terms] = []
    reported = time.monotonic()
    for iteration in range(config.iterations):
        state, terms = method.step(state, gallery, iteration, config=config)
        history.append(terms)
        now = time.monotonic()
        if now - reported > _SECONDS_BETWEEN_REPORTS or iteration == 0:
            reported = now
            _check_finite(iteration, terms)
            if on_progress is not None:
                on_progress(iteration + 1, objective.Terms(*map(float, terms)))
    _check_finite(config.iterations - 1, history[-1])
    if on_progress is not None:
        on_progress(config.iterations, objective.Terms(*map(float, history[-1])))
    columns = zip(objective.Terms._fields, zip(*history, strict=True), strict=True)
    return state.embeddings, {
        name: np.asarray(jnp.stack(values)) for name, values in columns
    }


def _check_finite(iteration: int, terms: objective.Terms) -> None:
    if not np.isfinite(float(terms.objective)):
        raise InputError(_DIVERGED.format(iteration + 1))
