"""What a recogniser is trained on: labelled images of one folder or several."""

import dataclasses
import os
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch

from bridges.datasets.image_dataset import ImageDataset
from bridges.recognition import checkpoint
from bridges.recognition.config import TrainingConfig
from hyperface_jax import InputError
from hyperface_jax.commands import announce


class TrainingData(NamedTuple):
    """Labelled images in memory.

    Attributes:
      images: ``[n, s, s, 3]`` uint8 RGB.
      labels: ``[n]`` int64 in ``0 … k-1``.
      num_identities: ``k``.
    """

    images: torch.Tensor
    labels: torch.Tensor
    num_identities: int


def describe(
    sets: Sequence[ImageDataset], config: TrainingConfig, skip_unreadable: bool
) -> dict[str, Any]:
    """What a training is made of, to tell it from another one."""
    for images in sets:
        if not images.labelled:
            raise InputError(
                f"{images.folder}: nothing says who is on the images; expected a "
                "dataset folder or one folder per identity"
            )
    check_counts(sets, config)
    return {
        "format_version": checkpoint.FORMAT_VERSION,
        "complete": False,
        "settings": {
            **dataclasses.asdict(config),
            "milestones": list(config.milestones),
        },
        "data": {
            "images": sum(map(len, sets)),
            "identities": sum(len(images.identities) for images in sets),
            "fingerprint": " ".join(images.fingerprint() for images in sets),
            **({"skip_unreadable": True} if skip_unreadable else {}),
        },
        "folders": [str(images.folder) for images in sets],
    }


def check_apart(sets: Sequence[ImageDataset]) -> None:
    """Refuses a folder that is given twice, and warns of people of one name.

    People of different folders are taken to be different people.
    """
    for number, images in enumerate(sets):
        for other in sets[:number]:
            if os.path.samefile(images.folder, other.folder):
                raise InputError(f"{images.folder}: given twice; give it once")
            shared = set(map(str, images.identities)) & set(map(str, other.identities))
            if images.labelled and other.labelled and shared - _numbers(shared):
                some = ", ".join(sorted(shared)[:3])
                announce(
                    f"{other.folder} and {images.folder}: {len(shared):,} names are in "
                    f"both ({some}); they are taken for different people"
                )


def _numbers(names: set[str]) -> set[str]:
    """Those that only count, as in rendered and generated sets."""
    return {name for name in names if name.isdecimal()}


def check_counts(sets: Sequence[ImageDataset], config: TrainingConfig) -> None:
    num_images = sum(len(images) for images in sets)
    num_identities = sum(len(images.identities) for images in sets)
    where = ", ".join(str(images.folder) for images in sets)
    if num_identities < 2:
        raise InputError(f"{where}: one identity only; there is nobody to tell it from")
    if num_images < config.batch_size:
        raise InputError(
            f"{where}: {num_images} images, fewer than batch_size {config.batch_size}"
        )


def check_images(
    sets: Sequence[ImageDataset], config: TrainingConfig, skip_unreadable: bool
) -> dict[str, str]:
    """Finds what can't be read; path to reason of what is left out."""
    skipped = {}
    for images in sets:
        found = images.check(skip_unreadable=skip_unreadable)
        skipped |= {str(images.folder / name): why for name, why in found.items()}
    if skipped:
        check_counts(sets, config)
    return skipped


def load(sets: Sequence[ImageDataset], size: int) -> TrainingData:
    """Reads all images; identities of different folders get different labels."""
    labels, first = [], 0
    for images in sets:
        labels.append(images.labels + first)
        first += len(images.identities)
    arrays = [images.load(size, progress=True) for images in sets]
    images = arrays[0] if len(arrays) == 1 else np.concatenate(arrays)
    return TrainingData(
        torch.from_numpy(images), torch.from_numpy(np.concatenate(labels)), first
    )
