r"""How small the largest cosine between ``n`` points on a sphere can be at best.

Classical lower bounds, each proven; the best one that applies is what a packing is
measured against. None depends on the gallery: a packing that stays near faces can only
do worse.
"""

import math

import numpy as np

from hyperface_jax import checks

# Above this, floats can't represent every number of points.
_MOST = 10**15
# Largest degree of Levenshtein's polynomials; zeros of larger ones take minutes.
_STRONGEST = 2001


def max_cosine_bound(n: int, d: int) -> float:
    """The largest proven lower bound on the largest cosine of ``n`` points.

    Args:
      n: the number of points, at least 2.
      d: the dimension, at least 1. In one dimension there are two points; on the
        circle the regular polygon is best.

    Returns:
      A cosine no arrangement can go below.

    Examples:
      >>> from hyperface_jax import max_cosine_bound
      >>> max_cosine_bound(3, 512)
      -0.5
      >>> round(max_cosine_bound(10_000, 512), 4)
      0.0238
    """
    checks.whole_number(n, "n", 2, _MOST)
    checks.whole_number(d, "d", 1, _MOST)
    return _max_cosine_bound(int(n), int(d))


def _max_cosine_bound(n: int, d: int) -> float:
    if n <= d + 1:
        return simplex_bound(n)
    if d == 1:
        return 1.0
    if d == 2:
        return math.cos(2 * math.pi / n)
    if n <= 2 * d:
        return cross_polytope_bound()
    return levenshtein_bound(n, d)


def capacity_bound(max_cosine: float, d: int) -> float:
    """How many points can at most have all cosines up to ``max_cosine``.

    The inverse of :func:`max_cosine_bound`.

    Args:
      max_cosine: in [-1, 1).
      d: the dimension, at least 3.

    Returns:
      The bound on the number of points, a whole number as a float; infinite beyond
      what a float can tell apart.
    """
    checks.in_range(max_cosine, "max_cosine", -1, 1, open_high=True)
    checks.whole_number(d, "d", 3, _MOST)
    max_cosine, d = float(max_cosine), int(d)
    if max_cosine < 0:
        # n <= 1 - 1/s. Two points always fit, at a cosine of -1.
        return float(math.floor(min(1 - 1 / max_cosine + 1e-9, d + 1)))
    if max_cosine == 0:
        return 2.0 * d
    low, high = 2 * d, 4 * d
    while _max_cosine_bound(high, d) <= max_cosine:
        low, high = high, 2 * high
        if high > min(_MOST, _design_size(_STRONGEST, d)):
            return math.inf
    while high - low > 1:
        middle = (low + high) // 2
        if _max_cosine_bound(middle, d) <= max_cosine + 1e-12:
            low = middle
        else:
            high = middle
    return float(low)


def simplex_bound(n: int) -> float:
    """``-1 / (n - 1)``, in any dimension; attained by a simplex when ``n <= d + 1``.

    From ``|Σ x_i|² >= 0`` (Rankin, 1955).

    Args:
      n: the number of points, at least 2.
    """
    return -1.0 / (n - 1)


def cross_polytope_bound() -> float:
    """0, for ``n >= d + 2``; attained by a cross-polytope when ``n <= 2 d``.

    At most ``d + 1`` vectors of ``R^d`` can have all cosines negative (Rankin, 1955).
    """
    return 0.0


