"""The file of an embedding map: ``.npz``, without pickles, as embedding files are."""

import json
import math
import os
from typing import Any

import numpy as np

from bridges.embedding_maps.affine_map import AffineMap
from bridges.embedding_maps.embedding_map import EmbeddingMap
from bridges.embedding_maps.ridge import Fold
from hyperface_jax import InputError, files, open_npz
from hyperface_jax.commands import provenance

PathLike = str | os.PathLike[str]
KIND = "embedding_map"
FORMAT_VERSION = 1
_REMEDY = "fit one with hyperface-map"
_MEASURES = {"held_out": True, "procrustes": True, "target_alone": False}


def save_embedding_map(
    path: PathLike, fitted: EmbeddingMap, *, settings: dict[str, Any] | None = None
) -> None:
    """Writes a map, whole or not at all.

    Args:
      path: the ``.npz`` file to write.
      fitted: the map.
      settings: JSON-ready settings of the run that made it.
    """
    record = {
        "format_version": FORMAT_VERSION,
        "kind": KIND,
        "from": fitted.from_model,
        "to": fitted.to_model,
        "strength": fitted.strength,
        "fitted_to": fitted.fitted_to,
        "num_pairs": fitted.num_pairs,
        "num_people": fitted.num_people,
        **fitted.measured,
        "created_with": provenance(settings),
    }
    text = json.dumps(record, allow_nan=False)
    arrays = {
        name: np.asarray(array, np.float64)
        for name, array in fitted.map._asdict().items()
    }
    with files.atomic_path(path) as temporary, open(temporary, "wb") as file:
        np.savez(file, **arrays, metadata=np.asarray(text))


def load_embedding_map(path: PathLike) -> EmbeddingMap:
    """Reads and checks a map; never unpickles.

    Raises:
      InputError: no such file, no map, a damaged one, or one of a later version.
    """
    name = files.path_of(path)
    with open_npz(path, what="embedding map") as content:
        if "embeddings" in content.keys:
            raise InputError(f"{name}: holds embeddings, expected a map; {_REMEDY}")
        missing = {*AffineMap._fields, "metadata"}.difference(content.keys)
        if missing:
            raise InputError(f"{name}: no {min(missing)!r}, so it is no map; {_REMEDY}")
        arrays = [content.read(field) for field in AffineMap._fields]
        text = content.read("metadata")
    return EmbeddingMap(_checked_map(arrays, name), *_checked_record(text, name))


def _checked_map(arrays: list[np.ndarray], name: str) -> AffineMap:
    found = AffineMap(*arrays)
    sides = found.matrix.shape
    fits = (
        len(sides) == 2
        and min(sides) > 0
        and (found.from_mean.shape, found.to_mean.shape) == (sides[:1], sides[1:])
        and all(array.dtype == np.float64 for array in arrays)
    )
    if not fits:
        shapes = ", ".join(f"{array.dtype} {array.shape}" for array in arrays)
        raise InputError(
            f"{name}: matrix and means are {shapes}, expected float64 [p, q], [p] and "
            f"[q]; {_REMEDY}"
        )
    if not all(np.isfinite(array).all() for array in arrays):
        raise InputError(f"{name}: holds NaN or infinity; {_REMEDY}")
    return found


def _checked_record(text: np.ndarray, name: str) -> list[Any]:
    """The fields of :class:`EmbeddingMap` after the map."""
    try:
        record = json.loads(str(text))
    except (ValueError, RecursionError):
        raise InputError(f"{name}: its metadata is not JSON; {_REMEDY}") from None
    if not isinstance(record, dict) or record.get("kind") != KIND:
        raise InputError(f"{name}: its metadata is not of a map; {_REMEDY}")
    version = record.get("format_version")
    if type(version) is not int or version > FORMAT_VERSION:
        raise InputError(
            f"{name}: a map of format version {version!r}, this program reads up to "
            f"{FORMAT_VERSION}; update hyperface_jax"
        )
    good = (
        all(_is_model(record.get(side)) for side in ("from", "to"))
        and _is_number(record.get("strength"))
        and record.get("fitted_to") in Fold._fields
        and all(type(record.get(key)) is int for key in ("num_pairs", "num_people"))
        and all(
            _are_measures(record.get(key), needed) for key, needed in _MEASURES.items()
        )
        and isinstance(record.get("created_with"), dict)
    )
    if not good:
        raise InputError(f"{name}: its metadata lacks what a map says; {_REMEDY}")
    return [
        record["from"],
        record["to"],
        record["strength"],
        record["fitted_to"],
        record["num_pairs"],
        record["num_people"],
        {key: record[key] for key in _MEASURES},
        record["created_with"],
    ]


def _is_model(value: Any) -> bool:
    return isinstance(value, dict) and all(
        isinstance(value.get(key), str) and value[key] for key in ("name", "sha256")
    )


def _is_number(value: Any) -> bool:
    return type(value) in (int, float) and math.isfinite(value)


def _are_measures(value: Any, needed: bool) -> bool:
    if value is None:
        return not needed
    keys = ("rank1", "chance", "equal_error_rate", "cosine", "centred_cosine")
    counts = ("people", "people_in_a_gallery", "probes", "pairs")
    return (
        isinstance(value, dict)
        and all(_is_number(value.get(key)) for key in keys)
        and all(type(value.get(key)) is int for key in counts)
        and isinstance(value.get("same_images"), bool)
    )
