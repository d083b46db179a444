"""Input that is refused in one line, and odd input that is not."""

import json
import math

import numpy as np
import pytest

from hyperface_jax import (
    InputError,
    PackingConfig,
    checks,
    pack_embeddings,
    packing_record,
)
from hyperface_jax.embeddings import rows as row_checks
from tests.hyperface_jax import packing_oracles

X = packing_oracles.random_rows(6, 4)


@pytest.mark.parametrize(
    ("initial", "message"),
    [
        ([[1.0, 0.0], [1.0]], "initial: its rows differ in length"),
        (X.astype(object), "initial: embeddings are object"),
        (X.astype(complex), "initial: embeddings are complex128"),
        ("rows.npy", "initial: embeddings have shape"),
        (None, "initial: embeddings have shape"),
        (X[:0], "initial: embeddings are empty"),
        (X[:, :0], "initial: embeddings are empty"),
        (X[:1], "initial: 1 row, needs at least 2"),
    ],
)
def test_rows_that_are_none(initial, message):
    with pytest.raises(InputError, match=message):
        pack_embeddings(initial, X)


@pytest.mark.parametrize("what", ["gallery", "fixed", "enrolled"])
def test_malformed_surroundings_are_named(what):
    holed = X.copy()
    holed[2, 1] = np.nan
    for rows, message in (
        (holed, f"{what}: row 2 is not finite"),
        (X[:0], f"{what}: embeddings are empty"),
        (3 * X, f"{what}: row 0 is not of unit length"),
        (X[:, :3], f"initial and {what} have 4 and 3 columns|{what}: row"),
    ):
        surroundings = {"gallery": X} | {what: rows}
        with pytest.raises(InputError, match=message):
            pack_embeddings(X, **surroundings)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("num_iterations", 2.5),
        ("num_iterations", True),
        ("num_iterations", "3"),
        ("block_size", 64.0),
        ("block_size", -1),
        ("batch_size", 1),
        ("decay_every", 0),
        ("seed", 1.5),
        ("seed", None),
        ("regularization_weight", "high"),
        ("regularization_weight", math.nan),
        ("regularization_weight", math.inf),
        ("regularization_weight", -0.5),
        ("max_enrolled_cosine", 1.01),
        ("max_enrolled_cosine", -1.0),
        ("tolerance", math.nan),
        ("time_limit", 0),
        ("time_limit", math.inf),
        ("method", None),
    ],
)
def test_settings_are_refused_by_name(name, value):
    with pytest.raises(InputError, match=f"^{name} is "):
        PackingConfig(**{name: value})


def test_numpys_numbers_and_tiles_beyond_the_rows_are_fine(tmp_path):
    plain = PackingConfig(num_iterations=3, seed=5)
    odd = PackingConfig(
        num_iterations=np.int64(3),
        seed=np.uint32(5),
        regularization_weight=np.float32(0.5),
        block_size=np.int64(10**6),
    )
    path = tmp_path / "checkpoint.npz"
    expected = pack_embeddings(X, X, plain)
    found = pack_embeddings(X, X, odd, checkpoint_path=path, checkpoint_seconds=0)
    np.testing.assert_array_equal(found.embeddings, expected.embeddings)
    assert path.exists()
    record = json.loads(json.dumps(packing_record(found, X, X)))
    assert record["block_size"] == 10**6


def test_whole_numbers():
    checks.whole_number(np.int8(3), "n", 1, 3)
    for value in (0, 4, 2.0, True, np.bool(True), "2", None):
        with pytest.raises(InputError, match=r"^n is"):
            checks.whole_number(value, "n", 1, 3)


def test_rows_are_checked_in_pieces(monkeypatch):
    for module in (checks, row_checks):
        monkeypatch.setattr(module, "ROWS_AT_ONCE", 4)
    stretched = X.astype(np.float64) * 1.0005
    exact = stretched / np.linalg.norm(stretched, axis=1, keepdims=True)
    found = checks.unit_rows(stretched, "rows")
    np.testing.assert_array_equal(found, exact.astype(np.float32))
    for row in (3, 4, 5):
        bad = X.copy()
        bad[row] *= 2
        with pytest.raises(InputError, match=f"^rows: row {row} is not of unit"):
            checks.unit_rows(bad, "rows")
