"""Conditions to encoded images: processes with a core each, or one accelerator."""

import concurrent.futures
import contextlib
import io
import itertools
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from PIL import Image

from bridges.alignment import TEMPLATE_SIZE
from bridges.datasets.image_dataset import encode_jpeg
from bridges.devices import Device, single_threaded
from bridges.generation.face_crops import FaceCrops
from bridges.generators.generator import (
    BATCH_SIZE,
    GENERATORS,
    Generator,
    kind_of,
    load_generator,
)
from bridges.photographs.detector import DETECTORS
from bridges.recognisers.embedding import embed_images
from bridges.recognisers.recogniser import RECOGNISERS, Recogniser, load_recogniser
from bridges.worker_processes import AHEAD, default_num_processes, process_pool
from hyperface_jax import InputError

_DETECTOR = "mtcnn"


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
      recogniser: name or path; empty for the one that the generator names.
      settings: of the generator; None for its defaults.
      device: what both compute on.
      batch_size: images computed at once; None for the generator's default.
      paths: where the files of the generator are; None where its name says it.
      detector: finds the faces of images that are not aligned yet; empty for MTCNN.
      image_size: side in pixels of aligned crops; None for 112.
    """

    generator: str
    recogniser: str = ""
    settings: Any | None = None
    device: Device = Device()
    batch_size: int | None = BATCH_SIZE
    paths: Any | None = None
    detector: str = ""
    image_size: int | None = None


class MadeImage(NamedTuple):
    """An image, and what is to be known of it.

    Attributes:
      content: the JPEG file.
      cosine: between the reference and the embedding of what the file shows.
      has_face: False where a face was to be found and aligned, and there was none.
    """

    content: bytes
    cosine: float
    has_face: bool = True


class CodedImage(NamedTuple):
    """An image on its way from the generator to the recogniser.

    Attributes:
      content: the JPEG file.
      pixels: what it shows, ``[h, w, 3]`` uint8.
      has_face: see :class:`MadeImage`.
    """

    content: bytes
    pixels: np.ndarray
    has_face: bool


class ImageMaker:
    """Makes images and measures whom they show.

    Attributes:
      generator: makes them.
      recogniser: measures.
      settings: see :class:`ImageSettings`.
      image_size: side in pixels of the images it makes.
      crops: aligns the faces; None where they are aligned already.
    """

    def __init__(self, settings: ImageSettings) -> None:
        """Loads both models, and a detector where one is needed.

        Raises:
          InputError: one of them can't be loaded.
        """
        where = {
            "device": settings.device.name,
            "precision": settings.device.precision,
        }
        self.generator: Generator = load_generator(
            settings.generator,
            **where,
            batch_size=settings.batch_size,
            **(vars(settings.paths) if settings.paths else {}),
        )
        self.recogniser: Recogniser = load_recogniser(
            settings.recogniser or self.generator.default_recogniser, **where
        )
        if settings.batch_size is None:
            kind = GENERATORS[kind_of(settings.generator)]
            size = kind.batch_sizes[settings.device.is_accelerator]
            settings = settings._replace(batch_size=size)
        self.settings = settings._replace(
            recogniser=settings.recogniser or self.generator.default_recogniser
        )
        self.image_size, self.crops = self.generator.image_size, None
        if self.generator.aligned:
            self._check_unasked()
            return
        self.image_size = settings.image_size or TEMPLATE_SIZE
        self.crops = FaceCrops(
            settings.detector or _DETECTOR, self.image_size, device=settings.device.name
        )

    def _check_unasked(self) -> None:
        """Raises InputError at settings that would have no effect."""
        for name in ("detector", "image_size"):
            if getattr(self.settings, name):
                raise InputError(
                    f"{name} is given, but generator {self.generator.model['name']} "
                    f"draws aligned images of {self.image_size} pixels; leave it out"
                )

    def make(self, conditions: Sequence[Condition]) -> list[MadeImage]:
        """Makes at most ``batch_size`` images, one for each condition."""
        return self.measure(conditions, list(map(self.coded, self.draw(conditions))))

    def draw(self, conditions: Sequence[Condition]) -> np.ndarray:
        """The images ``[n, s, s, 3]`` uint8 of at most ``batch_size`` conditions."""
        return self.generator.generate(
            np.stack([condition.embedding for condition in conditions]),
            [condition.seed for condition in conditions],
            self.settings.settings,
        )

    def coded(self, image: np.ndarray) -> CodedImage:
        """A generator's image as the file that is kept."""
        has_face = True
        if self.crops:
            image, has_face = self.crops.crop(image)
        return CodedImage(*through_jpeg(image), has_face)

    def measure(
        self, conditions: Sequence[Condition], coded: Sequence[CodedImage]
    ) -> list[MadeImage]:
        """Compares images with the references they were to show.

        Args:
          conditions: what they were made from, at most ``batch_size``.
          coded: what :meth:`coded` returned for each.
        """
        count = self.settings.batch_size
        # As many rows every time, for the same reason as in the generator.
        shown = np.zeros((count, *coded[0].pixels.shape), np.uint8)
        for row, image in enumerate(coded):
            shown[row] = image.pixels
        with single_threaded():
            embeddings = embed_images(self.recogniser, shown, batch_size=count)
        return [
            MadeImage(image.content, float(row @ condition.reference), image.has_face)
            for image, row, condition in zip(
                coded, embeddings[: len(coded)], conditions, strict=True
            )
        ]


