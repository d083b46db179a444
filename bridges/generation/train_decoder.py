"""Trains the decoder of a face autoencoder further, told whose faces it decodes.

Latents stay as they are, so a diffusion model that lives in them needs no training.
Noise on the latents stands for what a diffusion model gets wrong, and a recogniser's
features judge beside the pixels. A killed run goes on where it was.

Example:
  python -m bridges.generation.train_decoder --dataset=faces --output=autoencoder_2 \\
    --autoencoder=autoencoder --recogniser=recogniser_f --minutes=25
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
    psnr,
    to_unit_range,
)
from bridges.generation.autoencoder_losses import (
    feature_distance,
    reconstruction_losses,
)
from bridges.generation.data_parallel import Workers, run_workers
from bridges.generation.identity_conditioning import index_identities, mean_of_others
from bridges.generation.latent_cache import (
    LatentCache,
    load_autoencoder,
    load_latent_cache,
)
from bridges.generation.model_folder import is_complete, read_description, save_model
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
class DecoderTrainingConfig(training_config.TimedTrainingConfig):
    """Settings of a training run, beside those of every timed training.

    Attributes:
      gradient_weight: weight of the L1 distance between image gradients.
      coarse_weight: weight of the L1 distance at half and a quarter of the resolution.
      feature_weight: weight of the distance between the recogniser's features.
      latent_noise: largest standard deviation of noise on the latents.
      drop_rate: how often the decoder is not told who is in an image.
    """

    minutes: float = 25.0
    num_processes: int = 1
    batch_size: int = 8
    gradient_weight: float = 0.5
    coarse_weight: float = 0.25
    feature_weight: float = 1.0
    latent_noise: float = 0.15
    drop_rate: float = 0.1


def train_decoder(
    dataset: str,
    autoencoder: str,
    recogniser: str,
    output: str,
    config: DecoderTrainingConfig,
) -> None:
    """Trains a decoder and writes the autoencoder with it to ``output``.

    Args:
      dataset: an image dataset folder with identities.
      autoencoder: folder of the trained autoencoder; whether or not its decoder knows
        of identities, the result's does.
      recogniser: name or folder of the recogniser that tells who is in an image, and
        whose features judge.
      output: a folder for cache and checkpoint, then the model.
      config: the settings.

    Raises:
      InputError: a dataset or a model that can't be read.
    """
    if is_complete(output):
        logging.info("%s is trained already", output)
        return
    cache = load_latent_cache(
        dataset, autoencoder, recogniser, output, num_processes=config.num_processes
    )
    shape = AutoencoderConfig(**read_description(autoencoder, KIND)["config"])
    shape = dataclasses.replace(shape, identity_size=cache.embeddings.shape[1])
    images = load_training_images(dataset, shape.image_size)
    arguments = (images, cache, autoencoder, recogniser, output, config, shape)
    run_workers(_train, arguments, config.num_processes)
    (pathlib.Path(output) / CHECKPOINT).unlink(missing_ok=True)


def _train(
    workers: Workers,
    images: TrainingImages,
    cache: LatentCache,
    autoencoder: str,
    recogniser: str,
    output: str,
    config: DecoderTrainingConfig,
    shape: AutoencoderConfig,
) -> None:
    """What each process does: trains, and in process 0 saves the model."""
    torch.manual_seed(config.seed)
    model = FaceAutoencoder(shape).to(memory_format=torch.channels_last)
    # A decoder without identities is a part of one with: the rest adds nothing yet.
    model.load_state_dict(load_autoencoder(autoencoder).state_dict(), strict=False)
    torch.manual_seed(config.seed + 1 + workers.rank)
    training = _Training(workers, images, cache, recogniser, config, model)
    record = train_for(
        60 * config.minutes,
        training.update,
        {"model": model, "optimizer": training.optimizer},
        output,
        settings={**config.model_settings(), "shape": str(shape), **cache.models},
        images_per_step=config.batch_size,
        workers=workers,
        evaluate=lambda: _held_out_figures(model, images, cache),
    )
    if workers.rank != 0:
        return
    record["initial"] = read_description(autoencoder, KIND)["training"]
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
        cache: LatentCache,
        recogniser: str,
        config: DecoderTrainingConfig,
        model: FaceAutoencoder,
    ) -> None:
        self._workers = workers
        self._images = images.images
        self._cache = cache
        self._config = config
        self._model = model
        self._identities = index_identities(cache.labels)
        self._distance = feature_distance(recogniser)
        self.optimizer = torch.optim.AdamW(
            model.decoder_parameters(),
            lr=config.learning_rate,
            betas=(0.9, 0.99),
            weight_decay=1e-4,
        )

    def update(self, progress: float, step: int) -> dict[str, float]:
        """Takes a step; returns the weighted terms of the loss."""
        config = self._config
        images, latents, embeddings = self._draw(mirrored=step % 2)
        decoded = self._model.decode(latents, embeddings)
        losses = reconstruction_losses(
            decoded,
            images,
            gradient_weight=config.gradient_weight,
            coarse_weight=config.coarse_weight,
        )
        losses["features"] = config.feature_weight * self._distance(decoded, images)
        optimizer_step(
            self.optimizer,
            sum(losses.values()),
            learning_rate=config.learning_rate
            * cosine_schedule(progress, step, warmup=100),
            workers=self._workers,
        )
        return {name: loss.item() for name, loss in losses.items()}

    def _draw(self, mirrored: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Images, their latents with noise, and who is in them."""
        count, cache = self._config.own_batch_size, self._cache
        rows = torch.randint(len(cache.labels), (count,))
        images = self._images[rows]
        latents = cache.latents[mirrored, rows].float()
        strength = self._config.latent_noise * torch.rand(count, 1, 1, 1)
        embeddings = mean_of_others(cache.embeddings, self._identities, rows)
        kept = torch.rand(count, 1) >= self._config.drop_rate
        return (
            to_unit_range(images.flip(3) if mirrored else images),
            latents + strength * torch.randn_like(latents),
            embeddings * kept,
        )


