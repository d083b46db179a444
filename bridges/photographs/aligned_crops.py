"""Whether images are aligned crops, whole photographs, or something between."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from bridges.alignment import ARCFACE_TEMPLATE, TEMPLATE_SIZE
from bridges.datasets.decoding import size_of
from bridges.datasets.image_source import ImageSource
from bridges.datasets.images import (
    UnreadableImage,
    decode_bytes,
    name_of,
    quiet_decoders,
)
from bridges.photographs.detector import Detector

_SAMPLE = 32
# Landmarks of aligned crops, found again, are off the template by 1.6 to 4.4 pixels of
# 112, by how far the head is turned; those of FFHQ's and of whole photographs, by 10
# and more.
_ALIGNED = 6.0
# A detector misses some faces that fill the picture.
_FOUND = 0.5


class CropCheck(NamedTuple):
    """What a sample of images looks like.

    Attributes:
      side: of the square images that are most frequent, in pixels; None where most are
        not square, or of differing sizes.
      distances: of each face found in them, how far its landmarks lie from the template
        on average, in pixels of a 112 px crop.
      looked_at: how many such images were looked at.
    """

    side: int | None
    distances: Sequence[float]
    looked_at: int

    @property
    def is_aligned(self) -> bool:
        """Whether most of them are aligned crops."""
        enough = len(self.distances) >= _FOUND * max(1, self.looked_at)
        return enough and float(np.median(self.distances or [np.inf])) < _ALIGNED


def check_crops(
    source: ImageSource, detector: Detector | None, *, sample: int = _SAMPLE
) -> CropCheck:
    """Looks at a sample of images.

    Args:
      source: the images; those that can't be read are passed over.
      detector: finds faces; None to look at sizes alone.
      sample: how many images at most.
    """
    rows = np.unique(np.linspace(0, len(source) - 1, min(sample, len(source))).round())
    sizes = {row: _size(source, row) for row in rows.astype(int).tolist()}
    known = [size for size in sizes.values() if size is not None]
    width, height = max(sorted(set(known)), key=known.count, default=(0, 1))
    if width != height or known.count((width, height)) < _FOUND * len(known):
        return CropCheck(None, [], 0)
    target = (ARCFACE_TEMPLATE + 0.5) * width / TEMPLATE_SIZE - 0.5
    distances, looked_at = [], 0
    alike = [row for row, size in sizes.items() if size == (width, height)]
    with quiet_decoders():
        for row in alike if detector is not None else ():
            try:
                image = decode_bytes(source.read(row), None, name_of(source, row))
            except UnreadableImage:
                continue
            looked_at += 1
            faces = detector.detect(image)
            off = [np.linalg.norm(f.points - target, axis=1).mean() for f in faces]
            if off:
                distances.append(float(min(off)) * TEMPLATE_SIZE / width)
    return CropCheck(width, distances, looked_at)


def side_of_aligned_crops(source: ImageSource, detector: Detector) -> int | None:
    """The side in pixels of the crops that most images are; None where most are not."""
    found = check_crops(source, detector)
    return found.side if found.is_aligned else None


def _size(source: ImageSource, row: int) -> tuple[int, int] | None:
    """Width and height by the file's header; None where it can't be read."""
    try:
        return size_of(source.read(row))
    except UnreadableImage:
        return None
