"""Fitting a map on a folder of images, and mapping of embedding files."""

import os
import pathlib
from typing import Any

import numpy as np

from bridges.datasets.identity_folders import AUTO
from bridges.embedding_maps.embedding_map import (
    EmbeddingMap,
    fit_embedding_map,
    load_embedding_map,
    save_embedding_map,
)
from bridges.recognisers.gallery import embed_folder
from hyperface_jax import (
    EmbeddingFile,
    InputError,
    files,
    load_embeddings,
    save_embeddings,
)
from hyperface_jax.artifacts import Output, check_same_settings
from hyperface_jax.commands import announce

PathLike = str | os.PathLike[str]


def fit_map_on_images(
    images: PathLike,
    output: PathLike,
    *,
    source: PathLike,
    target: PathLike,
    flip: bool = True,
    identity_from: str = AUTO,
    skip_unreadable: bool = False,
    device: str = "auto",
) -> EmbeddingMap:
    """Embeds images by two recognisers and fits a map from one to the other.

    Args:
      images: aligned faces, as for :func:`bridges.recognisers.gallery.embed_folder`.
      output: the ``.npz`` file to write. The embeddings lie beside it, hidden, until
        it is finished.
      source: the recogniser whose embeddings the map takes.
      target: the recogniser whose embeddings it gives.
      flip: embed each image together with its mirror image.
      identity_from: see :func:`bridges.datasets.image_source.open_images`.
      skip_unreadable: leave out images that can't be read.
      device: what to compute on, see :func:`bridges.devices.find_device`.

    Raises:
      InputError: as ``embed_folder`` and
        :func:`bridges.embedding_maps.embedding_map.fit_embedding_map`.
    """
    output = pathlib.Path(files.path_of(output))
    files.check_output(output)
    hidden = [
        output.with_name(f".{output.stem}.{side}.npz") for side in ("source", "target")
    ]
    embedded = [
        embed_folder(
            images,
            place,
            model=model,
            flip=flip,
            identity_from=identity_from,
            skip_unreadable=skip_unreadable,
            device=device,
        )
        for place, model in zip(hidden, (source, target), strict=True)
    ]
    settings = {
        "images": embedded[0].metadata["created_with"]["settings"]["images"],
        "flip": flip,
    }
    return fit_map_of_files(*embedded, output, settings=settings, leftovers=hidden)


def fit_map_of_files(
    source: EmbeddingFile,
    target: EmbeddingFile,
    output: PathLike,
    *,
    settings: dict[str, Any],
    leftovers: list[pathlib.Path] | None = None,
) -> EmbeddingMap:
    """Fits a map on the embeddings that two recognisers have of the same images.

    Args:
      source: by the recogniser whose embeddings the map takes.
      target: by the other; with the same names, in any order.
      output: the ``.npz`` file to write.
      settings: that tell this map from another, JSON-ready.
      leftovers: files to remove when the map is finished.

    Raises:
      InputError: files without names or model, of other images, an output of other
        settings, or as :func:`fit_embedding_map`.
    """
    for name, each in (("source", source), ("target", target)):
        if each.metadata.get("model") is None:
            raise InputError(
                f"the {name} embeddings do not say whose they are; embed the images "
                "again with hyperface-embed"
            )
    order = _same_images(source, target)
    models = source.metadata["model"], target.metadata["model"]
    settings = {
        **settings,
        "source": models[0]["sha256"],
        "target": models[1]["sha256"],
    }

    def find() -> EmbeddingMap | None:
        if not files.was_written(output):
            return None
        found = load_embedding_map(output)
        old = found.metadata["created_with"]["settings"]
        check_same_settings(output, old, settings)
        return found

    def fit() -> EmbeddingMap:
        mapping = fit_embedding_map(
            source.embeddings,
            target.embeddings[order],
            source.labels,
            source=models[0],
            target=models[1],
            settings=settings,
        )
        save_embedding_map(output, mapping)
        return mapping

    return Output(output, find, leftovers=leftovers or ()).make(fit)


def apply_map(
    mapping: PathLike, embeddings: PathLike, output: PathLike
) -> tuple[EmbeddingFile, tuple[float, float] | None]:
    """Maps an embedding file into the space of another recogniser.

    Args:
      mapping: the map.
      embeddings: an embedding file of the recogniser that the map is from.
      output: the embedding file to write; it counts as the target recogniser's, and
        its settings say by which map it was made.

    Returns:
      The mapped file; and, for references, the largest cosine before and after.

    Raises:
      InputError: no map, embeddings of another recogniser or of none that is known.
    """
    files.check_output(output)
    found = load_embedding_map(mapping)
    given = load_embeddings(embeddings, model=dict(found.source))
    model = given.metadata.get("model")
    if model is None:
        raise InputError(
            f"{embeddings}: does not say whose embeddings these are, and the map takes "
            f"{found.source['name']}'s; embed the images again with hyperface-embed"
        )
    kind = given.metadata.get("kind", "gallery")
    rows = found(given.embeddings)
    save_embeddings(
        output,
        rows,
        kind=kind,
        labels=given.labels,
        names=given.names,
        groups=given.groups,
        model=dict(found.target),
        settings={
            "mapped_by": files.sha256_of(mapping),
            "mapped_from": dict(found.source),
            "held_out": found.worth._asdict(),
        },
    )
    nearest = None
    if kind == "references" and len(rows) > 1:
        nearest = largest_cosine(given.embeddings), largest_cosine(rows)
        announce(
            f"{os.fspath(output)}: separation does not survive a map: the largest "
            f"cosine was {nearest[0]:.3f} and is {nearest[1]:.3f}; pack on in this "
            f"space, hyperface-pack --initial={os.fspath(output)} with a gallery of "
            f"{found.target['name']}"
        )
    elif kind != "references":
        announce(
            f"{os.fspath(output)}: references kept away from mapped photographs are "
            "not away from the people on them; check images by a recogniser that knows "
            "photographs (hyperface-audit)"
        )
    return load_embeddings(output), nearest


def _same_images(source: EmbeddingFile, target: EmbeddingFile) -> np.ndarray:
    """The row of ``target`` with the image of each row of ``source``."""
    if source.names is None or target.names is None:
        raise InputError(
            "embeddings without names: nothing says which are of one image"
        )
    place = {name: row for row, name in enumerate(target.names.tolist())}
    names = source.names.tolist()
    missing = [name for name in names if name not in place]
    if missing or len(place) != len(names):
        what = f"{missing[0]} is" if missing else "some are"
        raise InputError(f"embeddings of other images: {what} in one of them alone")
    return np.array([place[name] for name in names], np.int64)


def largest_cosine(rows: np.ndarray) -> float:
    """The largest cosine of two different rows."""
    # Loads JAX, which nothing else here needs.
    from hyperface_jax import EmbeddingIndex

    cosines, found = EmbeddingIndex(rows).search(rows, k=2)
    other = np.where(found[:, 0] == np.arange(len(rows)), cosines[:, 1], cosines[:, 0])
    return float(other.max())
