"""How time and memory of an exact pass and of an iteration grow with the references.

    python -m benchmarks.packing_scaling --n=1000 --n=10000 --n=100000

A pass finds the nearest other reference of each; an iteration is one of the default
solver, early in its run. Each size of each is measured in a process of its own. The
exponents are slopes of a straight line through the logarithms, over the sizes from
5,000 up (over all, when fewer than two are as large): time should go as n², memory,
beyond what the process held before, as n. "of the rate" is the share of this machine's
rate of matrix products, measured in the same run, that the needed operations take: n²D
for a pass, and 3n²D for an iteration, whose forces are two more products.
"""

import jax.numpy as jnp
import numpy as np
from absl import flags

from benchmarks import plots, timing
from hyperface_jax import PackingConfig
from hyperface_jax.commands import run_command, settings_of
from hyperface_jax.neighbours import similarity
from hyperface_jax.packing.annealed import Annealed
from hyperface_jax.packing.problem import Problem
from hyperface_jax.packing.solver import Span, advance

FLAGS = flags.FlagValues()
flags.DEFINE_multi_integer(
    "n",
    [1000, 2000, 5000, 10_000, 20_000],
    "references; repeatable; 50000 and 100000 take minutes",
    flag_values=FLAGS,
)
flags.DEFINE_integer("d", 512, "dimensions", flag_values=FLAGS)
flags.DEFINE_integer("repeats", 5, "calls timed, after the first", flag_values=FLAGS)
flags.DEFINE_float(
    "max_seconds", 60.0, "no further call after this long", flag_values=FLAGS
)
flags.DEFINE_bool(
    "apart",
    True,
    "each size in its own process; without, memory figures mean nothing",
    flag_values=FLAGS,
)
flags.DEFINE_string(
    "output", None, "JSON record to write, plots beside it", flag_values=FLAGS
)
_LARGE = 5000


def exact_pass(n: int, d: int) -> timing.Call:
    """The nearest other row of each row."""
    x = jnp.asarray(timing.power_law_gallery(n, d))
    return lambda: similarity.nearest_other(x)


def solver_iteration(n: int, d: int) -> timing.Call:
    """One iteration of the default solver, its gallery being its start."""
    x = jnp.asarray(timing.power_law_gallery(n, d))
    nothing = jnp.zeros((0, d))
    problem, config = Problem(x, nothing, nothing), PackingConfig(num_iterations=300)
    solver, last = Annealed(), config.iterations - 1
    state = solver.init(jnp.copy(x), problem, config)
    span = Span.of(first=0, count=1, last=last)

    def step() -> jnp.ndarray:
        nonlocal state
        state, steps = advance(state, problem, span, solver=solver, config=config)
        return steps.terms[0]

    return step


def exponent(n: list[int], values: list[float]) -> float | None:
    """The slope of a line through the logarithms; None with fewer than two points."""
    pairs = [(size, value) for size, value in zip(n, values, strict=True) if value > 0]
    if sum(size >= _LARGE for size, _ in pairs) >= 2:
        pairs = [(size, value) for size, value in pairs if size >= _LARGE]
    if len(pairs) < 2:
        return None
    return float(np.polyfit(*np.log(np.array(pairs, float)).T, 1)[0])


def measure() -> list[dict]:
    """A row for each work and size."""
    rate, rows = timing.matrix_product_rate(), []
    measured = timing.time_apart if FLAGS.apart else timing.time_calls
    for work, products in ((exact_pass, 1), (solver_iteration, 3)):
        for n in FLAGS.n:
            limits = {"repeats": FLAGS.repeats, "max_seconds": FLAGS.max_seconds}
            timed = measured(work, n, FLAGS.d, **limits)
            rows.append(
                {
                    "work": work.__name__,
                    "n": n,
                    "compile s": timed.compile_seconds,
                    "median s": timed.median,
                    "peak MB": timed.peak_megabytes,
                    "above idle MB": timed.peak_megabytes - timed.idle_megabytes,
                    "rate GFLOP/s": rate / 1e9,
                    "of the rate": products * n * n * FLAGS.d / rate / timed.median,
                }
            )
    return rows


def main() -> None:
    rows = measure()
    exponents, times, peaks = {}, {}, {}
    for work in dict.fromkeys(row["work"] for row in rows):
        n, seconds, peak, above = zip(
            *(
                (row["n"], row["median s"], row["peak MB"], row["above idle MB"])
                for row in rows
                if row["work"] == work
            ),
            strict=True,
        )
        times[work], peaks[work] = (n, seconds), (n, peak)
        exponents[work] = {"time": exponent(n, seconds), "memory": exponent(n, above)}
    timing.report(
        "packing_scaling", rows, settings_of(FLAGS), FLAGS.output, exponents=exponents
    )
    for work, of_work in exponents.items():
        for quantity, power in of_work.items():
            if power is not None:
                print(f"{work}: {quantity} as n^{power:.2f}")
    loglog = {"y_scale": "log", "marker": "o"}
    plots.draw_curves(
        FLAGS.output,
        [
            plots.Panel("Time", "references", "seconds", times, **loglog),
            plots.Panel("Memory", "references", "peak MB", peaks, **loglog),
        ],
    )


if __name__ == "__main__":
    run_command(main, FLAGS)
