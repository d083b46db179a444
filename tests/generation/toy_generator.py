"""A generator of one's own, in as few lines as it takes: plain grey images."""

import dataclasses

import numpy as np

from bridges.recognisers.recogniser import load_recogniser


@dataclasses.dataclass(frozen=True)
class ToySettings:
    truncation: float = dataclasses.field(default=0.7, metadata={"help": "of the grey"})


class ToyGenerator:
    model, licence, version = {"name": "toy", "sha256": "7" * 64}, None, 5
    embedding_size, image_size, settings_type = 512, 16, ToySettings
    default_recogniser, aligned = "recogniser_f", True

    def __init__(self, name_or_path, device, batch_size):
        self.recogniser = load_recogniser("recogniser_f", device="cpu").model

    def generate(self, embeddings, seeds, settings=None):
        grey = np.uint8(255 * (settings or ToySettings()).truncation)
        return np.full((len(embeddings), 16, 16, 3), grey)
