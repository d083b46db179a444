"""The map itself: centre, multiply, add the other mean, make unit."""

from typing import NamedTuple

import numpy as np

from bridges.embedding_maps.moments import Moments

_ROWS_AT_ONCE = 8192
# A mapped row of this length or less has no direction.
_SHORTEST = 1e-12


class AffineMap(NamedTuple):
    """Maps ``a`` to ``(a - from_mean) matrix + to_mean``, made unit.

    Attributes:
      matrix: ``[p, q]``.
      from_mean: ``[p]``, the mean of the rows that were mapped when it was fitted.
      to_mean: ``[q]``, the mean of those they were mapped to.
    """

    matrix: np.ndarray
    from_mean: np.ndarray
    to_mean: np.ndarray

    def __call__(self, rows: np.ndarray) -> np.ndarray:
        """Maps ``[n, p]`` rows to ``[n, q]`` float32, unit rows.

        A row that is mapped to nothing at all stays zeros.
        """
        mapped = np.empty((len(rows), self.matrix.shape[1]), np.float32)
        for start in range(0, len(rows), _ROWS_AT_ONCE):
            some = slice(start, start + _ROWS_AT_ONCE)
            exact = (rows[some] - self.from_mean) @ self.matrix + self.to_mean
            norms = np.linalg.norm(exact, axis=1, keepdims=True)
            mapped[some] = exact / np.maximum(norms, _SHORTEST)
        return mapped

    def squared_error(self, pairs: Moments) -> float:
        """The mean of ``|b - (a - from_mean) matrix - to_mean|²``, before made unit."""
        # With c = to_mean - from_mean M the prediction is a M + c.
        m, c = self.matrix, self.to_mean - self.from_mean @ self.matrix
        of_products = np.vdot(m, pairs.aa @ m) - 2 * np.vdot(m, pairs.ab)
        of_sums = 2 * c @ (pairs.sum_a @ m - pairs.sum_b) + pairs.count * (c @ c)
        return float((pairs.bb + of_products + of_sums) / pairs.count)
