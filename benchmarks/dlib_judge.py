"""An independent judge of faces: dlib's recogniser, which had no part in training.

Optional: ``pip install dlib-bin face-recognition-models``. Its weights are CC0; none of
its landmark models is used, since our images are aligned already.
"""

import importlib.util
import pathlib

import numpy as np
from PIL import Image

from hyperface_jax import InputError
from hyperface_jax.commands import progress

_WEIGHTS = "dlib_face_recognition_resnet_model_v1.dat"
_INPUT_SIZE = 150
# Centres of the eyes, left and right of the image, as shares of the side: in our
# aligned crops (the ArcFace template), and in the chips dlib's network was trained on
# (the mean shape in dlib's get_face_chip_details, padding 0.25).
_OUR_EYES = ((0.3419, 0.4616), (0.6565, 0.4598))
_DLIB_EYES = ((0.3182, 0.3143), (0.6686, 0.3141))


def judge_embeddings(images: np.ndarray, description: str = "judging") -> np.ndarray:
    """Embeds aligned faces, about 0.1 s each on a core.

    Args:
      images: ``[n, s, s, 3]`` uint8 RGB.
      description: for the progress bar.

    Returns:
      ``[n, 128]`` float32, as the network gives them: distances are Euclidean.

    Raises:
      InputError: dlib or its weights are not installed.
    """
    # Importing face_recognition_models itself fails with recent setuptools.
    weights = importlib.util.find_spec("face_recognition_models")
    if importlib.util.find_spec("dlib") is None or weights is None:
        raise InputError(
            "the judge is not installed: pip install dlib-bin face-recognition-models"
        )
    import dlib

    folder = pathlib.Path(weights.submodule_search_locations[0]) / "models"
    network = dlib.face_recognition_model_v1(str(folder / _WEIGHTS))
    rows = [
        network.compute_face_descriptor(_chip(image))
        for image in progress(images, description=description, unit="image")
    ]
    return np.asarray(rows, np.float32)


def _chip(image: np.ndarray) -> np.ndarray:
    """The crop as dlib would have cut it, ``[150, 150, 3]``: closer, eyes higher up."""
    side = len(image)
    margin = side // 4
    # Beyond its lower edge the crop holds nothing: repeat the edge, don't blacken it.
    padded = np.pad(image, ((margin, margin), (margin, margin), (0, 0)), mode="edge")
    (our_left, our_right), (left, right) = _OUR_EYES, _DLIB_EYES
    scale = (our_right[0] - our_left[0]) / (right[0] - left[0]) * side / _INPUT_SIZE
    shift_x = our_left[0] * side + margin - scale * left[0] * _INPUT_SIZE
    shift_y = our_left[1] * side + margin - scale * left[1] * _INPUT_SIZE
    chip = Image.fromarray(padded).transform(
        (_INPUT_SIZE, _INPUT_SIZE),
        Image.Transform.AFFINE,
        (scale, 0, shift_x, 0, scale, shift_y),
        Image.Resampling.BICUBIC,
    )
    return np.asarray(chip)
