"""Where the references of hyperface-pack start: what its flags ask for, and whose."""

import os
import sys
import warnings
from typing import NamedTuple

import numpy as np
from absl import flags

from hyperface_jax import checks
from hyperface_jax.embeddings.embedding_file import EmbeddingFile, load_embeddings
from hyperface_jax.errors import InputError
from hyperface_jax.neighbours.similarity import nearest
from hyperface_jax.packing import balance, initialization

# Copies of the references, in float32, that are in memory at once at least.
_COPIES = 4


class Start(NamedTuple):
    """Where references start.

    Attributes:
      embeddings: ``[n, d]`` float32, unit rows.
      names: ``n`` names, of what each was.
      groups: ``[n]`` str, the group of each, or None when none were asked for.
    """

    embeddings: np.ndarray
    names: list[str]
    groups: np.ndarray | None


def choose(
    gallery: EmbeddingFile, fixed: EmbeddingFile | None, values: flags.FlagValues
) -> Start:
    """Chooses where references start, and says so when they have to be mixtures.

    Args:
      gallery: the gallery.
      fixed: the earlier set to add to, or None.
      values: the parsed flags of hyperface-pack.

    Raises:
      InputError: more references than the initial file has rows, or than the gallery
        can start, or than fit into memory; groups it does not have.
    """
    if values.initial:
        return _of_file(gallery, values)
    taken = None
    if fixed is None and values.num_identities is not None:
        checks.whole_number(values.num_identities, "num_identities", 2)
    if values.num_identities is not None:
        _check_memory(values.num_identities, gallery.embeddings.shape[1])
    if fixed is not None:
        taken = np.asarray(nearest(fixed.embeddings, gallery.embeddings).row)
    if values.balance:
        chosen, groups = _balanced(gallery, taken, values)
    else:
        chosen, groups = _of_anyone(gallery, taken, values), None
    names = names_of(gallery, "gallery")
    names = [names[row] if row >= 0 else "mixture" for row in chosen.gallery_rows]
    return Start(chosen.embeddings, names, groups)


def load_beside(
    gallery: EmbeddingFile, values: flags.FlagValues, name: str
) -> EmbeddingFile | None:
    """Reads the file of flag ``name``, if given, made by the gallery's recogniser."""
    path = values[name].value
    if not path:
        return None
    file = load_embeddings(path, model=gallery.metadata.get("model"))
    checks.same_dimension(
        gallery.embeddings, file.embeddings, f"{values.gallery} and {path}"
    )
    _warn_of_unknown_space((gallery, values.gallery), (file, path))
    return file


def names_of(file: EmbeddingFile, what: str) -> list[str]:
    """The names of a file's rows, or their numbers where it has none."""
    if file.names is not None:
        return [str(name) for name in file.names]
    return [f"{what} row {row}" for row in range(len(file.embeddings))]


def _warn_of_unknown_space(*files: tuple[EmbeddingFile, str]) -> None:
    """Says that rows are taken for those of the other file's recogniser."""
    silent = [name for file, name in files if not file.metadata.get("model")]
    if silent:
        warnings.warn(
            f"{' and '.join(silent)}: doesn't say which recogniser made it; rows of "
            "two recognisers have nothing to do with each other, and near or far then "
            "means nothing; embed with hyperface-embed, or give save_embeddings the "
            "model",
            stacklevel=3,
        )


def _check_memory(rows: int, dimensions: int) -> None:
    """Refuses what the system would end the command for, minutes later."""
    try:
        memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, OSError, ValueError):
        return  # A system that doesn't say.
    needed = rows * dimensions * np.dtype(np.float32).itemsize * _COPIES
    if needed > memory > 0:
        raise InputError(
            f"num_identities is {rows}: that many references of {dimensions} "
            f"dimensions need {needed / 1e9:.1f} GB of memory, and this machine has "
            f"{memory / 1e9:.1f} GB; ask for fewer"
        )


def _of_file(gallery: EmbeddingFile, values: flags.FlagValues) -> Start:
    start = load_beside(gallery, values, "initial")
    n = values.num_identities or len(start.embeddings)
    if n > len(start.embeddings):
        raise InputError(
            f"{values.initial}: {len(start.embeddings)} rows, --num_identities asks "
            f"for {n}; ask for fewer, or leave out --initial"
        )
    return Start(start.embeddings[:n], names_of(start, "initial")[:n], None)


def _of_anyone(
    gallery: EmbeddingFile, taken: np.ndarray | None, values: flags.FlagValues
) -> initialization.Initial:
    chosen = initialization.from_gallery(
        gallery.embeddings,
        gallery.labels,
        values.num_identities,
        values.seed,
        taken=taken,
    )
    if chosen.num_mixtures:
        print(
            f"the gallery starts {len(chosen.embeddings) - chosen.num_mixtures} "
            f"references; the other {chosen.num_mixtures} start at mixtures of two",
            file=sys.stderr,
        )
    return chosen


def _balanced(
    gallery: EmbeddingFile, taken: np.ndarray | None, values: flags.FlagValues
) -> tuple[initialization.Initial, np.ndarray]:
    """The rows to start at, by group, and the group of each."""
    if values.balance not in gallery.groups:
        known = ", ".join(gallery.groups) or "none"
        raise InputError(
            f"{values.gallery}: says of no row which {values.balance} it is "
            f"(attributes: {known}); hyperface-embed takes attributes from a dataset's "
            "metadata"
        )
    start = balance.from_gallery(
        gallery.embeddings,
        gallery.labels,
        gallery.groups[values.balance],
        values.num_identities,
        values.seed,
        shares=_shares(values.shares),
        taken=taken,
    )
    for name, count in start.mixtures.items():
        print(
            f"the gallery has too few people of the group {name}: {count} of its "
            "references start at mixtures of two",
            file=sys.stderr,
        )
    return start.initial, start.groups


def _shares(texts: list[str] | None) -> dict[str, float] | None:
    """Reads ``["female:0.5", "male:0.5"]``."""
    if not texts:
        return None
    shares = {}
    for text in texts:
        name, _, share = text.rpartition(":")
        try:
            shares[name.strip()] = float(share)
        except ValueError:
            raise InputError(
                f"--shares: {text!r} is not a group and its share; write them as "
                "female:0.5,male:0.5"
            ) from None
    return shares
