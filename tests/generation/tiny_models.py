"""A recogniser and a generator of the real classes, too small to be any good."""

import pathlib

import numpy as np
import torch

from bridges.generators.latent_diffusion.autoencoder import AutoencoderConfig
from bridges.generators.latent_diffusion.denoiser import DiffusionConfig
from bridges.generators.latent_diffusion.generator import KIND, GeneratorNetwork
from bridges.model_folder import save_model
from bridges.recognisers.recogniser import load_recogniser
from bridges.recognition.backbones import build_backbone
from bridges.recognition.checkpoint import save_network
from hyperface_jax import save_embeddings

EMBEDDING_SIZE = 32
IMAGE_SIZE = 16
AUTOENCODER = AutoencoderConfig(
    image_size=IMAGE_SIZE,
    channels=(8, 8),
    latent_channels=4,
    refinement_channels=4,
    norm_groups=4,
)
DENOISER = DiffusionConfig(
    latent_channels=4,
    latent_size=2,
    embedding_size=EMBEDDING_SIZE,
    channels=(8, 8),
    heads=2,
    tokens=2,
    token_size=8,
    norm_groups=4,
)


def save_tiny_recogniser(
    folder: pathlib.Path, image_size: int = IMAGE_SIZE
) -> dict[str, str]:
    """Writes a recogniser of random weights; returns its model record."""
    torch.manual_seed(1)
    config = {
        "backbone": "iresnet_small",
        "image_size": image_size,
        "embedding_size": EMBEDDING_SIZE,
    }
    network = build_backbone(
        config["backbone"], image_size=image_size, embedding_size=EMBEDDING_SIZE
    )
    save_network(folder, network, config)
    return load_recogniser(folder).model


def save_tiny_generator(
    folder: pathlib.Path,
    recogniser: dict[str, str],
    dtype: torch.dtype = torch.float16,
) -> GeneratorNetwork:
    """Writes a generator of random weights; returns its network."""
    torch.manual_seed(2)
    network = GeneratorNetwork(AUTOENCODER, DENOISER)
    description = {
        "kind": KIND,
        "name": "tiny",
        "autoencoder": vars(AUTOENCODER),
        "denoiser": vars(DENOISER),
        "recogniser": recogniser,
    }
    save_model(folder, network, description, dtype=dtype)
    return network


def save_references(
    path: pathlib.Path,
    model: dict[str, str],
    count: int = 3,
    kind: str = "references",
    size: int = EMBEDDING_SIZE,
) -> np.ndarray:
    """Writes random references of ``model``; returns them."""
    rows = unit_rows(count, size)
    save_embeddings(path, rows, kind=kind, model=model)
    return rows


def unit_rows(count: int, size: int = EMBEDDING_SIZE, seed: int = 0) -> np.ndarray:
    """Random float32 unit rows ``[count, size]``."""
    rows = np.random.default_rng(seed).standard_normal((count, size))
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)
