"""The face world: numbered identities and photographs, and folders of them.

Image k of identity i depends on (world seed, stream, i, k) alone: its bytes are the
same in any process, in any order, whatever else is rendered. Streams are disjoint: no
identity is in two of them.
"""

import contextlib
import functools
import os
import pathlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from bridges.datasets.image_dataset import ImageDatasetWriter, encode_jpeg
from bridges.faces.capture import ANY, Capture, CaptureStyle, sample_capture
from bridges.faces.head_model import shipped_head_model
from bridges.faces.identity import ETHNICITIES, Identity, sample_identity
from bridges.faces.names import STREAMS
from bridges.faces.renderer import FaceRenderer
from bridges.worker_processes import default_num_processes, map_in_processes
from hyperface_jax import InputError, checks
from hyperface_jax.commands import progress

LICENCE = (
    "Rendered by hyperface_jax from CC0 MakeHuman data; no real person is shown. CC0."
)
# Incremented whenever equal settings give other identities, images, records or pairs.
WORLD_VERSION = 2

# Photographs per task of a worker process.
_BATCH_SIZE = 8
# Rendering this many photographs takes about as long as starting a process.
_WORTH_A_PROCESS = 100


class Photograph(NamedTuple):
    """An image to render.

    Attributes:
      identity: number of the person.
      index: number of the photograph of that person.
      style: the ranges its capture is drawn from.
    """

    identity: int
    index: int
    style: CaptureStyle = ANY


class FaceWorld:
    """The identities and photographs of one seed and stream.

    Args:
      seed: seed of the world, from 0; two seeds share no identity.
      stream: one of ``STREAMS``.
    """

    def __init__(self, seed: int = 0, stream: str = "train"):
        if stream not in STREAMS:
            raise InputError(f"stream {stream!r} is not one of {', '.join(STREAMS)}")
        checks.whole_number(seed, "seed", 0)
        self.seed = seed
        self.stream = stream

    def identity(self, number: int) -> Identity:
        """Identity ``number``, from 0."""
        checks.whole_number(number, "number", 0)
        return _identity(self.seed, self.stream, number)

    def capture(self, number: int, index: int, style: CaptureStyle = ANY) -> Capture:
        """The capture of photograph ``index`` of identity ``number``."""
        checks.whole_number(number, "number", 0)
        checks.whole_number(index, "index", 0)
        generator = _generator(self.seed, self.stream, 1, number, index)
        return sample_capture(generator, self.identity(number).age, style)

    def photograph(
        self, photograph: Photograph, image_size: int
    ) -> tuple[np.ndarray, dict[str, Any]]:
        """Renders one image and records its attributes.

        Args:
          photograph: which one.
          image_size: side of the square image, pixels, 16 to 1024.

        Returns:
          ``[s, s, 3]`` uint8 sRGB, and a JSON-ready dict.
        """
        _check_image_size(image_size)
        identity = self.identity(photograph.identity)
        capture = self.capture(*photograph)
        image = FaceRenderer(image_size).render(identity, capture)
        return image, _record(self, photograph, identity, capture)


def render_dataset(
    output: str | os.PathLike[str],
    *,
    num_identities: int,
    images_per_identity: int,
    image_size: int = 112,
    seed: int = 0,
    stream: str = "train",
    first_identity: int = 0,
    num_processes: int | None = None,
) -> pathlib.Path:
    """Renders identities into an image dataset folder; resumed if incomplete.

    Args:
      output: the folder.
      num_identities: number of people, from ``first_identity`` on.
      images_per_identity: photographs of each.
      image_size: side of the square, aligned images, pixels.
      seed: seed of the world.
      stream: one of ``STREAMS``; two streams share no identity.
      first_identity: number of the first person.
      num_processes: number of rendering processes; by default one per core.

    Returns:
      The folder.

    Raises:
      InputError: a count below 1, or a folder made with other settings.
    """
    checks.whole_number(num_identities, "num_identities", 1)
    checks.whole_number(images_per_identity, "images_per_identity", 1)
    checks.whole_number(first_identity, "first_identity", 0)
    photographs = [
        Photograph(first_identity + i, k)
        for i in range(num_identities)
        for k in range(images_per_identity)
    ]
    settings = {
        "num_identities": num_identities,
        "images_per_identity": images_per_identity,
        "first_identity": first_identity,
    }
    world = FaceWorld(seed, stream)
    render_photographs(output, world, photographs, image_size, settings, num_processes)
    return pathlib.Path(output)


