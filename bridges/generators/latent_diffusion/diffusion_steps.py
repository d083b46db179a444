"""The optimiser steps of the denoiser's training, and the average they result in."""

import copy
from typing import Any

import torch
from diffusers import DDPMScheduler

from bridges.devices import Device
from bridges.generators.latent_diffusion.denoiser import IdentityDenoiser
from bridges.generators.latent_diffusion.diffusion_loss import diffusion_loss
from bridges.generators.latent_diffusion.identity_conditioning import (
    IdentityIndex,
    index_identities,
    mean_of_others,
    perturbed,
)
from bridges.generators.latent_diffusion.latent_cache import LatentCache
from bridges.generators.latent_diffusion.noise_schedule import noise_schedule
from bridges.generators.latent_diffusion.training_config import DiffusionTrainingConfig
from bridges.training.data_parallel import Workers
from bridges.training.timed_training import (
    cosine_schedule,
    evaluating,
    gradient_scaler,
    optimizer_step,
)


class DiffusionSteps:
    """The optimiser steps of one process.

    Attributes:
      average: the denoiser whose weights are the moving average of those of the steps;
        the result of the training.
    """

    def __init__(
        self,
        workers: Workers,
        cache: LatentCache,
        config: DiffusionTrainingConfig,
        denoiser: IdentityDenoiser,
    ) -> None:
        """Prepares the optimiser.

        Args:
          workers: the processes of the run.
          cache: on the CPU; batches are moved to the device.
          config: the settings.
          denoiser: what is trained, on the device of this process.
        """
        self._workers = workers
        self._device = workers.device
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
        self._schedule = noise_schedule()
        self._scaler = gradient_scaler(self._device)

    def state(self) -> dict[str, Any]:
        """What a checkpoint keeps."""
        state = {
            "denoiser": self._denoiser,
            "average": self.average,
            "optimizer": self._optimizer,
        }
        return state | ({"scaler": self._scaler} if self._scaler.is_enabled() else {})

    def update(self, progress: float, step: int) -> dict[str, torch.Tensor]:
        """Takes a step; returns the loss."""
        latents, conditions = self._draw()
        with self._device.autocast():
            loss = diffusion_loss(self._denoiser, latents, conditions, self._schedule)
        rate = cosine_schedule(progress, step, warmup=150)
        optimizer_step(
            self._optimizer,
            loss,
            learning_rate=self._config.learning_rate * rate,
            workers=self._workers,
            scaler=self._scaler,
        )
        # A short memory at first, while the weights are still far from useful.
        decay = min(self._config.ema_decay, (1 + step) / (10 + step))
        torch._foreach_lerp_(self._averaged, self._weights, 1 - decay)
        return {"loss": loss.detach()}

    def evaluate(self) -> dict[str, float]:
        """The loss of the average on identities never trained on."""
        loss = held_out_loss(
            self.average, self._cache, self._schedule, self._config.beta, self._device
        )
        return {"held-out loss": loss}

    def _draw(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Latents, plain or mirrored, and the conditions they are learnt under."""
        count = self._config.batch_size // self._workers.count
        images = torch.randint(len(self._cache.labels), (count,))
        mirrored = torch.randint(2, (count,))
        latents = self._cache.latents[mirrored, images]
        conditions = mean_of_others(self._cache.embeddings, self._identities, images)
        conditions = perturbed(conditions, self._config.beta)
        kept = torch.rand(count, 1) >= self._config.drop_rate
        return self._device.take(latents).float(), self._device.take(conditions * kept)


def held_out_loss(
    denoiser: IdentityDenoiser,
    cache: LatentCache,
    schedule: DDPMScheduler,
    beta: float,
    device: Device,
) -> float:
    """The loss on identities never trained on, with the same noise every time.

    Args:
      denoiser: on ``device``.
      cache: on the CPU.
      schedule: of the noise.
      beta: how much conditions are perturbed.
      device: where the loss is computed.
    """
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
                device.take(cache.held_out_latents[rows]).float(),
                device.take(conditions[rows]),
                schedule,
                generator=generator,
            )
            losses.append(loss * len(rows))
    return round(torch.stack(losses).sum().item() / len(images), 5)
