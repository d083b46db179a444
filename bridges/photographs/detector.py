"""The detector of faces: what alignment needs of one, and how to add one.

A detector is a class with three members, registered in :data:`DETECTORS`::

    import numpy as np
    from bridges.alignment import ARCFACE_TEMPLATE, TEMPLATE_SIZE
    from bridges.photographs.detector import DETECTORS, DetectedFace

    class Centre:
        \"""Takes every picture for one face that fills it.\"""

        model = {"name": "centre", "sha256": "none"}
        usual_score = 1.0

        def detect(self, image):
            h, w = image.shape[:2]
            points = ARCFACE_TEMPLATE / TEMPLATE_SIZE * [w, h]
            return [DetectedFace(np.array([0, 0, w, h]), points, 1.0)]

    DETECTORS.register("centre", lambda device: Centre())
"""

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, NamedTuple, Protocol

import numpy as np

from bridges.registry import Registry

if TYPE_CHECKING:
    from bridges.devices import Device


class DetectedFace(NamedTuple):
    """A face in a picture, in its pixels.

    Attributes:
      box: ``[4]`` left, top, right, bottom; may reach beyond the picture.
      points: ``[5, 2]`` landmarks (x, y) in the order of
        :data:`bridges.alignment.ARCFACE_TEMPLATE`.
      score: how sure the detector is, in [0, 1].
    """

    box: np.ndarray
    points: np.ndarray
    score: float


class Detector(Protocol):
    """Finds faces and their five landmarks.

    Attributes:
      model: ``name``, and ``sha256`` of its weights.
      usual_score: what faces score at least that are seen well; others are looked at
        again, and doubted.
    """

    model: Mapping[str, str]
    usual_score: float

    def detect(self, image: np.ndarray) -> list[DetectedFace]:
        """Finds the faces of a picture, in any order.

        Args:
          image: ``[h, w, 3]`` uint8 RGB, upright.
        """


# By name; each is called with the device to compute on.
DETECTORS: Registry[Callable[["Device"], Detector]] = Registry(
    "detector",
    {
        "mtcnn": "bridges.photographs.mtcnn:load_mtcnn",
        "yunet": "bridges.photographs.yunet:load_yunet",
    },
)


def load_detector(name: str = "mtcnn", *, device: str = "auto") -> Detector:
    """Loads a detector.

    Args:
      name: ``"mtcnn"``, ``"yunet"``, or what else is registered in
        :data:`DETECTORS`.
      device: what to compute on, see :func:`bridges.devices.find_device`.

    Raises:
      InputError: an unknown name, or weights that are not there, with what to run.
    """
    load = DETECTORS[name]
    # Imports torch, which listing the names does without.
    from bridges.devices import find_device

    return load(find_device(device))