Submit = Callable[[Sequence[Condition]], "concurrent.futures.Future[list[MadeImage]]"]


@contextlib.contextmanager
def image_pool(
    settings: ImageSettings, num_processes: int, *, maker: ImageMaker | None = None
) -> Iterator[tuple[Submit, int]]:
    """What makes batches of images, a few of them at a time.

    Args:
      settings: the same for all batches.
      num_processes: 1 works in this process and starts no other, as an accelerator
        needs.
      maker: of these settings, for one process; loaded when not given.

    Yields:
      A function that is given at most ``batch_size`` conditions and returns a future of
      their images, and how many batches to have under way.
    """
    if num_processes == 1:
        maker = maker or ImageMaker(settings)
        if settings.device.is_accelerator:
            with _overlapped(maker) as submit:
                yield submit, 2
        else:
            yield _InTurn(maker).submit, 1
        return
    with process_pool(
        _make_in_worker,
        num_processes,
        initializer=_load_in_worker,
        arguments=(settings, _registered(settings)),
    ) as submit:
        yield submit, AHEAD * num_processes


def make_images(
    conditions: Iterable[Condition],
    settings: ImageSettings,
    num_processes: int,
    *,
    maker: ImageMaker | None = None,
) -> Iterator[MadeImage]:
    """Makes images in their order.

    Args:
      conditions: the images to make; taken as needed, a few batches ahead.
      settings: the same for all, with a batch size.
      num_processes: see :func:`image_pool`, as ``maker``.
      maker: of these settings.
    """
    rest = iter(conditions)
    with image_pool(settings, num_processes, maker=maker) as (submit, ahead):
        under_way: deque[concurrent.futures.Future[list[MadeImage]]] = deque()
        while batch := list(itertools.islice(rest, settings.batch_size)):
            under_way.append(submit(batch))
            if len(under_way) >= ahead:
                yield from under_way.popleft().result()
        while under_way:
            yield from under_way.popleft().result()


def through_jpeg(image: np.ndarray) -> tuple[bytes, np.ndarray]:
    """A JPEG file of an image ``[h, w, 3]``, and what that file shows."""
    content = encode_jpeg(image)
    return content, decode_jpeg(content)


def decode_jpeg(content: bytes) -> np.ndarray:
    """The image ``[h, w, 3]`` in a JPEG file's bytes."""
    return np.asarray(Image.open(io.BytesIO(content), formats=("JPEG",)))


class _Later:
    """The future of a batch whose images are measured when they are asked for."""

    def __init__(self, measure: Callable[[], list[MadeImage]]) -> None:
        self.result = measure


class _InTurn:
    """Makes a batch when its images are asked for."""

    def __init__(self, maker: ImageMaker) -> None:
        self._maker = maker

    def submit(self, conditions: Sequence[Condition]) -> _Later:
        return _Later(lambda: self._maker.make(conditions))


@contextlib.contextmanager
def _overlapped(maker: ImageMaker) -> Iterator[Submit]:
    """Encodes images in threads while the accelerator computes the next batch."""
    with concurrent.futures.ThreadPoolExecutor(default_num_processes()) as threads:

        def submit(conditions: Sequence[Condition]) -> _Later:
            coded = threads.map(maker.coded, maker.draw(conditions))
            return _Later(lambda: maker.measure(conditions, list(coded)))

        yield submit


def _registered(settings: ImageSettings) -> list[tuple[str, str, Any]]:
    """What a new process has to register: the caller may have added it."""
    names = {
        GENERATORS.what: kind_of(settings.generator),
        RECOGNISERS.what: settings.recogniser,
        DETECTORS.what: settings.detector or _DETECTOR,
    }
    return [
        (what, name, _REGISTRIES[what][name])
        for what, name in names.items()
        if name in _REGISTRIES[what]
    ]


_REGISTRIES = {each.what: each for each in (GENERATORS, RECOGNISERS, DETECTORS)}
# The maker of a worker process: loaded once in each, since models take a second.
_maker: ImageMaker | None = None


def _load_in_worker(
    settings: ImageSettings, registered: Sequence[tuple[str, str, Any]]
) -> None:
    global _maker
    torch.set_num_threads(1)
    for what, name, entry in registered:
        _REGISTRIES[what].register(name, entry)
    _maker = ImageMaker(settings)


def _make_in_worker(conditions: Sequence[Condition]) -> list[MadeImage]:
    return _maker.make(conditions)
