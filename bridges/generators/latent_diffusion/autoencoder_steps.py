"""The optimiser steps of the autoencoder's training, and what is measured between."""

from typing import Any

import torch

from bridges.devices import Device
from bridges.generators.latent_diffusion.autoencoder import (
    FaceAutoencoder,
    latent_dimensions,
    psnr,
)
from bridges.generators.latent_diffusion.autoencoder_losses import (
    Distance,
    reconstruction_losses,
)
from bridges.generators.latent_diffusion.training_config import (
    AutoencoderTrainingConfig,
)
from bridges.generators.latent_diffusion.training_images import TrainingImages
from bridges.pixels import to_unit_range
from bridges.training.data_parallel import Workers
from bridges.training.timed_training import (
    cosine_schedule,
    evaluating,
    gradient_scaler,
    optimizer_step,
)


class AutoencoderSteps:
    """The optimiser steps of one process."""

    def __init__(
        self,
        workers: Workers,
        images: TrainingImages,
        config: AutoencoderTrainingConfig,
        model: FaceAutoencoder,
        distance: Distance | None,
    ) -> None:
        """Prepares the optimiser.

        Args:
          workers: the processes of the run.
          images: on the CPU; batches are moved to the device.
          config: the settings.
          model: what is trained, on the device of this process.
          distance: between features of images, or None to do without.
        """
        self._workers = workers
        self._device = workers.device
        self._images = images.images
        self._held_out = images.held_out
        self._config = config
        self._model = model
        self._distance = distance
        self._decoder_alone = config.phase == "decoder"
        trained = (
            model.decoder_parameters() if self._decoder_alone else model.parameters()
        )
        self._optimizer = torch.optim.AdamW(
            trained, lr=config.learning_rate, betas=(0.9, 0.99), weight_decay=1e-4
        )
        self._scaler = gradient_scaler(self._device)

    def state(self) -> dict[str, Any]:
        """What a checkpoint keeps."""
        state = {"model": self._model, "optimizer": self._optimizer}
        return state | ({"scaler": self._scaler} if self._scaler.is_enabled() else {})

    def update(self, progress: float, step: int) -> dict[str, torch.Tensor]:
        """Takes a step; returns the weighted terms of the loss."""
        count = self._config.batch_size // self._workers.count
        batch = self._images[torch.randint(len(self._images), (count,))]
        batch = self._device.take(batch.flip(3) if step % 2 else batch)
        with self._device.autocast():
            losses = self._losses(to_unit_range(batch))
        rate = cosine_schedule(progress, step, warmup=100)
        optimizer_step(
            self._optimizer,
            sum(losses.values()),
            learning_rate=self._config.learning_rate * rate,
            workers=self._workers,
            scaler=self._scaler,
        )
        return {name: loss.detach() for name, loss in losses.items()}

    def evaluate(self) -> dict[str, float]:
        """How much of images of identities never trained on the latents keep."""
        values = []
        with evaluating(self._model):
            for batch in self._held_out.split(64):
                images = to_unit_range(self._device.take(batch))
                latents = self._model.distribution(images).mode()
                values.append(psnr(self._model.decode_raw(latents), images))
        return {"held-out dB": round(torch.cat(values).mean().item(), 3)}

    def _losses(self, images: torch.Tensor) -> dict[str, torch.Tensor]:
        config = self._config
        losses = {}
        if self._decoder_alone:
            decoded = self._decode_with_noise(images)
        else:
            latents = self._model.distribution(images)
            dimensions = latent_dimensions(self._model.config)
            losses["kl"] = config.kl_weight * latents.kl().mean() / dimensions
            # Drawn on the CPU, so that every device is given the same numbers.
            decoded = self._model.decode_raw(latents.sample(torch.default_generator))
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
        noise = strength * torch.randn_like(latents, device="cpu")
        return self._model.decode(latents + noise.to(latents.device))


def standardise(model: FaceAutoencoder, images: torch.Tensor, device: Device) -> None:
    """Sets the scaling of latents from some ten thousand of the training images.

    Args:
      model: changed in place; on ``device``.
      images: ``[n, 3, s, s]`` uint8, on the CPU.
      device: where they are encoded.
    """
    with evaluating(model):
        coded = [
            model.distribution(to_unit_range(device.take(batch)))
            for batch in spread(images, 8192).split(128)
        ]
    model.standardise(
        torch.cat([batch.mean for batch in coded]),
        torch.cat([batch.std for batch in coded]),
    )


def spread(images: torch.Tensor, count: int) -> torch.Tensor:
    """Every k-th image: at least ``count`` where there are as many, less than twice."""
    return images[:: max(1, len(images) // count)]
