"""How near the default solver comes to spherical codes that are proven optimal.

    python -m benchmarks.spherical_codes --code=3x12 --code=8x240 --starts=10

Each code is packed without a gallery (α = 0) from random starts, one after the other,
until one comes within --tolerance of the optimum. To some codes random points do not
lead; these start from random points of a symmetry that the code is known to have,
unless --nosymmetric says otherwise. The optima are those of Cohn & Kumar
(2007), Table 1; of de Laat, Leijenhorst & de Muinck Keizer (2024) for 24 points in 4
dimensions; of Cohn, de Laat & Leijenhorst (2024) for 288 in 16; and the simplex and the
cross-polytope (Rankin, 1955). Seconds are of all starts, compilation included.
"""

import math
import time

import jax
from absl import flags

from benchmarks import plots, symmetric_starts, timing
from benchmarks.symmetric_starts import Symmetry
from hyperface_jax import InputError, PackingConfig, pack_embeddings
from hyperface_jax.commands import run_command, settings_of
from hyperface_jax.neighbours import hypersphere

FLAGS = flags.FlagValues()
flags.DEFINE_integer("starts", 100, "random starts a code, at most", flag_values=FLAGS)
flags.DEFINE_bool(
    "symmetric",
    True,
    "start from symmetric points where others do not lead to the code",
    flag_values=FLAGS,
)
flags.DEFINE_float(
    "tolerance", 1e-4, "how near the optimum is near enough", flag_values=FLAGS
)
flags.DEFINE_integer(
    "num_iterations", None, "of each, by default the solver's", flag_values=FLAGS
)
flags.DEFINE_multi_string(
    "code",
    [
        *("3x12", "4x24", "5x16", "6x27", "7x56", "8x240"),
        *("16x288", "21x162", "22x100", "22x275", "512x513", "512x1000"),
    ],
    "dimensions x points, repeatable",
    flag_values=FLAGS,
)
flags.DEFINE_string(
    "output", None, "JSON record to write, plots beside it", flag_values=FLAGS
)

OPTIMA = {
    (3, 12): 1 / math.sqrt(5),
    (4, 24): 1 / 2,
    (4, 120): (1 + math.sqrt(5)) / 4,
    (5, 16): 1 / 5,
    (6, 27): 1 / 4,
    (7, 56): 1 / 3,
    (8, 240): 1 / 2,
    (16, 288): 1 / 4,
    (21, 162): 1 / 7,
    (22, 100): 1 / 11,
    (22, 275): 1 / 6,
}

# Some of the symmetries that these codes have; those of the last two, for one, include
# the groups of Higman and Sims and of McLaughlin.
SYMMETRIES = {
    (16, 288): Symmetry(7, multipliers=3, antipodal=True),
    (21, 162): Symmetry(3, power=4, characters=20),
    (22, 100): Symmetry(11, multipliers=5),
    (22, 275): Symmetry(11, multipliers=5),
}


def optimum(d: int, n: int) -> float:
    """The proven smallest largest cosine of ``n`` points in ``d`` dimensions.

    Raises:
      InputError: none is known here.
    """
    if n <= d + 1:
        return -1 / (n - 1)
    if n <= 2 * d:
        return 0.0
    if (d, n) not in OPTIMA:
        known = ", ".join(f"{d}x{n}" for d, n in OPTIMA)
        raise InputError(
            f"--code={d}x{n}: no proven optimum; take one of {known}, or at most "
            "twice as many points as dimensions"
        )
    return OPTIMA[d, n]


def parse(code: str) -> tuple[int, int]:
    """``"3x12"`` as (3, 12).

    Raises:
      InputError: it is written otherwise.
    """
    d, _, n = code.partition("x")
    if not (d.isdecimal() and n.isdecimal() and int(d) > 1 and int(n) > 1):
        raise InputError(f"--code={code}: expected dimensions x points, such as 3x12")
    return int(d), int(n)


def measure(d: int, n: int) -> dict:
    """Packs from start after start."""
    config = PackingConfig(regularization_weight=0, num_iterations=FLAGS.num_iterations)
    symmetry = SYMMETRIES.get((d, n)) if FLAGS.symmetric else None
    aim, reached, began = optimum(d, n), [], time.perf_counter()
    while len(reached) < FLAGS.starts:
        if symmetry:
            start = symmetric_starts.sample(symmetry, n, d, seed=len(reached))
        else:
            start = hypersphere.sample_uniform(jax.random.key(len(reached)), n, d)
        reached.append(pack_embeddings(start, None, config).max_cosine)
        if reached[-1] <= aim + FLAGS.tolerance:
            break
    return {
        "d": d,
        "n": n,
        "start": str(symmetry or "any"),
        "optimum": aim,
        "best": min(reached),
        "above": min(reached) - aim,
        "within": min(reached) <= aim + FLAGS.tolerance,
        "starts": len(reached),
        "seconds": time.perf_counter() - began,
    }


def main() -> None:
    codes = [parse(code) for code in FLAGS.code]
    for code in codes:
        optimum(*code)
    rows = [measure(*code) for code in codes]
    timing.report("spherical_codes", rows, settings_of(FLAGS), FLAGS.output)
    plots.draw_bars(
        FLAGS.output,
        [f"{row['n']} points, {row['d']} dimensions" for row in rows],
        {
            # A logarithmic axis has no 0, and float32 no less than this.
            "cosine above the optimum": [max(row["above"], 1e-8) for row in rows],
            "seconds": [row["seconds"] for row in rows],
        },
        log=True,
    )


if __name__ == "__main__":
    run_command(main, FLAGS)
