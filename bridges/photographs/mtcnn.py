"""MTCNN: a detector of faces in three steps, each looking closer.

A fully convolutional network proposes boxes at all scales; a second one refuses most
of them and a third gives the landmarks (Zhang et al., "Joint face detection and
alignment using multitask cascaded convolutional networks", 2016). The weights are those
of facenet-pytorch, which ``python -m bridges.photographs.fetch_mtcnn`` brings.
"""

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from bridges.devices import Device
from bridges.photographs import mtcnn_weights
from bridges.photographs.boxes import moved, squares, suppress_overlapping
from bridges.photographs.detector import DetectedFace
from bridges.photographs.shrinking import shrink_picture
from bridges.weights_file import read_weights

# The cell of the first network, and its stride.
_CELL, _STRIDE = 12, 2
_PYRAMID_FACTOR = 0.709
# Scores above which a box is looked at by the next network. At .7, as facenet-pytorch
# has it, the last takes a knee for a face (.76) in the pictures of openpeople,
# whose 200 faces score .93 and more.
_THRESHOLDS = (0.6, 0.7, 0.85)
# Single faces of those pictures score .983 and more.
_USUAL_SCORE = 0.97
_SIDES = (24, 48)
# Larger pictures are shrunk to this: the last network sees a face at 48 px anyway.
_LONGEST = 1024
# In pixels of the picture so shrunk.
_SMALLEST_FACE = 20
# Candidates at once: bounds the memory.
_CANDIDATES = 512


