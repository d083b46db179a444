"""A word of warning where images are whole photographs, not aligned crops."""

import numpy as np

from bridges.datasets.image_source import ImageSource
from bridges.photographs.aligned_crops import check_crops
from bridges.photographs.detector import load_detector
from hyperface_jax import InputError
from hyperface_jax.commands import announce

_REMEDY = (
    "recognisers expect aligned crops and are wrong about others; hyperface-align "
    "makes them"
)
_LOOKED_AT = 8
# In pixels of a 112 px crop; those of aligned faces are off by 4 at most, on average.
_FAR_OFF = 10.0


def warn_of_uncropped(source: ImageSource) -> None:
    """Says so where most images are no aligned crops, by a sample of them.

    Images that are not square, or of differing sizes, are none. Where MTCNN's weights
    are at hand, it looks where the landmarks of some square ones lie.

    Args:
      source: the images.
    """
    if check_crops(source, None).side is None:
        announce(
            f"{source.name}: most images are not square, or of differing sizes, as "
            f"whole photographs are: {_REMEDY}"
        )
        return
    try:
        detector = load_detector("mtcnn", device="cpu")
    except InputError:  # Without its weights.
        return
    found = check_crops(source, detector, sample=_LOOKED_AT)
    # Of images in which it finds none, nothing can be said.
    if len(found.distances) < max(1, found.looked_at / 2):
        return
    off = float(np.median(found.distances))
    if off > _FAR_OFF:
        announce(
            f"{source.name}: the faces lie {off:.0f} pixels of 112 away from where "
            f"aligned ones do, by {len(found.distances)} of its images: {_REMEDY}"
        )
