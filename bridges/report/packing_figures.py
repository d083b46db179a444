"""Numbers and plots of a packing, from the record that references carry."""

from typing import Any

import numpy as np

from bridges.report import plots
from bridges.report.elements import Facts, Plot
from bridges.report.run_folder import RunFolder, matching_gallery
from bridges.report.wording import number
from hyperface_jax import EmbeddingFile

_BINS = 40
# Rows of the cosine matrix in memory at a time.
_BLOCK = 1024


def summary(references: EmbeddingFile) -> str:
    """The largest cosine and its bound in half a sentence, as far as recorded."""
    record = references.metadata.get("packing") or {}
    if "max_cosine" not in record:
        return "not packed"
    text = f"largest cosine {number(record['max_cosine'], 3)}"
    if "bound" in record:
        text += f", proven bound {number(record['bound'], 3)}"
    return text


def plots_of(run: RunFolder) -> list[Plot]:
    """Convergence and histograms of the run's references.

    Args:
      run: with references; their packing record may lack any entry.
    """
    record = run.references.metadata.get("packing") or {}
    if not record:
        return []
    bound = plots.Mark(record["bound"], "bound") if "bound" in record else None
    found = []
    history = record.get("history") or {}
    for key, caption in (
        ("objective", "Objective J over the iterations; smaller is better."),
        ("max_cosine", "Largest cosine between two references over the iterations."),
    ):
        values = history.get(key, [])
        if len(values) > 1 and {key, "iterations"} <= set(record):
            # The history has values before each iteration; the record, the last one.
            iterations = [*history["iteration"], record["iterations"]]
            mark = bound if key == "max_cosine" else None
            svg = plots.plot_convergence(
                np.array(iterations),
                np.array([*values, record[key]]),
                label=caption,
                mark=mark,
            )
            found.append(Plot(svg, caption))
    found.append(_histogram_plot(run, record, bound))
    found += _gallery_plots(run)
    return found


def facts_of(references: EmbeddingFile) -> Facts:
    """The packing in numbers, before and after; None for what is not recorded."""
    record = references.metadata.get("packing") or {}
    before = record.get("initial", {})

    def change(key: str) -> str | None:
        if key not in record:
            return None
        after = number(record[key], 4)
        return f"{number(before[key], 4)} → {after}" if key in before else after

    angle, gap = record.get("min_angle_degrees"), record.get("gap")
    seconds = record.get("seconds")
    excess = (record.get("objective_bound") or {}).get("gap")
    return [
        ("objective J", change("objective")),
        ("J above its proven least", None if excess is None else f"{excess:.2g}"),
        ("largest cosine", change("max_cosine")),
        ("mean cosine to the nearest other", change("mean_nearest_cosine")),
        ("mean distance to the gallery", change("regularization")),
        ("smallest angle", None if angle is None else f"{angle:.1f}°"),
        ("largest cosine above the bound", None if gap is None else f"{gap:.4f}"),
        ("method", record.get("method")),
        ("iterations", record.get("iterations")),
        ("stopped", record.get("stopped")),
        ("time", None if seconds is None else f"{seconds:.1f} s"),
    ]


def nearest_cosines(rows: np.ndarray, others: np.ndarray | None = None) -> np.ndarray:
    """Cosine of each row to the nearest of ``others``.

    Args:
      rows: ``[n, d]`` unit rows; at least two without ``others``.
      others: ``[m, d]`` unit rows; None for the other rows.

    Returns:
      ``[n]`` float32.
    """
    nearest = np.empty(len(rows), np.float32)
    for start in range(0, len(rows), _BLOCK):
        block = rows[start : start + _BLOCK] @ (rows if others is None else others).T
        if others is None:
            np.fill_diagonal(block[:, start:], -np.inf)
        nearest[start : start + _BLOCK] = block.max(axis=1)
    return nearest


def _gallery_plots(run: RunFolder) -> list[Plot]:
    """Cosines of references to gallery faces; none without a matching gallery."""
    gallery = matching_gallery(run)
    if gallery is None:
        return []
    nearest = nearest_cosines(run.references.embeddings, gallery.embeddings)
    # The cosine of equal rows may exceed 1 by rounding.
    edges = np.linspace(nearest.min() - 0.02, max(1, nearest.max()), _BINS + 1)
    caption = "Cosine of each packed reference to the nearest gallery face."
    svg = plots.plot_histogram(
        plots.Histogram(edges, {"packed": np.histogram(nearest, edges)[0]}),
        label=caption,
        xlabel="cosine to the nearest gallery face",
    )
    return [Plot(svg, caption)]


def _histogram_plot(
    run: RunFolder, record: dict[str, Any], bound: plots.Mark | None
) -> Plot:
    recorded = record.get("nearest_cosine_histogram")
    if recorded:
        counts = {name: np.asarray(recorded[name]) for name in ("before", "after")}
        edges, counts = _trimmed(np.asarray(recorded["edges"]), counts)
    else:
        nearest = nearest_cosines(run.references.embeddings)
        edges = np.linspace(min(0, nearest.min()), nearest.max() + 0.01, _BINS + 1)
        counts = {"after": np.histogram(nearest, edges)[0]}
    caption = "Cosine of each reference to the nearest other, before and after packing."
    svg = plots.plot_histogram(
        plots.Histogram(edges, counts),
        label=caption,
        xlabel="cosine to the nearest other reference",
        mark=bound,
        colours=plots.BEFORE_AND_AFTER[-len(counts) :],
    )
    return Plot(svg, caption)


def _trimmed(
    edges: np.ndarray, counts: dict[str, np.ndarray]
) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Drops the empty bins at either end, except one."""
    filled = np.flatnonzero(sum(counts.values()))
    low, high = max(0, filled[0] - 1), min(len(edges) - 1, filled[-1] + 2)
    trimmed = {name: values[low:high] for name, values in counts.items()}
    return edges[low : high + 1], trimmed
