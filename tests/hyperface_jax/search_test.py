"""Search against brute force."""

import numpy as np
import packing_oracles
import pytest

from hyperface_jax import EmbeddingIndex, InputError


@pytest.mark.parametrize("block_size", [None, 1, 7, 40])
@pytest.mark.parametrize("k", [1, 5, 40])
def test_equals_brute_force(block_size, k):
    rows = packing_oracles.random_rows(40, 6)
    queries = packing_oracles.random_rows(1030, 6, seed=1)
    cosines, found = EmbeddingIndex(rows, block_size=block_size).search(queries, k)
    dense = queries @ rows.T
    order = np.argsort(-dense, axis=1, kind="stable")[:, :k]
    np.testing.assert_array_equal(found, order)
    np.testing.assert_allclose(
        cosines, np.take_along_axis(dense, order, axis=1), atol=1e-6
    )


def test_equal_rows_come_in_order():
    rows = np.eye(4, dtype=np.float32)[[0, 1, 0, 2, 0]]
    cosines, found = EmbeddingIndex(rows, block_size=2).search(rows[:1], 3)
    assert found.tolist() == [[0, 2, 4]]
    assert cosines.tolist() == [[1, 1, 1]]


def test_refusals():
    index = EmbeddingIndex(packing_oracles.random_rows(5, 4))
    queries = packing_oracles.random_rows(2, 4)
    for k, message in ((0, "k is 0"), (6, "k is 6, but the index holds only 5")):
        with pytest.raises(InputError, match=message):
            index.search(queries, k)
    with pytest.raises(InputError, match="columns"):
        index.search(packing_oracles.random_rows(2, 3), 1)
    with pytest.raises(InputError, match="block_size is 0"):
        EmbeddingIndex(queries, block_size=0)
