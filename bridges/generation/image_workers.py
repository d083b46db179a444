"""Conditions to encoded images: processes with a core each, or one accelerator."""

import concurrent.futures
import contextlib
import io
import itertools
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from PIL import Image

from bridges.datasets.image_dataset import encode_jpeg
from bridges.devices import Device, single_threaded
from bridges.generators.generator import (
    BATCH_SIZE,
    GENERATORS,
    Generator,
    GeneratorKind,
    kind_of,
    load_generator,
)
from bridges.recognisers.embedding import embed_images
from bridges.recognisers.recogniser import Recogniser, load_recogniser
from bridges.worker_processes import default_num_processes, map_in_processes


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
    """What a process needs to know.

    Attributes:
      generator: name or path.
      recogniser: name or folder.
      settings: of the generator; None for its defaults.
      device: what both compute on.
      batch_size: images computed at once.
    """

    generator: str
    recogniser: str
    settings: Any | None = None
    device: Device = Device()
    batch_size: int = BATCH_SIZE


class ImageMaker:
    """Makes images and measures whom they show.

    Attributes:
      generator: makes them.
      recogniser: measures.
      settings: see :class:`ImageSettings`.
    """

    def __init__(self, settings: ImageSettings) -> None:
        """Loads both models.

        Raises:
          InputError: one of them can't be loaded.
        """
        self.settings = settings
        where = {
            "device": settings.device.name,
            "precision": settings.device.precision,
        }
        self.generator: Generator = load_generator(
            settings.generator, **where, batch_size=settings.batch_size
        )
        self.recogniser: Recogniser = load_recogniser(settings.recogniser, **where)

    def make(self, conditions: Sequence[Condition]) -> list[tuple[bytes, float]]:
        """Makes at most ``batch_size`` images.

        Returns:
          For each condition the JPEG file and the cosine between its reference and the
          embedding of what that file shows.
        """
        coded = [through_jpeg(image) for image in self.draw(conditions)]
        return self.measure(conditions, coded)

    def draw(self, conditions: Sequence[Condition]) -> np.ndarray:
        """The images ``[n, s, s, 3]`` uint8 of at most ``batch_size`` conditions."""
        return self.generator.generate(
            np.stack([condition.embedding for condition in conditions]),
            [condition.seed for condition in conditions],
            self.settings.settings,
        )

    def measure(
        self,
        conditions: Sequence[Condition],
        coded: Sequence[tuple[bytes, np.ndarray]],
    ) -> list[tuple[bytes, float]]:
        """Compares images with the references they were to show.

        Args:
          conditions: what they were made from, at most ``batch_size``.
          coded: see :func:`through_jpeg`.

        Returns:
          What :meth:`make` returns.
        """
        count = self.settings.batch_size
        # As many rows every time, for the same reason as in the generator.
        shown = np.zeros((count, *coded[0][1].shape), np.uint8)
        for row, (_, image) in enumerate(coded):
            shown[row] = image
        with single_threaded():
            embeddings = embed_images(self.recogniser, shown, batch_size=count)
        return [
            (content, round(float(embedding @ condition.reference), 4))
            for (content, _), embedding, condition in zip(
                coded, embeddings[: len(coded)], conditions, strict=True
            )
        ]


def make_images(
    conditions: Iterable[Condition],
    settings: ImageSettings,
    num_processes: int,
    *,
    maker: ImageMaker | None = None,
) -> Iterator[tuple[bytes, float]]:
    """Makes images in their order; what :meth:`ImageMaker.make` returns for each.

    Args:
      conditions: the images to make; taken as needed, a few batches ahead.
      settings: the same for all.
      num_processes: 1 works in this process and starts no other, as an accelerator
        needs.
      maker: of these settings, for one process; loaded when not given.
    """
    batches = _batches(conditions, settings.batch_size)
    if num_processes == 1:
        maker = maker or ImageMaker(settings)
        accelerated = settings.device.is_accelerator
        yield from (_make_overlapped if accelerated else _make_in_turn)(maker, batches)
        return
    kind = kind_of(settings.generator)
    made = map_in_processes(
        _make_in_worker,
        batches,
        num_processes,
        initializer=_load_in_worker,
        arguments=(settings, kind, GENERATORS[kind]),
    )
    with contextlib.closing(made):
        for batch in made:
            yield from batch


def through_jpeg(image: np.ndarray) -> tuple[bytes, np.ndarray]:
    """A JPEG file of an image ``[h, w, 3]``, and what that file shows."""
    content = encode_jpeg(image)
    return content, decode_jpeg(content)


def decode_jpeg(content: bytes) -> np.ndarray:
    """The image ``[h, w, 3]`` in a JPEG file's bytes."""
    return np.asarray(Image.open(io.BytesIO(content)))


def _make_in_turn(
    maker: ImageMaker, batches: Iterable[list[Condition]]
) -> Iterator[tuple[bytes, float]]:
    for batch in batches:
        yield from maker.make(batch)


def _make_overlapped(
    maker: ImageMaker, batches: Iterable[list[Condition]]
) -> Iterator[tuple[bytes, float]]:
    """Encodes images in threads while the accelerator computes the next batch."""
    with concurrent.futures.ThreadPoolExecutor(default_num_processes()) as threads:
        before: tuple[list[Condition], Iterator[tuple[bytes, np.ndarray]]] | None = None
        for batch in batches:
            coded = threads.map(through_jpeg, maker.draw(batch))
            if before is not None:
                yield from maker.measure(before[0], list(before[1]))
            before = batch, coded
        if before is not None:
            yield from maker.measure(before[0], list(before[1]))


def _batches(conditions: Iterable[Condition], size: int) -> Iterator[list[Condition]]:
    rest = iter(conditions)
    while batch := list(itertools.islice(rest, size)):
        yield batch


# The maker of a worker process: loaded once in each, since models take a second.
_maker: ImageMaker | None = None


def _load_in_worker(settings: ImageSettings, name: str, kind: GeneratorKind) -> None:
    global _maker
    torch.set_num_threads(1)
    # What the caller registered is not registered in a new process.
    GENERATORS.register(name, kind)
    _maker = ImageMaker(settings)


def _make_in_worker(conditions: Sequence[Condition]) -> list[tuple[bytes, float]]:
    return _maker.make(conditions)
