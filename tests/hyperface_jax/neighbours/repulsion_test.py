"""Forces in blocks against the dense softmax."""

import jax.numpy as jnp
import numpy as np
import pytest

from hyperface_jax.neighbours.repulsion import repulsion
from tests.hyperface_jax import packing_oracles


@pytest.mark.parametrize("block_size", [None, 4, 10, 19])
def test_equals_dense(block_size):
    x = packing_oracles.random_rows(19, 5)
    level = np.linspace(0.5, 0.9, 19, dtype=np.float32)
    tau = 0.1
    found = repulsion(jnp.asarray(x), level, tau, block_size=block_size)
    cosine = x.astype(float) @ x.T
    np.fill_diagonal(cosine, -np.inf)
    weights = np.exp((cosine - level[:, None]) / tau)
    both = weights + weights.T
    np.testing.assert_allclose(found.force, both @ x, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(found.weight, both.sum(axis=1), rtol=1e-5)
    np.testing.assert_allclose(found.row_weight, weights.sum(axis=1), rtol=1e-5)
    np.testing.assert_allclose(found.nearest, cosine.max(axis=1), atol=1e-6)


def test_very_close_rows_do_not_overflow():
    x = packing_oracles.random_rows(6, 4)
    x[1] = x[0]
    found = repulsion(jnp.asarray(x), jnp.full(6, -1.0), 1e-3)
    for array in found:
        assert np.isfinite(array).all()
