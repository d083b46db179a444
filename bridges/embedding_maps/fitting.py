"""Fitting a map from images, or from two embedding files of them, into a file."""

import hashlib
import os
import pathlib
from collections.abc import Callable
from typing import Any

import numpy as np

from bridges import device_flags
from bridges.datasets.dataset_format import to_json
from bridges.datasets.identity_folders import AUTO
from bridges.embedding_maps.embedding_map import EmbeddingMap, fit_embedding_map
from bridges.embedding_maps.map_file import load_embedding_map, save_embedding_map
from hyperface_jax import EmbeddingFile, InputError, files, load_embeddings
from hyperface_jax.artifacts import Output, check_same_settings

PathLike = str | os.PathLike[str]
# Of a digest, in the name of a hidden file.
_SHORT = 8


def fit_map_of_images(
    images: PathLike,
    output: PathLike,
    *,
    from_model: PathLike,
    to_model: PathLike,
    flip: bool = True,
    seed: int = 0,
    identity_from: str = AUTO,
    skip_unreadable: bool = False,
    device: str = "auto",
    precision: str = "float32",
) -> EmbeddingMap:
    """Embeds images with two recognisers and writes the map between them.

    What is embedded is kept in hidden files beside ``output`` until the map is there,
    so that the same call goes on after an interruption.

    Args:
      images: what :func:`bridges.datasets.image_source.open_images` takes; two images
        of each of 1,000 people are plenty.
      output: the ``.npz`` file to write.
      from_model: the recogniser whose embeddings are to be mapped, as
        :func:`bridges.recognisers.recogniser.load_recogniser` takes it.
      to_model: the one to whose space they are mapped, likewise.
      flip: embed each image together with its mirror image.
      seed: of the folds of people.
      identity_from: as for :func:`bridges.recognisers.gallery.embed_folder`, and so
        the others.
      skip_unreadable: likewise.
      device: likewise.
      precision: likewise.

    Returns:
      The map written, or the one of the same settings already there.

    Raises:
      InputError: as :func:`fit_embedding_map` and ``embed_folder``; or an output that
        was made with other settings.
    """
    # Loads torch, which fitting embedding files does without.
    from bridges.datasets.image_source import open_images
    from bridges.recognisers.gallery import embed_opened
    from bridges.recognisers.recogniser import load_recogniser

    files.check_output(output)
    recognisers = {
        side: load_recogniser(model, device=device, precision=precision)
        for side, model in (("from", from_model), ("to", to_model))
    }
    _refuse_equal(*(each.model for each in recognisers.values()))
    source = open_images(images, identity_from=identity_from)
    settings = {
        "images": source.fingerprint(),
        **{side: each.model["sha256"] for side, each in recognisers.items()},
        "flip": flip,
        "seed": seed,
        **({"skip_unreadable": True} if skip_unreadable else {}),
        **device_flags.setting(precision),
    }
    kept = {side: _hidden(output, side, settings) for side in recognisers}

    def fit() -> EmbeddingMap:
        found = [
            embed_opened(
                source,
                recogniser,
                kept[side],
                flip=flip,
                skip_unreadable=skip_unreadable,
                precision=precision,
            )
            for side, recogniser in recognisers.items()
        ]
        try:
            return _fit(*found, names=(source.name, source.name), seed=seed)
        except InputError:
            # The same images would be refused again.
            for path in kept.values():
                files.discard(path)
            raise

    return _make(output, settings, fit, leftovers=list(kept.values()))


def fit_map_of_files(
    from_embeddings: PathLike,
    to_embeddings: PathLike,
    output: PathLike,
    *,
    seed: int = 0,
) -> EmbeddingMap:
    """Fits a map on two embedding files of the same images and writes it.

    Args:
      from_embeddings: what one recogniser said of the images.
      to_embeddings: what the other said, in any order: rows are matched by ``names``.
      output: the ``.npz`` file to write.
      seed: of the folds of people.

    Returns:
      The map written, or the one of the same settings already there.

    Raises:
      InputError: as :func:`fit_embedding_map`; a file that does not say which model its
        rows are of, rows that were mapped, names that are missing, double or not the
        same in both files, or labels that contradict each other.
    """
    files.check_output(output)
    names = (files.path_of(from_embeddings), files.path_of(to_embeddings))
    found = [load_embeddings(name) for name in names]
    digests = [files.sha256_of(name) for name in names]
    settings = {"from_file": digests[0], "to_file": digests[1], "seed": seed}
    return _make(output, settings, lambda: _fit(*found, names=names, seed=seed))


