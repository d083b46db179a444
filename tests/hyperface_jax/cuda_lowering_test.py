"""Compiled entry points lower for a GPU: no callback, nothing n x n, float32."""

import functools
import math
import re

import jax
import jax.export
import jax.numpy as jnp
import pytest
from jax.sharding import AxisType

from hyperface_jax import PackingConfig
from hyperface_jax.bounds import optimality
from hyperface_jax.devices import sharded
from hyperface_jax.neighbours import gallery_cache, repulsion, search, similarity
from hyperface_jax.packing import (
    enrolled_limit,
    objective,
    packing,
)
from hyperface_jax.packing.problem import Problem
from hyperface_jax.packing.solver import Span, advance
from tests.hyperface_jax import packing_oracles

N, D, BLOCK = 400, 8, 32
X = jnp.asarray(packing_oracles.random_rows(N, D))
PROBLEM = Problem(X, X[:100], X[:50])


def solver_step(method):
    config = PackingConfig(method=method, block_size=BLOCK, batch_size=90)
    solver = packing.SOLVERS[method]
    state = solver.init(jnp.copy(X), PROBLEM, config)
    dispatch = functools.partial(advance, solver=solver, config=config)
    return dispatch, state, PROBLEM, Span.of(first=1, count=1, last=9)


ENTRY_POINTS = {
    "nearest": lambda: (
        functools.partial(similarity.nearest, block_size=BLOCK),
        X,
        X[:300],
    ),
    "nearest_other": lambda: (
        functools.partial(similarity.nearest_other, block_size=BLOCK),
        X,
    ),
    "nearest_cosine": lambda: (
        functools.partial(similarity.nearest_cosine, block_size=BLOCK),
        X,
    ),
    "refresh": lambda: (
        functools.partial(gallery_cache.refresh, block_size=BLOCK),
        gallery_cache.unknown(X),
        X,
        X,
    ),
    "repulsion": lambda: (
        functools.partial(repulsion.repulsion, block_size=BLOCK),
        X,
        jnp.zeros(N),
        0.1,
    ),
    "lagrangian": lambda: (
        lambda *arrays: optimality._lagrangian(*arrays, BLOCK),
        X,
        X,
        jnp.float32(0.9),
        jnp.float32(0.1),
    ),
    "lagrangian's matrix": lambda: (
        lambda x, found, vectors: optimality._apply(x, found, BLOCK, vectors),
        X,
        optimality._lagrangian(X, X, jnp.float32(0.9), jnp.float32(0.1), BLOCK),
        X,
    ),
    "top_k": lambda: (
        lambda *arrays: search._top_k(*arrays, BLOCK),
        X[:20],
        X,
        jnp.zeros((20, 3)),
        jnp.zeros((20, 3), jnp.int32),
    ),
    "objective": lambda: (
        jax.grad(
            lambda x, gallery: (
                objective.packing_objective(
                    x, gallery, reduction="mean_nearest", block_size=BLOCK
                ).objective
            )
        ),
        X,
        X[:300],
    ),
    "duplicates": lambda: (
        functools.partial(
            packing._part_duplicates, config=PackingConfig(block_size=BLOCK)
        ),
        X,
        PROBLEM,
    ),
    "enrolment": lambda: (
        functools.partial(
            enrolled_limit._sweep, config=PackingConfig(block_size=BLOCK)
        ),
        X,
        PROBLEM,
        jnp.float32(0.3),
    ),
    **{
        f"{method} step": functools.partial(solver_step, method)
        for method in packing.SOLVERS
    },
}


MESH = jax.sharding.AbstractMesh((8,), (sharded.AXIS,), axis_types=(AxisType.Auto,))


@functools.cache
def entry_point(name):
    return ENTRY_POINTS[name]()


def spread(array):
    """What stands for ``array`` when eight devices share its rows."""
    if not getattr(array, "size", 0) or array.ndim == 0:
        return array
    shape = (len(array) + -len(array) % MESH.size, *array.shape[1:])
    sharding = jax.NamedSharding(MESH, sharded.ROWS)
    struct = jax.ShapeDtypeStruct(shape, array.dtype, sharding=sharding)
    return sharded.Rows(struct, len(array))


def check(text):
    assert "callback" not in text
    sizes = [
        math.prod(map(int, shape.split("x")[:-1]))
        for shape in re.findall(r"tensor<((?:\d+x)+[a-z]\w*)>", text)
    ]
    assert N * D <= max(sizes) < N * N / 4
    products = re.findall(r"stablehlo\.dot_general.*", text)
    assert products
    # A GPU would otherwise round the factors to 10 bits.
    assert all("HIGHEST" in product for product in products)


@pytest.mark.parametrize("name", ENTRY_POINTS)
def test_lowers_for_cuda(name):
    function, *arguments = entry_point(name)
    donated = {"donate_argnums": 0} if name.endswith("step") else {}
    exported = jax.export.export(jax.jit(function, **donated), platforms=["cuda"])
    text = exported(*arguments).mlir_module()
    check(text)
    assert ("tf.aliasing_output" in text) == bool(donated)


# top_k is given the whole of its rows wherever it runs, see search.py.
ON_ONE_DEVICE = ("top_k", "lagrangian", "lagrangian's matrix")


@pytest.mark.parametrize("name", [n for n in ENTRY_POINTS if n not in ON_ONE_DEVICE])
def test_lowers_for_eight_cuda_devices(name):
    function, *arguments = entry_point(name)
    donated = {"donate_argnums": (0,)} if name.endswith("step") else {}
    with jax.sharding.use_abstract_mesh(MESH):
        exported = jax.export.export(
            sharded.jit(function, **donated), platforms=["cuda"]
        )(*jax.tree.map(spread, arguments))
    assert exported.nr_devices == 8
    text = exported.mlir_module()
    check(text)
    assert "stablehlo.collective_permute" in text
    assert ("jax.buffer_donor" in text) == bool(donated)
