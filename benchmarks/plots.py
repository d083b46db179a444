"""Plots beside the records of benchmarks, as SVG and PNG."""

import pathlib
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from bridges.plotting import Axes, Axis, Figure, drawing_style, matplotlib, ticker
from hyperface_jax import files

Points = tuple[Sequence[float], Sequence[float]]
_COLOURS = ("#0b6e99", "#c4572b", "#4b8b3b", "#8a63a6", "#7a7a7a")
_STYLE = {
    "axes.grid": True,
    "axes.prop_cycle": matplotlib.cycler(color=_COLOURS),
    "axes.spines.right": False,
    "axes.spines.top": False,
    "figure.constrained_layout.use": True,
    "font.size": 10,
    "grid.alpha": 0.3,
    "legend.frameon": False,
    "svg.hashsalt": "hyperface",
}
# How far an axis reaches, from its least to its largest value, before three plain
# numbers of each decade would overlap, and before one would.
_SOME_DECADES, _MANY_DECADES = 3e3, 1e6


class Panel(NamedTuple):
    """One pair of axes of a figure.

    Attributes:
      title: above it.
      x_label: with the unit.
      y_label: with the unit.
      curves: x and y values by name.
      levels: horizontal lines by name.
      x_scale: ``"linear"`` or ``"log"``.
      y_scale: ``"linear"`` or ``"log"``.
      marker: of the points, ``""`` for none.
    """

    title: str
    x_label: str
    y_label: str
    curves: Mapping[str, Points]
    levels: Mapping[str, float] = {}
    x_scale: str = "log"
    y_scale: str = "linear"
    marker: str = ""


def draw_curves(output: str | None, panels: Sequence[Panel]) -> None:
    """Draws panels side by side, beside the JSON record ``output``, if there is one."""
    if not output:
        return
    with drawing_style(_STYLE):
        figure = Figure(figsize=(5.4 * len(panels), 3.6))
        axes = figure.subplots(1, len(panels), squeeze=False)
        for panel, ax in zip(panels, axes[0], strict=True):
            _draw(panel, ax)
        _save(figure, output)


def draw_bars(
    output: str | None,
    names: Sequence[str],
    quantities: Mapping[str, Sequence[float]],
    *,
    log: bool = False,
) -> None:
    """Draws each quantity as a bar a name, or as dots on a logarithmic axis.

    Args:
      output: the JSON record beside which to draw, or None.
      names: of the contenders.
      quantities: label with unit, to a value a contender.
      log: dots, since a bar has no length where an axis has no 0.
    """
    if not output:
        return
    with drawing_style(_STYLE):
        figure = Figure(figsize=(5.4 * len(quantities), 1.2 + 0.4 * len(names)))
        axes = figure.subplots(1, len(quantities), sharey=True, squeeze=False)
        for (label, values), ax in zip(quantities.items(), axes[0], strict=True):
            ax.set(xlabel=label, xscale="log" if log else "linear")
            if log:
                ax.plot(values, names, "o")
                _write_out(ax.xaxis)
            else:
                bars = ax.barh(names, values, height=0.6)
                labels = [f"{v:,.0f}" if v >= 1000 else f"{v:.3g}" for v in values]
                ax.bar_label(bars, labels=labels, padding=3)
                ax.margins(x=0.15)
                ax.grid(False, axis="y")
        axes[0][0].invert_yaxis()
        _save(figure, output)


def _draw(panel: Panel, ax: Axes) -> None:
    for name, (x, y) in panel.curves.items():
        ax.plot(x, y, label=name, marker=panel.marker)
    for number, (name, level) in enumerate(panel.levels.items()):
        ax.axhline(level, color="#7a7a7a", linewidth=0.9, linestyle="--")
        ax.annotate(
            name,
            (1, level),
            xycoords=("axes fraction", "data"),
            textcoords="offset points",
            # Two levels may be near each other: one label above, one below.
            xytext=(-2, 4 if number % 2 == 0 else -4),
            ha="right",
            va="bottom" if number % 2 == 0 else "top",
            color="#555555",
            fontsize=8.5,
        )
    ax.set(
        title=panel.title,
        xlabel=panel.x_label,
        ylabel=panel.y_label,
        xscale=panel.x_scale,
        yscale=panel.y_scale,
    )
    if panel.levels:
        ax.margins(y=0.12)
    for axis in (ax.xaxis, ax.yaxis):
        if axis.get_scale() == "log":
            _write_out(axis)
    if panel.curves:
        ax.legend()


def _write_out(axis: Axis) -> None:
    """Labels a logarithmic axis with plain numbers, some of every decade.

    Where there are many decades, powers of ten are left to it.
    """
    low, high = axis.get_view_interval()
    if high > _MANY_DECADES * low:
        return
    places = (1,) if high > _SOME_DECADES * low else (1, 2, 5)
    # Less than a decade may hold no more than one of these.
    within = ticker.MaxNLocator(5)
    locator = ticker.LogLocator(subs=places) if high > 10 * low else within
    axis.set_major_locator(locator)
    axis.set_major_formatter(ticker.FuncFormatter(lambda value, _: f"{value:,g}"))
    axis.set_minor_formatter(ticker.NullFormatter())


def _save(figure: Figure, output: str) -> None:
    for suffix in (".svg", ".png"):
        path = pathlib.Path(output).with_suffix(suffix)
        with files.atomic_path(path) as temporary:
            # Dates would make equal plots differ.
            figure.savefig(temporary, dpi=130, metadata=_metadata(suffix))


def _metadata(suffix: str) -> dict[str, None]:
    return {"Date": None} if suffix == ".svg" else {}
