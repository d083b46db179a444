"""Applying a map to an embedding file, and saying what that is and is not good for."""

import os
from typing import Any, NamedTuple

import numpy as np

from bridges.embedding_maps.fitting import mapped_by
from bridges.embedding_maps.map_file import load_embedding_map
from hyperface_jax import (
    EmbeddingFile,
    InputError,
    files,
    load_embeddings,
    save_embeddings,
)
from hyperface_jax.artifacts import Output, check_same_settings

PathLike = str | os.PathLike[str]


class Applied(NamedTuple):
    """Mapped embeddings.

    Attributes:
      file: what was written: rows in the space of the map's target.
      mapped: what its metadata say of the map, ``created_with.settings.mapped``:
        ``map`` (SHA-256 of the map's file), ``from`` (the model), ``held_out``, and of
        references ``max_cosine_before`` and ``max_cosine``.
    """

    file: EmbeddingFile
    mapped: dict[str, Any]


def apply_embedding_map(
    embedding_map: PathLike, embeddings: PathLike, output: PathLike
) -> Applied:
    """Maps the rows of an embedding file and writes them as rows of the target model.

    Kind, labels, names and groups are kept, a packing record is not: its figures are of
    the other space.

    Args:
      embedding_map: a file of ``hyperface-map``.
      embeddings: the embedding file to map.
      output: the embedding file to write.

    Returns:
      What was written, or was there already of the same files.

    Raises:
      InputError: no map, no embeddings, embeddings of another model than the map's, or
        of none; rows mapped before; an output that is one of the two files, or of
        others.
    """
    for given in (embedding_map, embeddings):
        if files.is_same(given, output):
            raise InputError(
                f"{output}: is read, and so can't be the output; name another"
            )
    files.check_output(output)
    name = files.path_of(embeddings)
    map_name = files.path_of(embedding_map)
    fitted = load_embedding_map(map_name)
    source = load_embeddings(name)
    _check_model(source, name, fitted.from_model, fitted.to_model, map_name)
    if source.embeddings.shape[1] != len(fitted.map.matrix):
        raise InputError(
            f"{name}: rows of {source.embeddings.shape[1]} numbers, {map_name} maps "
            f"{len(fitted.map.matrix)}; one of the two is not what its model says"
        )
    settings = {
        "map": files.sha256_of(map_name),
        "embeddings": files.sha256_of(name),
    }

    def find() -> Applied | None:
        if not files.was_written(output):
            return None
        found = load_embeddings(output)
        mapped = mapped_by(found) or {}
        old = {key: mapped.get(key) for key in settings}
        check_same_settings(output, old, settings)
        return Applied(found, mapped)

    def work() -> Applied:
        rows = fitted.map(source.embeddings)
        mapped = {
            **settings,
            "from": fitted.from_model,
            "held_out": fitted.measured["held_out"],
        }
        kind = source.metadata.get("kind") or "gallery"
        if kind == "references" and len(rows) > 1:
            mapped["max_cosine_before"] = largest_cosine(source.embeddings)
            mapped["max_cosine"] = largest_cosine(rows)
        labels = source.labels
        if labels is not None and source.identities is not None:
            labels = source.identities[labels]
        save_embeddings(
            output,
            rows,
            kind=kind,
            labels=labels,
            names=source.names,
            groups=source.groups,
            predicted=source.predicted,
            model=fitted.to_model,
            settings={"mapped": mapped},
        )
        written = {"kind": kind, "model": fitted.to_model}
        return Applied(source._replace(embeddings=rows, metadata=written), mapped)

    return Output(output, find).make(work)


def largest_cosine(rows: np.ndarray) -> float:
    """The largest cosine between two of ``[n, d]`` unit rows, ``n`` at least 2."""
    # Loads JAX, which nothing else here needs.
    from hyperface_jax import separation_statistics

    return separation_statistics(rows).max_inter_cosine


def describe_applied(applied: Applied, output: PathLike) -> list[str]:
    """What was made and what it must not be taken for, in lines."""
    file, mapped = applied
    model, held_out = file.metadata["model"], mapped["held_out"]
    rows, columns = file.embeddings.shape
    lines = [
        f"{output}: {rows} embeddings of {columns} numbers, mapped from "
        f"{mapped['from']['name']} to {model['name']} (held out: rank-1 "
        f"{held_out['rank1']:.3f} of {held_out['people_in_a_gallery']}, EER "
        f"{held_out['equal_error_rate']:.2%})"
    ]
    if "max_cosine" in mapped:
        lines.append(
            "  separation does not survive a map: the largest cosine between two "
            f"references was {mapped['max_cosine_before']:.3f} and is "
            f"{mapped['max_cosine']:.3f}; pack on in the space of {model['name']}: "
            f"hyperface-pack --gallery=GALLERY --initial={output} "
            f"--output=REFERENCES, with a gallery that {model['name']} embedded"
        )
    else:
        lines.append(
            "  keeping references away from mapped photographs (hyperface-pack "
            "--enrolled) protects nobody: generate, then check the images by a "
            "recogniser that knows photographs (hyperface-audit)"
        )
    return lines


def _check_model(
    source: EmbeddingFile,
    name: str,
    from_model: dict[str, str],
    to_model: dict[str, str],
    map_name: str,
) -> None:
    """Refuses rows of another recogniser than the map's."""
    model = source.metadata.get("model")
    wanted = f"{from_model['name']} ({from_model['sha256'][:12]}…)"
    if model is None:
        raise InputError(
            f"{name}: does not say which recogniser its rows are of, and {map_name} "
            f"maps those of {wanted}; embed with hyperface-embed, or give "
            "save_embeddings the model"
        )
    if model["sha256"] == from_model["sha256"]:
        if mapped_by(source) is None:
            return
        raise InputError(
            f"{name}: its rows were mapped before, and two maps lose more than one; "
            "fit one from the recogniser that embedded the images"
        )
    found = f"{model['name']} ({model['sha256'][:12]}…)"
    if model["sha256"] == to_model["sha256"]:
        remedy = f"they are in the space that it maps to; use {name} as it is"
    else:
        remedy = (
            f"embed the images with {from_model['name']}, or fit a map from "
            f"{model['name']}"
        )
    raise InputError(
        f"{name}: embeddings of {found}, {map_name} maps {wanted}; {remedy}"
    )
