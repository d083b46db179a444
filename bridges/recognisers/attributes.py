"""What a recogniser that was trained for several tasks reads from faces."""

from typing import NamedTuple

import numpy as np
import torch

from bridges.datasets.batches import read_batches
from bridges.datasets.image_source import ImageSource
from bridges.recognisers.embedding import BATCH_SIZE
from bridges.recognisers.network import NetworkRecogniser, unit_rows
from bridges.recognisers.recogniser import Recogniser
from bridges.recognition.attribute_heads import AttributeHead, NumberHead
from hyperface_jax import InputError
from hyperface_jax.commands import progress


class Read(NamedTuple):
    """Embeddings, and what was read beside.

    Attributes:
      embeddings: ``[n, d]`` float32, unit rows.
      predicted: ``[n]`` by attribute: ``yaw``, ``pitch``, ``roll`` in degrees and
        ``age`` in years, float32; ``expression`` and ``gender``, str, each with its
        ``…_probability``, float32.
    """

    embeddings: np.ndarray
    predicted: dict[str, np.ndarray]


def attribute_recogniser(recogniser: Recogniser) -> NetworkRecogniser:
    """The same recogniser, if it reads attributes.

    Raises:
      InputError: it does not.
    """
    if getattr(recogniser, "heads", None) is None:
        raise InputError(
            f"{recogniser.model['name']}: reads no attributes; give a recogniser "
            "trained by hyperface-train --tasks=identity,pose,age,expression,gender"
        )
    return recogniser


@torch.inference_mode()
def read_source(
    recogniser: NetworkRecogniser, source: ImageSource, *, flip: bool = True
) -> Read:
    """Embeds all images of a source and reads their attributes, with a progress bar.

    Args:
      recogniser: with heads, see :func:`attribute_recogniser`.
      source: the images; cropped to squares and resampled when of another size.
      flip: embed each image together with its mirror image, and take the mean of what
        is read of both, with the signs of yaw and roll set right.

    Raises:
      InputError: an unreadable image, which is named.
    """
    heads = recogniser.heads.heads
    rows, values = [], {name: [] for name in heads}
    bar = progress(description="embedding", total=len(source), unit="image")
    with bar, read_batches(source, recogniser.image_size, BATCH_SIZE) as batches:
        for _, images in batches:
            outputs = recogniser.outputs(images, flip=flip)
            rows.append(unit_rows(outputs))
            for name, head in heads.items():
                found = [head(out) for out in outputs]
                found = head.combined(*found) if flip else found[0]
                values[name].append(found.cpu().numpy())
            bar.update(len(images))
    predicted = {}
    for name, head in heads.items():
        predicted |= _columns(name, head, np.concatenate(values[name]))
    return Read(np.concatenate(rows), predicted)


def _columns(
    name: str, head: AttributeHead, values: np.ndarray
) -> dict[str, np.ndarray]:
    """Estimates by the name of what they are."""
    if isinstance(head, NumberHead):
        return dict(zip(head.fields, values.T, strict=True))
    best = values.argmax(1)
    return {
        name: np.array(head.names)[best],
        f"{name}_probability": values[np.arange(len(best)), best],
    }
