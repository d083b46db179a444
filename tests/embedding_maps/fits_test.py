"""Ridge and Procrustes against scikit-learn, SciPy and brute force."""

import numpy as np
import pytest
from scipy import linalg, optimize
from sklearn.linear_model import Ridge

from bridges.embedding_maps import held_out
from bridges.embedding_maps.affine_map import AffineMap
from bridges.embedding_maps.moments import Moments
from bridges.embedding_maps.procrustes import fit_procrustes
from bridges.embedding_maps.ridge import STRENGTHS, Fold, fit_ridge, ridge_path
from bridges.embedding_maps.targets import other_images
from tests.embedding_maps.planted import planted, unit


def sklearn_ridge(a, b, strength):
    """The same penalty: relative to the mean variance of a direction."""
    alpha = strength * np.sum((a - a.mean(0)) ** 2, dtype=np.float64) / a.shape[1]
    return Ridge(alpha, solver="cholesky").fit(a.astype(float), b.astype(float))


def fold(a, b):
    """Of which Procrustes takes the same images alone."""
    return Fold(Moments.of(a, b), Moments.of(a, -b))


def predicted(found: AffineMap, a):
    return (a - found.from_mean) @ found.matrix + found.to_mean


@pytest.mark.parametrize("strength", [1e-4, 0.1, 10])
def test_ridge_is_that_of_scikit_learn(strength):
    a, b, _ = planted()
    found = next(ridge_path(Moments.of(a, b), [strength]))
    wanted = sklearn_ridge(a, b, strength)
    np.testing.assert_allclose(found.matrix, wanted.coef_.T, atol=1e-8)
    np.testing.assert_allclose(predicted(found, a), wanted.predict(a), atol=1e-8)


@pytest.mark.parametrize(
    ("num_people", "images", "wanted"), [(25, 6, "same"), (400, 2, "others")]
)
def test_chosen_is_what_errs_least_on_folds_left_out(num_people, images, wanted):
    a, b, people = planted(noise=1.0, num_people=num_people, images=images)
    fold_of = people % 5
    others = other_images(b, people)
    errors = np.zeros((2, len(STRENGTHS)))
    for i, target in enumerate((b, others)):
        for j, strength in enumerate(STRENGTHS):
            for k in range(5):
                rest = fold_of != k
                model = sklearn_ridge(a[rest], target[rest], strength)
                wrong = model.predict(a[~rest]) - others[~rest]
                errors[i, j] += np.sum(wrong**2) / len(a)
    found = fit_ridge(held_out.fold_sums(a, b, people, fold_of))
    np.testing.assert_allclose(found.errors, errors, rtol=1e-6)
    i, j = np.unravel_index(errors.argmin(), errors.shape)
    assert (found.fitted_to, found.strength) == (("same", "others")[i], STRENGTHS[j])
    assert found.fitted_to == wanted
    assert STRENGTHS[0] < found.strength < STRENGTHS[-1]
    np.testing.assert_allclose(
        found.map.matrix,
        sklearn_ridge(a, (b, others)[i], found.strength).coef_.T,
        atol=1e-7,
    )


