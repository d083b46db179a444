"""The measures against brute force; people are never measured on their own map."""

import numpy as np
import pytest

from bridges.embedding_maps import held_out
from bridges.embedding_maps.moments import Moments
from bridges.embedding_maps.ridge import ridge_path
from bridges.evaluation.error_rates import equal_error_rate
from tests.embedding_maps.planted import planted, unit


def ridge(folds):
    total = folds[0].same
    for fold in folds[1:]:
        total = total.plus(fold.same)
    return next(ridge_path(total, [0.1]))


def test_folds_hold_whole_people_and_are_even():
    people = np.random.default_rng(0).permutation(np.repeat(np.arange(53), 3))
    fold_of = held_out.split_people(people, 0)
    assert all(len(set(fold_of[people == person])) == 1 for person in range(53))
    counts = np.bincount(fold_of) // 3
    assert counts.min() == 10 and counts.max() == 11
    assert (fold_of != held_out.split_people(people, 1)).any()


def test_rows_are_mapped_without_the_people_of_their_fold():
    a, b, people = planted(num_people=25)
    fold_of = held_out.split_people(people, 0)
    folds = held_out.fold_sums(a, b, people, fold_of)
    mapped, means = held_out.out_of_fold(ridge, folds, fold_of, a)
    for k in range(5):
        rest = fold_of != k
        alone = next(ridge_path(Moments.of(a[rest], b[rest]), [0.1]))
        np.testing.assert_allclose(mapped[~rest], alone(a[~rest]), atol=1e-6)
        np.testing.assert_allclose(
            means[~rest], np.tile(b[rest].mean(0), ((~rest).sum(), 1)), atol=1e-6
        )


@pytest.mark.parametrize("images", [1, 2, 5])
def test_measures_are_those_of_brute_force(images):
    _, b, people = planted(num_people=60, images=images)
    order = np.random.default_rng(0).permutation(len(b))
    b, people = b[order], people[order]
    random = np.random.default_rng(1)
    mapped = unit(b + 0.25 * random.normal(size=b.shape))
    means = np.tile(b.mean(0), (len(b), 1))
    fold_of = held_out.split_people(people, 0)
    chosen = held_out.choose_measured(people, fold_of, 0)
    taken = chosen.rows
    found = held_out.measure(mapped[taken], b[taken], means[taken], chosen)

    hits, scores, same = [], [], []
    for fold in range(5):
        centres = {}
        probes = []
        for person in set(people[fold_of == fold]):
            own = np.flatnonzero(people == person)
            enrolled = own[: (images + 1) // 2]
            centres[person] = unit(mapped[enrolled].astype(float).mean(0))
            probes += list(own if images == 1 else own[len(enrolled) :])
        for i in probes:
            nearest = max(centres, key=lambda person: centres[person] @ b[i])
            hits.append(nearest == people[i])
        for i in np.flatnonzero(fold_of == fold):
            for j in np.flatnonzero(fold_of == fold):
                if i != j or images == 1:
                    scores.append(mapped[i] @ b[j])
                    same.append(people[i] == people[j])
    assert found["probes"] == len(hits) and found["pairs"] == len(scores)
    assert found["rank1"] == pytest.approx(np.mean(hits)) and 0.4 < found["rank1"] < 1
    assert found["equal_error_rate"] == pytest.approx(
        equal_error_rate(np.array(scores), np.array(same)), abs=1e-6
    )
    assert found["cosine"] == pytest.approx(np.mean(np.sum(mapped * b, axis=1)))
    x, y = unit(mapped - means), unit(b - means)
    assert found["centred_cosine"] == pytest.approx(np.mean(np.sum(x * y, axis=1)))
    assert found["chance"] == pytest.approx(1 / 12)
    assert found["people_in_a_gallery"] == 12 and found["people"] == 60
    assert found["same_images"] is (images == 1)


def test_galleries_are_of_sixty_whole_people_of_a_fold_and_a_few_images():
    people = np.repeat(np.arange(2000), 10)
    fold_of = held_out.split_people(people, 0)
    chosen = held_out.choose_measured(people, fold_of, 0)
    assert len(np.unique(chosen.people)) == 1500
    for gallery in range(25):
        own = chosen.galleries == gallery
        assert len(np.unique(chosen.people[own])) == 60
        assert len(np.unique(fold_of[chosen.rows[own]])) == 1
    assert set(np.bincount(chosen.people)) == {0, 8}
    assert chosen.enrolled.mean() == 0.5
    np.testing.assert_array_equal(people[chosen.rows], chosen.people)


def test_people_of_one_image_are_left_out_where_enough_have_several():
    people = np.array([*np.repeat(np.arange(20), 2), *range(20, 70)])
    chosen = held_out.choose_measured(people, held_out.split_people(people, 0), 0)
    assert sorted(set(chosen.people)) == list(range(20))
    assert len(set(chosen.people[chosen.galleries == 4])) == 4
    fewer = people[2:] - 1
    chosen = held_out.choose_measured(fewer, held_out.split_people(fewer, 0), 0)
    assert chosen.enrolled is None and len(chosen.rows) == 5 * 13
