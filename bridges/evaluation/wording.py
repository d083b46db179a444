"""The lines that hyperface-verify prints of metrics."""

from collections.abc import Iterator, Mapping
from typing import Any

_RATES = {
    "accuracy": "accuracy",
    "false_match_rate": "FMR",
    "false_non_match_rate": "FNMR",
}
_MEASURES = {
    "fdr": "FDR",
    "inequity_rate": "inequity rate",
    "garbe": "GARBE",
    "skewed_error_ratio": "skewed error ratio",
    "fmr_max_over_mean": "FMR max/mean",
    "fnmr_max_over_mean": "FNMR max/mean",
}


def lines_of(metrics: Mapping[str, Any]) -> list[str]:
    """A line for each set, their mean, each group, and each threshold's fairness.

    Args:
      metrics: of one recogniser; intervals and fairness are left out of metrics that
        earlier versions made.
    """
    lines = [_set_line(*each) for each in metrics["benchmarks"].items()]
    interval = {"accuracy": metrics.get("mean_accuracy_interval")}
    lines.append(
        f"{'mean':16s} accuracy {100 * metrics['mean_accuracy']:.2f} %"
        f"{_intervals(interval)}"
    )
    lines += [_group_line(*each) for each in metrics.get("groups", {}).items()]
    return [*lines, *_fairness_lines(metrics.get("fairness"))]


def _set_line(name: str, result: Mapping[str, Any]) -> str:
    val = result["val_at_far"]["1e-3"]
    return (
        f"{name:16s} accuracy {100 * result['accuracy']:.2f} ± "
        f"{100 * result['accuracy_std']:.2f} %, EER {100 * result['eer']:.2f} %, "
        f"AUC {result['auc']:.4f}, VAL {100 * val['val']:.2f} % at FAR 0.1 %, "
        f"{result['num_pairs']} pairs{_intervals(result.get('intervals', {}))}"
    )


def _group_line(name: str, result: Mapping[str, Any]) -> str:
    return (
        f"{name:16s} accuracy {100 * result['accuracy']:.2f} %, "
        f"FMR {_percent(result['false_match_rate'])}, "
        f"FNMR {_percent(result['false_non_match_rate'])}, "
        f"{result['num_pairs']} pairs{_intervals(result.get('intervals', {}))}"
    )


def _fairness_lines(fairness: Mapping[str, Any] | None) -> Iterator[str]:
    for at, found in (fairness or {}).get("at", {}).items():
        told = []
        for key, short in _MEASURES.items():
            value, bounds = (
                found["measures"][key][one] for one in ("value", "interval")
            )
            ends = f" [{bounds[0]:.3f}-{bounds[1]:.3f}]" if bounds else ""
            told.append(f"{short} {'–' if value is None else f'{value:.3f}'}{ends}")
        where = "most accurate" if at == "best_accuracy" else f"FAR {at}"
        yield (
            f"{'fairness':16s} at cosine {found['threshold']:.3f} ({where}): "
            f"{', '.join(told)}"
        )


def _intervals(intervals: Mapping[str, Any]) -> str:
    """``, 95 %: accuracy 96.1-98.4, FMR …``, or nothing where none is known."""
    told = [
        f"{short} {100 * bounds[0]:.1f}-{100 * bounds[1]:.1f}"
        for key, short in _RATES.items()
        if (bounds := intervals.get(key)) is not None
    ]
    return f", 95 %: {', '.join(told)}" if told else ""


def _percent(rate: float | None) -> str:
    return "–" if rate is None else f"{100 * rate:.2f} %"
