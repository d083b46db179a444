"""Compiled entry points lower for a GPU: no callback, nothing n x n, float32."""

import math
import re

import jax
import jax.export
import pytest
from jax.sharding import AxisType

from hyperface_jax.devices import sharded
from hyperface_jax.packing import packing
from tests.hyperface_jax.entry_points import (
    ENTRY_POINTS,
    D,
    N,
    entry_point,
    solver_step,
)

MESH = jax.sharding.AbstractMesh((8,), (sharded.AXIS,), axis_types=(AxisType.Auto,))


def divided(array):
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
        )(*jax.tree.map(divided, arguments))
    assert exported.nr_devices == 8
    text = exported.mlir_module()
    check(text)
    assert "stablehlo.collective_permute" in text
    assert ("jax.buffer_donor" in text) == bool(donated)


@pytest.mark.parametrize("method", packing.SOLVERS)
@pytest.mark.parametrize(
    ("precision", "kind"), [("tf32x3", "tf32"), ("bf16x3", "bf16")]
)
def test_only_products_between_references_are_in_less_than_float32(
    method, precision, kind
):
    function, *arguments = solver_step(method, matmul_precision=precision)
    exported = jax.export.export(jax.jit(function), platforms=["cuda"])
    text = exported(*arguments).mlir_module()
    products = re.findall(r"stablehlo\.dot_general.*", text)
    faster = [p for p in products if f"lhs_precision_type = {kind}" in p]
    assert faster
    assert all("num_primitive_operations = 3" in product for product in faster)
    # Those with the gallery and with enrolled people.
    exact = [product for product in products if product not in faster]
    assert exact and all("HIGHEST" in product for product in exact)
