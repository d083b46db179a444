"""Small datasets to write and read."""

import pathlib

import numpy as np

from bridges.datasets.image_dataset import ImageDatasetWriter

SETTINGS = {"seed": 1, "pose": {"yaw": 0.5}}


def picture(seed: int, size: int = 16) -> np.ndarray:
    """A smooth coloured image, so that JPEG keeps it nearly as it is."""
    phase = np.random.default_rng(seed).uniform(0, 6, 3)
    y, x = np.mgrid[:size, :size][..., None] / size
    return (127.5 + 80 * np.sin(3 * x + 2 * y + phase)).astype(np.uint8)


def write_dataset(folder: pathlib.Path, identities: int = 3, images: int = 2) -> None:
    with ImageDatasetWriter(folder, settings=SETTINGS, kind="rendered") as writer:
        # Backwards: the finished metadata must be sorted all the same.
        for identity in reversed(range(identities)):
            for index in range(images):
                seed = np.int64(10 * identity + index)
                record = {
                    "identity": identity,
                    "index": index,
                    "seed": seed,
                    "ethnicity": np.float32([0.5, 0.25, 0.25]),
                }
                writer.write(picture(seed), record)
        writer.finish(licence="CC0-1.0", models={"face": "abc"})
