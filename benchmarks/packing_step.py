"""Seconds and memory of one step of Algorithm 1, against dense automatic gradients.

    python -m benchmarks.packing_step --n=10000 --d=512 --output=step.json

One step of ours (blockwise, gradients by gathering pairs), of the same objective
written densely in PyTorch and in JAX, and the bare exact searches that ours is made of.
Every contender runs in a process of its own, one after the other.

"ours" is the mean over consecutive steps of a run that starts at the gallery: most
searches of the gallery are provably needless then and left out, the others are in the
mean. "ours, all searched" searches the nearest gallery row of every reference anew.

"of the rate" compares the operations that are mathematically needed with this machine's
rate of matrix products, measured in the same run: n²D for the nearest other reference
of each (every pair once, a multiplication and an addition a dimension), and 2nmD for
the nearest of m = n gallery rows where those are searched. Against the dense
contenders it is the same n²D that is held.
"""

from typing import NamedTuple

import jax.numpy as jnp
from absl import flags

from benchmarks import dense_algorithm1, plots, timing
from hyperface_jax import PackingConfig
from hyperface_jax.commands import run_command, settings_of
from hyperface_jax.neighbours import gallery_cache, similarity
from hyperface_jax.packing.algorithm1 import Algorithm1
from hyperface_jax.packing.problem import Problem
from hyperface_jax.packing.solver import Span, advance

FLAGS = flags.FlagValues()
flags.DEFINE_multi_integer(
    "n", [10_000], "references, and gallery rows; repeatable", flag_values=FLAGS
)
flags.DEFINE_integer("d", 512, "dimensions", flag_values=FLAGS)
flags.DEFINE_integer(
    "repeats", 5, "calls timed of each contender, after the first", flag_values=FLAGS
)
flags.DEFINE_integer(
    "steps", 60, "consecutive steps of ours, after the first", flag_values=FLAGS
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


def ours(n: int, d: int) -> timing.Call:
    """Consecutive steps as ``hyperface-pack --method=algorithm1`` takes them."""
    return _our_step(n, d, search_all=False)


def ours_all_searched(n: int, d: int) -> timing.Call:
    """The same with all knowledge of the gallery forgotten before every step."""
    return _our_step(n, d, search_all=True)


def nearest_other(n: int, d: int) -> timing.Call:
    """The nearest other reference of each, alone."""
    x = jnp.asarray(timing.power_law_gallery(n, d, seed=1))
    return lambda: similarity.nearest_other(x)


def nearest(n: int, d: int) -> timing.Call:
    """The nearest gallery row of each reference, alone."""
    gallery = jnp.asarray(timing.power_law_gallery(n, d, seed=1))
    x = jnp.asarray(timing.power_law_gallery(n, d))
    return lambda: similarity.nearest(x, gallery)


def dense_torch(n: int, d: int) -> timing.Call:
    """All cosines at once and PyTorch's autograd."""
    gallery = timing.power_law_gallery(n, d, seed=1)
    return dense_algorithm1.torch_steps(gallery, gallery)


def dense_jax(n: int, d: int) -> timing.Call:
    """All cosines at once and ``jax.grad``."""
    gallery = timing.power_law_gallery(n, d, seed=1)
    return dense_algorithm1.jax_steps(gallery, gallery)


def _our_step(n: int, d: int, *, search_all: bool) -> timing.Call:
    gallery = jnp.asarray(timing.power_law_gallery(n, d, seed=1))
    nothing = jnp.zeros((0, d))
    problem = Problem(gallery, nothing, nothing)
    config = PackingConfig(method="algorithm1")
    solver = Algorithm1()
    state = solver.init(jnp.copy(gallery), problem, config)
    span = Span.of(first=0, count=1, last=0)

    def step() -> tuple:
        nonlocal state
        if search_all:
            state = state._replace(known=gallery_cache.unknown(state.embeddings))
        state, steps = advance(state, problem, span, solver=solver, config=config)
        return steps.terms[0], state.embeddings[:1]

    return step


class Contender(NamedTuple):
    """What is timed.

    Attributes:
      make: prepares it.
      products: needed operations in units of n²D.
      is_step: whether it is a whole step, to be compared with PyTorch's.
    """

    make: timing.Call
    products: int
    is_step: bool


CONTENDERS = {
    "dense PyTorch": Contender(dense_torch, 1, True),
    "dense JAX": Contender(dense_jax, 1, True),
    "ours, all searched": Contender(ours_all_searched, 3, True),
    "ours": Contender(ours, 1, True),
    "nearest_other": Contender(nearest_other, 1, False),
    "nearest": Contender(nearest, 2, False),
}


def measure(n: int, d: int, rate: float) -> list[dict]:
    """All contenders at one size; ``rate`` is of products, operations a second."""
    measured = timing.time_apart if FLAGS.apart else timing.time_calls
    rows, reference = [], None
    for name, contender in CONTENDERS.items():
        repeats = FLAGS.steps if contender.make is ours else FLAGS.repeats
        timed = measured(contender.make, n, d, repeats=repeats)
        reference = reference or timed
        # Over a run of ours, the steps that search again count in full.
        seconds = timed.mean if contender.make is ours else timed.median
        rows.append(
            {
                "what": name,
                "n": n,
                "compile s": timed.compile_seconds,
                "median s": timed.median,
                "mean s": timed.mean,
                "times faster": reference.median / seconds
                if contender.is_step
                else None,
                "peak MB": timed.peak_megabytes,
                "of its memory": timed.peak_megabytes / reference.peak_megabytes
                if contender.is_step
                else None,
                "needed GFLOP": contender.products * n * n * d / 1e9,
                "rate GFLOP/s": rate / 1e9,
                "of the rate": contender.products * n * n * d / rate / seconds,
            }
        )
    return rows


def main() -> None:
    rate = timing.matrix_product_rate()
    rows = [row for n in FLAGS.n for row in measure(n, FLAGS.d, rate)]
    timing.report("packing_step", rows, settings_of(FLAGS), FLAGS.output)
    steps = [row for row in rows if row["times faster"] and row["n"] == FLAGS.n[-1]]
    plots.draw_bars(
        FLAGS.output,
        [row["what"] for row in steps],
        {
            f"seconds a step, n = {FLAGS.n[-1]:,}": [row["mean s"] for row in steps],
            "peak memory of the process, MB": [row["peak MB"] for row in steps],
        },
    )


if __name__ == "__main__":
    run_command(main, FLAGS)
