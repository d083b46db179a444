"""The flags of the commands that pack: one for each setting of PackingConfig."""

from absl import flags

from hyperface_jax.packing.config import (
    BATCH_DISTANCES,
    MATMUL_PRECISIONS,
    METHODS,
    REDUCTIONS,
    PackingConfig,
)

# Flags of hyperface-pack that name files to read; the last two stay as they are around
# the references that are packed.
SURROUNDINGS = ("fixed", "enrolled")
INPUTS = ("gallery", "initial", *SURROUNDINGS)
_DEFAULTS = PackingConfig()


def define(values: flags.FlagValues) -> None:
    """Defines the flags in ``values``; defaults are those of PackingConfig."""
    flags.DEFINE_enum(
        "method",
        _DEFAULTS.method,
        METHODS,
        "annealed: smoothed repulsion, hundreds of iterations. algorithm1: the "
        "paper's. algorithm2: the paper's on random batches, for very many identities.",
        flag_values=values,
    )
    flags.DEFINE_integer(
        "num_iterations",
        _DEFAULTS.num_iterations,
        "At most; annealed packs the better the more there are. By default 100000; for "
        "annealed a million over the number of identities, at least 150, at most 5000.",
        flag_values=values,
    )
    flags.DEFINE_float(
        "time_limit",
        _DEFAULTS.time_limit,
        "Seconds after which to stop. By default there is no limit.",
        flag_values=values,
    )
    flags.DEFINE_float(
        "tolerance",
        _DEFAULTS.tolerance,
        "Stop when 25 iterations lower the objective by less; by default 1e-6 for "
        "annealed, never for the others.",
        flag_values=values,
    )
    flags.DEFINE_float(
        "learning_rate",
        _DEFAULTS.learning_rate,
        "algorithm1 and 2: Adam's initial rate, by default 0.01. annealed: step length "
        "relative to the curvature, by default 2.",
        flag_values=values,
    )
    flags.DEFINE_float(
        "decay_rate",
        _DEFAULTS.decay_rate,
        "algorithm1 and 2: factor on the learning rate every decay_every iterations.",
        flag_values=values,
    )
    flags.DEFINE_integer(
        "decay_every",
        _DEFAULTS.decay_every,
        "algorithm1 and 2: iterations between two drops of the learning rate.",
        flag_values=values,
    )
    flags.DEFINE_integer(
        "batch_size",
        _DEFAULTS.batch_size,
        "algorithm2: references drawn an iteration.",
        flag_values=values,
    )
    flags.DEFINE_enum(
        "batch_distances",
        _DEFAULTS.batch_distances,
        BATCH_DISTANCES,
        "algorithm2: distances within the batch, or from the batch to all references.",
        flag_values=values,
    )
    flags.DEFINE_float(
        "regularization_weight",
        _DEFAULTS.regularization_weight,
        "How much staying near the gallery counts against being apart; 0 ignores it.",
        flag_values=values,
    )
    flags.DEFINE_enum(
        "reduction",
        _DEFAULTS.reduction,
        REDUCTIONS,
        "What is maximised: the smallest distance between two references, or the mean "
        "distance to the nearest other.",
        flag_values=values,
    )
    flags.DEFINE_integer(
        "block_size",
        _DEFAULTS.block_size,
        "Side of the tiles of cosines in memory; by default what suits the device.",
        flag_values=values,
    )
    flags.DEFINE_enum(
        "matmul_precision",
        _DEFAULTS.matmul_precision,
        MATMUL_PRECISIONS,
        "Precision of the products in the iterations; figures of the result are in "
        "float32 or better whatever this is. tf32x3 and bf16x3 are faster, on GPUs.",
        flag_values=values,
    )
    flags.DEFINE_integer(
        "seed",
        _DEFAULTS.seed,
        "Of the choice of starting rows and of nudges that part equal ones.",
        flag_values=values,
    )
    flags.DEFINE_float(
        "max_enrolled_cosine",
        _DEFAULTS.max_enrolled_cosine,
        "With --enrolled: the largest cosine allowed of a reference to a real person.",
        flag_values=values,
    )


def config(values: flags.FlagValues) -> PackingConfig:
    """The settings that the parsed flags ``values`` ask for."""
    return PackingConfig(**{name: values[name].value for name in vars(_DEFAULTS)})
