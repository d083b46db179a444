"""The run folder: the outputs of a chain of stages, read for the report.

::

    gallery/  gallery.npz  references.npz  dataset/  checkpoint/  verification/<name>/
    metrics.json  run.json                     the run itself; run.json has its stages
    compare/<name>/metrics.json                recognisers trained on other images

Any part may be missing, because it is not made yet or the stages were run one by one.
"""

import os
import pathlib
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from bridges.datasets.dataset_format import DESCRIPTION
from bridges.datasets.image_dataset import ImageDataset
from hyperface_jax import (
    EmbeddingFile,
    InputError,
    check_model,
    files,
    load_embeddings,
)
from hyperface_jax.artifacts import read_json

# The recogniser trained on the run's own dataset, in tables and legends.
OWN = "packed"
WEIGHTS = "model.safetensors"


class RunFolder(NamedTuple):
    """The parts of a run; a missing part is None, and ``notes`` says why.

    Attributes:
      folder: the run folder.
      gallery: the gallery embeddings.
      gallery_images: the images that they embed.
      references: the packed reference embeddings.
      dataset: the generated images.
      training: ``training.json`` of the checkpoint.
      metrics: recogniser to ``metrics.json``, the run's own (``"packed"``) first.
      stages: ``run.json``: the stages with their seconds and settings.
      trained_here: whether the run's own metrics measure its checkpoint, and this was
        trained on the images of its dataset alone.
      notes: the reason by missing part.
    """

    folder: pathlib.Path
    gallery: EmbeddingFile | None
    gallery_images: ImageDataset | None
    references: EmbeddingFile | None
    dataset: ImageDataset | None
    training: dict[str, Any] | None
    metrics: dict[str, dict[str, Any]]
    stages: dict[str, Any] | None
    trained_here: bool
    notes: dict[str, str]


def read_run_folder(folder: str | os.PathLike[str]) -> RunFolder:
    """Reads the parts of a run that exist.

    Args:
      folder: the run folder.

    Raises:
      InputError: no such folder, or no part of a run in it.
    """
    folder = pathlib.Path(files.path_of(folder))
    if not folder.is_dir():
        raise InputError(
            f"{folder}: no such folder; hyperface-demo --output={folder} makes a run"
        )
    notes: dict[str, str] = {}

    def part(name: str, file: str, read: Callable[[pathlib.Path], Any]) -> Any:
        try:
            if not (folder / file).exists():
                raise InputError(f"{file} is not there")
            return read(folder / file)
        except InputError as error:
            notes[name] = str(error).removeprefix(f"{folder}{os.sep}")
            return None

    run = RunFolder(
        folder=folder,
        gallery=part("gallery", "gallery.npz", load_embeddings),
        gallery_images=part("gallery_images", "gallery", ImageDataset),
        references=part("references", "references.npz", load_embeddings),
        dataset=part("dataset", "dataset", ImageDataset),
        training=part("training", "checkpoint/training.json", read_json),
        metrics=part("metrics", "metrics.json", lambda _: _read_metrics(folder)) or {},
        stages=part("stages", "run.json", _read_stages),
        trained_here=False,
        notes=notes,
    )
    if not any(run[1:-1]):
        raise InputError(
            f"{folder}: nothing of a run in it (gallery.npz, references.npz, dataset/, "
            "metrics.json); give the folder that holds these"
        )
    return run._replace(trained_here=_trained_here(run))


def is_synthetic(dataset: ImageDataset) -> bool:
    """Whether the dataset's own record says that it was rendered or generated."""
    path = dataset.folder / DESCRIPTION
    return path.is_file() and read_json(path).get("kind") in ("rendered", "generated")


def matching_gallery(run: RunFolder) -> EmbeddingFile | None:
    """The gallery if one recogniser made it and the references, else None."""
    gallery, references = run.gallery, run.references
    if gallery is None or references is None:
        return None
    models = (part.metadata.get("model") for part in (gallery, references))
    try:
        check_model(*models, "gallery.npz")
    except InputError:
        return None
    same = gallery.embeddings.shape[1] == references.embeddings.shape[1]
    return gallery if same else None


def nearest_gallery_image(run: RunFolder, row: Any) -> pathlib.Path | None:
    """The image of the gallery face nearest to a reference.

    Args:
      run: the run.
      row: the reference, a row of ``references.npz``.

    Returns:
      The file, or None if the run lacks a part that is needed.
    """
    gallery = matching_gallery(run)
    if gallery is None or gallery.names is None:
        return None
    references = run.references.embeddings
    if not isinstance(row, int) or row >= len(references):
        return None
    nearest = int(np.argmax(gallery.embeddings @ references[row]))
    path = run.folder / "gallery" / str(gallery.names[nearest])
    return path if path.is_file() else None


def _trained_here(run: RunFolder) -> bool:
    weights = run.folder / "checkpoint" / WEIGHTS
    if not (run.metrics and run.training and run.dataset and weights.is_file()):
        return False
    measured = (run.metrics[OWN].get("model") or {}).get("sha256")
    seen = (run.training.get("data") or {}).get("fingerprint")
    return measured == files.sha256_of(weights) and seen == run.dataset.fingerprint()


def _read_metrics(folder: pathlib.Path) -> dict[str, dict[str, Any]]:
    paths = {OWN: folder / "metrics.json"}
    for path in sorted(folder.glob("compare/*/metrics.json")):
        if path.parent.name == OWN:
            raise InputError(
                f"{path.parent}: the name {OWN!r} stands for the run itself; rename it"
            )
        paths[path.parent.name] = path
    metrics = {who: read_json(path) for who, path in paths.items()}
    for who, found in metrics.items():
        benchmarks = found.get("benchmarks")
        if not isinstance(benchmarks, dict) or not benchmarks:
            raise InputError(f"{paths[who]}: names no benchmarks")
        if not isinstance(found.get("mean_accuracy"), float):
            raise InputError(f"{paths[who]}: no mean_accuracy")
        for name, result in benchmarks.items():
            if not isinstance(result, dict) or "accuracy" not in result:
                raise InputError(f"{paths[who]}: no accuracy on {name!r}")
    return metrics


def _read_stages(path: pathlib.Path) -> dict[str, Any]:
    record = read_json(path)
    for key, kind in (("settings", dict), ("hardware", dict), ("stages", list)):
        if not isinstance(record.get(key, kind()), kind):
            raise InputError(f"{path}: not the record of a run")
    return record