def _held_out_figures(
    model: FaceAutoencoder, images: TrainingImages, cache: LatentCache
) -> dict[str, float]:
    """How well people never trained on are decoded, told who they are or not."""
    rows = torch.arange(len(images.held_out))
    embeddings = mean_of_others(
        cache.held_out_embeddings,
        index_identities(cache.held_out_labels),
        rows,
        torch.Generator().manual_seed(0),
    )
    told, untold = [], []
    with evaluating(model):
        for part in rows.split(64):
            pixels = to_unit_range(images.held_out[part])
            latents = cache.held_out_latents[part].float()
            told.append(psnr(model.decode(latents, embeddings[part]), pixels))
            untold.append(psnr(model.decode(latents), pixels))
    return {
        "held-out dB": round(torch.cat(told).mean().item(), 3),
        "held-out dB, identity unknown": round(torch.cat(untold).mean().item(), 3),
    }


FLAGS = flags.FlagValues()
flags.DEFINE_string("dataset", None, "image dataset folder", flag_values=FLAGS)
flags.DEFINE_string(
    "autoencoder", None, "folder of the trained autoencoder", flag_values=FLAGS
)
flags.DEFINE_string(
    "recogniser", "recogniser_f", "recogniser, name or folder", flag_values=FLAGS
)
flags.DEFINE_string("output", None, "folder of the result", flag_values=FLAGS)
define_config_flags(DecoderTrainingConfig(), training_config.DESCRIPTIONS, FLAGS)


def main() -> None:
    """Trains a decoder with the settings that the flags give."""
    require_flags(FLAGS, "dataset", "autoencoder", "output")
    logging.set_verbosity(logging.INFO)
    train_decoder(
        FLAGS.dataset,
        FLAGS.autoencoder,
        FLAGS.recogniser,
        FLAGS.output,
        config_from_flags(DecoderTrainingConfig(), FLAGS),
    )


def run() -> None:
    """Entry point of ``python -m bridges.generation.train_decoder``."""
    run_command(main, FLAGS)


if __name__ == "__main__":
    run()
