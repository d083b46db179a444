"""Several recognisers on several verification sets: a table of accuracies."""

import os
import pathlib
from collections.abc import Sequence
from typing import Any

from bridges.evaluation.tables import write_accuracies
from bridges.evaluation.verification import Benchmarks
from bridges.recognisers.recogniser import load_recogniser
from hyperface_jax import InputError, files

PathLike = str | os.PathLike[str]


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
        ``table.csv`` and ``table.md``. What is there already is not measured again.
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
    write_accuracies(output, metrics)
    return metrics


def short_names(paths: Sequence[str], what: str = "checkpoint") -> list[str]:
    """The last parts of paths, as few as tell them apart.

    Args:
      paths: at least one.
      what: they lead to, for the message.

    Raises:
      InputError: one path twice.
    """
    parts = [pathlib.PurePath(os.path.normpath(path)).parts for path in paths]
    for path, each in zip(paths, parts, strict=True):
        if parts.count(each) > 1:
            raise InputError(f"{path}: the same {what} is given twice")
    for length in range(1, max(map(len, parts)) + 1):
        names = ["/".join(each[-length:]).lstrip("/") for each in parts]
        # Files are named by them.
        if len({name.replace("/", "_").casefold() for name in names}) == len(names):
            return names
    return [f"{number}_{name}" for number, name in enumerate(names)]
