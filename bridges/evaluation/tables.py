"""Tables of metrics: recognisers by verification sets, as CSV and Markdown."""

import csv
import io
import os
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

from hyperface_jax import files

Rows = list[list[str]]
Metrics = Mapping[str, Mapping[str, Any]]
UNKNOWN = "–"


def accuracy_table(metrics: Metrics) -> Rows:
    """Rows of a table: a recogniser each, its accuracies in per cent, and their mean.

    Args:
      metrics: by recogniser; a set that one was not measured on is left open.

    Returns:
      The head, then a row a recogniser.
    """
    sets = sets_of(metrics)
    rows = [["checkpoint", *sets, "mean"]]
    for name, each in metrics.items():
        found = [each["benchmarks"].get(one, {}).get("accuracy") for one in sets]
        mean = None if None in found else each["mean_accuracy"]
        rows.append([name, *map(_per_cent, [*found, mean])])
    return rows


def interval_table(metrics: Metrics) -> Rows:
    """The 95 % intervals of :func:`accuracy_table`, cell by cell: ``96.1-98.4``."""
    sets = sets_of(metrics)
    rows = [["95 %", *sets, "mean"]]
    for name, each in metrics.items():
        rows.append([name, *(_span(one) for one in _bounds(each, sets))])
    return rows


def accuracy_csv(metrics: Metrics) -> Rows:
    """:func:`accuracy_table`, with two columns more for each: the interval's ends."""
    sets = sets_of(metrics)
    head, *rows = accuracy_table(metrics)
    columns = [*sets, "mean"]
    result = [[*head, *(f"{one} {end}" for one in columns for end in ("low", "high"))]]
    for row, each in zip(rows, metrics.values(), strict=True):
        ends = [end for one in _bounds(each, sets) for end in (one or (None, None))]
        result.append([*row, *map(_per_cent, ends)])
    return result


def accuracy_cells(metrics: Metrics) -> Rows:
    """Accuracy and interval in one cell, ``97.40 [96.1-98.4]``, to read."""
    head, *rows = accuracy_table(metrics)
    _, *spans = interval_table(metrics)
    return [
        head,
        *(
            [name, *(f"{cell} [{span}]" if span != UNKNOWN else cell
                     for cell, span in zip(cells, more, strict=True))]
            for (name, *cells), (_, *more) in zip(rows, spans, strict=True)
        ),
    ]  # fmt: skip


def sets_of(metrics: Metrics) -> list[str]:
    """The names of all sets that one of the recognisers was measured on, in order."""
    return list(
        dict.fromkeys(one for each in metrics.values() for one in each["benchmarks"])
    )


def columns_of_text(rows: Rows) -> list[str]:
    """Lines for a terminal: columns to the right, but for the first."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        "  ".join(
            [
                f"{first:{widths[0]}}",
                *(f"{cell:>{w}}" for cell, w in zip(rest, widths[1:], strict=True)),
            ]
        )
        for first, *rest in rows
    ]


def write_csv(path: str | os.PathLike[str], rows: Sequence[Sequence[str]]) -> None:
    """Writes rows, whole or not at all; what is unknown is an empty cell."""
    text = io.StringIO()
    known = [["" if cell == UNKNOWN else cell for cell in row] for row in rows]
    csv.writer(text, lineterminator="\n").writerows(known)
    files.write_text(path, text.getvalue())


def write_markdown(
    path: str | os.PathLike[str], rows: Sequence[Sequence[str]], note: str = ""
) -> None:
    """Writes rows as a Markdown table, whole or not at all.

    Args:
      path: of the file.
      rows: the head first.
      note: a paragraph below.
    """
    lines = [
        f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in row)} |"
        for row in rows
    ]
    numbers = (column[-1][:1].isdigit() for column in zip(*rows, strict=True))
    lines.insert(1, "|" + "|".join("---:" if one else "---" for one in numbers) + "|")
    files.write_text(path, "\n".join([*lines, *(["", note] if note else []), ""]))


def write_accuracies(folder: pathlib.Path, metrics: Metrics) -> None:
    """Writes ``table.csv`` and ``table.md`` into a folder that is there."""
    write_csv(folder / "table.csv", accuracy_csv(metrics))
    write_markdown(
        folder / "table.md",
        accuracy_cells(metrics),
        "Accuracy in %, mean over folds, with its 95 % interval over people.",
    )


def _bounds(
    metrics: Mapping[str, Any], sets: Sequence[str]
) -> list[Sequence[float] | None]:
    """The intervals of the accuracies and of their mean; None where not known."""
    found = [
        metrics["benchmarks"].get(one, {}).get("intervals", {}).get("accuracy")
        for one in sets
    ]
    complete = set(sets) <= set(metrics["benchmarks"])
    return [*found, metrics.get("mean_accuracy_interval") if complete else None]


def _per_cent(value: float | None) -> str:
    return UNKNOWN if value is None else f"{100 * value:.2f}"


def _span(bounds: Sequence[float] | None) -> str:
    """``96.1-98.4``: one decimal, as the ends are no surer."""
    return UNKNOWN if bounds is None else "-".join(f"{100 * end:.1f}" for end in bounds)
