"""Embedding of a folder of images into an embedding file."""

import hashlib
import os
import pathlib
from typing import Any

import numpy as np

from bridges.datasets.dataset_format import to_json
from bridges.datasets.groups import groups_of
from bridges.datasets.image_dataset import ImageDataset
from bridges.embedding.recogniser import load_recogniser
from bridges.provenance import check_same_settings
from hyperface_jax import EmbeddingFile, files, load_embeddings, save_embeddings

PathLike = str | os.PathLike[str]


def embed_folder(
    images: PathLike,
    output: PathLike,
    *,
    model: PathLike = "recogniser_f",
    flip: bool = True,
    kind: str = "gallery",
) -> EmbeddingFile:
    """Embeds every image of a folder.

    Args:
      images: a dataset folder, a tree with a folder per identity, or a flat folder of
        images, which gives no labels. Faces must be cropped as the recogniser expects;
        other sizes are resampled.
      output: the ``.npz`` file to write.
      model: ``"recogniser_f"`` or the folder of a checkpoint.
      flip: embed each image together with its mirror image.
      kind: ``"gallery"`` or ``"queries"``.

    Returns:
      The content of the file written, or of the same file already there.

    Raises:
      InputError: no images, an unreadable one (named), no such recogniser, or an
        output that belongs to other settings.
    """
    files.check_output(output)
    dataset = ImageDataset(images)
    groups = groups_of(dataset.records)
    recogniser = load_recogniser(model)
    settings = {
        "images": dataset.fingerprint(),
        "groups": hashlib.sha256(to_json(sorted(groups.items())).encode()).hexdigest(),
        "model": recogniser.model["sha256"],
        "flip": flip,
        "kind": kind,
    }
    found = _read_same(pathlib.Path(output), settings)
    if found is not None:
        return found
    embeddings = recogniser.embed_files(dataset.paths, flip=flip)
    save_embeddings(
        output,
        embeddings,
        kind=kind,
        labels=dataset.labels if dataset.labelled else None,
        names=np.array([record["file_name"] for record in dataset.records]),
        groups=groups,
        model=recogniser.model,
        settings=settings,
    )
    return load_embeddings(output)


def _read_same(output: pathlib.Path, settings: dict[str, Any]) -> EmbeddingFile | None:
    """The embeddings already there, if they are the ones asked for."""
    if not output.exists():
        return None
    found = load_embeddings(output)
    old = found.metadata.get("created_with", {}).get("settings", {})
    check_same_settings(output, old, settings)
    return found