class Mtcnn:
    """A detector; see :class:`bridges.photographs.detector.Detector`.

    Attributes:
      model: name and SHA-256.
      usual_score: what faces score at least that are seen well.
    """

    usual_score = _USUAL_SCORE

    def __init__(
        self,
        proposing: "ProposalNetwork",
        refining: "RefinementNetwork",
        locating: "LandmarkNetwork",
        *,
        device: Device,
    ) -> None:
        """Puts the three networks together.

        Args:
          proposing: the first.
          refining: the second.
          locating: the third.
          device: what to compute on.
        """
        self.model = {"name": "mtcnn", "sha256": mtcnn_weights.SHA256}
        self._device = device.torch
        networks = (proposing, refining, locating)
        for network in networks:
            network.eval().requires_grad_(False).to(self._device)
        self._proposing, self._refining, self._locating = networks

    @torch.inference_mode()
    def detect(self, image: np.ndarray) -> list[DetectedFace]:
        """Finds the faces of a picture, the surest first.

        Args:
          image: ``[h, w, 3]`` uint8 RGB, upright.
        """
        image, scale = shrink_picture(image, _LONGEST)
        x = torch.from_numpy(image).to(self._device).permute(2, 0, 1)[None]
        x = (x.float() - 127.5) / 128
        boxes = self._proposals(x)
        found = squares(boxes)
        scores, shifts, _ = self._look(self._refining, x, found, _SIDES[0])
        sure = scores > _THRESHOLDS[1]
        boxes = moved(found[sure], shifts[sure])
        boxes = boxes[suppress_overlapping(boxes, scores[sure], 0.7)]
        found = squares(boxes)
        scores, shifts, shares = self._look(self._locating, x, found, _SIDES[1])
        sure = scores > _THRESHOLDS[2]
        found, scores = found[sure], scores[sure]
        boxes = moved(found, shifts[sure])
        # Five x, then five y, as shares of the square.
        shares = shares[sure].reshape(-1, 2, 5).transpose(0, 2, 1)
        points = found[:, None, :2] + shares * (found[:, 2:] - found[:, :2])[:, None]
        kept = suppress_overlapping(boxes, scores, 0.7, of_smaller=True)
        return [
            DetectedFace(
                boxes[i] * np.tile(scale, 2), points[i] * scale, float(scores[i])
            )
            for i in kept
        ]

    def _proposals(self, x: torch.Tensor) -> np.ndarray:
        """Boxes ``[n, 4]`` that may hold a face, at all scales."""
        height, width = x.shape[2:]
        scale, level = _CELL / _SMALLEST_FACE, x
        boxes, scores, shifts = [np.zeros((0, 4))], [np.zeros(0)], [np.zeros((0, 4))]
        while min(height, width) * scale >= _CELL:
            # From the level before, which costs less than from the whole picture.
            sides = int(np.ceil(height * scale)), int(np.ceil(width * scale))
            level = functional.interpolate(level, size=sides, mode="area")
            score, shift = (out[0].cpu().numpy() for out in self._proposing(level))
            row, column = np.nonzero(score > _THRESHOLDS[0])
            corner = np.stack([column, row], 1) * _STRIDE
            back = np.array([width / sides[1], height / sides[0]])
            cells = np.hstack([corner, corner + _CELL]) * np.tile(back, 2)
            score, shift = score[row, column], shift[:, row, column].T
            kept = suppress_overlapping(cells, score, 0.5)
            boxes.append(cells[kept])
            scores.append(score[kept])
            shifts.append(shift[kept])
            scale *= _PYRAMID_FACTOR
        found = np.concatenate(boxes)
        kept = suppress_overlapping(found, np.concatenate(scores), 0.7)
        return moved(found[kept], np.concatenate(shifts)[kept])

    def _look(
        self, network: nn.Module, x: torch.Tensor, boxes: np.ndarray, side: int
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Scores ``[n]``, shifts ``[n, 4]`` and landmarks ``[n, 10]`` of squares."""
        outputs = []
        for start in range(0, len(boxes), _CANDIDATES):
            some = boxes[start : start + _CANDIDATES].astype(int)
            crops = torch.cat([_crop(x, box, side) for box in some])
            outputs.append([out.cpu().numpy() for out in network(crops)])
        if not outputs:
            return np.zeros(0), np.zeros((0, 4)), np.zeros((0, 10))
        scores, shifts, points = (
            np.concatenate(parts) for parts in zip(*outputs, strict=True)
        )
        return scores, shifts, points


class _Layers(nn.Module):
    """A convolution or dense layer with its PReLU, under facenet-pytorch's names."""

    def _add(self, name: str, layer: nn.Module, activation: str | None = None) -> None:
        self.add_module(name, layer)
        if activation:
            outputs = getattr(layer, "out_channels", None) or layer.out_features
            self.add_module(activation, nn.PReLU(outputs))

    def _convolve(self, x: torch.Tensor, number: int) -> torch.Tensor:
        x = getattr(self, f"conv{number}")(x)
        return getattr(self, f"prelu{number}")(x)


class ProposalNetwork(_Layers):
    """``[1, 3, h, w]`` to scores ``[1, h', w']`` and shifts ``[1, 4, h', w']``."""

    def __init__(self) -> None:
        super().__init__()
        self._add("conv1", nn.Conv2d(3, 10, 3), "prelu1")
        self._add("conv2", nn.Conv2d(10, 16, 3), "prelu2")
        self._add("conv3", nn.Conv2d(16, 32, 3), "prelu3")
        self._add("conv4_1", nn.Conv2d(32, 2, 1))
        self._add("conv4_2", nn.Conv2d(32, 4, 1))

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        x = functional.max_pool2d(self._convolve(x, 1), 2, 2, ceil_mode=True)
        x = self._convolve(self._convolve(x, 2), 3)
        return self.conv4_1(x).softmax(1)[:, 1], self.conv4_2(x)


class RefinementNetwork(_Layers):
    """``[n, 3, 24, 24]`` to scores ``[n]``, shifts ``[n, 4]`` and no landmarks."""

    def __init__(self) -> None:
        super().__init__()
        self._add("conv1", nn.Conv2d(3, 28, 3), "prelu1")
        self._add("conv2", nn.Conv2d(28, 48, 3), "prelu2")
        self._add("conv3", nn.Conv2d(48, 64, 2), "prelu3")
        self._add("dense4", nn.Linear(576, 128), "prelu4")
        self._add("dense5_1", nn.Linear(128, 2))
        self._add("dense5_2", nn.Linear(128, 4))

    def forward(
        self, x: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        x = functional.max_pool2d(self._convolve(x, 1), 3, 2, ceil_mode=True)
        x = functional.max_pool2d(self._convolve(x, 2), 3, 2, ceil_mode=True)
        x = _flat(self._convolve(x, 3))
        x = self.prelu4(self.dense4(x))
        return (
            self.dense5_1(x).softmax(1)[:, 1],
            self.dense5_2(x),
            x.new_zeros(len(x), 10),
        )


class LandmarkNetwork(_Layers):
    """``[n, 3, 48, 48]`` to scores ``[n]``, shifts ``[n, 4]``, points ``[n, 10]``."""

    def __init__(self) -> None:
        super().__init__()
        self._add("conv1", nn.Conv2d(3, 32, 3), "prelu1")
        self._add("conv2", nn.Conv2d(32, 64, 3), "prelu2")
        self._add("conv3", nn.Conv2d(64, 64, 3), "prelu3")
        self._add("conv4", nn.Conv2d(64, 128, 2), "prelu4")
        self._add("dense5", nn.Linear(1152, 256), "prelu5")
        self._add("dense6_1", nn.Linear(256, 2))
        self._add("dense6_2", nn.Linear(256, 4))
        self._add("dense6_3", nn.Linear(256, 10))

    def forward(
        self, x: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        x = functional.max_pool2d(self._convolve(x, 1), 3, 2, ceil_mode=True)
        x = functional.max_pool2d(self._convolve(x, 2), 3, 2, ceil_mode=True)
        x = functional.max_pool2d(self._convolve(x, 3), 2, 2, ceil_mode=True)
        x = _flat(self._convolve(x, 4))
        x = self.prelu5(self.dense5(x))
        return self.dense6_1(x).softmax(1)[:, 1], self.dense6_2(x), self.dense6_3(x)


def load_mtcnn(device: Device) -> Mtcnn:
    """Loads MTCNN; a loader of :data:`bridges.photographs.detector.DETECTORS`.

    Raises:
      InputError: its weights are not there, with what to run; or damaged.
    """
    weights = read_weights(mtcnn_weights.find())
    networks = ProposalNetwork(), RefinementNetwork(), LandmarkNetwork()
    for network, name in zip(networks, mtcnn_weights.NETWORKS, strict=True):
        prefix = f"{name}."
        network.load_state_dict(
            {
                key.removeprefix(prefix): value
                for key, value in weights.items()
                if key.startswith(prefix)
            }
        )
    return Mtcnn(*networks, device=device)


def _flat(x: torch.Tensor) -> torch.Tensor:
    # The dense weights go through width, height and channel in this order.
    return x.permute(0, 3, 2, 1).flatten(1)


def _crop(x: torch.Tensor, box: np.ndarray, side: int) -> torch.Tensor:
    """The square ``[1, 3, side, side]`` of a picture, grey outside of it."""
    left, top, right, bottom = (int(value) for value in box)
    right, bottom = max(right, left + 1), max(bottom, top + 1)
    part = x[:, :, max(top, 0) : max(bottom, 0), max(left, 0) : max(right, 0)]
    if part.shape[2:] != (bottom - top, right - left):
        whole = x.new_zeros(1, 3, bottom - top, right - left)
        row, column = max(-top, 0), max(-left, 0)
        whole[:, :, row : row + part.shape[2], column : column + part.shape[3]] = part
        part = whole
    return functional.interpolate(part, size=(side, side), mode="area")