def render_photographs(
    output: str | os.PathLike[str],
    world: FaceWorld,
    photographs: Sequence[Photograph],
    image_size: int,
    settings: dict[str, Any],
    num_processes: int | None = None,
) -> None:
    """Renders photographs into an image dataset folder in parallel; resumable.

    Args:
      output: the folder.
      world: the identities.
      photographs: the images, in the order of the folder.
      image_size: side of the square images, pixels, 16 to 1024.
      settings: recorded besides those of the world and the image size.
      num_processes: number of rendering processes; by default one per core.

    Raises:
      InputError: a value out of range, or a folder made with other settings.
    """
    if num_processes is not None:
        checks.whole_number(num_processes, "num_processes", 1)
    _check_image_size(image_size)
    settings = {
        "generator": "face_world",
        "world_version": WORLD_VERSION,
        "seed": world.seed,
        "stream": world.stream,
        "image_size": image_size,
        **settings,
    }
    with ImageDatasetWriter(output, settings=settings, kind="rendered") as writer:
        if writer.complete:
            return
        wanted = [p for p in photographs if (p.identity, p.index) not in writer.done]
        render = functools.partial(_encoded, world.seed, world.stream, image_size)
        bar = progress(
            description="rendering",
            total=len(photographs),
            unit="image",
            initial=len(photographs) - len(wanted),
        )
        rendered = _in_parallel(render, wanted, num_processes)
        with contextlib.closing(rendered), bar:
            for content, record in rendered:
                writer.write(content, record)
                bar.update()
        writer.finish(licence=LICENCE)


def _check_image_size(image_size: int) -> None:
    checks.whole_number(image_size, "image_size", 16, 1024)


@functools.lru_cache(maxsize=64)
def _identity(seed: int, stream: str, number: int) -> Identity:
    return sample_identity(shipped_head_model(), _generator(seed, stream, 0, number))


def _generator(seed: int, stream: str, *numbers: int) -> np.random.Generator:
    return np.random.default_rng([seed, STREAMS.index(stream), *numbers])


def _encoded(
    seed: int, stream: str, image_size: int, photographs: Sequence[Photograph]
) -> list[tuple[bytes, dict[str, Any]]]:
    world = FaceWorld(seed, stream)
    made = (world.photograph(photograph, image_size) for photograph in photographs)
    return [(encode_jpeg(image), record) for image, record in made]


def _in_parallel(
    function: Callable[[Sequence[Photograph]], list[Any]],
    photographs: Sequence[Photograph],
    num_processes: int | None,
) -> Iterator[Any]:
    """Maps batches in worker processes, in order; in this process if one is enough."""
    count = num_processes or default_num_processes()
    count = min(count, max(1, len(photographs) // _WORTH_A_PROCESS))
    # Rendering the first here compiles the kernels and caches them for the workers.
    alone = photographs[:1] if count > 1 else photographs
    for photograph in alone:
        yield from function([photograph])
    rest = photographs[len(alone) :]
    if rest:
        starts = range(0, len(rest), _BATCH_SIZE)
        batches = (rest[start : start + _BATCH_SIZE] for start in starts)
        made = map_in_processes(function, batches, count)
        with contextlib.closing(made):
            for batch in made:
                yield from batch


def _record(
    world: FaceWorld, photograph: Photograph, identity: Identity, capture: Capture
) -> dict[str, Any]:
    weights = zip(ETHNICITIES, identity.ethnicity, strict=True)
    return {
        "identity": photograph.identity,
        "index": photograph.index,
        "seed": world.seed,
        "gender": round(identity.gender, 3),
        "age": round(capture.age, 1),
        "ethnicity": {name: round(weight, 3) for name, weight in weights},
        "group": identity.group,
        "hair_style": identity.hair_style,
        "yaw": round(capture.yaw, 1),
        "pitch": round(capture.pitch, 1),
        "roll": round(capture.roll, 1),
        "expression": capture.expression,
        "light": [round(float(v), 3) for v in capture.light],
        "key": round(capture.key, 3),
        "fill": round(capture.fill, 3),
    }
