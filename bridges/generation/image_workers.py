"""Processes that turn conditions into encoded images, a core each."""

import contextlib
import io
import itertools
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

import numpy as np
import torch
from PIL import Image

from bridges.datasets.image_dataset import encode_jpeg
from bridges.generation.generator import (
    BATCH_SIZE,
    Generator,
    load_generator,
    single_threaded,
)
from bridges.recognisers.embedding import embed_images
from bridges.recognisers.recogniser import Recogniser, load_recogniser
from bridges.worker_processes import map_in_processes


class Condition(NamedTuple):
    """What one image is made from.

    Attributes:
      embedding: ``[d]`` unit vector the generator is steered by.
      reference: ``[d]`` unit vector the image is compared with.
      seed: seed of the generator's noise.
    """

    embedding: np.ndarray
    reference: np.ndarray
    seed: int


class ImageSettings(NamedTuple):
    """What a process needs to know: names of models, settings of the sampler."""

    generator: str
    recogniser: str
    guidance: float
    steps: int


class ImageMaker:
    """Makes images and measures whom they show."""

    def __init__(self, settings: ImageSettings) -> None:
        self.generator: Generator = load_generator(settings.generator)
        self.recogniser: Recogniser = load_recogniser(settings.recogniser, device="cpu")
        self._settings = settings

    def make(self, conditions: Sequence[Condition]) -> list[tuple[bytes, float]]:
        """Makes at most ``BATCH_SIZE`` images.

        Returns:
          For each condition the JPEG file and the cosine between its reference and the
          embedding of what that file shows.
        """
        images = self.generator.generate(
            np.stack([condition.embedding for condition in conditions]),
            [condition.seed for condition in conditions],
            guidance=self._settings.guidance,
            steps=self._settings.steps,
        )
        encoded = [encode_jpeg(image) for image in images]
        # As many rows every time, for the same reason as in the generator.
        shown = np.zeros((BATCH_SIZE, *images.shape[1:]), np.uint8)
        for row, content in enumerate(encoded):
            shown[row] = decode_jpeg(content)
        with single_threaded():
            embeddings = embed_images(self.recogniser, shown, batch_size=BATCH_SIZE)
        return [
            (content, round(float(embedding @ condition.reference), 4))
            for content, embedding, condition in zip(
                encoded, embeddings[: len(encoded)], conditions, strict=True
            )
        ]


def make_images(
    conditions: Iterable[Condition], settings: ImageSettings, num_processes: int
) -> Iterator[tuple[bytes, float]]:
    """Makes images in their order; what :meth:`ImageMaker.make` returns for each.

    Args:
      conditions: the images to make; taken as needed, a few batches ahead.
      settings: the same for all.
      num_processes: 1 works in this process and starts no other.
    """
    batches = _batches(conditions)
    if num_processes == 1:
        maker = ImageMaker(settings)
        for batch in batches:
            yield from maker.make(batch)
        return
    made = map_in_processes(
        _make_in_worker,
        batches,
        num_processes,
        initializer=_load_in_worker,
        arguments=(settings,),
    )
    with contextlib.closing(made):
        for batch in made:
            yield from batch


def decode_jpeg(content: bytes) -> np.ndarray:
    """The image ``[h, w, 3]`` in a JPEG file's bytes."""
    return np.asarray(Image.open(io.BytesIO(content)))


def _batches(conditions: Iterable[Condition]) -> Iterator[list[Condition]]:
    rest = iter(conditions)
    while batch := list(itertools.islice(rest, BATCH_SIZE)):
        yield batch


# The maker of a worker process: loaded once in each, since models take a second.
_maker: ImageMaker | None = None


def _load_in_worker(settings: ImageSettings) -> None:
    global _maker
    torch.set_num_threads(1)
    _maker = ImageMaker(settings)


def _make_in_worker(conditions: Sequence[Condition]) -> list[tuple[bytes, float]]:
    return _maker.make(conditions)