def _make(
    output: PathLike,
    settings: dict[str, Any],
    fit: Callable[[], EmbeddingMap],
    leftovers: list[pathlib.Path] | None = None,
) -> EmbeddingMap:
    """Fits and writes, or returns what is there already."""

    def find() -> EmbeddingMap | None:
        if not files.was_written(output):
            return None
        found = load_embedding_map(output)
        made_with = found.provenance.get("settings")
        old = made_with if isinstance(made_with, dict) else {}
        check_same_settings(output, old, settings)
        return found

    def work() -> EmbeddingMap:
        fitted = fit()
        save_embedding_map(output, fitted, settings=settings)
        return fitted

    return Output(output, find, leftovers=leftovers or []).make(work)


def _fit(
    from_file: EmbeddingFile,
    to_file: EmbeddingFile,
    *,
    names: tuple[str, str],
    seed: int,
) -> EmbeddingMap:
    """Matches the rows of two files and fits."""
    sides = list(zip((from_file, to_file), names, strict=True))
    models = [_model_of(file, name) for file, name in sides]
    _refuse_equal(*models)
    rows = _matching(sides)
    labels = [
        None if file.labels is None else file.labels[row]
        for (file, _), row in zip(sides, rows, strict=True)
    ]
    _check_labels(labels, names)
    return fit_embedding_map(
        from_file.embeddings[rows[0]],
        to_file.embeddings[rows[1]],
        next((each for each in labels if each is not None), None),
        from_model=models[0],
        to_model=models[1],
        seed=seed,
    )


def _model_of(file: EmbeddingFile, name: str) -> dict[str, str]:
    model = file.metadata.get("model")
    if model is None:
        raise InputError(
            f"{name}: does not say which recogniser its rows are of, which a map must "
            "know; embed with hyperface-embed, or give save_embeddings the model"
        )
    if mapped_by(file) is not None:
        raise InputError(
            f"{name}: its rows were mapped to the space of {model['name']}, which did "
            "not see the images; embed them with it"
        )
    return model


def mapped_by(file: EmbeddingFile) -> dict[str, Any] | None:
    """What an embedding file says of the map that its rows went through, or None."""
    made_with = file.metadata.get("created_with")
    settings = made_with.get("settings") if isinstance(made_with, dict) else None
    found = settings.get("mapped") if isinstance(settings, dict) else None
    return found if isinstance(found, dict) else None


def _matching(sides: list[tuple[EmbeddingFile, str]]) -> list[np.ndarray]:
    """The rows of both files, ``[n]`` each, in one order of their names."""
    orders = []
    for file, name in sides:
        if file.names is None:
            raise InputError(
                f"{name}: has no names, by which the rows of both files are matched; "
                "embed with hyperface-embed, or give save_embeddings the names"
            )
        order = np.argsort(file.names, kind="stable")
        in_order = file.names[order]
        double = np.flatnonzero(in_order[1:] == in_order[:-1])
        if double.size:
            raise InputError(
                f"{name}: two rows are named {str(in_order[double[0]])!r}; names must "
                "tell the images apart"
            )
        orders.append(order)
    (first, first_name), (second, second_name) = sides
    for one, other, place, lacking in (
        (first, second, first_name, second_name),
        (second, first, second_name, first_name),
    ):
        missing = np.setdiff1d(one.names, other.names)
        if missing.size:
            raise InputError(
                f"{lacking}: lacks {missing.size:,} of the images of {place}, such as "
                f"{str(missing[0])!r}; embed the same images with both recognisers"
            )
    return orders


def _check_labels(labels: list[np.ndarray | None], names: tuple[str, str]) -> None:
    """Refuses two files that disagree on which images show one person."""
    if any(each is None for each in labels):
        return
    pairs = len(np.unique(np.stack(labels), axis=1).T)
    if any(len(np.unique(each)) != pairs for each in labels):
        raise InputError(
            f"{names[0]} and {names[1]}: their labels disagree on who is on the same "
            "image; embed the same images with both recognisers"
        )


def _refuse_equal(first: dict[str, str], second: dict[str, str]) -> None:
    if first["sha256"] == second["sha256"]:
        raise InputError(
            f"both sides are of {first['name']} ({first['sha256'][:12]}…); there is "
            "nothing to map; give two recognisers"
        )


def _hidden(output: PathLike, side: str, settings: dict[str, Any]) -> pathlib.Path:
    """Where the embeddings of a side wait for the map; elsewhere for other settings."""
    path = pathlib.Path(output)
    digest = hashlib.sha256(to_json(settings).encode()).hexdigest()
    return path.with_name(f".{files.short_stem(path)}.{side}-{digest[:_SHORT]}.npz")
