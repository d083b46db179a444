"""Error rates of scored pairs, whatever the scores are.

Throughout, ``scores`` are ``[p]`` floats, larger for more alike, and ``same`` is
``[p]`` bool: a genuine pair shows one person, an impostor pair two.
"""

import numpy as np
from scipy import stats


def confusion(accepted: np.ndarray, same: np.ndarray) -> dict[str, int]:
    """Counts of the four outcomes.

    Args:
      accepted: ``[p]`` bool, whether the pair was taken for one person.
      same: ``[p]`` bool.
    """
    return {
        "true_accept": int((accepted & same).sum()),
        "false_reject": int((~accepted & same).sum()),
        "false_accept": int((accepted & ~same).sum()),
        "true_reject": int((~accepted & ~same).sum()),
    }


def area_under_curve(scores: np.ndarray, same: np.ndarray) -> float:
    """Probability that a genuine pair scores above an impostor pair; ties count half.

    This is the area under the ROC curve, computed as the Mann-Whitney statistic.
    """
    positives = int(same.sum())
    ranks = stats.rankdata(scores)[same].sum() - positives * (positives + 1) / 2
    return float(ranks / (positives * (len(same) - positives)))


def equal_error_rate(scores: np.ndarray, same: np.ndarray) -> float:
    """The rate at which impostors are accepted as often as genuine pairs rejected.

    The two rates are step functions of the threshold; where they cross between two
    thresholds, the straight lines through their values are intersected.
    """
    thresholds = np.concatenate(([-np.inf], np.unique(scores)))
    genuine, impostors = np.sort(scores[same]), np.sort(scores[~same])
    # Accepted are the scores above the threshold.
    rejected = np.searchsorted(genuine, thresholds, side="right") / len(genuine)
    accepted = 1 - np.searchsorted(impostors, thresholds, side="right") / len(impostors)
    gap = rejected - accepted
    after = int(np.argmax(gap >= 0))
    before = after - 1
    share = -gap[before] / (gap[after] - gap[before])
    return float(rejected[before] + share * (rejected[after] - rejected[before]))


def true_accept_rate(
    scores: np.ndarray, same: np.ndarray, false_accept_rate: float
) -> float | None:
    """Fraction of genuine pairs accepted when at most this fraction of impostors is.

    None with fewer impostor pairs than ``1 / false_accept_rate``: they can't resolve
    the rate.
    """
    impostors = np.sort(scores[~same])[::-1]
    allowed = allowed_impostors(false_accept_rate, len(impostors))
    if allowed == 0 < false_accept_rate:
        return None
    if allowed >= len(impostors):
        return 1.0
    return float((scores[same] > impostors[allowed]).mean())


def allowed_impostors(false_accept_rate: float, num_impostors: int) -> int:
    """How many impostor pairs may be accepted at a false accept rate."""
    # The margin keeps 0.01 * 300 from being 2.9999999.
    return int(false_accept_rate * num_impostors + 1e-9)