def test_sums_of_parts_are_those_of_all_and_of_many_rows():
    random = np.random.default_rng(0)
    a, b = random.normal(size=(20_000, 3)), random.normal(size=(20_000, 2))
    whole = Moments.of(a, b)
    parts = Moments.of(a[:7], b[:7]).plus(Moments.of(a[7:], b[7:]))
    for one, other in zip(whole, parts, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(whole.aa, a.T @ a)
    centred_aa, centred_ab = whole.centred()
    np.testing.assert_allclose(centred_aa, (a - a.mean(0)).T @ (a - a.mean(0)))
    np.testing.assert_allclose(
        centred_ab, (a - a.mean(0)).T @ (b - b.mean(0)), atol=1e-6
    )


def test_squared_error_needs_no_rows():
    a, b, _ = planted()
    other = planted(seed=1)
    found = next(ridge_path(Moments.of(a, b), [0.1]))
    wanted = np.mean(np.sum((predicted(found, other.a) - other.b) ** 2, axis=1))
    assert found.squared_error(Moments.of(other.a, other.b)) == pytest.approx(wanted)


def test_rows_without_variance_are_mapped_to_the_mean():
    a = unit(np.ones((10, 3)))
    b = unit(np.random.default_rng(0).normal(size=(10, 4)))
    found = next(ridge_path(Moments.of(a, b), [0.1]))
    mean = np.tile(b.mean(0), (10, 1))
    np.testing.assert_allclose(predicted(found, a), mean, atol=1e-7)


def test_map_makes_rows_unit_in_blocks():
    random = np.random.default_rng(0)
    found = AffineMap(random.normal(size=(3, 5)), np.ones(3), np.zeros(5))
    rows = unit(random.normal(size=(9000, 3)))
    np.testing.assert_allclose(found(rows), unit(predicted(found, rows)), atol=1e-6)
    assert found(np.ones((1, 3), np.float32)).tolist() == [[0.0] * 5]


def test_procrustes_is_that_of_scipy():
    a, b, _ = planted(p=16, q=16)
    found = fit_procrustes([fold(a[:100], b[:100]), fold(a[100:], b[100:])])
    rotation, gain = linalg.orthogonal_procrustes(
        a.astype(float) - a.mean(0, np.float64), b.astype(float) - b.mean(0, np.float64)
    )
    scale = gain / np.sum((a - a.mean(0, np.float64)) ** 2)
    np.testing.assert_allclose(found.matrix, scale * rotation, atol=1e-6)


@pytest.mark.parametrize(("p", "q"), [(6, 9), (9, 6)])
def test_procrustes_between_unequal_sizes_is_orthogonal_and_best(p, q):
    random = np.random.default_rng(0)
    a = random.normal(size=(50, p))
    b = a @ random.normal(size=(p, q)) + random.normal(size=q)
    pairs = Moments.of(a, b)
    found = fit_procrustes([Fold(pairs, pairs)])
    scale = np.linalg.norm(found.matrix, 2)
    rotation = found.matrix / scale
    gram = rotation @ rotation.T if p < q else rotation.T @ rotation
    np.testing.assert_allclose(gram, np.eye(min(p, q)), atol=1e-10)
    _, ab = pairs.centred()
    best = np.vdot(rotation, ab)
    for _ in range(200):
        some = np.linalg.qr(random.normal(size=(max(p, q), min(p, q))))[0]
        assert np.vdot(some.T if p < q else some, ab) < best

    def error(factor):
        return found._replace(matrix=factor * rotation).squared_error(pairs)

    assert optimize.minimize_scalar(error).x == pytest.approx(scale)


def test_a_planted_rotation_is_found():
    random = np.random.default_rng(0)
    rotation = np.linalg.qr(random.normal(size=(8, 8)))[0]
    a = unit(random.normal(size=(40, 8)))
    found = fit_procrustes([fold(a, a @ rotation)])
    np.testing.assert_allclose(found.matrix, rotation, atol=1e-5)


def test_targets_are_the_other_images_of_the_person():
    random = np.random.default_rng(0)
    rows, people = (
        unit(random.normal(size=(9, 4))),
        np.array([0, 1, 0, 2, 1, 1, 3, 4, 4]),
    )
    rows[8] = -rows[7]
    found = other_images(rows, people)
    for i, person in enumerate(people):
        others = [j for j in range(9) if people[j] == person and j != i]
        wanted = unit(rows[others].mean(0)) if others else rows[i]
        np.testing.assert_allclose(found[i], wanted, atol=1e-6)
    three = np.array([[1, 0], [0, 1], [0, -1]], np.float32)
    np.testing.assert_allclose(other_images(three, np.zeros(3, int))[0], [1, 0])
