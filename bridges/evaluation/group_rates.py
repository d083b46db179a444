"""Error rates of demographic groups, of one verification set and of several."""

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from bridges.evaluation.error_rates import confusion
from bridges.evaluation.intervals import bounds_only, decision_intervals


def group_rates(
    confusions: Mapping[str, Mapping[str, int]],
) -> dict[str, dict[str, Any]]:
    """Error rates of groups from the counts of their outcomes.

    Args:
      confusions: by group, as :func:`bridges.evaluation.error_rates.confusion` counts.

    Returns:
      By group: ``num_pairs``, ``accuracy``, ``false_match_rate`` (impostor pairs
      accepted) and ``false_non_match_rate`` (genuine pairs rejected) as ISO/IEC 19795-1
      names them, None without a pair of that kind; and ``confusion``.
    """

    def rate(errors: int, correct: int) -> float | None:
        return errors / (errors + correct) if errors + correct else None

    return {
        name: {
            "num_pairs": sum(found.values()),
            "accuracy": (found["true_accept"] + found["true_reject"])
            / sum(found.values()),
            "false_match_rate": rate(found["false_accept"], found["true_reject"]),
            "false_non_match_rate": rate(found["false_reject"], found["true_accept"]),
            "confusion": dict(found),
        }
        for name, found in sorted(confusions.items())
    }


def rates_by_group(
    accepted: np.ndarray,
    same: np.ndarray,
    group: np.ndarray,
    people: np.ndarray | None = None,
) -> dict[str, dict[str, Any]]:
    """:func:`group_rates` of decided pairs.

    Args:
      accepted: ``[p]`` bool, whether the pair was taken for one person.
      same: ``[p]`` bool, whether it shows one.
      group: ``[p]`` labels.
      people: ``[p, 2]`` integers, the people of each pair, for ``intervals``: those of
        the three rates at 95 %, None of a rate that is None.
    """
    rows = {str(name): group == name for name in np.unique(group)}
    found = group_rates(
        {name: confusion(accepted[of], same[of]) for name, of in rows.items()}
    )
    if people is not None:
        for name, of in rows.items():
            found[name]["intervals"] = bounds_only(
                decision_intervals(accepted[of], same[of], people[of])
            )
    return found


def pool_groups(results: Iterable[Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    """:func:`group_rates` over the pairs of several verification sets together.

    Args:
      results: of ``evaluate_verification``; those without groups are ignored.
    """
    pooled: dict[str, Counter[str]] = {}
    for result in results:
        for name, found in result.get("groups", {}).items():
            pooled.setdefault(name, Counter()).update(found["confusion"])
    return group_rates(pooled)
