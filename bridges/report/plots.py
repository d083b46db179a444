"""Plots of the report: SVG that takes its colours and font from the page.

Matplotlib draws with placeholder colours, which are then replaced by CSS variables, so
that one drawing serves the light and the dark page. Text stays text, in the font of the
page.
"""

import contextlib
import html
import io
import itertools
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from bridges.plotting import Axes, Figure, drawing_style, ticker
from bridges.report.wording import number

# Placeholder colours, each replaced by a CSS variable (``_VARIABLES``).
_INK, _MUTED, _GRID = "#010101", "#020202", "#030303"
SERIES = ("#0a0a01", "#0a0a02", "#0a0a03")
# For two histograms: the earlier one muted, behind the later one.
BEFORE_AND_AFTER = ("#020202", "#0a0a01")
_MARK = "#0b0b01"
_VARIABLES = {
    _INK: "--ink",
    _MUTED: "--muted",
    _GRID: "--rule",
    SERIES[0]: "--series-1",
    SERIES[1]: "--series-2",
    SERIES[2]: "--series-3",
    _MARK: "--mark",
}
_STYLE = {
    "axes.axisbelow": True,
    "axes.edgecolor": _GRID,
    "axes.facecolor": "none",
    "axes.grid": True,
    "axes.grid.axis": "y",
    "axes.labelcolor": _MUTED,
    "axes.labelsize": 11,
    "axes.spines.left": False,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "figure.facecolor": "none",
    "font.size": 11,
    "grid.color": _GRID,
    "grid.linewidth": 0.7,
    "legend.fontsize": 11,
    "legend.frameon": False,
    "legend.labelcolor": _INK,
    "lines.linewidth": 1.8,
    "lines.solid_capstyle": "round",
    "svg.fonttype": "none",
    "svg.hashsalt": "hyperface",
    "text.color": _INK,
    "xtick.color": _MUTED,
    "ytick.color": _MUTED,
    "xtick.major.size": 0,
    "ytick.major.size": 0,
}
# Inches. 346 points wide, about as wide as a phone, so that text keeps its size there.
_SIZE = (4.8, 3.0)


class Histogram(NamedTuple):
    """Counts over shared bins.

    Attributes:
      edges: ``[k + 1]``, ascending.
      counts: ``[k]`` counts by name.
    """

    edges: np.ndarray
    counts: Mapping[str, np.ndarray]


class Mark(NamedTuple):
    """A value to mark with a line across the plot, and its label."""

    value: float
    label: str


def plot_convergence(
    iterations: np.ndarray, values: np.ndarray, *, label: str, mark: Mark | None = None
) -> str:
    """Plots a quantity against the iteration.

    Args:
      iterations: ``[k]``, ascending.
      values: ``[k]``.
      label: what the quantity is, for readers who do not see the plot.
      mark: a level to draw dashed, such as a bound.

    Returns:
      An ``<svg>`` element.
    """
    with _drawing() as (figure, axes):
        axes.plot(iterations, values, color=SERIES[0])
        axes.plot(iterations[-1], values[-1], "o", color=SERIES[0], markersize=5)
        axes.annotate(
            number(values[-1], 4),
            (iterations[-1], values[-1]),
            xytext=(0, 8),
            textcoords="offset points",
            ha="right",
        )
        if mark is not None:
            axes.axhline(mark.value, color=_MARK, linestyle=(0, (4, 3)), linewidth=1.3)
            axes.annotate(
                f"{mark.label} {number(mark.value, 4)}",
                (0.0, mark.value),
                xycoords=("axes fraction", "data"),
                xytext=(2, 4),
                textcoords="offset points",
                color=_MARK,
            )
        axes.xaxis.set_major_locator(ticker.MaxNLocator(integer=True))
        axes.set_xlabel("iteration")
        axes.margins(x=0.02, y=0.15)
    return _to_svg(figure, label)


