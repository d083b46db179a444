"""The training of the face autoencoder, in two phases, by several processes."""

import dataclasses
from typing import Any

import torch

from bridges import device_flags, pretrained
from bridges.datasets.identity_folders import AUTO
from bridges.datasets.image_source import open_images
from bridges.datasets.unreadable import check_source
from bridges.devices import announce_device, find_device
from bridges.generators.latent_diffusion.autoencoder import (
    AutoencoderConfig,
    FaceAutoencoder,
)
from bridges.generators.latent_diffusion.autoencoder_losses import feature_distance
from bridges.generators.latent_diffusion.autoencoder_steps import (
    AutoencoderSteps,
    spread,
    standardise,
)
from bridges.generators.latent_diffusion.training_config import (
    AutoencoderTrainingConfig,
)
from bridges.generators.latent_diffusion.training_images import (
    TrainingImages,
    load_training_images,
)
from bridges.generators.latent_diffusion.widening import widen_autoencoder
from bridges.model_folder import (
    digest_of,
    load_weights,
    read_shape,
    save_model,
    trained_model,
)
from bridges.pixels import to_unit_range
from bridges.training.data_parallel import Workers, num_workers, run_workers
from bridges.training.timed_training import CHECKPOINT, train_for
from hyperface_jax import InputError
from hyperface_jax.commands import provenance

KIND = "autoencoder"


def train_autoencoder(
    dataset: str,
    output: str,
    config: AutoencoderTrainingConfig,
    *,
    shape: AutoencoderConfig | None = None,
    latent_channels: int | None = None,
    autoencoder: str | None = None,
    recogniser: str | None = None,
    identity_from: str = AUTO,
    skip_unreadable: bool = False,
    device: str = "auto",
    precision: str = "float32",
) -> None:
    """Trains an autoencoder and writes it to ``output``.

    Args:
      dataset: an image dataset folder with identities.
      output: a folder for the checkpoint and then the model.
      config: the settings.
      shape: the shape of a new autoencoder.
      latent_channels: replaces the number of latent channels; a trained autoencoder
        can gain some.
      autoencoder: folder of a trained autoencoder to start from; the decoder phase
        needs it.
      recogniser: its features judge too; the decoder phase needs it.
      identity_from: what says who is on an image where there is no metadata, see
        :class:`bridges.datasets.image_dataset.ImageDataset`.
      skip_unreadable: leave out images that can't be read; the model's record lists
        them.
      device: what to compute on, see :func:`bridges.devices.find_device`.
      precision: of matrix products and convolutions, likewise.

    Raises:
      InputError: an unreadable dataset, a phase without what it needs, fewer latent
        channels than the trained autoencoder has, an output of other settings, or no
        such device.
    """
    place = find_device(device, precision, quiet=True)
    if config.phase == "decoder":
        for name, value in (("autoencoder", autoencoder), ("recogniser", recogniser)):
            if value is None:
                raise InputError(f"the decoder phase needs --{name}")
    shape = _final_shape(shape, latent_channels, config.phase, autoencoder)
    source = open_images(dataset, identity_from=identity_from)
    settings = {
        **config.model_settings(),
        "shape": str(shape),
        "dataset": source.fingerprint(),
        "autoencoder": digest_of(autoencoder),
        "recogniser": digest_of(recogniser and pretrained.find(recogniser)),
        **({"skip_unreadable": True} if skip_unreadable else {}),
        **device_flags.setting(precision),
    }
    model = trained_model(output, KIND, settings, checkpoint=CHECKPOINT)
    if model.finished():
        return
    announce_device(device, place)
    source, skipped = check_source(source, skip_unreadable=skip_unreadable)
    images = load_training_images(source, shape.image_size)
    about = {"settings": settings, **({"skipped": skipped} if skipped else {})}
    arguments = (images, output, config, about, shape, autoencoder, recogniser)
    count = num_workers(config.num_processes, config.batch_size, place)
    model.make(lambda: run_workers(_train, arguments, count, place))


def _train(
    workers: Workers,
    images: TrainingImages,
    output: str,
    config: AutoencoderTrainingConfig,
    about: dict[str, Any],
    shape: AutoencoderConfig,
    autoencoder: str | None,
    recogniser: str | None,
) -> None:
    """What each process does: trains, and in process 0 saves the model."""
    torch.manual_seed(config.seed)
    # On the CPU: random weights are then the same for every device.
    model = _initial_model(images, shape, autoencoder).to(workers.device.torch)
    distance = None
    if recogniser is not None:
        distance = feature_distance(recogniser, workers.device)
    torch.manual_seed(config.seed + 1 + workers.rank)
    training = AutoencoderSteps(workers, images, config, model, distance)
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
    if config.phase == "full":
        standardise(model, images.images, workers.device)
    description = {
        "kind": KIND,
        "config": dataclasses.asdict(shape),
        **about,
        "training": {
            **record,
            **workers.device.record(),
            **provenance(dataclasses.asdict(config)),
        },
    }
    save_model(output, model, description)


def _final_shape(
    shape: AutoencoderConfig | None,
    latent_channels: int | None,
    phase: str,
    autoencoder: str | None,
) -> AutoencoderConfig:
    """The shape to train; a trained autoencoder can only gain latent channels."""
    if autoencoder is not None:
        shape = read_shape(autoencoder, KIND, AutoencoderConfig)
    shape = shape or AutoencoderConfig()
    if latent_channels in (None, shape.latent_channels):
        return shape
    if autoencoder is not None and latent_channels < shape.latent_channels:
        raise InputError(
            f"{autoencoder}: has {shape.latent_channels} latent channels, which can't "
            f"become {latent_channels}; give more, or train a new one"
        )
    if phase == "decoder":
        raise InputError("the decoder phase can't change --latent_channels")
    return dataclasses.replace(shape, latent_channels=latent_channels)


def _initial_model(
    images: TrainingImages, shape: AutoencoderConfig, autoencoder: str | None
) -> FaceAutoencoder:
    """A trained autoencoder, widened if need be, or one that codes patches linearly."""
    model = FaceAutoencoder(shape).to(memory_format=torch.channels_last)
    if autoencoder is None:
        examples = to_unit_range(spread(images.images, 4096))
        model.start_from_principal_components(examples)
        return model
    trained = read_shape(autoencoder, KIND, AutoencoderConfig)
    if trained == shape:
        load_weights(autoencoder, model)
        return model
    narrow = FaceAutoencoder(trained)
    load_weights(autoencoder, narrow)
    widen_autoencoder(narrow, model, to_unit_range(spread(images.images, 4096)))
    return model
