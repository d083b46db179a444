"""How long an audit compares all images of two sets, and in how much memory.

    python -m benchmarks.audit --output=record.json

Random unit rows of 128 numbers; each of the one set with each of the other, exactly.
Time grows with the product of the two sizes, memory with their sum; what a million
against a million takes is worked out from the largest that is measured.
"""

import resource
import time

import numpy as np
from absl import flags

from bridges.neighbours import nearest_rows
from hyperface_jax import files
from hyperface_jax.commands import provenance, run_command, settings_of

FLAGS = flags.FlagValues()

flags.DEFINE_list("sizes", ["25000", "50000", "100000"], "rows", flag_values=FLAGS)
flags.DEFINE_integer("dimensions", 128, "of embeddings", 1, flag_values=FLAGS)
flags.DEFINE_string("output", None, "where the JSON record goes", flag_values=FLAGS)


def random_rows(count: int, dimensions: int, seed: int) -> np.ndarray:
    """Unit rows, float32."""
    rows = np.random.default_rng(seed).standard_normal((count, dimensions), np.float32)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    return rows


def main() -> None:
    """Measures each size, rising."""
    measured = []
    for size in sorted(map(int, FLAGS.sizes)):
        sets = [random_rows(size, FLAGS.dimensions, seed) for seed in (0, 1)]
        start = time.perf_counter()
        nearest_rows(*sets)
        seconds = time.perf_counter() - start
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        held = sum(each.nbytes for each in sets) / 2**20
        measured.append(
            {"rows": size, "seconds": seconds, "peak_mib": peak, "rows_mib": held}
        )
        million = seconds * (1e6 / size) ** 2 / 60
        print(
            f"{size:,} x {size:,}: {seconds:.1f} s, peak {peak:.0f} MiB, of them "
            f"{held:.0f} the rows; a million by a million: {million:.0f} minutes"
        )
    if FLAGS.output:
        record = {"rows": measured, "created_with": provenance(settings_of(FLAGS))}
        files.write_json(FLAGS.output, record)


if __name__ == "__main__":
    run_command(main, FLAGS)
