"""Balanced packing: shares become counts, and the report is that of brute force."""

import numpy as np
import pytest

from hyperface_jax import InputError
from hyperface_jax.packing import balance
from tests.hyperface_jax import packing_oracles

GALLERY = packing_oracles.random_rows(40, 6)
# 25 rows of a, 10 of b, 5 of c; two rows a person.
GROUPS = np.repeat(["a", "b", "c"], [26, 10, 4])
LABELS = np.arange(40) // 2


@pytest.mark.parametrize(
    ("n", "shares", "counts"),
    [
        (10, {"a": 0.5, "b": 0.5}, [5, 5]),
        (10, {"a": 0.35, "b": 0.65}, [4, 6]),
        (100, {"a": 0.333, "b": 0.333, "c": 0.333}, [34, 33, 33]),
        (7, {"a": 0.7, "b": 0.2, "c": 0.1}, [5, 1, 1]),
        (1000, {"a": 0.001, "b": 0.999}, [1, 999]),
    ],
)
def test_whole_numbers_by_the_largest_remainders(n, shares, counts):
    assert list(balance.apportion(n, shares).values()) == counts


def test_each_group_starts_at_its_own_people():
    start = balance.from_gallery(GALLERY, LABELS, GROUPS, 6, seed=1)
    assert start.groups.tolist() == ["a", "a", "b", "b", "c", "c"]
    rows = start.initial.gallery_rows
    assert GROUPS[rows].tolist() == start.groups.tolist()
    assert len(set(LABELS[rows])) == 6, "another person each"
    np.testing.assert_array_equal(start.initial.embeddings, GALLERY[rows])
    assert start.mixtures == {}


def test_without_a_number_no_group_is_stretched():
    shares = {"a": 0.5, "b": 0.5}
    start = balance.from_gallery(GALLERY, LABELS, GROUPS, None, 0, shares=shares)
    assert np.unique(start.groups, return_counts=True)[1].tolist() == [5, 5]
    equal = balance.from_gallery(GALLERY, None, GROUPS, None, 0)
    assert np.unique(equal.groups, return_counts=True)[1].tolist() == [4, 4, 4]


def test_mixtures_are_of_two_of_the_group():
    shares = {"c": 1.0}
    start = balance.from_gallery(GALLERY, LABELS, GROUPS, 5, 0, shares=shares)
    assert start.mixtures == {"c": 3}
    assert start.initial.gallery_rows[2:].tolist() == [-1, -1, -1]
    # In the plane of two rows of c: what is left of it outside their span is nothing.
    basis = np.linalg.qr(GALLERY[GROUPS == "c"].T.astype(float))[0]
    mixed = start.initial.embeddings[2:].astype(float)
    np.testing.assert_allclose(mixed @ basis @ basis.T, mixed, atol=1e-6)


def test_people_of_an_earlier_set_come_last():
    taken = np.flatnonzero(GROUPS == "b")[:6]
    start = balance.from_gallery(GALLERY, LABELS, GROUPS, 6, 0, taken=taken)
    chosen = start.initial.gallery_rows[start.groups == "b"]
    assert not set(LABELS[chosen]) & set(LABELS[taken])


def test_the_report_is_that_of_brute_force():
    x = packing_oracles.random_rows(12, 6, seed=3)
    groups = np.repeat(["a", "b", "c"], [7, 4, 1])
    report = balance.balance_report(x, groups, GALLERY, GROUPS, block_size=5)
    to_gallery = x.astype(float) @ GALLERY.T
    nearest = GROUPS[to_gallery.argmax(axis=1)]
    cosine = x.astype(float) @ x.T - 3 * np.eye(12)
    assert report["belonging"] == np.mean(nearest == groups)
    for name, figures in report["groups"].items():
        mine = groups == name
        assert figures["count"] == mine.sum()
        assert figures["belonging"] == np.mean(nearest[mine] == name)
        assert figures["count_by_nearest"] == np.sum(nearest == name)
        expected = cosine[mine].max(axis=1).mean()
        assert figures["mean_nearest_cosine"] == pytest.approx(expected, abs=1e-6)
        expected = to_gallery[mine].max(axis=1).mean()
        assert figures["mean_gallery_cosine"] == pytest.approx(expected, abs=1e-6)
        for other, largest in figures["max_cosine"].items():
            if name == other == "c":
                assert largest is None, "a single one has no other in its group"
                continue
            expected = cosine[np.ix_(mine, groups == other)].max()
            assert largest == pytest.approx(expected, abs=1e-6)
    lines = balance.describe(report)
    assert [line.split(":")[0].strip() for line in lines] == ["a", "b", "c"]
    assert "7 references" in lines[0]


def test_refusals():
    one_person = np.where(LABELS == 18, "b", GROUPS)
    for groups, n, shares, message in (
        (GROUPS, 6, {"a": 0.5, "x": 0.5}, "no group 'x'; it holds a, b, c"),
        (GROUPS, 6, {"a": 0.5, "b": 0.3}, "sum to 0.8"),
        (GROUPS, 6, {"a": 1.5, "b": -0.5}, "the share of a is 1.5"),
        (GROUPS, 6, {"a": 1.0, "b": 0.0}, "the share of b is 0"),
        (GROUPS, 2, None, "leaves none for the group c"),
        (GROUPS, 0, None, "num_identities is 0"),
        (one_person, 8, None, "holds 1 person of the group c"),
    ):
        with pytest.raises(InputError, match=message):
            balance.from_gallery(GALLERY, LABELS, groups, n, 0, shares=shares)
