"""What sharded_test.py runs in a process of its own, which has eight devices.

Arguments: the file to write the findings to, and a folder for a checkpoint.
"""

import functools
import math
import pathlib
import re
import sys

import jax
import jax.numpy as jnp
import numpy as np

from hyperface_jax import EmbeddingIndex, PackingConfig, pack_embeddings
from hyperface_jax.devices import sharded
from hyperface_jax.neighbours import repulsion, ring, similarity
from hyperface_jax.packing import annealed, objective
from hyperface_jax.packing.problem import Problem
from hyperface_jax.packing.solver import Span, advance
from tests.hyperface_jax import packing_oracles

BLOCK = 8
TEMPERATURE = 0.1
# Numbers of rows that no number of devices divides, and rows that are equal.
X = packing_oracles.clustered_rows(45, 6)
X[30], X[41] = X[3], X[3]
GALLERY = packing_oracles.clustered_rows(33, 6, seed=1)
GALLERY[20] = GALLERY[2]
FEW = packing_oracles.random_rows(5, 6, seed=2)
# Corners of a cube: every product is exact, and most cosines tie.
CORNERS = np.sign(packing_oracles.random_rows(70, 4, seed=3)) / np.float32(2)
LEVEL = np.linspace(0.2, 0.6, len(X), dtype=np.float32)
WANTED = np.random.default_rng(4).integers(0, len(GALLERY), len(X))
# Of embeddings packed with sums in another order.
TOLERANCE = 5e-4
STEP_SHAPE = (403, 64)
CONFIG = PackingConfig(num_iterations=12, block_size=BLOCK)
LIMIT = 0.4


def primitives(x, gallery, few, corners, level, wanted):
    """Whatever compares or moves rows across devices."""
    itself = jnp.arange(len(x))
    block = {"block_size": BLOCK}
    terms = functools.partial(
        objective.packing_objective, reduction="mean_nearest", **block
    )
    return {
        "rows meet rows": similarity.nearest(x, gallery, **block),
        "few meet rows": similarity.nearest(few, x, **block),
        "rows meet others": similarity.nearest(x, x, exclude=itself, **block),
        "corners": corners_meet(corners),
        "repulsion": repulsion.repulsion(x, level, TEMPERATURE, fixed=gallery, **block),
        "taken": ring.take(gallery, wanted),
        "few taken": ring.take(x, wanted[:2]),
        "gradient": jax.grad(lambda x: terms(x, gallery).objective)(x),
    }


def corners_meet(corners):
    return similarity.nearest_other(corners, block_size=BLOCK)


def tiles_done(rows):
    """How many tiles each device does when every block has five rows of them."""

    def body(block):
        def visit(found, other, other_found, home, columns):
            del home

            def tile(count, i, j):
                del i, j
                return count + 1

            return ring.each_tile(tile, found, 5, 5, columns), other_found

        return ring.pairs(visit, block, jnp.zeros(1), jnp.add)

    return ring.over_devices(body, (rows,), count=sharded.size())


class Interrupted(Exception):
    """The stand-in for a kill."""


def interrupt(iteration: int, terms: object) -> None:
    del terms
    if iteration >= 4:
        raise Interrupted


def packed(folder: pathlib.Path) -> dict[str, np.ndarray]:
    """Packings on different numbers of devices; one is interrupted and goes on."""
    pack = functools.partial(pack_embeddings, X, GALLERY, CONFIG, fixed=FEW)
    found = {f"packed on {p}": pack(num_devices=p).embeddings for p in (1, 8)}
    for method in ("algorithm1", "algorithm2"):
        config = PackingConfig(
            method=method,
            num_iterations=4,
            batch_size=20,
            block_size=BLOCK,
            max_enrolled_cosine=LIMIT,
        )
        for p in (1, 8):
            result = pack_embeddings(X, GALLERY, config, enrolled=FEW, num_devices=p)
            found[f"{method} on {p}"] = result.embeddings
    checkpoint = {"checkpoint_path": folder / "state.npz", "checkpoint_seconds": 0.0}
    try:
        pack(num_devices=8, on_progress=interrupt, **checkpoint)
    except Interrupted:
        found["went on"] = pack(num_devices=8, **checkpoint).embeddings
    return found


def step_on_eight(n: int, d: int) -> dict[str, np.ndarray]:
    """What one device holds and sends in a step: from the program compiled for it."""
    x = packing_oracles.random_rows(n, d)
    config = PackingConfig(block_size=16)
    with sharded.use_devices(8):
        mesh = jax.sharding.get_mesh()
        rows, one = (jax.NamedSharding(mesh, s) for s in (sharded.ROWS, jax.P()))
        problem = sharded.put(Problem(x[: n - 3], x[:0], x[:0]))
        solver = annealed.Annealed()
        init = sharded.jit(lambda x, problem: solver.init(x, problem, config))
        state = jax.tree.map(
            lambda a: jax.ShapeDtypeStruct(
                a.shape, a.dtype, sharding=rows if a.ndim else one
            ),
            jax.eval_shape(init, sharded.put(x), problem),
        )
        step = sharded.jit(
            functools.partial(advance, solver=solver, config=config),
            donate_argnums=(0,),
        )
        span = Span.of(first=1, count=1, last=10)
        program = step.lower(state, problem, span).compile()
    text = program.as_text()

    def size(shapes: str) -> int:
        """Elements of the largest of some shapes, such as ``f32[51,64]``."""
        found = re.findall(r"\w+\[([\d,]*)\]", shapes)
        return max(math.prod(int(k or 1) for k in shape.split(",")) for shape in found)

    results = re.findall(r"^ *(?:ROOT )?%\S+ = (\S+) ", text, flags=re.MULTILINE)
    memory = program.memory_analysis()
    return {
        "largest": max(map(size, (r for r in results if "[" in r))),
        "gathered": sum(map(size, re.findall(r"= (.*) all-gather\(", text))),
        "sent": sum(map(size, re.findall(r"= (.*) collective-permute\(", text))),
        "bytes": memory.argument_size_in_bytes + memory.temp_size_in_bytes,
    }


def main(output: str, folder: str) -> None:
    arrays = (X, GALLERY, FEW, CORNERS, LEVEL, WANTED)
    found = packed(pathlib.Path(folder))
    results = {}
    with sharded.use_devices(8):
        results |= sharded.from_host(primitives)(*arrays)
        results["search"] = EmbeddingIndex(X, block_size=BLOCK).search(GALLERY, k=4)
        with sharded.use_devices(1):
            results["one inside"] = np.array(sharded.size())
    # An odd number of devices, and each other's opposite.
    for p in (2, 3):
        with sharded.use_devices(p):
            results[f"corners on {p}"] = sharded.from_host(corners_meet)(CORNERS)
    for p in (3, 8):
        with sharded.use_devices(p):
            results[f"tiles on {p}"] = sharded.from_host(tiles_done)(np.zeros(p))
    for name, result in results.items():
        for i, leaf in enumerate(jax.tree.leaves(result)):
            found[f"{name}/{i}"] = leaf
    found |= {f"step/{k}": v for k, v in step_on_eight(*STEP_SHAPE).items()}
    np.savez(output, **found)


if __name__ == "__main__":
    main(*sys.argv[1:])
