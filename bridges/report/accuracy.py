"""The report's section on accuracy: a plot, a table per recogniser, the details.

Where pairs are labelled by demographic group, errors of each group too.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from bridges.report import elements, plots
from bridges.report.run_folder import OWN

# The five verification sets, in the order of the ones the field uses.
_SET_NAMES = {
    "mixed": "Mixed",
    "cross_age": "Cross-age",
    "cross_pose": "Cross-pose",
    "frontal_profile": "Frontal–profile",
    "age_gap_30": "Age gap 30",
}
_RECOGNISER_NAMES = {
    OWN: "Packed",
    "rendered": "Rendered faces",
    "unpacked": "Unpacked",
}
_RATES = {"1e-2": "1 %", "1e-3": "0.1 %", "1e-4": "0.01 %"}

Accuracies = Mapping[str, Sequence[tuple[float, float]]]


def accuracy_section(
    metrics: Mapping[str, dict[str, Any]], *, trained_here: bool
) -> str:
    """Accuracy of one or more recognisers on the verification sets.

    Args:
      metrics: recogniser to the content of its ``metrics.json``, the run's own first.
      trained_here: whether the run's own was trained on its generated images alone.
    """
    own = metrics[OWN]["benchmarks"]
    known = [name for name in _SET_NAMES if name in own]
    names = known + [name for name in own if name not in known]
    labels = [_SET_NAMES.get(name, name) for name in names]
    called = dict(_RECOGNISER_NAMES)
    if not trained_here:
        called[OWN] = model_name(metrics[OWN])
    accuracies = {
        called.get(who, who): [
            (found["benchmarks"][name]["accuracy"], _std(found, name)) for name in names
        ]
        for who, found in metrics.items()
        if set(names) <= set(found["benchmarks"])
    }
    lead = f"{called[OWN]}, not known to be trained on the images of this run"
    if trained_here:
        lead = "Trained from scratch on the generated images alone"
    if len(accuracies) > 1:
        lead += ", beside recognisers trained on other images"
    figure = f"<figure>{plots.plot_accuracies(labels, accuracies)}</figure>"
    body = (
        f'<div class="split">{figure}{_accuracy_table(labels, accuracies)}</div>'
        f"{_details_table(own, names, labels)}{_group_table(metrics[OWN])}"
    )
    return elements.section(
        "accuracy",
        "What a recogniser learns from it",
        f"{lead}; accuracy over {_folds(own[name] for name in names)}.",
        body,
    )


def _folds(figures: Iterable[Mapping[str, Any]]) -> str:
    counts = {found.get("num_folds") for found in figures}
    count = counts.pop()
    return "the folds of each set" if counts or not count else f"{count} folds"


def model_name(metrics: Mapping[str, Any]) -> str:
    """The name of the recogniser that was measured."""
    return (metrics.get("model") or {}).get("name", "a recogniser")


def _std(metrics: Mapping[str, Any], name: str) -> float:
    return metrics["benchmarks"][name].get("accuracy_std", 0.0)


def _accuracy_table(labels: Sequence[str], accuracies: Accuracies) -> str:
    rows = [
        (label, *(f"{100 * mean:.1f} ± {100 * std:.1f}" for mean, std in per_set))
        for label, *per_set in zip(labels, *accuracies.values(), strict=True)
    ]
    means = (np.mean([mean for mean, _ in row]) for row in accuracies.values())
    rows.append(("Mean", *(f"{100 * mean:.1f}" for mean in means)))
    return elements.table(("accuracy in %", *accuracies), rows, "accuracy")


def _details_table(
    own: Mapping[str, Any], names: Sequence[str], labels: Sequence[str]
) -> str:
    rows = []
    for name, label in zip(names, labels, strict=True):
        found = own[name]
        rates = found.get("tar_at_far", {})
        rows.append(
            (
                label,
                f"{found['num_pairs']:,}" if "num_pairs" in found else "–",
                elements.percent(found.get("eer")),
                f"{found['auc']:.4f}" if "auc" in found else "–",
                *(elements.percent(rates.get(rate)) for rate in _RATES),
            )
        )
    head = ("set", "pairs", "EER", "AUC")
    head += tuple(f"TAR at FAR {rate}" for rate in _RATES.values())
    return (
        "<p class='lead'>The first of them, in detail: "
        "equal error rate, area under the ROC curve, and the true accepts at those "
        "rates of false accepts that the number of pairs can tell.</p>"
        f"{elements.table(head, rows, 'details')}"
    )


def _group_table(own: Mapping[str, Any]) -> str:
    """Errors by demographic group over all sets; nothing without labelled pairs."""
    groups = own.get("groups") or {}
    if not groups:
        return ""
    # Pairs of two groups, which have no positive ones, go last.
    names = sorted(
        groups, key=lambda name: (groups[name]["false_non_match_rate"] is None, name)
    )
    rows = [
        (
            name[:1].upper() + name[1:],
            f"{groups[name]['num_pairs']:,}",
            elements.percent(groups[name]["accuracy"]),
            elements.percent(groups[name]["false_match_rate"]),
            elements.percent(groups[name]["false_non_match_rate"]),
        )
        for name in names
    ]
    head = ("group", "pairs", "accuracy", "FMR", "FNMR")
    return (
        "<p class='lead'>The same by demographic group, over the pairs of all sets, at "
        "the thresholds that serve everyone: false match rate, strangers taken for one "
        "person, and false non-match rate, one person taken for two.</p>"
        f"{elements.table(head, rows, 'groups')}"
    )
