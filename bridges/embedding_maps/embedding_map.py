"""A map from one recogniser's embeddings to another's, as a file.

It is fitted on images that both have embedded (faces of any people; rendered ones do),
and carries what it is worth on people that were held out. ``fit_embedding_map`` refuses
maps that are worth nothing.

What a map does not do, as was measured with SFace and recogniser F: references that
were far apart before it are not after (largest cosine .265, then .689), and references
kept away from *mapped* photographs are not away from the people on them. Pack on in the
target space, and check images by a recogniser that knows photographs.
"""

import json
import os
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from bridges.embedding_maps.linear_map import (
    LinearMap,
    fit_procrustes,
    fit_ridge,
    people_folds,
)
from bridges.embedding_maps.worth import Worth, measure_worth
from hyperface_jax import InputError, check_embeddings, files
from hyperface_jax.commands import announce, provenance

FORMAT_VERSION = 1
KIND = "embedding_map"
PathLike = str | os.PathLike[str]
# A fifth of the people are held out; fewer can't tell.
_FOLDS = 5
_FEWEST_PEOPLE = 20
# The worst map between recognisers that was measured has .135; one that was fitted on
# people exchanged at random .48.
_WORTHLESS_EER = 0.3
# With SFace to F, 1,000 pairs came within a point and a half of 6,000; 300 lost eight.
_FEW_PAIRS = 1000


class EmbeddingMap(NamedTuple):
    """A map with its measured worth.

    Attributes:
      linear: the map of rows.
      source: ``name`` and ``sha256`` of the recogniser it takes embeddings of.
      target: likewise, of the recogniser whose embeddings it gives.
      worth: on held-out people.
      procrustes: the worth of the best rotation, to compare.
      strength: of the ridge, as a share of the mean eigenvalue.
      metadata: all of the file's.
    """

    linear: LinearMap
    source: Mapping[str, str]
    target: Mapping[str, str]
    worth: Worth
    procrustes: Worth
    strength: float
    metadata: Mapping[str, Any]

    def __call__(self, rows: np.ndarray) -> np.ndarray:
        """Maps unit rows ``[n, d]`` to unit rows ``[n, e]`` float32.

        Raises:
          InputError: malformed rows, or rows of another dimension.
        """
        check_embeddings(rows, "embeddings")
        wanted = self.linear.matrix.shape[0]
        if rows.shape[1] != wanted:
            raise InputError(
                f"embeddings of {rows.shape[1]} numbers, and the map takes {wanted}"
            )
        return self.linear(rows)


def fit_embedding_map(
    source_rows: np.ndarray,
    target_rows: np.ndarray,
    people: np.ndarray | None,
    *,
    source: Mapping[str, str],
    target: Mapping[str, str],
    settings: Mapping[str, Any] | None = None,
) -> EmbeddingMap:
    """Fits a map by ridge regression, and measures it on people held out.

    The strength of the ridge is chosen over people. For the measures a fifth of the
    people is held out; the map that is returned is fitted on all.

    Args:
      source_rows: ``[n, d]`` unit rows.
      target_rows: ``[n, e]`` unit rows of the same images.
      people: ``[n]``: who is on each; None where nobody is on two images.
      source: ``name`` and ``sha256`` of the recogniser of ``source_rows``.
      target: likewise of ``target_rows``.
      settings: for the record.

    Raises:
      InputError: malformed rows, rows of other images, one recogniser twice, fewer
        than 20 people, or a map that is worth nothing, with its measures.
    """
    for name, rows in (("source_rows", source_rows), ("target_rows", target_rows)):
        check_embeddings(rows, name)
    count = len(source_rows)
    if len(target_rows) != count:
        raise InputError(
            f"{count} embeddings of one recogniser and {len(target_rows)} of the "
            "other; give those of the same images"
        )
    if source["sha256"] == target["sha256"]:
        raise InputError(f"both embeddings are of {source['name']}; nothing to map")
    if people is None:
        people = np.arange(count)
    people = np.unique(np.asarray(people), return_inverse=True)[1]
    if people.shape != (count,) or people.max() + 1 < _FEWEST_PEOPLE:
        raise InputError(
            f"{people.max() + 1} people; a map needs {_FEWEST_PEOPLE} at least, and "
            f"some {_FEW_PAIRS} images: hyperface-render makes people"
        )
    if count < _FEW_PAIRS:
        announce(f"fitted on {count} images; {_FEW_PAIRS} and more make a better map")
    held = people_folds(people, _FOLDS) == 0
    worths = []
    fitted, _ = fit_ridge(source_rows[~held], target_rows[~held], people[~held])
    for mapping in (fitted, fit_procrustes(source_rows[~held], target_rows[~held])):
        found = measure_worth(
            mapping, source_rows[held], target_rows[held], people[held]
        )
        worths.append(found)
    worth, rotation = worths
    if worth.eer > _WORTHLESS_EER:
        raise InputError(
            f"a map from {source['name']} to {target['name']} is worth nothing here: "
            f"of {worth.people} people held out it knows {worth.rank1:.3f} again "
            f"(chance {worth.chance:.3f}), equal error rate {worth.eer:.3f}; are the "
            "images aligned faces, and the same for both?"
        )
    linear, strength = fit_ridge(source_rows, target_rows, people)
    metadata = {
        "format_version": FORMAT_VERSION,
        "kind": KIND,
        "source": dict(source),
        "target": dict(target),
        "images": count,
        "people": int(people.max() + 1),
        "strength": strength,
        "held_out": worth._asdict(),
        "procrustes": rotation._asdict(),
        "created_with": provenance(dict(settings or {})),
    }
    return EmbeddingMap(
        linear, dict(source), dict(target), worth, rotation, strength, metadata
    )


def save_embedding_map(path: PathLike, mapping: EmbeddingMap) -> None:
    """Writes a map as ``.npz``, whole or not at all."""
    with files.atomic_path(path) as temporary, open(temporary, "wb") as file:
        np.savez(
            file,
            **mapping.linear._asdict(),
            metadata=np.asarray(json.dumps(mapping.metadata)),
        )


def load_embedding_map(path: PathLike) -> EmbeddingMap:
    """Reads a map; never unpickles.

    Raises:
      InputError: no such file, or no map, with what is wrong.
    """
    path = files.path_of(path)
    try:
        with np.load(path, allow_pickle=False) as content:
            arrays = {name: content[name] for name in LinearMap._fields}
            metadata = json.loads(str(content["metadata"]))
        linear = LinearMap(**{k: np.asarray(v, np.float64) for k, v in arrays.items()})
        shapes = linear.matrix.shape, linear.source_mean.shape, linear.target_mean.shape
        if shapes[0] != (*shapes[1], *shapes[2]) or metadata["kind"] != KIND:
            raise ValueError(f"arrays of {shapes}, kind {metadata['kind']!r}")
        if not all(np.isfinite(array).all() for array in linear):
            raise ValueError("numbers that are not finite")
        models = [
            {key: str(metadata[side][key]) for key in ("name", "sha256")}
            for side in ("source", "target")
        ]
        worths = [Worth(**metadata[key]) for key in ("held_out", "procrustes")]
        return EmbeddingMap(
            linear, *models, *worths, float(metadata["strength"]), metadata
        )
    except FileNotFoundError:
        raise InputError(f"{path}: no such file") from None
    except MemoryError:
        raise
    except Exception as error:  # NumPy and zipfile raise many, by where damage is.
        reason = " ".join(str(error).split())[:100]
        raise InputError(
            f"{path}: no embedding map, or a damaged one ({reason}); hyperface-map "
            "makes them"
        ) from None
