"""The curve of a training: its loss, and how held-out people are told apart."""

import io
import os
from collections.abc import Sequence
from typing import Any

from bridges.plotting import Figure, drawing_style, ticker
from hyperface_jax import files

CURVE = "training.png"
_STYLE = {"axes.grid": True, "grid.alpha": 0.4, "font.size": 9}
_DPI = 150


def write_curve(
    history: Sequence[dict[str, Any]], kept_epoch: int, path: str | os.PathLike[str]
) -> None:
    """Draws the loss, the training accuracy and the validation accuracy by epoch.

    Args:
      history: of a training with people held out, a row an epoch.
      kept_epoch: whose weights are kept; marked.
      path: the PNG file.
    """
    epochs = [row["epoch"] for row in history]
    with drawing_style(_STYLE):
        figure = Figure(figsize=(6.4, 3.6), layout="constrained")
        losses = figure.subplots()
        losses.plot(epochs, [row["loss"] for row in history], "C7", label="loss")
        losses.set(xlabel="epoch", ylabel="loss")
        losses.xaxis.set_major_locator(ticker.MaxNLocator(integer=True))
        shares = losses.twinx()
        shares.grid(visible=False)
        for key, name, colour in (
            ("accuracy", "accuracy on trained people", "C1"),
            ("validation_accuracy", "accuracy on pairs of held-out people", "C0"),
        ):
            if key in history[0]:
                values = [100 * row[key] for row in history]
                shares.plot(epochs, values, f"{colour}o-", markersize=3, label=name)
        shares.axvline(kept_epoch, color="C0", linestyle=":", label="weights kept")
        shares.set(ylabel="%", ylim=(0, 102))
        lines = [*losses.get_lines(), *shares.get_lines()]
        figure.legend(handles=lines, loc="outside upper center", ncols=2)
        content = io.BytesIO()
        figure.savefig(content, format="png", dpi=_DPI)
    files.write_bytes(path, content.getvalue())
