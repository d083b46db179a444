"""Several recognisers on several verification sets: a table of accuracies."""

import csv
import io
import os
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

from bridges.evaluation.verification import Benchmarks
from bridges.recognisers.recogniser import load_recogniser
from hyperface_jax import InputError, files

PathLike = str | os.PathLike[str]
TABLE = "table.csv"


def verify_checkpoints(
    checkpoints: Sequence[PathLike],
    benchmarks: PathLike | Sequence[PathLike],
    output: PathLike,
    *,
    flip: bool = True,
    skip_unreadable: bool = False,
    device: str = "auto",
    precision: str = "float32",
) -> dict[str, dict[str, Any]]:
    """Measures several recognisers on the same verification sets.

    Args:
      checkpoints: what :func:`bridges.evaluation.verification.verify_checkpoint` takes,
        at least two.
      benchmarks: likewise.
      output: a folder: ``<checkpoint>.json`` of each, as that function writes it, and
        ``table.csv``. What is there already is not measured again.
      flip: as there, and so the others.
      skip_unreadable: likewise.
      device: likewise.
      precision: likewise.

    Returns:
      The metrics by checkpoint, under the shortest names that tell them apart.

    Raises:
      InputError: as that function; no folder can be there; or one checkpoint twice.
    """
    output = pathlib.Path(files.path_of(output))
    if output.exists() and not output.is_dir():
        raise InputError(
            f"{output}: is a file; several checkpoints need a folder as --output"
        )
    names = short_names([os.fspath(each) for each in checkpoints])
    sets = Benchmarks(benchmarks, skip_unreadable=skip_unreadable)
    output.mkdir(parents=True, exist_ok=True)
    metrics = {
        name: sets.measure(
            load_recogniser(checkpoint, device=device, precision=precision),
            output / f"{name.replace('/', '_')}.json",
            flip=flip,
            precision=precision,
        )
        for name, checkpoint in zip(names, checkpoints, strict=True)
    }
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(accuracy_table(metrics))
    files.write_text(output / TABLE, text.getvalue())
    return metrics


def accuracy_table(metrics: Mapping[str, Mapping[str, Any]]) -> list[list[str]]:
    """Rows of a table: a recogniser each, its accuracies in per cent, and their mean.

    Args:
      metrics: by recogniser, of the same sets.
    """
    sets = list(next(iter(metrics.values()))["benchmarks"])
    rows = [["checkpoint", *sets, "mean"]]
    for name, each in metrics.items():
        found = [each["benchmarks"][one]["accuracy"] for one in sets]
        figures = [*found, each["mean_accuracy"]]
        rows.append([name, *(f"{100 * figure:.2f}" for figure in figures)])
    return rows


def short_names(paths: Sequence[str]) -> list[str]:
    """The last parts of paths, as few as tell them apart.

    Raises:
      InputError: one path twice.
    """
    parts = [pathlib.PurePath(os.path.normpath(path)).parts for path in paths]
    for path, each in zip(paths, parts, strict=True):
        if parts.count(each) > 1:
            raise InputError(f"{path}: the same checkpoint is given twice")
    for length in range(1, max(map(len, parts)) + 1):
        names = ["/".join(each[-length:]).lstrip("/") for each in parts]
        # Files are named by them.
        if len({name.replace("/", "_").casefold() for name in names}) == len(names):
            return names
    return [f"{number}_{name}" for number, name in enumerate(names)]
