"""The references of a dataset: read, checked, and what identifies them."""

import hashlib
import json
import os
import warnings

import numpy as np

from bridges.generators.generator import Generator
from hyperface_jax import (
    EmbeddingFile,
    InputError,
    check_embeddings,
    check_model,
    files,
    load_embeddings,
)

# What the record of an image has besides the groups of its reference.
RECORD_ENTRIES = frozenset(
    "file_name identity index seed reference_cosine tries flag redraws".split()
)


def read_references(
    references: EmbeddingFile | str | os.PathLike[str],
) -> tuple[EmbeddingFile, str]:
    """Reads references, before any model is loaded.

    A group attribute that has the name of an entry of the records is called
    ``group_<name>``, as in the embedding file, so that it hides none.

    Args:
      references: an embedding file or its content.

    Returns:
      The content, and what to call it in messages.

    Raises:
      InputError: no embedding file, or one of another kind.
    """
    if isinstance(references, EmbeddingFile):
        name, content = "references", references
        check_embeddings(content.embeddings, name)
    else:
        name = files.path_of(references)
        content = load_embeddings(name)
    kind = content.metadata.get("kind")
    if kind not in (None, "references"):
        raise InputError(
            f"{name}: holds {kind}, expected references; pack a gallery first, with "
            "hyperface-pack"
        )
    check_model(content.metadata.get("model"), None, name)
    groups = {
        f"group_{attribute}" if attribute in RECORD_ENTRIES else attribute: values
        for attribute, values in content.groups.items()
    }
    return content._replace(groups=groups), name


def check_references(content: EmbeddingFile, name: str, generator: Generator) -> None:
    """Checks that a generator can draw references; warns where nothing says it.

    Args:
      content: the references.
      name: what to call them.
      generator: what is to draw them.

    Raises:
      InputError: they are of another recogniser, or length, than the generator takes.
    """
    model = content.metadata.get("model")
    if model and model["sha256"] != generator.recogniser["sha256"]:
        raise InputError(
            f"{name}: references of {model['name']} ({model['sha256'][:12]}…), but "
            f"generator {generator.model['name']} takes those of "
            f"{generator.recogniser['name']} ({generator.recogniser['sha256'][:12]}…); "
            "carry them over with hyperface-map, or embed the gallery with that "
            "recogniser and pack it again"
        )
    dimensions = content.embeddings.shape[1]
    if dimensions != generator.embedding_size:
        raise InputError(
            f"{name}: embeddings have {dimensions} entries, generator "
            f"{generator.model['name']} takes {generator.embedding_size}; embed the "
            f"gallery with {generator.recogniser['name']} and pack it again, or carry "
            "them over with hyperface-map"
        )
    if not model:
        warnings.warn(
            f"{name}: doesn't say which recogniser made it; its rows are taken for "
            f"embeddings of {generator.recogniser['name']}, of any other they give "
            "images of nobody in particular",
            stacklevel=3,
        )


def digest_of_rows(embeddings: np.ndarray) -> str:
    """SHA-256 of reference embeddings, whatever file they come in."""
    rows = np.ascontiguousarray(embeddings, np.float32)
    return hashlib.sha256(rows.tobytes()).hexdigest()


def digest_of_groups(groups: dict[str, np.ndarray]) -> str:
    """SHA-256 of the groups of all references."""
    values = {name: of.tolist() for name, of in groups.items()}
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()
