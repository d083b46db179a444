"""The lower bound on the objective, against dense algebra and other optimisers."""

import numpy as np
import pytest
from scipy import optimize

from hyperface_jax import InputError, PackingConfig, objective_bound, pack_embeddings
from tests.hyperface_jax import packing_oracles

ALPHA = 0.5


@pytest.fixture(scope="module")
def packed() -> tuple[np.ndarray, np.ndarray]:
    """References at their optimum, and their gallery."""
    gallery = packing_oracles.random_rows(60, 80)
    result = pack_embeddings(gallery, gallery, PackingConfig(num_iterations=1500))
    return result.embeddings, gallery


def held_objective(x: np.ndarray, pull: np.ndarray) -> float:
    """The objective with the gallery rows ``pull``, densely."""
    cosine = x @ x.T
    np.fill_diagonal(cosine, -np.inf)
    return cosine.max() - 1 + ALPHA * (1 - np.sum(x * pull, axis=1)).mean()


def dense_dual(
    x: np.ndarray, pull: np.ndarray, temperature: float
) -> tuple[float, float]:
    """The Lagrangian's minimum by inverting its matrix; its smallest eigenvalue."""
    x, pull = x.astype(np.float64), pull.astype(np.float64)
    n = len(x)
    cosine = x @ x.T
    np.fill_diagonal(cosine, -np.inf)
    weights = np.exp((cosine - cosine.max()) / temperature)
    weights /= weights.sum() / 2
    multipliers = np.sum(x * (ALPHA / n * pull - weights @ x), axis=1)
    matrix = weights + np.diag(multipliers)
    minimiser = np.linalg.solve(matrix, ALPHA / n * pull)
    minimum = (
        np.sum(weights * (minimiser @ minimiser.T)) / 2
        - 1
        + ALPHA * (1 - np.sum(minimiser * pull, axis=1).mean())
        + multipliers @ (np.sum(minimiser**2, axis=1) - 1) / 2
    )
    return minimum, np.linalg.eigvalsh(matrix)[0] * n / ALPHA


def test_it_is_the_minimum_of_the_lagrangian(packed):
    x, gallery = packed
    found = objective_bound(x, gallery)
    pull = gallery[(x @ gallery.T).argmax(axis=1)]
    minimum, curvature = dense_dual(x, pull, found.temperature)
    assert curvature > 0
    assert found.bound == pytest.approx(minimum, abs=2e-6)
    assert found.bound <= minimum + 1e-6
    assert found.curvature == pytest.approx(curvature, rel=0.1)
    assert found.gap == pytest.approx(held_objective(x, pull) - found.bound, abs=1e-6)


def test_a_converged_packing_is_proven_optimal(packed):
    assert objective_bound(*packed).gap < 2e-4


def test_blocks_do_not_change_it(packed):
    whole, tiles = objective_bound(*packed), objective_bound(*packed, block_size=16)
    assert tiles.bound == pytest.approx(whole.bound, abs=2e-6)


def test_a_disturbed_packing_is_not_but_the_bound_holds(packed):
    x, gallery = packed
    disturbed = x + 0.003 * packing_oracles.random_rows(*x.shape, seed=5)
    disturbed /= np.linalg.norm(disturbed, axis=1, keepdims=True)
    found = objective_bound(disturbed, gallery)
    pull = gallery[(x @ gallery.T).argmax(axis=1)]
    assert found.gap > 1e-3
    assert found.bound < held_objective(x, pull)


def test_no_arrangement_is_below_it():
    """Sequential quadratic programming from 20 random starts, all rows free."""
    n, d = 5, 4
    gallery = packing_oracles.random_rows(n, d, seed=2)
    result = pack_embeddings(gallery, gallery, PackingConfig(num_iterations=3000))
    pull = gallery[(result.embeddings @ gallery.T).argmax(axis=1)]
    found = objective_bound(result.embeddings, gallery)
    first, second = np.triu_indices(n, 1)

    def rows(point):
        return point[:-1].reshape(n, d)

    constraints = [
        {
            "type": "ineq",
            "fun": lambda p: p[-1] - np.sum(rows(p)[first] * rows(p)[second], axis=1),
        },
        {"type": "eq", "fun": lambda p: np.sum(rows(p) ** 2, axis=1) - 1},
    ]
    least = np.inf
    for seed in range(20):
        start = packing_oracles.random_rows(n, d, seed).astype(np.float64)
        solved = optimize.minimize(
            lambda p: p[-1] - 1 + ALPHA * (1 - np.sum(rows(p) * pull, axis=1).mean()),
            np.append(start.ravel(), 1.0),
            method="SLSQP",
            constraints=constraints,
            options={"maxiter": 300},
        )
        if solved.success:
            least = min(least, held_objective(rows(solved.x), pull))
    assert np.isfinite(found.bound)
    assert found.bound <= least + 2e-6
    assert least - found.bound < 2e-3


def test_an_exact_optimum_has_no_residual_and_a_curvature_yet():
    """Two opposite references on their gallery rows: A = [[1 + α/2, 1], [1, 1 + α/2]],
    in units of α/2 of smallest eigenvalue 1."""
    rows = np.array([[1, 0, 0], [-1, 0, 0]], np.float32)
    found = objective_bound(rows, rows)
    assert found.curvature == pytest.approx(1, rel=1e-3)
    assert found.bound == pytest.approx(-2, abs=1e-6)


def test_nothing_is_claimed_where_the_lagrangian_has_no_minimum():
    gallery = packing_oracles.clustered_rows(40, 3)
    result = pack_embeddings(gallery, gallery, PackingConfig(num_iterations=200))
    found = objective_bound(result.embeddings, gallery, regularization_weight=0.01)
    assert found.curvature <= 0
    assert found.bound == -np.inf
    assert found.gap == np.inf


@pytest.mark.parametrize(
    "gallery, weight, message",
    [
        (packing_oracles.random_rows(5, 4), 0.0, "regularization_weight"),
        (packing_oracles.random_rows(5, 3), 0.5, "4 and 3 columns"),
    ],
)
def test_bad_input(gallery, weight, message):
    rows = packing_oracles.random_rows(5, 4)
    with pytest.raises(InputError, match=message):
        objective_bound(rows, gallery, regularization_weight=weight)
