"""What diffusion training reads: latents and identity embeddings of a dataset.

They are computed once, in float32 by all processes together, and kept beside the
training checkpoint, so that a killed run resumes within seconds.
"""

import os
import pathlib
from typing import NamedTuple

import safetensors
import safetensors.torch
import torch
from absl import logging

from bridges.datasets.image_dataset import ImageDataset
from bridges.devices import Device
from bridges.generators.latent_diffusion.autoencoder import (
    AutoencoderConfig,
    FaceAutoencoder,
)
from bridges.generators.latent_diffusion.model_folder import (
    build_to_fit,
    load_weights,
    read_shape,
)
from bridges.generators.latent_diffusion.training_images import load_training_images
from bridges.pixels import to_unit_range
from bridges.recognisers.recogniser import Recogniser, load_recogniser
from bridges.training.data_parallel import Workers, run_workers
from bridges.training.timed_training import evaluating
from hyperface_jax import InputError, files

_BATCH = 128


class Sources(NamedTuple):
    """What a cache is made of.

    Attributes:
      dataset: the images.
      encoder: the trained autoencoder.
      judge: the recogniser.
      places: name or folder of both, for other processes to load them.
      models: digests of all three: ``dataset``, ``autoencoder_latents``,
        ``recogniser``.
    """

    dataset: ImageDataset
    encoder: FaceAutoencoder
    judge: Recogniser
    places: tuple[str, str]
    models: dict[str, str]


class LatentCache(NamedTuple):
    """Latents and embeddings of training images and of held-out ones.

    Attributes:
      latents: ``[2, n, c, h, w]`` float16, standardised; plain, then mirrored.
      embeddings: ``[n, d]`` float32 unit rows.
      labels: ``[n]`` int64, ascending.
      held_out_latents: ``[m, c, h, w]`` float16, plain.
      held_out_embeddings: ``[m, d]``.
      held_out_labels: ``[m]``.
      models: what made them, see :class:`Sources`.
      recogniser: ``{"name", "sha256"}``.
    """

    latents: torch.Tensor
    embeddings: torch.Tensor
    labels: torch.Tensor
    held_out_latents: torch.Tensor
    held_out_embeddings: torch.Tensor
    held_out_labels: torch.Tensor
    models: dict[str, str]
    recogniser: dict[str, str]


def load_autoencoder(folder: str | os.PathLike[str]) -> FaceAutoencoder:
    """Loads a trained autoencoder, in evaluation mode.

    Raises:
      InputError: no finished autoencoder in ``folder``.
    """
    shape = read_shape(folder, "autoencoder", AutoencoderConfig)
    autoencoder = build_to_fit(folder, lambda: FaceAutoencoder(shape))
    load_weights(folder, autoencoder)
    autoencoder.requires_grad_(False).to(memory_format=torch.channels_last)
    return autoencoder.eval()


def load_sources(dataset: ImageDataset, autoencoder: str, recogniser: str) -> Sources:
    """Loads the models that a cache is made with.

    Args:
      dataset: images with identities.
      autoencoder: folder of a trained autoencoder.
      recogniser: name or folder of a recogniser.

    Raises:
      InputError: a dataset or a model that can't be read.
    """
    # For what they say of themselves; the processes that compute load their own.
    encoder = load_autoencoder(autoencoder)
    judge = load_recogniser(recogniser, device="cpu")
    models = {
        "dataset": dataset.fingerprint(),
        "autoencoder_latents": encoder.latents_digest(),
        "recogniser": judge.model["sha256"],
    }
    return Sources(dataset, encoder, judge, (autoencoder, recogniser), models)


def load_latent_cache(
    sources: Sources,
    output: str,
    *,
    num_processes: int,
    device: Device | None = None,
) -> LatentCache:
    """Reads the cache in ``output``, or computes and writes it.

    Args:
      sources: what it is made of.
      output: where ``latents.safetensors`` is kept.
      num_processes: single-threaded processes that compute.
      device: of the first of them, by default the CPU.

    Raises:
      InputError: a dataset that can't be read.
    """
    path = pathlib.Path(output) / "latents.safetensors"
    tensors = _read(path, sources.models)
    if tensors is None:
        tensors = _compute(sources, num_processes, device or Device())
        files.write_bytes(path, safetensors.torch.save(tensors, sources.models))
    shared = {name: value.share_memory_() for name, value in tensors.items()}
    recogniser = dict(sources.judge.model)
    return LatentCache(**shared, models=sources.models, recogniser=recogniser)


def _read(path: pathlib.Path, models: dict[str, str]) -> dict[str, torch.Tensor] | None:
    """The tensors of a cache that ``models`` made, or None."""
    if not path.exists():
        return None
    try:
        with safetensors.safe_open(path, "pt") as file:
            if file.metadata() != models:
                return None
            return {name: file.get_tensor(name) for name in file.keys()}
    except (safetensors.SafetensorError, ValueError) as error:
        raise InputError(f"{path}: damaged ({error}); remove it") from None


def _compute(
    sources: Sources, num_processes: int, device: Device
) -> dict[str, torch.Tensor]:
    """The tensors of a cache; each process loads both models from their places."""
    config, judge = sources.encoder.config, sources.judge
    images = faces = load_training_images(sources.dataset, config.image_size)
    if judge.image_size != config.image_size:
        # As everywhere else, the recogniser is given the files, resampled once.
        faces = load_training_images(sources.dataset, judge.image_size)
    shape = (config.latent_channels, config.latent_size, config.latent_size)
    tensors = {"labels": images.labels, "held_out_labels": images.held_out_labels}
    for prefix, chosen, seen in (
        ("", images.images, faces.images),
        ("held_out_", images.held_out, faces.held_out),
    ):
        count = len(chosen)
        latents = torch.empty((2, count, *shape), dtype=torch.float16).share_memory_()
        embeddings = torch.empty(count, judge.embedding_size).share_memory_()
        logging.info("encoding %d images", count)
        arguments = (chosen, seen, latents, embeddings, *sources.places)
        run_workers(_encode, arguments, num_processes, device)
        tensors |= {f"{prefix}latents": latents, f"{prefix}embeddings": embeddings}
    tensors["held_out_latents"] = tensors["held_out_latents"][0].contiguous()
    return tensors


def _encode(
    workers: Workers,
    images: torch.Tensor,
    faces: torch.Tensor,
    latents: torch.Tensor,
    embeddings: torch.Tensor,
    autoencoder: str,
    recogniser: str,
) -> None:
    """Fills in every ``workers.count``-th batch of ``latents`` and ``embeddings``."""
    device = workers.device
    encoder = load_autoencoder(autoencoder).to(device.torch)
    judge = load_recogniser(recogniser, device=device.name)
    starts = range(workers.rank * _BATCH, len(images), workers.count * _BATCH)
    with evaluating(encoder):
        for start in starts:
            rows = slice(start, start + _BATCH)
            batch = to_unit_range(device.take(images[rows]))
            latents[0, rows] = encoder.encode(batch).half().cpu()
            latents[1, rows] = encoder.encode(batch.flip(3)).half().cpu()
            pixels = faces[rows].permute(0, 2, 3, 1).contiguous().numpy()
            embeddings[rows] = torch.from_numpy(judge.embed(pixels))
