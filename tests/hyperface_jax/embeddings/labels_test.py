"""Labels: numbers or names, one a row; anything else is named and refused."""

import math

import numpy as np
import pytest

from hyperface_jax import (
    InputError,
    PackingConfig,
    measure_capacity,
    measure_spread,
    save_embeddings,
    separation_statistics,
)
from hyperface_jax.embeddings.labels import coded
from hyperface_jax.packing import balance
from hyperface_jax.packing.initialization import from_gallery
from tests.hyperface_jax import packing_oracles

ROWS = packing_oracles.clustered_rows(6, 4)
PEOPLE = ["cid", "ann", "cid", "bob", "ann", "cid"]
CODES = [2, 0, 2, 1, 0, 2]


@pytest.mark.parametrize(
    "values",
    [
        CODES,
        tuple(CODES),
        np.array(CODES, np.int8),
        np.array(CODES, np.uint64),
        np.array(CODES, np.float16),
        np.array(CODES, object),
        [2, 0.0, np.int32(2), 1, np.float32(0), 2],
    ],
)
def test_whole_numbers_of_any_type_are_themselves(values):
    found = coded(values, 6, "labels")
    assert found.codes.dtype == np.int64
    assert found.codes.tolist() == CODES
    assert found.identities is None


@pytest.mark.parametrize("dtype", [None, object, np.dtypes.StringDType()])
def test_names_become_numbers_in_their_order(dtype):
    values = PEOPLE if dtype is None else np.array(PEOPLE, dtype)
    found = coded(values, 6, "labels")
    assert found.codes.tolist() == CODES
    assert found.identities.tolist() == ["ann", "bob", "cid"]


def test_numbers_beyond_what_a_float_holds_stay_apart():
    values = [2**62, 2**62 + 1, -(2**63), 2**63 - 1]
    assert coded(values, 4, "labels").codes.tolist() == values


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (None, "labels are None"),
        ("cid", "labels are 'cid'"),
        (3, "labels are 3"),
        ({"a": 1}, "labels are {'a': 1}"),
        (CODES[:5], r"labels have shape \(5,\), expected \(6,\)"),
        (np.zeros((6, 1)), r"labels have shape \(6, 1\)"),
        ([*CODES[:5], None], "labels: row 5 is None"),
        ([*CODES[:5], True], "labels: row 5 is True"),
        ([*CODES[:5], 0.5], r"labels: row 5 is 0\.5"),
        ([*CODES[:5], math.nan], "labels: row 5 is nan"),
        ([*CODES[:5], 2**63], f"labels: row 5 is {2**63}"),
        ([*CODES[:5], 10**400], "labels: row 5 is 1000"),
        ([*CODES[:5], [1]], r"labels: row 5 is \[1\]"),
        ([*CODES[:5], "ann"], "labels: row 5 is 'ann' and row 0 2; give numbers for"),
        ([*PEOPLE[:5], 1], "labels: row 5 is 1 and row 0 'cid'"),
        ([*PEOPLE[:5], ""], "labels: row 5 is ''"),
        ([*PEOPLE[:5], b"cid"], "labels: row 5 is b'cid'"),
        ([*PEOPLE[:5], math.nan], "labels: row 5 is nan"),
        ([*PEOPLE[:5], "cid\0"], r"labels: row 5 is 'cid\\x00', .* without the char"),
        (np.array([*PEOPLE[:5], "c\0d"]), r"labels: row 5 is 'c\\x00d', .* without"),
        (
            np.array([*PEOPLE[:5], "cid\0"], np.dtypes.StringDType()),
            r"labels: row 5 is 'cid\\x00', .* without the character",
        ),
        (np.ma.array(CODES, mask=[0, 0, 0, 1, 0, 1]), "labels: row 3 is masked"),
        (np.ma.array(PEOPLE, mask=[0, 1, 0, 0, 0, 0]), "labels: row 1 is masked"),
        (np.array([0, 1, 2, np.nan, 4, 5]), "labels: row 3 is nan"),
        (np.array([0, 1, 2, 3, -np.inf, 5]), "labels: row 4 is -inf"),
        (np.array([0, 1e30, 2, 3, 4, 5]), r"labels: row 1 is 1e\+30"),
        (np.full(6, 2**63, np.uint64), f"labels: row 0 is {2**63}"),
        (np.ones(6, bool), "labels: row 0 is True"),
        (np.ones(6, complex), r"labels: row 0 is \(1\+0j\)"),
        (np.zeros(6, "M8[s]"), "labels: row 0 is datetime"),
    ],
)
def test_anything_else_is_refused(values, message):
    with pytest.raises(InputError, match=f"^{message}"):
        coded(values, 6, "labels")


def test_masked_arrays_without_gaps_are_as_any():
    assert coded(np.ma.array(CODES), 6, "labels").codes.tolist() == CODES
    assert coded(np.ma.array(CODES, mask=False), 6, "x").codes.tolist() == CODES


def test_gaps_and_nuls_are_refused_beside_labels_too(tmp_path):
    path = tmp_path / "rows.npz"
    gaps = np.ma.array(ROWS, mask=False)
    gaps[3, 1] = np.ma.masked
    with pytest.raises(InputError, match="row 3 is masked"):
        save_embeddings(path, gaps, kind="gallery")
    names = [f"{row}.jpg" for row in range(len(ROWS))]
    names[4] += "\0"
    for given in ({"names": names}, {"groups": {"gender": names}}):
        with pytest.raises(InputError, match=r"entry 4 is .* without the char"):
            save_embeddings(path, ROWS, kind="gallery", **given)
    assert not path.exists()


CONSUMERS = {
    "spread": lambda labels: measure_spread(ROWS, labels),
    "separation": lambda labels: separation_statistics(ROWS, labels).max_inter_cosine,
    "starts": lambda labels: from_gallery(ROWS, labels, 3, 0).gallery_rows.tolist(),
    "balance": lambda labels: balance.from_gallery(
        ROWS, labels, ["f", "f", "f", "m", "f", "f"], 3, 0
    ).initial.gallery_rows.tolist(),
    "capacity": lambda labels: (
        measure_capacity(
            ROWS, -0.5, PackingConfig(num_iterations=1), labels=labels, max_identities=2
        ).gallery_identities
    ),
}


@pytest.mark.parametrize("consumer", CONSUMERS)
def test_whoever_takes_labels_takes_names(consumer):
    take = CONSUMERS[consumer]
    assert take(PEOPLE) == take(np.array(CODES))
    with pytest.raises(InputError, match="labels: row 5 is nan"):
        take([*CODES[:5], math.nan])


def test_whose_embeddings_cancel_is_said_by_name():
    rows = np.array([[1, 0], [-1, 0], [0, 1]], np.float32)
    with pytest.raises(InputError, match="of identity ann cancel"):
        separation_statistics(rows, ["ann", "ann", "bob"])
