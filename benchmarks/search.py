"""Exact search: seconds and queries a second, beside NumPy and, if installed, faiss.

    python -m benchmarks.search --rows=100000 --queries=1000 --d=512 --k=10

Every contender searches in a process of its own, with as many threads as the process
may use cores. All must find the same: cosines to --agreement, and the same rows
wherever the cosines of neighbours in rank differ by more. ``faiss`` is no dependency of
the project: ``pip install faiss-cpu`` to have its line. "of the rate" is the share of
this machine's rate of matrix products, measured in the same run, that the needed
2 · rows · queries · d operations take.
"""

import importlib.util
from collections.abc import Callable

import numpy as np
from absl import flags

from benchmarks import plots, timing
from hyperface_jax import EmbeddingIndex
from hyperface_jax.commands import run_command, settings_of

FLAGS = flags.FlagValues()
flags.DEFINE_integer("rows", 100_000, "embeddings searched", flag_values=FLAGS)
flags.DEFINE_integer("queries", 1000, "queries at once", flag_values=FLAGS)
flags.DEFINE_integer("d", 512, "dimensions", flag_values=FLAGS)
flags.DEFINE_integer("k", 10, "neighbours a query", flag_values=FLAGS)
flags.DEFINE_integer("repeats", 7, "searches timed, after the first", flag_values=FLAGS)
flags.DEFINE_float(
    "agreement", 1e-5, "cosines of equal results differ by less", flag_values=FLAGS
)
flags.DEFINE_bool(
    "apart",
    True,
    "each contender in its own process; without, memory figures mean nothing",
    flag_values=FLAGS,
)
flags.DEFINE_string(
    "output", None, "JSON record to write, plots beside it", flag_values=FLAGS
)


def data(rows: int, queries: int, d: int) -> tuple[np.ndarray, np.ndarray]:
    """The embeddings to search and to search for."""
    return (
        timing.power_law_gallery(rows, d, seed=1),
        timing.power_law_gallery(queries, d),
    )


def ours(rows: int, queries: int, d: int, k: int) -> timing.Call:
    """:class:`hyperface_jax.EmbeddingIndex`, from memory."""
    embeddings, asked = data(rows, queries, d)
    index = EmbeddingIndex(embeddings)
    return lambda: index.search(asked, k)


def numpy(rows: int, queries: int, d: int, k: int) -> timing.Call:
    """One product and a partition, as one writes it without thinking."""
    embeddings, asked = data(rows, queries, d)

    def search() -> tuple[np.ndarray, np.ndarray]:
        cosines = asked @ embeddings.T
        best = np.argpartition(-cosines, k - 1, axis=1)[:, :k]
        order = np.argsort(-np.take_along_axis(cosines, best, axis=1), axis=1)
        best = np.take_along_axis(best, order, axis=1)
        return np.take_along_axis(cosines, best, axis=1), best

    return search


def faiss(rows: int, queries: int, d: int, k: int) -> timing.Call:
    """``faiss.IndexFlatIP``."""
    import faiss as library

    embeddings, asked = data(rows, queries, d)
    library.omp_set_num_threads(timing.num_cores())
    index = library.IndexFlatIP(d)
    index.add(embeddings)
    return lambda: index.search(asked, k)


def disagreements(
    found: tuple[np.ndarray, np.ndarray],
    expected: tuple[np.ndarray, np.ndarray],
    agreement: float,
) -> int:
    """How many of the neighbours differ by more than rounding can explain."""
    cosines, rows = expected
    apart = np.abs(found[0] - cosines) > agreement
    # Beside a rank with nearly the same cosine either order is right, and at the last
    # rank the next one is not known.
    step = np.diff(cosines, axis=1) < -agreement
    edge = np.ones((len(cosines), 1), bool)
    clear = np.hstack([edge, step]) & np.hstack([step, ~edge])
    return int(np.sum(apart | (clear & (found[1] != rows))))


def contenders() -> dict[str, Callable[..., timing.Call]]:
    """Searches by name."""
    found = {"ours": ours, "NumPy": numpy}
    if importlib.util.find_spec("faiss"):
        found["faiss.IndexFlatIP"] = faiss
    return found


def main() -> None:
    case = FLAGS.rows, FLAGS.queries, FLAGS.d, FLAGS.k
    rate = timing.matrix_product_rate()
    measured = timing.time_apart if FLAGS.apart else timing.time_calls
    operations = 2 * FLAGS.rows * FLAGS.queries * FLAGS.d
    timed = {
        name: measured(make, *case, repeats=FLAGS.repeats)
        for name, make in contenders().items()
    }
    expected = timed["NumPy"].result
    rows = [
        {
            "search": name,
            "compile s": each.compile_seconds,
            "median s": each.median,
            "queries a s": FLAGS.queries / each.median,
            "ours faster": each.median / timed["ours"].median,
            "peak MB": each.peak_megabytes,
            "rate GFLOP/s": rate / 1e9,
            "of the rate": operations / rate / each.median,
            "disagreements": disagreements(each.result, expected, FLAGS.agreement),
        }
        for name, each in timed.items()
    ]
    timing.report(
        "search",
        rows,
        settings_of(FLAGS),
        FLAGS.output,
        threads=timing.num_cores(),
    )
    plots.draw_bars(
        FLAGS.output,
        list(timed),
        {
            f"seconds, {FLAGS.queries:,} × {FLAGS.rows:,}": [
                each.median for each in timed.values()
            ],
            "peak memory of the process, MB": [
                each.peak_megabytes for each in timed.values()
            ],
        },
    )


if __name__ == "__main__":
    run_command(main, FLAGS)
