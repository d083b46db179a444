"""Where references start: distinct people, then mixtures of two."""

import numpy as np
import pytest

from hyperface_jax import InputError
from hyperface_jax.packing.initialization import from_gallery
from tests.hyperface_jax import packing_oracles

GALLERY = packing_oracles.clustered_rows(30, 8)


def test_rows_are_distinct_and_depend_on_the_seed_only():
    first, second = (from_gallery(GALLERY, None, 20, 1) for _ in range(2))
    np.testing.assert_array_equal(first.gallery_rows, second.gallery_rows)
    assert len(set(first.gallery_rows)) == 20
    np.testing.assert_array_equal(first.embeddings, GALLERY[first.gallery_rows])
    other = from_gallery(GALLERY, None, 20, 2)
    assert (other.gallery_rows != first.gallery_rows).any()


def test_with_labels_each_start_is_another_person():
    labels = np.arange(30) // 3
    chosen = from_gallery(GALLERY, labels, 10, 0)
    assert sorted(labels[chosen.gallery_rows]) == list(range(10))
    assert len(from_gallery(GALLERY, labels, None, 0).embeddings) == 10
    # Not always the first image of a person.
    assert (chosen.gallery_rows % 3 != 0).any()


def test_more_than_the_gallery_has_start_at_mixtures():
    chosen = from_gallery(GALLERY, np.arange(30) // 3, 50, 0)
    assert chosen.num_mixtures == 40
    assert (chosen.gallery_rows[10:] == -1).all()
    np.testing.assert_allclose(np.linalg.norm(chosen.embeddings, axis=1), 1, atol=1e-6)
    assert len(np.unique(chosen.embeddings, axis=0)) == 50
    # A mixture of two rows is nearer to the gallery than a random direction.
    nearest = (chosen.embeddings[10:] @ GALLERY.T).max(axis=1)
    assert nearest.min() > 0.7


def test_one_person_cannot_be_mixed():
    with pytest.raises(InputError, match="one identity"):
        from_gallery(GALLERY, np.zeros(30), 5, 0)
    with pytest.raises(InputError, match="num_identities is 0"):
        from_gallery(GALLERY, None, 0, 0)


def test_people_of_an_earlier_set_are_chosen_last():
    labels = np.arange(30) // 3
    taken = np.array([0, 4, 29])  # Of people 0, 1 and 9.
    chosen = from_gallery(GALLERY, labels, 8, 0, taken=taken)
    people = labels[chosen.gallery_rows]
    assert set(people[:7]) == set(range(2, 9))
    assert people[7] in (0, 1, 9)
