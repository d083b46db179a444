r"""How small the largest cosine between ``n`` points on a sphere can be at best.

Three classical lower bounds, each proven; the best one that applies is what a packing
is measured against. None depends on the gallery: a packing that stays near faces can
only do worse.
"""

import math

from hyperface_jax import checks


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
    r"""The cosine ``s >= 0`` at which Levenshtein's third polynomial reaches ``n``.

    .. math:: n \le L_3(d, s) = \frac{d (1 - s)(2 + (d + 1) s)}{1 - d s^2}

    for :math:`0 \le s \le (\sqrt{d + 3} - 1) / (d + 2)`; beyond that range the value at
    its end, which remains a bound since the best cosine grows with ``n`` (Levenshtein,
    1992).

    Args:
      n: the number of points, more than ``2 d``.
      d: the dimension, at least 2.
    """
    # n (1 - d s²) = d (1 - s)(2 + (d + 1) s), a quadratic in s.
    a = n * d - d * (d + 1)
    b = d * (d - 1)
    c = 2 * d - n
    s = (-b + math.sqrt(b * b - 4 * a * c)) / (2 * a)
    return min(s, (math.sqrt(d + 3) - 1) / (d + 2))


def max_cosine_bound(n: int, d: int) -> float:
    """The largest proven lower bound on the largest cosine of ``n`` points.

    Args:
      n: the number of points, at least 2.
      d: the dimension, at least 1. In one dimension there are two points; on the
        circle the regular polygon is best.

    Returns:
      A cosine no arrangement can go below.
    """
    checks.in_range(n, "n", 2)
    checks.in_range(d, "d", 1)
    if n <= d + 1:
        return simplex_bound(n)
    if d == 1:
        return 1.0
    if d == 2:
        return math.cos(2 * math.pi / n)
    if n <= 2 * d:
        return cross_polytope_bound()
    return levenshtein_bound(n, d)
