"""What a device does a second: products, packing, search, and the stages in torch.

    python -m benchmarks.device --output=device.json

Every rate stands beside the device's own rate of matrix products, measured in the same
run: float32 as packing and search multiply, and, where the device has them, TF32 and
bfloat16, plain and in three passes (``--matmul_precision`` of hyperface-pack).
``--small`` takes sizes for which a laptop needs seconds. To measure something else,
write a function from sizes to rows and add it to ``MEASUREMENTS``. The stages in torch
run in processes of their own, on the device that ``--device=auto`` takes.
"""

import os
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from absl import flags

from benchmarks import plots, timing, torch_stages
from bridges.device_flags import PRECISIONS
from hyperface_jax import EmbeddingIndex, InputError, PackingConfig
from hyperface_jax.commands import run_command, settings_of
from hyperface_jax.neighbours import precision
from hyperface_jax.packing.annealed import Annealed
from hyperface_jax.packing.config import MATMUL_PRECISIONS
from hyperface_jax.packing.problem import Problem
from hyperface_jax.packing.solver import Span, advance

FLAGS = flags.FlagValues()
flags.DEFINE_bool("small", False, "sizes for a laptop", flag_values=FLAGS)
flags.DEFINE_integer("repeats", 5, "calls timed, after the first", flag_values=FLAGS)
flags.DEFINE_string(
    "output", None, "JSON record to write, plots beside it", flag_values=FLAGS
)


class Sizes(NamedTuple):
    """How much is measured.

    Attributes:
      product: side of the square matrices.
      references: packed, and rows of their gallery.
      dimensions: of embeddings.
      steps: iterations of packing a call.
      rows: searched.
      queries: a search.
      neighbours: found of each query.
      backbone: that is trained and embeds, with its image size and batch size.
      images: generated a call.
    """

    product: int
    references: int
    dimensions: int
    steps: int
    rows: int
    queries: int
    neighbours: int
    backbone: tuple[str, int, int]
    images: int


SMALL = Sizes(256, 200, 32, 4, 2000, 100, 5, ("iresnet_small", 64, 8), 16)
LARGE = Sizes(
    8192, 20_000, 512, 4, 1_000_000, 10_000, 10, ("iresnet50", 112, 256), 1024
)

_PRODUCTS = {
    **precision.PRECISIONS,
    "tf32": jax.lax.DotAlgorithmPreset.TF32_TF32_F32,
    "bf16": jax.lax.DotAlgorithmPreset.BF16_BF16_F32,
}


def product_rates(sizes: Sizes) -> list[dict]:
    """The device's rate of matrix products in each precision that it has."""
    rows = []
    for name, algorithm in _PRODUCTS.items():
        # A CPU takes float32 for some of the others, silently.
        if name != "float32" and jax.default_backend() == "cpu":
            continue
        try:
            timed = timing.time_calls(
                _product, sizes.product, algorithm, repeats=FLAGS.repeats
            )
        except (NotImplementedError, RuntimeError, ValueError):
            continue  # The device doesn't have it.
        # The best call, since this is to say what the device can do.
        seconds = min(timed.each_seconds)
        rate = 2 * sizes.product**3 / seconds / 1e9
        rows.append(
            row("matrix product", name, f"{sizes.product}²", seconds, rate, "GFLOP/s")
        )
    return rows


def packing_rates(sizes: Sizes) -> list[dict]:
    """Iterations a second of the default solver, several a dispatch."""
    rows = []
    for name in MATMUL_PRECISIONS:
        try:
            precision.check_supported(name)
        except InputError:
            continue
        timed = timing.time_calls(_packing, sizes, name, repeats=FLAGS.repeats)
        seconds = timed.median / sizes.steps
        size = f"{sizes.references} × {sizes.dimensions}"
        rows.append(
            row("packing", name, size, timed.median, 1 / seconds, "iterations/s")
        )
    return rows


def search_rates(sizes: Sizes) -> list[dict]:
    """Queries a second of :class:`hyperface_jax.EmbeddingIndex`, from host memory."""
    timed = timing.time_calls(_search, sizes, repeats=FLAGS.repeats)
    size = f"{sizes.queries} in {sizes.rows} × {sizes.dimensions}"
    rate = sizes.queries / timed.median
    return [row("search", "float32", size, timed.median, rate, "queries/s")]


def torch_rates(sizes: Sizes) -> list[dict]:
    """Images a second of embedding, generation and training, reading them apart."""
    name, side, batch = sizes.backbone
    stages = {
        "embedding": (torch_stages.embedding, sizes.backbone, batch),
        "generation": (torch_stages.generation, (sizes.images,), sizes.images),
        "training": (torch_stages.training, sizes.backbone, batch),
    }
    rows = []
    for what, (make, arguments, count) in stages.items():
        for kind in PRECISIONS:
            # A CPU computes slower in the smaller ones.
            if kind != "float32" and jax.default_backend() == "cpu":
                continue
            timed = timing.time_apart(make, *arguments, kind, repeats=FLAGS.repeats)
            size = f"{count} images" + (f", {name}, {side} px" * (what != "generation"))
            seconds = timed.median
            rows.append(row(what, kind, size, seconds, count / seconds, "images/s"))
    return rows


MEASUREMENTS: list[Callable[[Sizes], list[dict]]] = [
    torch_rates,
    product_rates,
    packing_rates,
    search_rates,
]


def row(
    what: str, precision: str, size: str, seconds: float, rate: float, unit: str
) -> dict:
    """A line of the table: what was measured, how long a call took, and the rate."""
    return {
        "what": what,
        "precision": precision,
        "size": size,
        "s a call": seconds,
        "rate": rate,
        "unit": unit,
    }


def _product(size: int, algorithm: precision.Precision) -> timing.Call:
    a = np.random.default_rng(0).standard_normal((size, size), np.float32)
    a, multiply = jnp.asarray(a), jax.jit(precision.product, static_argnums=2)
    return lambda: multiply(a, a, algorithm)


def _packing(sizes: Sizes, name: str) -> timing.Call:
    x = jnp.asarray(timing.power_law_gallery(sizes.references, sizes.dimensions))
    nobody = jnp.zeros((0, sizes.dimensions))
    problem, solver = Problem(x, nobody, nobody), Annealed()
    config = PackingConfig(num_iterations=300, matmul_precision=name)
    state = solver.init(jnp.copy(x), problem, config)
    span = Span.of(first=0, count=sizes.steps, last=299)

    def steps() -> jax.Array:
        nonlocal state
        state, found = advance(state, problem, span, solver=solver, config=config)
        return found.terms[0]

    return steps


def _search(sizes: Sizes) -> timing.Call:
    index = EmbeddingIndex(timing.power_law_gallery(sizes.rows, sizes.dimensions, 1))
    queries = timing.power_law_gallery(sizes.queries, sizes.dimensions)
    return lambda: index.search(queries, sizes.neighbours)


def main() -> None:
    # Or JAX would take most of the device's memory from the processes of torch.
    os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")
    sizes = SMALL if FLAGS.small else LARGE
    rows = [found for measure in MEASUREMENTS for found in measure(sizes)]
    timing.report("device", rows, settings_of(FLAGS), FLAGS.output)
    plots.draw_bars(
        FLAGS.output,
        [f"{found['what']}, {found['precision']}" for found in rows],
        {f"seconds a call, {timing.device()}": [found["s a call"] for found in rows]},
    )


if __name__ == "__main__":
    run_command(main, FLAGS)
