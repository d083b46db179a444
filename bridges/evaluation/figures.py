"""Drawings of metrics: ROC and DET curves, heat maps of confusion counts."""

import io
import math
import os
import pathlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from bridges.evaluation.tables import Metrics, sets_of, write_csv
from bridges.plotting import Axes, Figure, drawing_style
from hyperface_jax import InputError, files

_CURVE = ("threshold", "fmr", "fnmr", "fnmr_low", "fnmr_high")
_STYLE = {"axes.grid": True, "grid.alpha": 0.4, "font.size": 9}
_DPI = 150


def write_curves(
    metrics: Metrics, folder: str | os.PathLike[str]
) -> list[pathlib.Path]:
    """Draws the error curves of all recognisers, a pair of pictures a set.

    Args:
      metrics: by recogniser.
      folder: to write to; made where it is not there. ``roc_<set>.png`` shows true
        accepts against false ones, ``det_<set>.png`` false rejects, both on a
        logarithmic axis but for the true accepts, 95 % of the bootstrap over people
        shaded; ``curves.csv`` holds the numbers.

    Returns:
      The files.

    Raises:
      InputError: metrics of a version that kept no curves.
    """
    rows = [["checkpoint", "set", *_CURVE]]
    for name, each in metrics.items():
        for benchmark, result in each["benchmarks"].items():
            if "curve" not in result:
                raise InputError(
                    f"{name}: its metrics of {benchmark} have no curve, they were made "
                    "by an earlier version; measure again, to another --output"
                )
            columns = (result["curve"][key] for key in _CURVE)
            for values in zip(*columns, strict=True):
                cells = ("" if value is None else repr(value) for value in values)
                rows.append([name, benchmark, *cells])
    folder = made_folder(folder)
    written = [folder / "curves.csv"]
    write_csv(written[0], rows)
    for benchmark in sets_of(metrics):
        curves = {
            name: each["benchmarks"][benchmark]["curve"]
            for name, each in metrics.items()
            if benchmark in each["benchmarks"]
        }
        for kind, draw in (("roc", _draw_roc), ("det", _draw_det)):
            path = folder / f"{kind}_{benchmark}.png"
            _save(path, benchmark, draw, curves)
            written.append(path)
    return written


def write_heat_maps(
    confusions: Mapping[str, np.ndarray], path: str | os.PathLike[str]
) -> None:
    """Draws counts of the four outcomes, a panel each: 2 x 2 of four.

    Like Figure 2 of Mankame, Bhaumik and Hemalatha. Colours are shares of a row.

    Args:
      confusions: ``[2, 2]`` counts by title: genuine and impostor pairs, accepted and
        rejected.
      path: the PNG file.
    """
    across = max(1, math.ceil(math.sqrt(len(confusions))))
    down = math.ceil(len(confusions) / across)
    with drawing_style({**_STYLE, "axes.grid": False}):
        figure = Figure(figsize=(3.2 * across, 2.9 * down), layout="constrained")
        panels = figure.subplots(down, across, squeeze=False).ravel()
        for axes in panels[len(confusions) :]:
            axes.set_axis_off()
        for axes, (title, counts) in zip(panels, confusions.items(), strict=False):
            _draw_counts(axes, title, counts)
        _write(figure, path)


def made_folder(folder: str | os.PathLike[str]) -> pathlib.Path:
    """The folder to write to, made where it is not there.

    Raises:
      InputError: it is a file.
    """
    folder = pathlib.Path(files.path_of(folder))
    if folder.exists() and not folder.is_dir():
        raise InputError(f"{folder}: is a file, expected a folder to write to")
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _draw_counts(axes: Axes, title: str, counts: np.ndarray) -> None:
    shares = counts / np.maximum(counts.sum(1, keepdims=True), 1)
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    for (row, column), count in np.ndenumerate(counts):
        axes.text(
            column,
            row,
            f"{count:,}\n{100 * shares[row, column]:.1f} %",
            ha="center",
            va="center",
            color="white" if shares[row, column] > 0.5 else "black",
        )
    axes.set_xticks([0, 1], ["accepted", "rejected"])
    axes.set_yticks([0, 1], ["genuine", "impostor"])
    axes.set_title(title, fontsize=9)


def _draw_roc(axes: Axes, curves: Mapping[str, Mapping[str, Any]]) -> None:
    for name, curve in curves.items():
        fmr, fnmr, low, high = _drawn(curve)
        (line,) = axes.plot(fmr, 1 - fnmr, label=name, drawstyle="steps-post")
        axes.fill_between(
            fmr, 1 - high, 1 - low, step="post", alpha=0.2, color=line.get_color()
        )
    axes.set_ylabel("true accept rate")


def _draw_det(axes: Axes, curves: Mapping[str, Mapping[str, Any]]) -> None:
    drawn = {name: _drawn(curve) for name, curve in curves.items()}
    floor = _lowest([fnmr for _, fnmr, _, _ in drawn.values()]) / 2
    for name, (fmr, fnmr, low, high) in drawn.items():
        # A rate of 0 has no place on a logarithmic axis: the line leaves the picture.
        (line,) = axes.plot(
            fmr, np.maximum(fnmr, floor / 2), label=name, drawstyle="steps-post"
        )
        axes.fill_between(
            fmr,
            np.maximum(low, floor / 2),
            np.maximum(high, floor / 2),
            step="post",
            alpha=0.2,
            color=line.get_color(),
        )
    axes.set_ylim(floor, 1)
    axes.set_yscale("log")
    axes.set_ylabel("false non-match rate")


def _lowest(rates: Sequence[np.ndarray]) -> float:
    """The smallest rate above 0; 0.1 % where there is none."""
    known = np.concatenate(rates)
    return float(known[known > 0].min(initial=1e-3 if not (known > 0).any() else 1))


def _drawn(curve: Mapping[str, Any]) -> tuple[np.ndarray, ...]:
    """The columns as numbers, without the point at which no impostor is accepted."""
    columns = [np.array(curve[key], float) for key in _CURVE[1:]]
    shown = columns[0] > 0
    return tuple(column[shown] for column in columns)


def _save(
    path: pathlib.Path,
    title: str,
    draw: Callable[[Axes, Mapping[str, Any]], None],
    curves: Mapping[str, Mapping[str, Any]],
) -> None:
    with drawing_style(_STYLE):
        figure = Figure(figsize=(5, 4), layout="constrained")
        axes = figure.subplots()
        draw(axes, curves)
        lowest = _lowest([np.array(curve["fmr"]) for curve in curves.values()])
        axes.set_xlim(lowest, 1)
        axes.set_xscale("log")
        axes.set_xlabel("false match rate")
        axes.set_title(title)
        axes.legend(frameon=False)
        _write(figure, path)


def _write(figure: Figure, path: str | os.PathLike[str]) -> None:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=_DPI)
    files.write_bytes(path, buffer.getvalue())
