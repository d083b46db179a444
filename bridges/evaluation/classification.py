"""Verification as classification of pairs: precision, recall and what follows.

The metrics of Mankame, Bhaumik and Hemalatha (Embedding extraction for HyperFace
optimization using synthesized face images, section 4.2), computed by scikit-learn from
the counts of the four outcomes. A genuine pair is a positive; recall and sensitivity
are two names of one figure, the true accept rate.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
from sklearn import metrics as scores

from bridges.evaluation.tables import UNKNOWN, Metrics, Rows
from hyperface_jax import InputError

FIGURES = ("accuracy", "precision", "recall", "f1", "specificity", "sensitivity")
# As the paper's Tables 5 to 7 call them, by the names of metrics.json.
_OUTCOMES = {
    "TP": "true_accept",
    "TN": "true_reject",
    "FP": "false_accept",
    "FN": "false_reject",
}


def classification(confusion: Mapping[str, int]) -> dict[str, float | None]:
    """The figures of decided pairs.

    Args:
      confusion: as :func:`bridges.evaluation.error_rates.confusion` counts.

    Returns:
      By the names in ``FIGURES``; None where undefined: recall without genuine pairs,
      specificity without impostors, precision and F1 without an accepted or genuine
      pair.

    Raises:
      InputError: no pair was counted.
    """
    counts = [confusion[name] for name in _OUTCOMES.values()]
    if not sum(counts):
        raise InputError("confusion: no pairs in it; nothing to classify")
    given = {
        "y_true": [1, 0, 0, 1],
        "y_pred": [1, 0, 1, 0],
        "sample_weight": counts,
    }
    known = {**given, "zero_division": np.nan}
    recall = scores.recall_score(**known)
    found = {
        "accuracy": scores.accuracy_score(**given),
        "precision": scores.precision_score(**known),
        "recall": recall,
        "f1": scores.f1_score(**known),
        "specificity": scores.recall_score(**known, pos_label=0),
        "sensitivity": recall,
    }
    return {
        name: float(value) if np.isfinite(value) else None
        for name, value in found.items()
    }


def classification_table(metrics: Metrics) -> Rows:
    """The paper's Table 4: a row for each recogniser on each set."""
    rows = [["method", "dataset", *FIGURES]]
    for name, benchmark, result in _each(metrics):
        found = classification(result["confusion"])
        rows.append([name, benchmark, *(_number(found[one]) for one in FIGURES)])
    return rows


def confusion_table(metrics: Metrics) -> Rows:
    """The paper's Tables 5 to 7: counts of the four outcomes."""
    rows = [["method", "dataset", *_OUTCOMES]]
    for name, benchmark, result in _each(metrics):
        counts = (result["confusion"][one] for one in _OUTCOMES.values())
        rows.append([name, benchmark, *map(str, counts)])
    return rows


def confusions(metrics: Metrics) -> dict[str, np.ndarray]:
    """``[2, 2]`` counts by title: genuine and impostor pairs, accepted and rejected."""
    result = {}
    for name, benchmark, each in _each(metrics):
        counts = each["confusion"]
        result[f"{name} on {benchmark}"] = np.array(
            [
                [counts["true_accept"], counts["false_reject"]],
                [counts["false_accept"], counts["true_reject"]],
            ]
        )
    return result


def _each(metrics: Metrics) -> list[tuple[str, str, Mapping[str, Any]]]:
    return [
        (name, benchmark, result)
        for name, each in metrics.items()
        for benchmark, result in each["benchmarks"].items()
    ]


def _number(value: float | None) -> str:
    return UNKNOWN if value is None else f"{value:.4f}"
