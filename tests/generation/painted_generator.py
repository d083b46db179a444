"""A generator and a recogniser fast enough for thousands of images in a test.

An image is the embedding itself, painted as a chequerboard, under noise of its seed;
the recogniser reads the board again. So who an image shows, and how well, is known.
"""

import dataclasses
import os
import time

import numpy as np

from bridges.alignment import ARCFACE_TEMPLATE, TEMPLATE_SIZE
from bridges.photographs.detector import DetectedFace

SIDE = 8  # Fields a side; an embedding has as many numbers as there are fields.
PIXELS = 4  # Of a field, each side.
CONTRAST = 250.0
MODEL = {"name": "painted", "sha256": "a" * 64}


@dataclasses.dataclass(frozen=True)
class PaintedSettings:
    noise: float = dataclasses.field(
        default=20.0, metadata={"help": "standard deviation in grey levels"}
    )


class PaintedGenerator:
    model, licence, version = {"name": "painter", "sha256": "b" * 64}, "of paint", 1
    recogniser, default_recogniser = MODEL, "painted"
    embedding_size, image_size, aligned = SIDE * SIDE, SIDE * PIXELS, True
    settings_type = PaintedSettings

    def __init__(self, name_or_path, device, batch_size):
        pass

    def generate(self, embeddings, seeds, settings=None):
        if "PAINTED_SLEEP" in os.environ:
            time.sleep(float(os.environ["PAINTED_SLEEP"]))
        noise = (settings or PaintedSettings()).noise
        boards = np.asarray(embeddings).reshape(-1, SIDE, SIDE)
        fields = np.repeat(np.repeat(boards, PIXELS, 1), PIXELS, 2)
        grey = np.empty(fields.shape, np.uint8)
        for row, seed in enumerate(seeds):
            draw = np.random.default_rng(seed).standard_normal((SIDE, SIDE))
            draw = np.repeat(np.repeat(draw, PIXELS, 0), PIXELS, 1)
            grey[row] = np.clip(128 + CONTRAST * fields[row] + noise * draw, 0, 255)
        return np.repeat(grey[..., None], 3, 3)


class UnalignedGenerator(PaintedGenerator):
    """Its pictures have to be aligned; those of every third seed show no face."""

    model, aligned = {"name": "unaligned", "sha256": "c" * 64}, False

    def generate(self, embeddings, seeds, settings=None):
        images = super().generate(embeddings, seeds, settings)
        for image, seed in zip(images, seeds, strict=True):
            if seed % 3 == 0:
                image[:] = 0
        return images


class PaintedRecogniser:
    image_size, embedding_size, model = SIDE * PIXELS, SIDE * SIDE, MODEL

    def embed(self, images, *, flip=True):
        grey = images.astype(np.float32).mean(3)
        fields = grey.reshape(-1, SIDE, PIXELS, SIDE, PIXELS).mean((2, 4))
        rows = fields.reshape(-1, SIDE * SIDE) - 128 + 1e-3
        return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def load_recogniser(place, device):
    return PaintedRecogniser()


class BoardDetector:
    """Takes every picture that is not black for a face that fills it."""

    model, usual_score = {"name": "board", "sha256": "d" * 64}, 0.5

    def detect(self, image):
        if not image.any():
            return []
        height, width = image.shape[:2]
        # Pixel centres of the picture on those of the crop.
        points = (ARCFACE_TEMPLATE + 0.5) / TEMPLATE_SIZE * [width, height] - 0.5
        return [DetectedFace(np.array([0.0, 0, width, height]), points, 1.0)]


def load_detector(device):
    return BoardDetector()
