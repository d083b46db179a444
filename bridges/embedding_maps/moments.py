"""Sums over pairs of rows, which say all that a linear fit and its error depend on."""

from typing import NamedTuple

import numpy as np

# Rows that are in memory in double precision at a time.
_ROWS_AT_ONCE = 8192


class Moments(NamedTuple):
    """Sums over pairs of rows ``a``, ``b``, in double precision.

    Those of two sets add up to those of both (:meth:`plus`), so that cross-validation
    reads each row once.

    Attributes:
      count: how many pairs.
      sum_a: ``[p]``.
      sum_b: ``[q]``.
      aa: ``[p, p]``, the sum of ``a aᵀ``.
      ab: ``[p, q]``, the sum of ``a bᵀ``.
      bb: the sum of ``|b|²``.
    """

    count: int
    sum_a: np.ndarray
    sum_b: np.ndarray
    aa: np.ndarray
    ab: np.ndarray
    bb: float

    @classmethod
    def of(cls, a: np.ndarray, b: np.ndarray) -> "Moments":
        """Of ``a`` ``[n, p]`` and ``b`` ``[n, q]``."""
        p, q = a.shape[1], b.shape[1]
        total = cls(0, np.zeros(p), np.zeros(q), np.zeros((p, p)), np.zeros((p, q)), 0)
        for start in range(0, len(a), _ROWS_AT_ONCE):
            x = a[start : start + _ROWS_AT_ONCE].astype(np.float64)
            y = b[start : start + _ROWS_AT_ONCE].astype(np.float64)
            part = cls(len(x), x.sum(0), y.sum(0), x.T @ x, x.T @ y, (y**2).sum())
            total = total.plus(part)
        return total

    def plus(self, other: "Moments") -> "Moments":
        """Of the pairs of both."""
        return Moments(*(x + y for x, y in zip(self, other, strict=True)))

    @property
    def mean_a(self) -> np.ndarray:
        """``[p]``."""
        return self.sum_a / self.count

    @property
    def mean_b(self) -> np.ndarray:
        """``[q]``."""
        return self.sum_b / self.count

    def centred(self) -> tuple[np.ndarray, np.ndarray]:
        """``aa`` and ``ab`` of the same pairs less their means."""
        return (
            self.aa - np.outer(self.sum_a, self.mean_a),
            self.ab - np.outer(self.sum_a, self.mean_b),
        )
