"""The settings of packing, their defaults and their ranges."""

import dataclasses

import numpy as np

from hyperface_jax import checks

METHODS = ("annealed", "algorithm1", "algorithm2")
REDUCTIONS = ("min", "mean_nearest")
BATCH_DISTANCES = ("batch", "all")
MATMUL_PRECISIONS = ("float32", "tf32x3", "bf16x3")
# Iterations cost more with more rows: annealed does a million divided by the number of
# rows, within these limits.
_ANNEALED_ROW_ITERATIONS = 1_000_000
_FEWEST_ANNEALED, _MOST_ANNEALED = 150, 5000
_MOST_ITERATIONS = {
    "annealed": _MOST_ANNEALED,
    "algorithm1": 100_000,
    "algorithm2": 100_000,
}
_DEFAULT_LEARNING_RATE = {"annealed": 2.0, "algorithm1": 0.01, "algorithm2": 0.01}
_DEFAULT_TOLERANCE = {"annealed": 1e-6, "algorithm1": None, "algorithm2": None}

# Increased with every change of what the solvers compute, so that checkpoints and
# results of another version are not mistaken for this one's.
SOLVER_VERSION = 6


@dataclasses.dataclass(frozen=True)
class PackingConfig:
    """How to pack.

    Attributes:
      method: ``"annealed"`` (smoothed repulsion, needs hundreds of iterations),
        ``"algorithm1"`` (the paper's) or ``"algorithm2"`` (the paper's, on batches).
      num_iterations: at most this many, at least 1; annealed cools the more slowly,
        and packs the better, the more there are. None takes 150 to 5000 for annealed,
        see :meth:`for_rows`, and the paper's 100,000 for the others.
      time_limit: seconds after which to stop, more than 0; annealed then cools as fast
        and as far as the iterations that there is time for permit. None is no limit.
      tolerance: stop when 25 iterations lowered the objective by less than this. None
        takes 1e-6 for annealed; the others then do all their iterations.
      learning_rate: more than 0; for algorithm1 and algorithm2 Adam's initial rate,
        None takes 0.01; for annealed the step's length relative to the curvature, None
        takes 2.
      decay_rate: algorithm1 and algorithm2: what the rate is multiplied by, in (0, 1].
      decay_every: algorithm1 and algorithm2: after every so many iterations.
      batch_size: algorithm2: references drawn an iteration, at least 2; more than there
        are means all.
      batch_distances: algorithm2: distances within the ``"batch"``, or from the batch
        to ``"all"`` references.
      regularization_weight: ``α`` >= 0, the weight of staying near the gallery
        against being apart; 0 ignores the gallery.
      reduction: ``"min"`` maximises the smallest distance between two references,
        ``"mean_nearest"`` the mean distance to the nearest other.
      max_enrolled_cosine: how near a reference may come to an enrolled embedding, in
        (-1, 1]; has no effect without enrolled embeddings.
      block_size: side of the tiles of cosines in memory, at least 1; None takes what
        suits the device; more than there are rows means one tile.
      matmul_precision: of the products between references in the iterations:
        ``"float32"``, or, on devices that have it, ``"tf32x3"`` or ``"bf16x3"``:
        faster, and off by about 1e-6 and 1e-5. Figures of the result, and the limit to
        enrolled embeddings, are in float32 or better whatever this is; ``history`` and
        the tolerance see what the iterations see.
      seed: of algorithm2's batches, of the nudges that separate equal rows, and of how
        a reference that equals an enrolled embedding is turned away from it; nothing
        else is random.
    """

    method: str = "annealed"
    num_iterations: int | None = None
    time_limit: float | None = None
    tolerance: float | None = None
    learning_rate: float | None = None
    decay_rate: float = 0.75
    decay_every: int = 5000
    batch_size: int = 1000
    batch_distances: str = "batch"
    regularization_weight: float = 0.5
    reduction: str = "min"
    max_enrolled_cosine: float = 0.3
    block_size: int | None = None
    seed: int = 0
    matmul_precision: str = "float32"

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            # Python's numbers can be written as JSON, and don't lower the precision of
            # what they are multiplied with, as NumPy's float32 does.
            if isinstance(value, np.floating):
                object.__setattr__(self, name, float(value))
            elif isinstance(value, np.generic):
                object.__setattr__(self, name, value.item())
        checks.one_of(self.method, "method", METHODS)
        checks.one_of(self.reduction, "reduction", REDUCTIONS)
        checks.one_of(self.batch_distances, "batch_distances", BATCH_DISTANCES)
        checks.one_of(self.matmul_precision, "matmul_precision", MATMUL_PRECISIONS)
        if self.num_iterations is not None:
            checks.whole_number(self.num_iterations, "num_iterations", 1, checks.MOST)
        checks.block_size(self.block_size)
        checks.whole_number(self.decay_every, "decay_every", 1, checks.MOST)
        for name in ("time_limit", "learning_rate"):
            if getattr(self, name) is not None:
                checks.in_range(getattr(self, name), name, 0, 1e9, open_low=True)
        if self.tolerance is not None:
            checks.in_range(self.tolerance, "tolerance", 0, 1e9)
        checks.in_range(self.decay_rate, "decay_rate", 0, 1, open_low=True)
        checks.whole_number(self.batch_size, "batch_size", 2, checks.MOST)
        checks.in_range(self.regularization_weight, "regularization_weight", 0, 1e6)
        checks.in_range(
            self.max_enrolled_cosine, "max_enrolled_cosine", -1, 1, open_low=True
        )
        checks.whole_number(self.seed, "seed", 0, 2**32 - 1)

    def for_rows(self, n: int) -> "PackingConfig":
        """The same settings with the number of iterations for ``n`` references."""
        if self.num_iterations is not None or self.method != "annealed":
            return self
        affordable = _ANNEALED_ROW_ITERATIONS // n
        iterations = min(max(affordable, _FEWEST_ANNEALED), _MOST_ANNEALED)
        return dataclasses.replace(self, num_iterations=iterations)

    @property
    def iterations(self) -> int:
        """The largest number of iterations, for any number of rows."""
        return self.num_iterations or _MOST_ITERATIONS[self.method]

    @property
    def step_size(self) -> float:
        """The learning rate, the method's default filled in."""
        return self.learning_rate or _DEFAULT_LEARNING_RATE[self.method]

    @property
    def least_gain(self) -> float | None:
        """The tolerance, the method's default filled in; None never stops early."""
        if self.tolerance is not None:
            return self.tolerance
        return _DEFAULT_TOLERANCE[self.method]
