"""Linear maps, against scikit-learn, SciPy and planted relations."""

import numpy as np
import pytest
from scipy import linalg
from sklearn.linear_model import Ridge

from bridges.embedding_maps.linear_map import (
    STRENGTHS,
    fit_procrustes,
    fit_ridge,
    people_folds,
    ridge_maps,
)
from bridges.embedding_maps.worth import measure_worth


def unit(rows):
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def related(people=200, images=2, d=12, e=20, noise=0.3, seed=0):
    """Rows of two recognisers about one direction a person, mapped linearly."""
    random = np.random.default_rng(seed)
    who = np.repeat(np.arange(people), images)
    truth = random.standard_normal((people, d))[who]
    seen = truth + noise * random.standard_normal(truth.shape)
    a = unit(seen + 0.5)
    b = unit(seen @ random.standard_normal((d, e)) + 1.0)
    return a, b, who


def test_ridge_equals_scikit_learn():
    a, b, _ = related()
    centred = a - a.mean(0)
    scale = np.linalg.eigvalsh(centred.T @ centred).mean()
    new, _, _ = related(seed=1)
    for strength, found in zip(STRENGTHS, ridge_maps(a, b, STRENGTHS), strict=True):
        theirs = Ridge(alpha=strength * scale, solver="svd").fit(a, b)
        np.testing.assert_allclose(
            found(new), unit(theirs.predict(new)), atol=1e-6, rtol=0
        )


def test_the_strength_is_the_best_on_people_left_out():
    """By brute force: every strength, every fold, by scikit-learn."""
    a, b, who = related(people=40, noise=1.0)
    fold = people_folds(who, 5)
    gains = []
    for strength in STRENGTHS:
        gain = 0.0
        for k in range(5):
            rest = a[fold != k]
            centred = rest - rest.mean(0)
            scale = np.linalg.eigvalsh(centred.T @ centred).mean()
            model = Ridge(alpha=strength * scale, solver="svd").fit(rest, b[fold != k])
            gain += (unit(model.predict(a[fold == k])) * b[fold == k]).sum()
        gains.append(gain)
    _, strength = fit_ridge(a, b, who)
    assert strength == STRENGTHS[int(np.argmax(gains))]
    for person in range(40):
        assert len(np.unique(fold[who == person])) == 1


def test_procrustes_equals_scipy_and_finds_a_planted_rotation():
    a, _, _ = related(d=16)
    rotation = linalg.qr(np.random.default_rng(3).standard_normal((16, 16)))[0]
    b = unit(a @ rotation)
    found = fit_procrustes(a, b)
    expected, _ = linalg.orthogonal_procrustes(a - a.mean(0), b - b.mean(0))
    np.testing.assert_allclose(found.matrix, expected, atol=1e-9)
    np.testing.assert_allclose(found(a), b, atol=1e-6)


@pytest.mark.parametrize("images", [1, 2, 5])
def test_worth_equals_brute_force(images):
    a, b, who = related(people=30, images=images, noise=0.8)
    mapping, _ = fit_ridge(a, b, who)
    found = measure_worth(mapping, a, b, who)
    mapped = mapping(a).astype(float)
    right, looked_for = 0, 0
    centres = []
    for person in range(30):
        rows = np.flatnonzero(who == person)
        first = rows[: max(1, len(rows) // 2)]
        centres.append(mapped[first].mean(0) / np.linalg.norm(mapped[first].mean(0)))
    for person in range(30):
        rows = np.flatnonzero(who == person)
        for row in rows[len(rows) // 2 :] if len(rows) > 1 else rows:
            cosines = [centre @ b[row] for centre in centres]
            right += int(np.argmax(cosines) == person)
            looked_for += 1
    assert found.rank1 == right / looked_for and found.chance == 1 / 30
    assert found.cosine == pytest.approx((mapped * b).sum(1).mean())
    assert found.people == 30 and 0 <= found.eer < 0.5
    assert found.centred_cosine < found.cosine
