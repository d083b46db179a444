"""Trains the face autoencoder on an image dataset.

It needs nothing but images. Once a diffusion model lives in the latents, its decoder
can be trained further, see bridges.generation.train_decoder. A killed run goes on
where it was.

Example:
  python -m bridges.generation.train_autoencoder --dataset=faces --output=autoencoder \\
    --minutes=25
"""

import dataclasses
import pathlib

import torch
from absl import flags, logging

from bridges.config_flags import config_from_flags, define_config_flags
from bridges.generation import training_config
from bridges.generation.autoencoder import (
    AutoencoderConfig,
    FaceAutoencoder,
    latent_dimensions,
    psnr,
    to_unit_range,
)
from bridges.generation.autoencoder_losses import reconstruction_losses
from bridges.generation.data_parallel import Workers, run_workers
from bridges.generation.model_folder import (
    is_complete,
    save_model,
)
from bridges.generation.timed_training import (
    CHECKPOINT,
    cosine_schedule,
    evaluating,
    optimizer_step,
    train_for,
)
from bridges.generation.training_images import TrainingImages, load_training_images
from hyperface_jax.commands import provenance, require_flags, run_command

KIND = "autoencoder"


@dataclasses.dataclass(frozen=True)
class AutoencoderTrainingConfig(training_config.TimedTrainingConfig):
    """Settings of a training run, beside those of every timed training.

    Attributes:
      gradient_weight: weight of the L1 distance between image gradients.
      coarse_weight: weight of the L1 distance at half and a quarter of the resolution.
      kl_weight: weight of the KL divergence to the standard normal, per dimension.
    """

    minutes: float = 25.0
    num_processes: int = 1
    batch_size: int = 8
    gradient_weight: float = 0.5
    coarse_weight: float = 0.25
    kl_weight: float = 1e-3


def train_autoencoder(
    dataset: str,
    output: str,
    config: AutoencoderTrainingConfig,
    *,
    shape: AutoencoderConfig | None = None,
) -> None:
    """Trains an autoencoder and writes it to ``output``.

    Args:
      dataset: an image dataset folder with identities.
      output: a folder for the checkpoint and then the model.
      config: the settings.
      shape: the autoencoder's shape.

    Raises:
      InputError: an unreadable dataset.
    """
    if is_complete(output):
        logging.info("%s is trained already", output)
        return
    shape = shape or AutoencoderConfig()
    images = load_training_images(dataset, shape.image_size)
    run_workers(_train, (images, output, config, shape), config.num_processes)
    (pathlib.Path(output) / CHECKPOINT).unlink(missing_ok=True)


def _train(
    workers: Workers,
    images: TrainingImages,
    output: str,
    config: AutoencoderTrainingConfig,
    shape: AutoencoderConfig,
) -> None:
    """What each process does: trains, and in process 0 saves the model."""
    torch.manual_seed(config.seed)
    model = FaceAutoencoder(shape).to(memory_format=torch.channels_last)
    spread = images.images[:: max(1, len(images.images) // 4096)]
    model.start_from_principal_components(to_unit_range(spread))
    torch.manual_seed(config.seed + 1 + workers.rank)
    training = _Training(workers, images, config, model)
    record = train_for(
        60 * config.minutes,
        training.update,
        {"model": model, "optimizer": training.optimizer},
        output,
        settings={**config.model_settings(), "shape": str(shape)},
        images_per_step=config.batch_size,
        workers=workers,
        evaluate=lambda: {"held-out dB": _held_out_psnr(model, images.held_out)},
    )
    if workers.rank != 0:
        return
    _standardise(model, images.images)
    description = {
        "kind": KIND,
        "config": dataclasses.asdict(shape),
        "training": {**record, **provenance(dataclasses.asdict(config))},
    }
    save_model(output, model, description)


class _Training:
    """The steps of one process."""

    def __init__(
        self,
        workers: Workers,
        images: TrainingImages,
        config: AutoencoderTrainingConfig,
        model: FaceAutoencoder,
    ) -> None:
        self._workers = workers
        self._images = images.images
        self._config = config
        self._model = model
        self.optimizer = torch.optim.AdamW(
            model.parameters(),
            lr=config.learning_rate,
            betas=(0.9, 0.99),
            weight_decay=1e-4,
        )

    def update(self, progress: float, step: int) -> dict[str, float]:
        """Takes a step; returns the weighted terms of the loss."""
        count = self._config.own_batch_size
        batch = self._images[torch.randint(len(self._images), (count,))]
        losses = self._losses(to_unit_range(batch.flip(3) if step % 2 else batch))
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
        latents = self._model.distribution(images)
        kl = latents.kl().mean() / latent_dimensions(self._model.config)
        losses = reconstruction_losses(
            self._model.decode_raw(latents.sample()),
            images,
            gradient_weight=config.gradient_weight,
            coarse_weight=config.coarse_weight,
        )
        return {"kl": config.kl_weight * kl, **losses}


def _held_out_psnr(model: FaceAutoencoder, images: torch.Tensor) -> float:
    with evaluating(model):
        values = []
        for batch in to_unit_range(images).split(64):
            decoded = model.decode_raw(model.distribution(batch).mode())
            values.append(psnr(decoded, batch))
    return round(torch.cat(values).mean().item(), 3)


def _standardise(model: FaceAutoencoder, images: torch.Tensor) -> None:
    """Sets the scaling of latents from 8,192 of the training images."""
    with evaluating(model):
        coded = [
            model.distribution(to_unit_range(batch))
            for batch in images[:: max(1, len(images) // 8192)].split(128)
        ]
    model.standardise(
        torch.cat([batch.mean for batch in coded]),
        torch.cat([batch.std for batch in coded]),
    )


FLAGS = flags.FlagValues()
flags.DEFINE_string("dataset", None, "image dataset folder", flag_values=FLAGS)
flags.DEFINE_string("output", None, "folder of the result", flag_values=FLAGS)
define_config_flags(AutoencoderTrainingConfig(), training_config.DESCRIPTIONS, FLAGS)


def main() -> None:
    """Trains an autoencoder with the settings that the flags give."""
    require_flags(FLAGS, "dataset", "output")
    logging.set_verbosity(logging.INFO)
    config = config_from_flags(AutoencoderTrainingConfig(), FLAGS)
    train_autoencoder(FLAGS.dataset, FLAGS.output, config)


def run() -> None:
    """Entry point of ``python -m bridges.generation.train_autoencoder``."""
    run_command(main, FLAGS)


if __name__ == "__main__":
    run()
