"""Training images in memory, and identities that are held out for evaluation."""

from typing import NamedTuple

import numpy as np
import torch

from bridges.datasets.image_source import ImageSource
from bridges.datasets.images import load_images
from hyperface_jax import InputError

HELD_OUT_SHARE = 0.02


class TrainingImages(NamedTuple):
    """Images sorted by identity, in memory that processes share.

    Attributes:
      images: ``[n, 3, s, s]`` uint8.
      labels: ``[n]`` int64 in 0 … k-1, ascending.
      held_out: ``[m, 3, s, s]`` uint8, of identities that are in no training image.
      held_out_labels: ``[m]`` int64, from k on, ascending.
    """

    images: torch.Tensor
    labels: torch.Tensor
    held_out: torch.Tensor
    held_out_labels: torch.Tensor


def load_training_images(
    source: ImageSource, size: int, *, max_held_out: int = 400
) -> TrainingImages:
    """Loads a source; its last 2 % identities (at least one) are held out.

    Args:
      source: images with identities.
      size: side in pixels to resample to.
      max_held_out: how many images of the held-out identities to keep.

    Raises:
      InputError: fewer than two identities, or images that can't be read.
    """
    identities = len(source.identities)
    if not source.labelled or identities < 2:
        raise InputError(
            f"{source.name}: {identities} labelled identities; training needs at "
            "least two, in a dataset folder or a folder per identity"
        )
    first_held_out = identities - max(1, round(HELD_OUT_SHARE * identities))
    order = np.argsort(source.labels, kind="stable")
    labels = source.labels[order]
    train = order[labels < first_held_out]
    held_out = order[labels >= first_held_out][:max_held_out]
    return TrainingImages(
        _shared(load_images(source, size, train, progress=True)),
        torch.from_numpy(source.labels[train]).share_memory_(),
        _shared(load_images(source, size, held_out)),
        torch.from_numpy(source.labels[held_out]).share_memory_(),
    )


def _shared(images: np.ndarray) -> torch.Tensor:
    planes = np.ascontiguousarray(images.transpose(0, 3, 1, 2))
    return torch.from_numpy(planes).share_memory_()
