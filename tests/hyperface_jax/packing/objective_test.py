"""The objective and its gradient against the dense formula."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from hyperface_jax.packing import objective
from hyperface_jax.packing.config import REDUCTIONS
from tests.hyperface_jax import packing_oracles


@pytest.fixture(scope="module")
def points() -> tuple[np.ndarray, np.ndarray]:
    """References ``[23, 6]`` and a gallery ``[31, 6]``."""
    return (
        packing_oracles.clustered_rows(23, 6),
        packing_oracles.clustered_rows(31, 6, seed=1),
    )


@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize("alpha", [0.0, 0.5, 3.0])
@pytest.mark.parametrize("block_size", [None, 1, 5, 23])
def test_value_equals_the_dense_formula(points, reduction, alpha, block_size):
    x, gallery = points
    terms = objective.packing_objective(
        jnp.asarray(x),
        jnp.asarray(gallery),
        regularization_weight=alpha,
        reduction=reduction,
        block_size=block_size,
    )
    expected = packing_oracles.dense_objective(
        x.astype(float), gallery.astype(float), alpha, reduction
    )
    assert float(terms.objective) == pytest.approx(expected, abs=1e-6)
    exact, nearest_cosine, gallery_cosine = objective.measure(
        x, gallery, regularization_weight=alpha, reduction=reduction
    )
    assert exact.objective == pytest.approx(expected, abs=1e-7)
    assert nearest_cosine.shape == gallery_cosine.shape == (23,)


def value(x: jax.Array, gallery: jax.Array, reduction: str) -> jax.Array:
    return objective.packing_objective(
        x, gallery, regularization_weight=0.7, reduction=reduction, block_size=8
    ).objective


@pytest.mark.parametrize("reduction", REDUCTIONS)
def test_gradient_equals_autodiff_of_the_dense_formula(points, reduction):
    x, gallery = map(jnp.asarray, points)

    def dense(x: jax.Array) -> jax.Array:
        x = x / jnp.linalg.norm(x, axis=1, keepdims=True)
        distance = 1 - x @ x.T + 10 * jnp.eye(len(x))
        nearest = distance.min(axis=1)
        spread = nearest.min() if reduction == "min" else nearest.mean()
        return -spread + 0.7 * (1 - x @ gallery.T).min(axis=1).mean()

    expected = jax.grad(dense)(x)
    np.testing.assert_allclose(
        jax.grad(value)(x, gallery, reduction), expected, atol=1e-6
    )
    by_hand = packing_oracles.dense_gradient(*points, 0.7, reduction)
    np.testing.assert_allclose(expected, by_hand, atol=1e-6)


@pytest.mark.parametrize("reduction", REDUCTIONS)
def test_gradient_equals_finite_differences(points, reduction):
    x, gallery = points
    gradient = np.asarray(
        jax.grad(value)(jnp.asarray(x), jnp.asarray(gallery), reduction)
    )
    for seed in range(5):
        direction = packing_oracles.random_rows(*x.shape, seed=seed).astype(float)
        # Central differences of the dense formula, in double precision.
        low, high = (
            packing_oracles.dense_objective(
                x + h * direction, gallery.astype(float), 0.7, reduction
            )
            for h in (-1e-6, 1e-6)
        )
        assert np.sum(gradient * direction) == pytest.approx(
            (high - low) / 2e-6, abs=1e-5
        )
