"""dlib's recogniser, which had no part in training: an independent judge of faces.

Optional: install the extra ``judge``, which is dlib-bin and face-recognition-models.
Its weights are CC0; none of its landmark models is used, since our images are aligned
already.
"""

import importlib.util
import pathlib
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from bridges.recognisers.embedding import BATCH_SIZE, embed_batches, unit_sums
from hyperface_jax import InputError, files

if TYPE_CHECKING:
    from bridges.devices import Device

_WEIGHTS = "dlib_face_recognition_resnet_model_v1.dat"
# Centres of the eyes, left and right of the image, as shares of the side: in our
# aligned crops (the ArcFace template), and in the chips dlib's network was trained on
# (the mean shape in dlib's get_face_chip_details, padding 0.25).
_OUR_EYES = ((0.3419, 0.4616), (0.6565, 0.4598))
_DLIB_EYES = ((0.3182, 0.3143), (0.6686, 0.3141))


class DlibRecogniser:
    """dlib's ResNet, about 0.1 s an image on one core, whatever the device.

    Attributes:
      image_size: side in pixels of dlib's input; our crops of it are warped to dlib's.
      embedding_size: 128.
      model: ``{"name", "sha256"}``.
    """

    image_size = 150
    embedding_size = 128

    def __init__(self, network: Any, sha256: str) -> None:
        """Wraps a network.

        Args:
          network: a ``dlib.face_recognition_model_v1``.
          sha256: of its weights.
        """
        self._network = network
        self.model = {"name": "dlib", "sha256": sha256}

    def embed(self, images: np.ndarray, *, flip: bool = True) -> np.ndarray:
        """Embeds aligned faces.

        Args:
          images: ``[n, 150, 150, 3]`` uint8 RGB; resampled when of another size.
          flip: add the outputs of the image and its mirror image before normalising.

        Returns:
          ``[n, 128]`` float32, unit rows.

        Raises:
          InputError: another shape or dtype.
        """
        return embed_batches(
            unit_sums(self.descriptors, flip=flip),
            images,
            image_size=self.image_size,
            embedding_size=self.embedding_size,
            batch_size=BATCH_SIZE,
        )

    def descriptors(self, images: np.ndarray) -> np.ndarray:
        """What the network gives, made to be compared by Euclidean distance.

        Args:
          images: ``[n, s, s, 3]`` uint8 RGB of any size, warped once.

        Returns:
          ``[n, 128]`` float32, not normalised.
        """
        rows = [self._network.compute_face_descriptor(_chip(image)) for image in images]
        return np.asarray(rows, np.float32).reshape(-1, self.embedding_size)


def load_dlib(place: pathlib.Path, device: "Device") -> DlibRecogniser:
    """Loads the installed weights; a loader of ``RECOGNISERS``.

    Args:
      place: unused: there is one model only.
      device: unused: dlib computes on the CPU.

    Raises:
      InputError: dlib or its weights are not installed.
    """
    del place, device
    # Importing face_recognition_models itself fails with recent setuptools.
    weights = importlib.util.find_spec("face_recognition_models")
    if importlib.util.find_spec("dlib") is None or weights is None:
        raise InputError(
            "dlib: not installed; pip install dlib-bin face-recognition-models"
        )
    import dlib

    path = pathlib.Path(weights.submodule_search_locations[0]) / "models" / _WEIGHTS
    network = dlib.face_recognition_model_v1(str(path))
    return DlibRecogniser(network, files.sha256_of(path))


def _chip(image: np.ndarray) -> np.ndarray:
    """The crop as dlib would have cut it, ``[150, 150, 3]``: closer, eyes higher up."""
    side, chip_side = len(image), DlibRecogniser.image_size
    margin = side // 4
    # Beyond its lower edge the crop holds nothing: repeat the edge, don't blacken it.
    padded = np.pad(image, ((margin, margin), (margin, margin), (0, 0)), mode="edge")
    (our_left, our_right), (left, right) = _OUR_EYES, _DLIB_EYES
    scale = (our_right[0] - our_left[0]) / (right[0] - left[0]) * side / chip_side
    shift_x = our_left[0] * side + margin - scale * left[0] * chip_side
    shift_y = our_left[1] * side + margin - scale * left[1] * chip_side
    chip = Image.fromarray(padded).transform(
        (chip_side, chip_side),
        Image.Transform.AFFINE,
        (scale, 0, shift_x, 0, scale, shift_y),
        Image.Resampling.BICUBIC,
    )
    return np.asarray(chip)
