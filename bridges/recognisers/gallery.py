"""Embedding of a folder of images, or another image source, into an embedding file."""

import hashlib
import os
from typing import Any

import numpy as np

from bridges import device_flags
from bridges.datasets.dataset_format import to_json
from bridges.datasets.groups import groups_of
from bridges.datasets.identity_folders import AUTO
from bridges.datasets.image_source import ImageSource, open_images
from bridges.datasets.unreadable import check_source
from bridges.recognisers.attributes import (
    Read,
    attribute_recogniser,
    read_source,
)
from bridges.recognisers.embedding import embed_source
from bridges.recognisers.recogniser import Recogniser, load_recogniser
from bridges.recognisers.rendered_faces import is_made_here, warn_of_photographs
from bridges.recognisers.uncropped import warn_of_uncropped
from hyperface_jax import (
    EmbeddingFile,
    InputError,
    files,
    load_embeddings,
    save_embeddings,
)
from hyperface_jax.artifacts import Output, check_same_settings

PathLike = str | os.PathLike[str]
KINDS = ("gallery", "queries")


def embed_folder(
    images: PathLike,
    output: PathLike,
    *,
    model: PathLike = "recogniser_f",
    flip: bool = True,
    kind: str = "gallery",
    attributes: bool = False,
    identity_from: str = AUTO,
    skip_unreadable: bool = False,
    device: str = "auto",
    precision: str = "float32",
) -> EmbeddingFile:
    """Embeds every image of a folder, or of another image source.

    Reports on standard error what was found in it. All images are decoded before the
    first is embedded, so that a damaged one does not end the work midway.

    Args:
      images: a dataset folder, a tree with a folder per identity, a flat folder of
        images, which gives no labels, or what else
        :func:`bridges.datasets.image_source.open_images` takes. Faces must be cropped
        as the recogniser expects; other sizes are resampled.
      output: the ``.npz`` file to write.
      model: ``"recogniser_f"``, the folder of a checkpoint, or what else
        :func:`bridges.recognisers.recogniser.load_recogniser` takes.
      flip: embed each image together with its mirror image.
      kind: ``"gallery"`` or ``"queries"``.
      attributes: also write what the recogniser reads from each image, such as pose
        and age; it has to be one that was trained for several tasks.
      identity_from: what says who is on an image where there is no metadata, see
        :func:`bridges.datasets.image_source.open_images`.
      skip_unreadable: leave out images that can't be read; ``skipped`` in the file's
        ``metadata.created_with.settings`` lists them.
      device: what to compute on, see :func:`bridges.devices.find_device`.
      precision: of matrix products and convolutions, likewise.

    Returns:
      The content of the file written, or of one of the same settings already there.

    Raises:
      InputError: no images, unreadable ones (all named), no such recogniser, one that
        reads no attributes, or an output that was made with other settings.
    """
    if kind not in KINDS:
        raise InputError(f"kind is {kind!r}, expected {' or '.join(KINDS)}")
    files.check_output(output)
    return embed_opened(
        open_images(images, identity_from=identity_from),
        load_recogniser(model, device=device, precision=precision),
        output,
        flip=flip,
        kind=kind,
        attributes=attributes,
        skip_unreadable=skip_unreadable,
        precision=precision,
    )


def embed_opened(
    source: ImageSource,
    recogniser: Recogniser,
    output: PathLike,
    *,
    flip: bool = True,
    kind: str = "gallery",
    attributes: bool = False,
    skip_unreadable: bool = False,
    precision: str = "float32",
) -> EmbeddingFile:
    """As :func:`embed_folder`, of images and with a recogniser that are open already.

    Args:
      source: the images.
      recogniser: what to embed with.
      output: the ``.npz`` file to write.
      flip: as for :func:`embed_folder`, and so the others.
      kind: likewise.
      attributes: likewise.
      skip_unreadable: likewise.
      precision: that the recogniser was loaded with.
    """
    heads = attribute_recogniser(recogniser).heads if attributes else None
    settings = {
        "images": source.fingerprint(),
        "groups": _digest(groups_of(source.records)),
        "model": recogniser.model["sha256"],
        "flip": flip,
        "kind": kind,
        **({"attributes": heads.sha256} if heads else {}),
        **({"skip_unreadable": True} if skip_unreadable else {}),
        **device_flags.setting(precision),
    }
    result = Output(output, lambda: _read_same(output, settings))
    return result.make(
        lambda: _embed(source, recogniser, output, settings, skip_unreadable)
    )


def _embed(
    source: ImageSource,
    recogniser: Recogniser,
    output: PathLike,
    settings: dict[str, Any],
    skip_unreadable: bool,
) -> EmbeddingFile:
    """Embeds and writes; returns what :func:`embed_folder` does."""
    warn_of_photographs(recogniser, source.name)
    kind, flip = settings["kind"], settings["flip"]
    source, skipped = check_source(source, skip_unreadable=skip_unreadable)
    if not is_made_here(source.name):
        warn_of_uncropped(source)
    if "attributes" in settings:
        read = read_source(recogniser, source, flip=flip)
    else:
        read = Read(embed_source(recogniser, source, flip=flip), {})
    made = EmbeddingFile(
        read.embeddings,
        source.labels if source.labelled else None,
        np.array([record["file_name"] for record in source.records]),
        {"kind": kind, "model": recogniser.model},
        groups_of(source.records),
        predicted=read.predicted or None,
    )
    save_embeddings(
        output,
        made.embeddings,
        kind=kind,
        labels=made.labels,
        names=made.names,
        groups=made.groups,
        predicted=made.predicted,
        model=recogniser.model,
        settings={**settings, "skipped": skipped} if skipped else settings,
    )
    # A pipe's content can't be read again.
    return made if files.is_stream(output) else load_embeddings(output)


def _read_same(output: PathLike, settings: dict[str, Any]) -> EmbeddingFile | None:
    """The embeddings already there, or None; refuses those of other settings."""
    if not files.was_written(output):
        return None
    found = load_embeddings(output)
    made_by = found.metadata.get("created_with")
    old = made_by.get("settings") if isinstance(made_by, dict) else None
    # What could not be read is a result, not a setting.
    old = {k: v for k, v in (old or {}).items() if k != "skipped"}
    check_same_settings(output, old, settings)
    return found


def _digest(groups: dict[str, np.ndarray]) -> str:
    return hashlib.sha256(to_json(sorted(groups.items())).encode()).hexdigest()
