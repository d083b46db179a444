"""The report's section on accuracy: a plot, a table per recogniser, the details.

Where pairs are labelled by demographic group, the errors of each group too.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from bridges.report import plots, wording
from bridges.report.elements import Section, Table
from bridges.report.run_folder import OWN

# The five rendered verification sets, in the order of the real ones they stand for.
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


class Accuracy(NamedTuple):
    """The content of the section.

    Attributes:
      svg: accuracy of each recogniser on each set, drawn.
      accuracies: the same in numbers.
      details: further measures of the run's own recogniser per set.
      groups: its errors by demographic group; None if pairs have no groups.
    """

    svg: str
    accuracies: Table
    details: Table
    groups: Table | None


def accuracy_section(
    metrics: Mapping[str, dict[str, Any]], *, trained_here: bool
) -> Section:
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
    by_name = {
        called.get(who, who): found
        for who, found in metrics.items()
        if set(names) <= set(found["benchmarks"])
    }
    accuracies = {
        who: [
            (found["benchmarks"][name]["accuracy"], _std(found, name)) for name in names
        ]
        for who, found in by_name.items()
    }
    lead = f"{called[OWN]}, not known to be trained on the images of this run"
    if trained_here:
        lead = "Trained from scratch on the generated images alone"
    if len(accuracies) > 1:
        lead += ", beside recognisers trained on other images"
    told = ""
    if any("intervals" in own[name] for name in names):
        told = ", ± one standard deviation, with 95 % intervals over people"
    return Section(
        "accuracy",
        "What a recogniser learns from it",
        f"{lead}; accuracy over {_folds(own[name] for name in names)}{told}.",
        Accuracy(
            plots.plot_accuracies(labels, accuracies),
            _accuracy_table(labels, names, accuracies, by_name),
            _details_table(own, names, labels),
            _group_table(metrics[OWN]),
        ),
    )


def model_name(metrics: Mapping[str, Any]) -> str:
    """The name of the recogniser that was measured."""
    return (metrics.get("model") or {}).get("name", "a recogniser")


def _folds(figures: Iterable[Mapping[str, Any]]) -> str:
    counts = {found.get("num_folds") for found in figures}
    count = counts.pop()
    return "the folds of each set" if counts or not count else f"{count} folds"


def _std(metrics: Mapping[str, Any], name: str) -> float:
    return metrics["benchmarks"][name].get("accuracy_std", 0.0)


def _accuracy_table(
    labels: Sequence[str],
    names: Sequence[str],
    accuracies: Accuracies,
    metrics: Mapping[str, Mapping[str, Any]],
) -> Table:
    """Accuracies with their 95 % intervals, where the metrics have them."""
    columns = []
    for who, per_set in accuracies.items():
        sets = metrics[who]["benchmarks"]
        cells = [
            f"{100 * mean:.1f} ± {100 * std:.1f}"
            f"{_span(sets[name].get('intervals', {}).get('accuracy'))}"
            for name, (mean, std) in zip(names, per_set, strict=True)
        ]
        mean = np.mean([mean for mean, _ in per_set])
        known = set(sets) == set(names)
        interval = metrics[who].get("mean_accuracy_interval") if known else None
        columns.append([*cells, f"{100 * mean:.1f}{_span(interval)}"])
    rows = list(zip([*labels, "Mean"], *columns, strict=True))
    return Table("accuracy", ("accuracy in %", *accuracies), rows)


def _span(bounds: Sequence[float] | None) -> str:
    """`` [96.1–98.4]`` in per cent, or nothing."""
    if bounds is None:
        return ""
    return f" [{100 * bounds[0]:.1f}–{100 * bounds[1]:.1f}]"


def _details_table(
    own: Mapping[str, Any], names: Sequence[str], labels: Sequence[str]
) -> Table:
    rows = []
    for name, label in zip(names, labels, strict=True):
        found = own[name]
        rates = found.get("tar_at_far", {})
        rows.append(
            (
                label,
                f"{found['num_pairs']:,}" if "num_pairs" in found else "–",
                wording.percent(found.get("eer")),
                f"{found['auc']:.4f}" if "auc" in found else "–",
                *(wording.percent(rates.get(rate)) for rate in _RATES),
            )
        )
    head = ("set", "pairs", "EER", "AUC")
    head += tuple(f"TAR at FAR {rate}" for rate in _RATES.values())
    return Table("details", head, rows)


def _group_table(own: Mapping[str, Any]) -> Table | None:
    """Errors by demographic group over all sets; None without labelled pairs."""
    groups = own.get("groups") or {}
    if not groups:
        return None
    # Pairs across two groups, none of which is genuine, go last.
    names = sorted(
        groups, key=lambda name: (groups[name]["false_non_match_rate"] is None, name)
    )
    rows = [
        (
            name[:1].upper() + name[1:],
            f"{groups[name]['num_pairs']:,}",
            wording.percent(groups[name]["accuracy"]),
            wording.percent(groups[name]["false_match_rate"]),
            wording.percent(groups[name]["false_non_match_rate"]),
        )
        for name in names
    ]
    return Table("groups", ("group", "pairs", "accuracy", "FMR", "FNMR"), rows)
