"""Random starts of a chosen symmetry, for spherical codes that others do not lead to.

Where a rotation maps points to each other it maps the forces between them, too. So a
descent keeps the symmetry of its start: it searches among the symmetric arrangements
alone, which are far fewer than all and hold many of the best codes.

The group is that of the maps x → ax + b of the numbers modulo a prime p, with the q
multipliers a of a subgroup of those modulo p; it has p·q elements. It acts on functions
of these numbers. Space, of d dimensions, is taken as d // p copies of the functions
with mean zero, of p - 1 dimensions each, and of the rest, which the group leaves alone:
as evenly as a group of p elements can turn it. A point is in general one of p·q
images; one that all multipliers leave alone, one of p; one in the rest is alone.
"""

from typing import NamedTuple

import numpy as np


class Symmetry(NamedTuple):
    """The group that is to map the points to each other.

    Attributes:
      modulus: the prime p, at most the number of dimensions.
      multipliers: how many q, a divisor of p - 1.
      antipodal: whether the opposite of each point is one, too.
    """

    modulus: int
    multipliers: int = 1
    antipodal: bool = False

    def __str__(self) -> str:
        return f"{'±' * self.antipodal}{self.modulus}:{self.multipliers}"


def sample(symmetry: Symmetry, n: int, d: int, seed: int) -> np.ndarray:
    """Draws ``n`` points in ``d`` dimensions that the group maps to each other.

    Successive seeds go through the ways to have orbits of p·q points and of p; n modulo
    p points are alone.

    Args:
      symmetry: the group.
      n: how many; even for an antipodal one.
      d: dimensions, at least ``symmetry.modulus``.
      seed: of the draw.

    Returns:
      ``[n, d]`` float32, unit rows.
    """
    random = np.random.default_rng(seed)
    p, q, antipodal = symmetry
    copies = d // p
    rest = d - copies * (p - 1)
    # Columns that span the functions with mean zero.
    basis = np.linalg.qr(np.ones((p, 1)), mode="complete")[0][:, 1:]
    subgroup = _multipliers(p, q)
    shifts = [(np.arange(p) + b) % p for b in range(p)]
    all_maps = [np.arange(p) * a % p for a in subgroup]
    all_maps = np.array([move[shift] for move in all_maps for shift in shifts])

    orbits, alone = divmod(n // 2 if antipodal else n, p)
    large = seed % (orbits // q + 1)
    points = []
    for orbit in range(large + orbits - large * q):
        functions = random.standard_normal((copies, p))
        moves = all_maps
        if orbit >= large:
            moves = np.array(shifts)
            functions = np.mean(functions[:, all_maps[::p]], axis=1)
        turned = functions[:, moves] @ basis
        still = np.broadcast_to(random.standard_normal(rest), (len(moves), rest))
        points.append(np.concatenate([*turned, still], axis=1))
    still = random.standard_normal((alone, rest))
    points.append(np.pad(still, [(0, 0), (d - rest, 0)]))
    x = np.concatenate(points)
    x /= np.linalg.norm(x, axis=1, keepdims=True)
    return np.concatenate([x, -x] if antipodal else [x]).astype(np.float32)


def _multipliers(p: int, q: int) -> list[int]:
    """The subgroup of ``q`` of the numbers from 1 to ``p - 1`` under multiplication."""
    return sorted(a for a in range(1, p) if pow(a, q, p) == 1)
