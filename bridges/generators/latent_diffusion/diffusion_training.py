"""The training of the identity-conditioned denoiser, by several processes."""

import dataclasses
from typing import Any

import torch
from absl import logging

from bridges import device_flags
from bridges.datasets.identity_folders import AUTO
from bridges.datasets.image_source import open_images
from bridges.datasets.unreadable import check_source
from bridges.devices import announce_device, find_device
from bridges.generators.latent_diffusion.denoiser import (
    DiffusionConfig,
    IdentityDenoiser,
)
from bridges.generators.latent_diffusion.diffusion_steps import DiffusionSteps
from bridges.generators.latent_diffusion.identity_conditioning import CONDITIONS_VERSION
from bridges.generators.latent_diffusion.latent_cache import (
    LatentCache,
    load_latent_cache,
    load_sources,
)
from bridges.generators.latent_diffusion.training_config import DiffusionTrainingConfig
from bridges.generators.latent_diffusion.widening import copy_into_wider
from bridges.model_folder import (
    build_config,
    digest_of,
    load_weights,
    read_description,
    read_shape,
    save_model,
    trained_model,
)
from bridges.training.data_parallel import Workers, num_workers, run_workers
from bridges.training.timed_training import CHECKPOINT, train_for
from hyperface_jax import InputError
from hyperface_jax.commands import provenance

KIND = "latent diffusion"


def train_latent_diffusion(
    dataset: str,
    autoencoder: str,
    recogniser: str,
    output: str,
    config: DiffusionTrainingConfig,
    *,
    shape: DiffusionConfig | None = None,
    initial: str | None = None,
    identity_from: str = AUTO,
    skip_unreadable: bool = False,
    device: str = "auto",
    precision: str = "float32",
) -> None:
    """Trains a denoiser and writes it to ``output``.

    Args:
      dataset: an image dataset folder with identities.
      autoencoder: folder of a trained autoencoder.
      recogniser: name or folder of the recogniser that gives the conditions.
      output: a folder for cache and checkpoint, then the model.
      config: the settings.
      shape: the denoiser's shape; sizes of latents and embeddings in it are replaced by
        those of the autoencoder and the recogniser.
      initial: folder of a trained denoiser to start from instead of random weights;
        its latents may be narrower ones, see :mod:`.widening`.
      identity_from: what says who is on an image where there is no metadata, see
        :class:`bridges.datasets.image_dataset.ImageDataset`.
      skip_unreadable: leave out images that can't be read; the model's record lists
        them.
      device: what to compute on, see :func:`bridges.devices.find_device`.
      precision: of matrix products and convolutions in training, likewise.

    Raises:
      InputError: a dataset or a model that can't be read, an initial denoiser of
        other conditions or wider latents, an output of other settings, or no such
        device.
    """
    place = find_device(device, precision, quiet=True)
    images = open_images(dataset, identity_from=identity_from)
    sources = load_sources(images, autoencoder, recogniser)
    shape = dataclasses.replace(
        shape or DiffusionConfig(),
        latent_channels=sources.encoder.config.latent_channels,
        latent_size=sources.encoder.config.latent_size,
        embedding_size=sources.judge.embedding_size,
    )
    if initial is not None:
        shape = _widened_shape(initial, shape, sources.models)
    settings = {
        **config.model_settings(),
        "shape": str(shape),
        "initial": digest_of(initial),
        "conditions": CONDITIONS_VERSION,
        **sources.models,
        **({"skip_unreadable": True} if skip_unreadable else {}),
        **device_flags.setting(precision),
    }
    model = trained_model(output, KIND, settings, checkpoint=CHECKPOINT)
    if model.finished():
        return
    announce_device(device, place)
    readable, skipped = check_source(images, skip_unreadable=skip_unreadable)
    sources = sources._replace(dataset=readable)
    about = {"settings": settings, **({"skipped": skipped} if skipped else {})}
    count = num_workers(config.num_processes, config.batch_size, place)

    def train() -> None:
        cache = load_latent_cache(sources, output, num_processes=count, device=place)
        run_workers(
            _train, (cache, output, config, about, shape, initial), count, place
        )

    model.make(train)


def _train(
    workers: Workers,
    cache: LatentCache,
    output: str,
    config: DiffusionTrainingConfig,
    about: dict[str, Any],
    shape: DiffusionConfig,
    initial: str | None,
) -> None:
    """What each process does: trains, and in process 0 saves the model."""
    before = {}
    if initial is not None:
        before["initial"] = read_description(initial, KIND)["training"]
    torch.manual_seed(config.seed)
    # On the CPU: random weights are then the same for every device.
    denoiser = _initial_denoiser(shape, initial).to(workers.device.torch)
    torch.manual_seed(config.seed + 1 + workers.rank)
    training = DiffusionSteps(workers, cache, config, denoiser)
    record = train_for(
        60 * config.minutes,
        training.update,
        training.state(),
        output,
        settings=about["settings"],
        images_per_step=config.batch_size,
        workers=workers,
        evaluate=training.evaluate,
    )
    if workers.rank != 0:
        return
    description = {
        "kind": KIND,
        "config": dataclasses.asdict(shape),
        **about,
        "recogniser": cache.recogniser,
        "autoencoder_latents": cache.models["autoencoder_latents"],
        "training": {
            **record,
            **before,
            **workers.device.record(),
            **provenance(dataclasses.asdict(config)),
        },
    }
    save_model(output, training.average, description)


def _initial_denoiser(shape: DiffusionConfig, initial: str | None) -> IdentityDenoiser:
    """A trained denoiser, widened if need be, or one of random weights."""
    denoiser = IdentityDenoiser(shape).to(memory_format=torch.channels_last)
    if initial is not None:
        trained = read_shape(initial, KIND, DiffusionConfig)
        narrow = IdentityDenoiser(trained)
        load_weights(initial, narrow)
        copy_into_wider(narrow, denoiser)
    return denoiser


def _widened_shape(
    initial: str, shape: DiffusionConfig, models: dict[str, str]
) -> DiffusionConfig:
    """The shape of the denoiser in ``initial``, with the latents that are given."""
    description = read_description(initial, KIND)
    if description["recogniser"]["sha256"] != models["recogniser"]:
        raise InputError(
            f"{initial}: was trained on embeddings of another recogniser than given"
        )
    trained = build_config(initial, description, "config", DiffusionConfig)
    final = dataclasses.replace(trained, latent_channels=shape.latent_channels)
    if final.latent_size != shape.latent_size:
        raise InputError(
            f"{initial}: was trained on latents {trained.latent_size} wide, the "
            f"autoencoder's are {shape.latent_size}"
        )
    if trained.latent_channels > final.latent_channels:
        raise InputError(
            f"{initial}: was trained on latents of {trained.latent_channels} channels, "
            f"the autoencoder's have {final.latent_channels}; give at least as many"
        )
    if description["autoencoder_latents"] != models["autoencoder_latents"]:
        logging.warning("%s: was trained on the latents of another model", initial)
    return final
