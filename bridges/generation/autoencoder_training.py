"""The training of the face autoencoder, in two phases, by several processes."""

import dataclasses
import pathlib
from typing import Any

import torch

from bridges import pretrained
from bridges.datasets.identity_folders import AUTO
from bridges.datasets.image_dataset import open_images
from bridges.generation.autoencoder import (
    AutoencoderConfig,
    FaceAutoencoder,
    latent_dimensions,
    psnr,
)
from bridges.generation.autoencoder_losses import (
    Distance,
    feature_distance,
    reconstruction_losses,
)
from bridges.generation.data_parallel import Workers, run_workers
from bridges.generation.model_folder import (
    digest_of,
    is_trained,
    load_weights,
    read_shape,
    save_model,
)
from bridges.generation.timed_training import (
    CHECKPOINT,
    cosine_schedule,
    evaluating,
    optimizer_step,
    train_for,
)
from bridges.generation.training_config import AutoencoderTrainingConfig
from bridges.generation.training_images import TrainingImages, load_training_images
from bridges.generation.widening import widen_autoencoder
from bridges.pixels import to_unit_range
from hyperface_jax import InputError, files
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

    Raises:
      InputError: an unreadable dataset, a phase without what it needs, fewer latent
        channels than the trained autoencoder has, or an output of other settings.
    """
    if config.phase == "decoder":
        for name, value in (("autoencoder", autoencoder), ("recogniser", recogniser)):
            if value is None:
                raise InputError(f"the decoder phase needs --{name}")
    shape = _final_shape(shape, latent_channels, config.phase, autoencoder)
    found = open_images(dataset, identity_from=identity_from)
    settings = {
        **config.model_settings(),
        "shape": str(shape),
        "dataset": found.fingerprint(),
        "autoencoder": digest_of(autoencoder),
        "recogniser": digest_of(recogniser and pretrained.find(recogniser)),
        **({"skip_unreadable": True} if skip_unreadable else {}),
    }
    path = pathlib.Path(output) / CHECKPOINT
    if is_trained(output, KIND, settings):
        # Left by a kill right after the model.
        files.discard(path)
        return
    skipped = found.check(skip_unreadable=skip_unreadable)
    images = load_training_images(found, shape.image_size)
    about = {"settings": settings, **({"skipped": skipped} if skipped else {})}
    arguments = (images, output, config, about, shape, autoencoder, recogniser)
    with files.exclusive(output):
        # Once more: until now another process may have been writing.
        if is_trained(output, KIND, settings):
            return
        run_workers(_train, arguments, config.num_processes)
        files.discard(path)


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
    model = _initial_model(images, shape, autoencoder)
    distance = None if recogniser is None else feature_distance(recogniser)
    torch.manual_seed(config.seed + 1 + workers.rank)
    training = _Training(workers, images, config, model, distance)
    record = train_for(
        60 * config.minutes,
        training.update,
        {"model": model, "optimizer": training.optimizer},
        output,
        settings=about["settings"],
        images_per_step=config.batch_size,
        workers=workers,
        evaluate=lambda: {"held-out dB": _held_out_psnr(model, images.held_out)},
    )
    if workers.rank != 0:
        return
    if config.phase == "full":
        _standardise(model, images.images)
    description = {
        "kind": KIND,
        "config": dataclasses.asdict(shape),
        **about,
        "training": {**record, **provenance(dataclasses.asdict(config))},
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
        examples = to_unit_range(_spread(images.images, 4096))
        model.start_from_principal_components(examples)
        return model
    trained = read_shape(autoencoder, KIND, AutoencoderConfig)
    if trained == shape:
        load_weights(autoencoder, model)
        return model
    narrow = FaceAutoencoder(trained)
    load_weights(autoencoder, narrow)
    widen_autoencoder(narrow, model, to_unit_range(_spread(images.images, 4096)))
    return model


def _spread(images: torch.Tensor, count: int) -> torch.Tensor:
    """Every k-th image: at least ``count`` where there are as many, less than twice."""
    return images[:: max(1, len(images) // count)]


class _Training:
    """The steps of one process."""

    def __init__(
        self,
        workers: Workers,
        images: TrainingImages,
        config: AutoencoderTrainingConfig,
        model: FaceAutoencoder,
        distance: Distance | None,
    ) -> None:
        self._workers = workers
        self._images = images.images
        self._config = config
        self._model = model
        self._distance = distance
        self._decoder_alone = config.phase == "decoder"
        trained = (
            model.decoder_parameters() if self._decoder_alone else model.parameters()
        )
        self.optimizer = torch.optim.AdamW(
            trained, lr=config.learning_rate, betas=(0.9, 0.99), weight_decay=1e-4
        )

    def update(self, progress: float, step: int) -> dict[str, float]:
        """Takes a step; returns the weighted terms of the loss."""
        count = self._config.own_batch_size
        batch = self._images[torch.randint(len(self._images), (count,))]
        batch = to_unit_range(batch.flip(3) if step % 2 else batch)
        losses = self._losses(batch)
        rate = cosine_schedule(progress, step, warmup=100)
        optimizer_step(
            self.optimizer,
            sum(losses.values()),
            learning_rate=self._config.learning_rate * rate,
            workers=self._workers,
        )
        return {name: loss.item() for name, loss in losses.items()}

    def _losses(self, images: torch.Tensor) -> dict[str, torch.Tensor]:
        config = self._config
        losses = {}
        if self._decoder_alone:
            decoded = self._decode_with_noise(images)
        else:
            latents = self._model.distribution(images)
            dimensions = latent_dimensions(self._model.config)
            losses["kl"] = config.kl_weight * latents.kl().mean() / dimensions
            decoded = self._model.decode_raw(latents.sample())
        if self._distance is not None:
            distance = self._distance(decoded, images)
            losses["features"] = config.feature_weight * distance
        return losses | reconstruction_losses(
            decoded,
            images,
            gradient_weight=config.gradient_weight,
            coarse_weight=config.coarse_weight,
        )

    def _decode_with_noise(self, images: torch.Tensor) -> torch.Tensor:
        """Images decoded from latents that stay as they are, but for some noise."""
        with torch.no_grad():
            latents = self._model.encode(images)
        strength = self._config.latent_noise * torch.rand(len(latents), 1, 1, 1)
        return self._model.decode(latents + strength * torch.randn_like(latents))


def _held_out_psnr(model: FaceAutoencoder, images: torch.Tensor) -> float:
    with evaluating(model):
        values = []
        for batch in to_unit_range(images).split(64):
            decoded = model.decode_raw(model.distribution(batch).mode())
            values.append(psnr(decoded, batch))
    return round(torch.cat(values).mean().item(), 3)


def _standardise(model: FaceAutoencoder, images: torch.Tensor) -> None:
    """Sets the scaling of latents from some ten thousand of the training images."""
    with evaluating(model):
        coded = [
            model.distribution(to_unit_range(batch))
            for batch in _spread(images, 8192).split(128)
        ]
    model.standardise(
        torch.cat([batch.mean for batch in coded]),
        torch.cat([batch.std for batch in coded]),
    )
