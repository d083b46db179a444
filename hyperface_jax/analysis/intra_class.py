r"""How far images stray from their identity, and how near two identities may then be.

A verifier accepts a pair of images whose cosine exceeds a threshold :math:`t`. Images
of an identity lie about its reference, an angle :math:`σ` off. Two identities are told
apart when images of one and of the other stay below the threshold; how near their
references may come depends on which images are meant:

- *worst case*: all images within the angle, whatever their direction;
- *typical*: images an angle :math:`σ` off in random directions, all but a share of the
  pairs, the false match rate. In hundreds of dimensions random directions are nearly
  orthogonal, so this allows far more identities. It is an optimistic model: pose and
  light change images of all people in the same few directions.
"""

import math
import statistics
from typing import Any, NamedTuple

import numpy as np

from hyperface_jax import checks
from hyperface_jax.errors import InputError

_GRID = 20_001


class Spread(NamedTuple):
    """The intra-class spread of a set of images; angles in degrees.

    Attributes:
      typical: the angle ``σ`` at which random directions give images the mean cosine
        between two images of an identity that was found, ``cos² σ``. Unlike the angle
        to the mean image, it does not shrink with the number of images.
      worst: the angle to the mean of the other images of the identity that 95 % of
        the images stay within.
      num_identities: identities with at least two images; the others say nothing.
      num_images: of these identities.
    """

    typical: float
    worst: float
    num_identities: int
    num_images: int


def measure_spread(embeddings: Any, labels: Any, *, quantile: float = 0.95) -> Spread:
    """Measures the intra-class spread of labelled images.

    Args:
      embeddings: ``[m, d]``, unit rows, images.
      labels: ``[m]`` whole numbers or names, the identity of each.
      quantile: the share of the images that ``worst`` holds for, in (0, 1].

    Raises:
      InputError: malformed rows or labels, or no identity with two images.
    """
    rows = checks.unit_rows(embeddings, "embeddings").astype(np.float64)
    checks.in_range(quantile, "quantile", 0, 1, open_low=True)
    labels = checks.labels(labels, len(rows))
    _, identity, counts = np.unique(labels, return_inverse=True, return_counts=True)
    if counts.max() < 2:
        raise InputError(
            "no identity has two images, so the spread of images is unknown; give "
            "several images of each, or the spread as an angle"
        )
    sums = np.zeros((len(counts), rows.shape[1]))
    np.add.at(sums, identity, rows)
    several = counts >= 2
    pairs = counts[several] * (counts[several] - 1)
    # |sum x|² counts every pair twice and every image once.
    genuine = (np.sum(sums[several] ** 2, axis=1) - counts[several]) / pairs
    typical = math.acos(math.sqrt(min(1.0, max(0.0, genuine.mean()))))
    shown = several[identity]
    others = sums[identity[shown]] - rows[shown]
    lengths = np.maximum(np.linalg.norm(others, axis=1), 1e-12)
    cosine = np.sum(others * rows[shown], axis=1) / lengths
    angles = np.degrees(np.arccos(np.clip(cosine, -1, 1)))
    return Spread(
        typical=math.degrees(typical),
        worst=float(np.quantile(angles, quantile)),
        num_identities=int(several.sum()),
        num_images=int(shown.sum()),
    )


def worst_case_cosine(threshold: float, spread: float) -> float | None:
    """The largest cosine of two references none of whose images are confused.

    An image lies within ``spread`` of its reference, so images of two references at
    angle ``θ`` are at least ``θ - 2 spread`` apart, and are told apart when that is at
    least ``arccos threshold``.

    Args:
      threshold: cosine above which a verifier accepts a pair, in (-1, 1).
      spread: angle between an image and its reference, in degrees, in [0, 90].

    Returns:
      The cosine, or None when even opposite references are confused.
    """
    _check(threshold, spread)
    angle = math.acos(threshold) + 2 * math.radians(spread)
    return None if angle > math.pi + 1e-12 else math.cos(angle)


def typical_cosine(
    threshold: float, spread: float, d: int, *, false_match_rate: float = 1e-3
) -> float | None:
    r"""The largest cosine of two references whose images are rarely confused.

    With images :math:`\cos σ\, x + \sin σ\, u` in a random direction :math:`u ⊥ x`, the
    cosine of two images of references at cosine :math:`c` has the mean
    :math:`c \cos^2 σ` and the variance

    .. math:: \frac{2 \cos^2 σ \sin^2 σ (1 - c^2)}{d - 1}
        + \sin^4 σ \frac{d - 2 + c^2}{(d - 1)^2},

    and is nearly normal in many dimensions. The largest :math:`c` is taken up to which
    no more than the false match rate lies above the threshold.

    Args:
      threshold: cosine above which a verifier accepts a pair, in (-1, 1).
      spread: angle between an image and its reference, in degrees, in [0, 90].
      d: the dimension, at least 2.
      false_match_rate: the share of pairs of images of the two identities that may be
        accepted, in (0, 0.5].

    Returns:
      The cosine, or None when even opposite references are confused more often.
    """
    _check(threshold, spread)
    checks.whole_number(d, "d", 2, checks.MOST)
    checks.in_range(false_match_rate, "false_match_rate", 0, 0.5, open_low=True)
    deviations = -statistics.NormalDist().inv_cdf(false_match_rate)
    c = np.linspace(-1, 1, _GRID)
    confused = image_cosine_quantile(c, spread, d, deviations) > threshold
    if confused[0]:
        return None
    if not confused.any():
        return 1.0
    first = int(confused.argmax())
    low, high = float(c[first - 1]), float(c[first])
    for _ in range(50):
        middle = (low + high) / 2
        above = image_cosine_quantile(middle, spread, d, deviations) > threshold
        low, high = (low, middle) if above else (middle, high)
    return low


def image_cosine_quantile(c: Any, spread: float, d: int, deviations: float) -> Any:
    """The mean cosine of images of references at cosine ``c``, plus deviations of it.

    See :func:`typical_cosine` for the formula and the arguments.
    """
    cos2 = math.cos(math.radians(spread)) ** 2
    sin2 = 1 - cos2
    one_direction = 2 * cos2 * sin2 * (1 - np.square(c)) / (d - 1)
    both = sin2**2 * (d - 2 + np.square(c)) / (d - 1) ** 2
    return c * cos2 + deviations * np.sqrt(one_direction + both)


def _check(threshold: float, spread: float) -> None:
    checks.in_range(threshold, "threshold", -1, 1, open_low=True, open_high=True)
    checks.in_range(spread, "spread", 0, 90)