def levenshtein_bound(n: int, d: int) -> float:
    r"""The cosine at which Levenshtein's polynomial bound reaches ``n``.

    With :math:`P_k` the Gegenbauer polynomial of dimension ``d``, :math:`P_k(1) = 1`,

    .. math::
       L_{2k-1}(s) &= \binom{k+d-3}{k-1} \left[ \frac{2k+d-3}{d-1}
         - \frac{P_{k-1}(s) - P_k(s)}{(1-s) P_k(s)} \right]

       L_{2k}(s) &= \binom{k+d-2}{k} \left[ \frac{2k+d-1}{d-1}
         - \frac{(1+s)(P_k(s) - P_{k+1}(s))}{(1-s)(P_k(s) + P_{k+1}(s))} \right]

    bound the number of points with cosines up to ``s``, each between two zeros of
    Jacobi polynomials, where it rises from one Delsarte-Goethals-Seidel number to the
    next (Levenshtein, 1998, Handbook of Coding Theory, chapter 6). :math:`L_3` is
    :math:`d (1 - s)(2 + (d + 1) s) / (1 - d s^2)`.

    Args:
      n: the number of points, at least ``2 d``. Of millions in few dimensions fewer
        are taken: what holds for these holds for more.
      d: the dimension, at least 3.
    """
    n = min(n, _design_size(_STRONGEST, d))
    strength = 3
    while _design_size(strength + 1, d) < n:
        strength += 1
    low, high = _interval(strength, d)
    for _ in range(100):
        middle = (low + high) / 2
        if _levenshtein(strength, middle, d) < n:
            low = middle
        else:
            high = middle
    return low


def _design_size(strength: int, d: int) -> int:
    """The least number of points of a spherical design (Delsarte et al., 1977)."""
    half = strength // 2
    if strength % 2:
        return 2 * math.comb(d + half - 1, d - 1)
    return math.comb(d + half - 1, d - 1) + math.comb(d + half - 2, d - 1)


def _interval(strength: int, d: int) -> tuple[float, float]:
    """Where the bound of this strength applies: between two largest zeros."""
    k = strength // 2
    if strength % 2:
        return _largest_zero(k, 1, 1, d), _largest_zero(k + 1, 1, 0, d)
    return _largest_zero(k, 1, 0, d), _largest_zero(k, 1, 1, d)


def _largest_zero(k: int, a: int, b: int, d: int) -> float:
    """Of the Jacobi polynomial of degree ``k``, weight (1-t)^(a+e) (1+t)^(b+e).

    The zeros are the eigenvalues of the matrix of the three-term recurrence; ``e`` is
    ``(d - 3) / 2``, the weight of the sphere.
    """
    if k == 0:
        return -1.0
    alpha, beta = a + (d - 3) / 2, b + (d - 3) / 2
    i = np.arange(1, k)
    total = 2 * i + alpha + beta
    diagonal = np.empty(k)
    diagonal[0] = (beta - alpha) / (alpha + beta + 2)
    diagonal[1:] = (beta**2 - alpha**2) / (total * (total + 2))
    squared = 4 * i * (i + alpha) * (i + beta) * (i + alpha + beta)
    off = np.sqrt(squared / (total**2 * (total + 1) * (total - 1)))
    matrix = np.diag(diagonal) + np.diag(off, 1) + np.diag(off, -1)
    return float(np.linalg.eigvalsh(matrix)[-1])


def _levenshtein(strength: int, s: float, d: int) -> float:
    k = (strength + 1) // 2
    before, at, after = _gegenbauer(k, s, d)
    if strength % 2:
        factor, first = math.comb(k + d - 3, k - 1), (2 * k + d - 3) / (d - 1)
        return factor * (first - (before - at) / ((1 - s) * at))
    factor, first = math.comb(k + d - 2, k), (2 * k + d - 1) / (d - 1)
    ratio = (1 + s) * (at - after) / ((1 - s) * (at + after))
    return factor * (first - ratio)


def _gegenbauer(k: int, s: float, d: int) -> tuple[float, float, float]:
    """Degrees ``k - 1``, ``k`` and ``k + 1`` at ``s``, each 1 at 1."""
    values = [1.0, s]
    for i in range(1, k + 1):
        values.append(
            ((2 * i + d - 2) * s * values[i] - i * values[i - 1]) / (i + d - 2)
        )
    return values[k - 1], values[k], values[k + 1]
