"""The training of the identity-conditioned denoiser, by several processes."""

import copy
import dataclasses
import pathlib
from typing import Any

import torch
from absl import logging

from bridges.datasets.identity_folders import AUTO
from bridges.datasets.image_dataset import open_images
from bridges.generation.data_parallel import Workers, run_workers
from bridges.generation.identity_conditioning import (
    CONDITIONS_VERSION,
    IdentityIndex,
    index_identities,
    mean_of_others,
    perturbed,
)
from bridges.generation.latent_cache import (
    LatentCache,
    load_latent_cache,
    load_sources,
)
from bridges.generation.latent_diffusion import (
    DiffusionConfig,
    IdentityDenoiser,
    alphas_cumprod,
    diffusion_loss,
)
from bridges.generation.model_folder import (
    build_config,
    digest_of,
    is_trained,
    load_weights,
    read_description,
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
from bridges.generation.training_config import DiffusionTrainingConfig
from bridges.generation.widening import copy_into_wider
from hyperface_jax import InputError, files
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
        its latents may be narrower ones, see :mod:`bridges.generation.widening`.
      identity_from: what says who is on an image where there is no metadata, see
        :class:`bridges.datasets.image_dataset.ImageDataset`.
      skip_unreadable: leave out images that can't be read; the model's record lists
        them.

    Raises:
      InputError: a dataset or a model that can't be read, an initial denoiser of
        other conditions or wider latents, or an output of other settings.
    """
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
    }
    path = pathlib.Path(output) / CHECKPOINT
    if is_trained(output, KIND, settings):
        # Left by a kill right after the model.
        files.discard(path)
        return
    skipped = images.check(skip_unreadable=skip_unreadable)
    about = {"settings": settings, **({"skipped": skipped} if skipped else {})}
    with files.exclusive(output):
        # Once more: until now another process may have been writing.
        if is_trained(output, KIND, settings):
            return
        cache = load_latent_cache(sources, output, num_processes=config.num_processes)
        arguments = (cache, output, config, about, shape, initial)
        run_workers(_train, arguments, config.num_processes)
        files.discard(path)


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
    denoiser = _initial_denoiser(shape, initial)
    torch.manual_seed(config.seed + 1 + workers.rank)
    training = _Training(workers, cache, config, denoiser)
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
        "training": {**record, **before, **provenance(dataclasses.asdict(config))},
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


class _Training:
    """The steps of one process, and the moving average that is their result."""

    def __init__(
        self,
        workers: Workers,
        cache: LatentCache,
        config: DiffusionTrainingConfig,
        denoiser: IdentityDenoiser,
    ) -> None:
        self._workers = workers
        self._cache = cache
        self._config = config
        self._denoiser = denoiser
        self._weights = list(denoiser.parameters())
        self.average = copy.deepcopy(denoiser).requires_grad_(False)
        self._averaged = list(self.average.parameters())
        self._optimizer = torch.optim.AdamW(
            self._weights, lr=config.learning_rate, betas=(0.9, 0.99), weight_decay=1e-2
        )
        self._identities: IdentityIndex = index_identities(cache.labels)
        self._signal_power = alphas_cumprod()

    def state(self) -> dict[str, Any]:
        """What a checkpoint keeps."""
        return {
            "denoiser": self._denoiser,
            "average": self.average,
            "optimizer": self._optimizer,
        }

    def update(self, progress: float, step: int) -> dict[str, float]:
        """Takes a step; returns the loss."""
        latents, conditions = self._draw()
        loss = diffusion_loss(self._denoiser, latents, conditions, self._signal_power)
        rate = cosine_schedule(progress, step, warmup=150)
        optimizer_step(
            self._optimizer,
            loss,
            learning_rate=self._config.learning_rate * rate,
            workers=self._workers,
        )
        # Follows quickly at first, when the weights are still far from anything.
        decay = min(self._config.ema_decay, (1 + step) / (10 + step))
        torch._foreach_lerp_(self._averaged, self._weights, 1 - decay)
        return {"loss": loss.item()}

    def evaluate(self) -> dict[str, float]:
        """The loss of the average on identities never trained on."""
        loss = _held_out_loss(
            self.average, self._cache, self._signal_power, self._config.beta
        )
        return {"held-out loss": loss}

    def _draw(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Latents, plain or mirrored, and the conditions they are learnt under."""
        count = self._config.own_batch_size
        images = torch.randint(len(self._cache.labels), (count,))
        mirrored = torch.randint(2, (count,))
        latents = self._cache.latents[mirrored, images].float()
        conditions = mean_of_others(self._cache.embeddings, self._identities, images)
        conditions = perturbed(conditions, self._config.beta)
        kept = torch.rand(count, 1) >= self._config.drop_rate
        return latents, conditions * kept


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


def _held_out_loss(
    denoiser: IdentityDenoiser,
    cache: LatentCache,
    signal_power: torch.Tensor,
    beta: float,
) -> float:
    """The loss on identities never trained on, with the same noise every time."""
    generator = torch.Generator().manual_seed(0)
    index = index_identities(cache.held_out_labels)
    images = torch.arange(len(cache.held_out_labels))
    conditions = mean_of_others(cache.held_out_embeddings, index, images, generator)
    conditions = perturbed(conditions, beta, generator)
    losses = []
    with evaluating(denoiser):
        for rows in images.split(64):
            loss = diffusion_loss(
                denoiser,
                cache.held_out_latents[rows].float(),
                conditions[rows],
                signal_power,
                generator=generator,
            )
            losses.append(loss * len(rows))
    return round(torch.stack(losses).sum().item() / len(images), 5)
