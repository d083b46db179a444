"""Every compiled entry point of the core on a GPU, against the CPU."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from hyperface_jax import EmbeddingIndex, PackingConfig, pack_embeddings
from hyperface_jax.neighbours import precision
from hyperface_jax.packing.config import METHODS
from tests.hyperface_jax import packing_oracles
from tests.hyperface_jax.entry_points import ENTRY_POINTS, entry_point

pytestmark = pytest.mark.gpu

# Float32 sums in another order. Over a step, whose divisions enlarge the difference.
ROUNDING, OVER_A_STEP = 2e-5, 1e-3
# Of an objective: descents part ways by rounding and end in optima nearly as good.
OTHER_OPTIMUM = 5e-3


def on(device: jax.Device, function, arguments):
    """What ``function`` gives on ``device``, as NumPy arrays."""
    arguments = jax.device_put(jax.tree.map(np.asarray, arguments), device)
    with jax.default_device(device):
        return jax.tree.map(np.asarray, jax.jit(function)(*arguments))


@pytest.mark.parametrize("name", ENTRY_POINTS)
def test_entry_points_agree_with_the_cpu(gpu, name):
    function, *arguments = entry_point(name)
    expected = on(jax.devices("cpu")[0], function, arguments)
    found = on(gpu, function, arguments)
    tolerance = OVER_A_STEP if name.endswith("step") else ROUNDING
    for here, there in zip(
        jax.tree.leaves(found), jax.tree.leaves(expected), strict=True
    ):
        if np.issubdtype(there.dtype, np.floating):
            # Sums that nearly cancel keep the rounding of what they are made of.
            size = max(1.0, float(np.abs(there).max(initial=0)))
            np.testing.assert_allclose(
                here, there, rtol=tolerance, atol=tolerance * size
            )
        else:
            np.testing.assert_array_equal(here, there)


@pytest.mark.parametrize("method", METHODS)
def test_packings_are_as_good_as_on_the_cpu(gpu, method):
    rows = packing_oracles.clustered_rows(200, 16)
    config = PackingConfig(
        method=method, num_iterations=300, batch_size=100, reduction="mean_nearest"
    )
    objectives = []
    for device in (gpu, jax.devices("cpu")[0]):
        with jax.default_device(device):
            objectives.append(pack_embeddings(rows, rows, config).objective)
    assert objectives[0] == pytest.approx(objectives[1], abs=OTHER_OPTIMUM)


def test_search_finds_the_same_rows(gpu):
    rows, queries = (packing_oracles.random_rows(n, 32, seed=n) for n in (3000, 50))
    with jax.default_device(gpu):
        cosines, found = EmbeddingIndex(rows).search(queries, 5)
    exact = queries.astype(float) @ rows.T.astype(float)
    expected = np.argsort(-exact, axis=1)[:, :5]
    np.testing.assert_array_equal(found, expected)
    exact = np.take_along_axis(exact, expected, axis=1)
    np.testing.assert_allclose(cosines, exact, atol=ROUNDING)


@pytest.mark.parametrize(("name", "error"), [("tf32x3", 2e-6), ("bf16x3", 4e-5)])
def test_faster_products_are_nearly_float32_and_pack_as_well(gpu, name, error):
    rows = packing_oracles.clustered_rows(300, 64)
    config = PackingConfig(num_iterations=300)
    faster = dataclasses.replace(config, matmul_precision=name)
    with jax.default_device(gpu):
        multiply = jax.jit(precision.product, static_argnums=2)
        x = jnp.asarray(rows)
        found = np.asarray(multiply(x, x.T, precision.PRECISIONS[name]))
        packed, exact = (pack_embeddings(rows, rows, c) for c in (faster, config))
    assert np.abs(found - rows.astype(float) @ rows.T.astype(float)).max() < error
    assert packed.objective == pytest.approx(exact.objective, abs=OTHER_OPTIMUM)
