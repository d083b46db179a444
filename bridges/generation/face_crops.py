"""Pictures that a generator drew to aligned crops, as recognisers take them."""

import numpy as np
from PIL import Image

from bridges.photographs.detector import load_detector
from bridges.photographs.picture_alignment import align_picture


class FaceCrops:
    """Finds the face of each picture, and aligns it.

    Attributes:
      detector: what finds faces.
      image_size: side in pixels of the crops.
    """

    def __init__(self, detector: str, image_size: int, *, device: str) -> None:
        """Loads the detector.

        Args:
          detector: a name in :data:`bridges.photographs.detector.DETECTORS`.
          image_size: side in pixels of the crops.
          device: what to compute on.

        Raises:
          InputError: no such detector, or its weights are missing.
        """
        self.detector = load_detector(detector, device=device)
        self.image_size = image_size

    def crop(self, picture: np.ndarray) -> tuple[np.ndarray, bool]:
        """The aligned crop of the largest face.

        Args:
          picture: ``[h, h, 3]`` uint8 RGB.

        Returns:
          The crop ``[image_size, image_size, 3]`` uint8; and whether there is an
          upright face, without which the crop is the whole picture made smaller.
        """
        faces, _ = align_picture(picture, self.detector, image_size=self.image_size)
        # A generator draws heads upright; what looks like a face lying down is none.
        if faces and faces[0].turn == 0:
            return faces[0].crop, True
        size = (self.image_size, self.image_size)
        whole = Image.fromarray(picture).resize(size, Image.Resampling.LANCZOS)
        return np.asarray(whole), False
