"""Random starts of a chosen symmetry, for spherical codes that others do not lead to.

Where a rotation maps points to each other it maps the forces between them, too. So a
descent keeps the symmetry of its start, but for rounding: it searches among symmetric
arrangements alone, which are far fewer than all and hold many of the best codes.

The group is that of the maps x → ax + b of a finite field, with all b and with the
multipliers a of a subgroup. It acts on functions on the field; on those, too, that are
sums of the characters which a larger subgroup makes of one. Space is taken as so many
copies of these functions that one dimension or more is left for each, which the group
leaves alone. A point has in general an image for each map; one that all multipliers
leave alone, an image for each b; one in the rest is alone.
"""

import itertools
from typing import NamedTuple

import numpy as np


class Symmetry(NamedTuple):
    """The group that is to map the points to each other.

    Attributes:
      prime: the field has ``prime ** power`` elements; an odd prime.
      power: as above.
      multipliers: how many, a divisor of the number of elements less 1.
      characters: how many make up the functions: an even divisor of the same number,
        or None for all but the constant one.
      antipodal: whether the opposite of each point is one, too.
    """

    prime: int
    power: int = 1
    multipliers: int = 1
    characters: int | None = None
    antipodal: bool = False

    def __str__(self) -> str:
        field = self.prime**self.power
        return f"{'±' * self.antipodal}{field}:{self.multipliers}"


def sample(symmetry: Symmetry, n: int, d: int, seed: int) -> np.ndarray:
    """Draws ``n`` points in ``d`` dimensions that the group maps to each other.

    Successive seeds go through the ways to divide them among the two kinds of orbits.
    What is left, divided by the number of elements of the field, is alone.

    Args:
      symmetry: the group.
      n: how many; even for an antipodal one.
      d: dimensions, more than one copy of the functions has.
      seed: of the draw.

    Returns:
      ``[n, d]`` float32, unit rows.
    """
    random = np.random.default_rng(seed)
    p, power, multipliers, characters, antipodal = symmetry
    field = np.indices((p,) * power).reshape(power, -1).T
    subgroup = _subgroup(p, power, multipliers)
    characters = characters or len(field) - 1
    basis = _functions(field, _subgroup(p, power, characters), p)
    # Which element each is mapped to, [multipliers, elements b, elements x].
    maps = (field[:, None] + field) @ np.swapaxes(subgroup, 1, 2)[:, None] % p
    maps = np.ravel_multi_index(np.moveaxis(maps, -1, 0), (p,) * power)

    copies = d // (basis.shape[1] + 1)
    rest = d - copies * basis.shape[1]
    orbits, alone = divmod(n // 2 if antipodal else n, len(field))
    large = seed % (orbits // multipliers + 1)
    points = []
    for orbit in range(large + orbits - large * multipliers):
        functions = random.standard_normal((copies, len(field)))
        if orbit < large:
            moves = maps.reshape(-1, len(field))
        else:
            moves = maps[0]
            functions = np.mean(functions[:, maps[:, 0]], axis=1)
        turned = functions[:, moves] @ basis
        still = np.broadcast_to(random.standard_normal(rest), (len(moves), rest))
        points.append(np.concatenate([*turned, still], axis=1))
    still = random.standard_normal((alone, rest))
    points.append(np.pad(still, [(0, 0), (d - rest, 0)]))
    x = np.concatenate(points)
    x /= np.linalg.norm(x, axis=1, keepdims=True)
    return np.concatenate([x, -x] if antipodal else [x]).astype(np.float32)


def _subgroup(p: int, power: int, count: int) -> np.ndarray:
    """``count`` matrices modulo ``p`` that multiply elements of the field, 1 first."""
    order = p**power - 1
    # Companion matrices, until one generates all that multiply but 0.
    for coefficients in itertools.product(range(1, p), *[range(p)] * (power - 1)):
        generator = np.eye(power, k=-1, dtype=int)
        generator[:, -1] = coefficients
        powers = [np.eye(power, dtype=int)]
        for _ in range(order - 1):
            powers.append(powers[-1] @ generator % p)
        if len({matrix.tobytes() for matrix in powers}) == order:
            break
    return np.array(powers[:: order // count])


def _functions(field: np.ndarray, subgroup: np.ndarray, p: int) -> np.ndarray:
    """Orthonormal columns ``[elements, …]`` that the group turns into each other."""
    characters = subgroup[:, 0]
    # The sine and cosine of a character are those of its inverse.
    lower = [tuple(c) < tuple(-c % p) for c in characters]
    angles = 2 * np.pi / p * field @ characters[lower].T
    return np.sqrt(2 / len(field)) * np.concatenate(
        [np.cos(angles), np.sin(angles)], axis=1
    )