def plot_histogram(
    histogram: Histogram,
    *,
    label: str,
    xlabel: str,
    mark: Mark | None = None,
    colours: Sequence[str] = SERIES,
) -> str:
    """Plots overlaid histograms over shared bins.

    Args:
      histogram: at most three sets of counts.
      label: what is shown, for readers who do not see the plot.
      xlabel: the quantity that is binned.
      mark: a value to mark, such as a bound.
      colours: one per set of counts, from ``SERIES`` or ``BEFORE_AND_AFTER``.

    Returns:
      An ``<svg>`` element.
    """
    with _drawing() as (figure, axes):
        for colour, (name, counts) in zip(
            colours, histogram.counts.items(), strict=False
        ):
            axes.stairs(counts, histogram.edges, fill=True, color=colour, alpha=0.35)
            axes.stairs(
                counts, histogram.edges, color=colour, linewidth=1.6, label=name
            )
        if mark is not None:
            axes.axvline(
                mark.value,
                color=_MARK,
                linestyle=(0, (4, 3)),
                linewidth=1.3,
                label=f"{mark.label} {number(mark.value, 3)}",
            )
        axes.set_xlabel(xlabel)
        axes.xaxis.set_major_locator(ticker.MaxNLocator(nbins=6))
        axes.yaxis.set_major_locator(ticker.MaxNLocator(integer=True, nbins=6))
        axes.set_ylabel("references")
        _legend_above(axes)
    return _to_svg(figure, label)


def plot_accuracies(
    sets: Sequence[str], accuracies: Mapping[str, Sequence[tuple[float, float]]]
) -> str:
    """Plots accuracy per set: a dot and a bar of one standard deviation a recogniser.

    Args:
      sets: names of the verification sets.
      accuracies: ``(mean, std)`` in [0, 1] per set, by recogniser.

    Returns:
      An ``<svg>`` element.
    """
    size = (_SIZE[0], 0.9 + 0.42 * len(sets))
    with _drawing(size) as (figure, axes):
        positions = np.arange(len(sets))[::-1]
        count = len(accuracies)
        offsets = min(0.2, 0.8 / count) * (np.arange(count) - (count - 1) / 2)
        # The next marker once all colours are used.
        styles = itertools.cycle(itertools.product("os^Dv", SERIES))
        for (name, rows), offset, (marker, colour) in zip(
            accuracies.items(), offsets, styles, strict=False
        ):
            mean, std = 100 * np.array(rows).T
            axes.errorbar(
                mean, positions - offset, xerr=std, fmt=marker, color=colour,
                markersize=5.5, elinewidth=1.4, label=name,
            )  # fmt: skip
        axes.set_yticks(positions, sets)
        axes.tick_params(axis="y", labelcolor=_INK)
        axes.grid(axis="x")
        axes.grid(visible=False, axis="y")
        axes.set_ylim(-0.6, len(sets) - 0.4)
        axes.set_xlim(right=min(axes.get_xlim()[1], 100.5))
        axes.set_xlabel("accuracy in %, ± one standard deviation over folds")
        _legend_above(axes)
    return _to_svg(figure, "Verification accuracy by set")


@contextlib.contextmanager
def _drawing(
    size: tuple[float, float] = _SIZE,
) -> Iterator[tuple[Figure, Axes]]:
    with drawing_style(_STYLE):
        figure = Figure(figsize=size, layout="constrained")
        yield figure, figure.subplots()


def _legend_above(axes: Axes) -> None:
    axes.figure.legend(
        loc="outside upper left", ncols=3, borderpad=0, handlelength=1.1,
        columnspacing=1.4,
    )  # fmt: skip


def _to_svg(figure: Figure, label: str) -> str:
    with drawing_style(_STYLE):
        buffer = io.StringIO()
        figure.savefig(buffer, format="svg", metadata={"Date": None})
    svg = buffer.getvalue()
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    # Matplotlib's rule for "*" would apply to the whole page.
    svg = re.sub(r"<style.*?</style>", "", svg, flags=re.DOTALL)
    # Equal ids of two drawings would collide on one page; nothing refers to these.
    svg = re.sub(r' id="[\w.]+_\d+"', "", svg)
    svg = re.sub(r"font-family: [^;\"]*;? ?", "", svg)
    svg = re.sub(r'(<svg[^>]*?) width="[^"]*"', r"\1", svg, count=1)
    svg = re.sub(r'(<svg[^>]*?) height="[^"]*"', r"\1", svg, count=1)
    for colour, variable in _VARIABLES.items():
        svg = svg.replace(colour, f"var({variable})")
    return svg.replace("<svg", f'<svg role="img" aria-label="{html.escape(label)}"', 1)
