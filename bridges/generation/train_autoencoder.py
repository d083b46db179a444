"""Trains the face autoencoder on an image dataset.

The first phase trains all of it and needs nothing but images. Once a diffusion model
lives in the latents, --phase=decoder improves the decoder alone, with a recogniser's
features as a further judge; latents stay as they are. A killed run goes on where it
was.

Example:
  python -m bridges.generation.train_autoencoder --dataset=faces --output=autoencoder \\
    --minutes=25
  python -m bridges.generation.train_autoencoder --phase=decoder --dataset=faces \\
    --autoencoder=autoencoder --recogniser=recogniser_f --output=autoencoder_2 \\
    --minutes=8 --num_processes=2
"""

import dataclasses
import pathlib
from typing import Any

import torch
from absl import flags, logging
from torch.nn import functional

from bridges.generation.autoencoder import (
    AutoencoderConfig,
    FaceAutoencoder,
    latent_dimensions,
    psnr,
    to_unit_range,
)
from bridges.generation.data_parallel import Workers, run_workers
from bridges.generation.model_folder import (
    is_complete,
    load_weights,
    read_description,
    save_model,
)
from bridges.generation.timed_training import (
    CHECKPOINT,
    cosine_schedule,
    evaluating,
    model_settings,
    train_for,
)
from bridges.generation.training_images import TrainingImages, load_training_images
from hyperface_jax import InputError
from hyperface_jax.commands import provenance, run_command

KIND = "autoencoder"
PHASES = ("full", "decoder")


@dataclasses.dataclass(frozen=True)
class AutoencoderTrainingConfig:
    """Settings of a training run.

    Attributes:
      minutes: time budget.
      phase: ``"full"``, or ``"decoder"`` to leave the latents as they are.
      num_processes: single-threaded processes that share a batch.
      batch_size: images per step over all processes.
      learning_rate: its peak.
      gradient_weight: weight of the L1 distance between image gradients.
      coarse_weight: weight of the L1 distance at half and a quarter of the resolution.
      kl_weight: weight of the KL divergence to the standard normal, per dimension.
      feature_weight: weight of the distance between the recogniser's features.
      latent_noise: in the decoder phase, largest standard deviation of noise on the
        latents, since a diffusion model never hits them exactly.
      seed: of weights, batches and noise.
    """

    minutes: float = 25.0
    phase: str = "full"
    num_processes: int = 1
    batch_size: int = 8
    learning_rate: float = 1e-3
    gradient_weight: float = 0.5
    coarse_weight: float = 0.25
    kl_weight: float = 1e-3
    feature_weight: float = 0.2
    latent_noise: float = 0.15
    seed: int = 0

    def __post_init__(self) -> None:
        if self.phase not in PHASES:
            raise InputError(f"phase {self.phase!r} is not one of {', '.join(PHASES)}")
        if not self.minutes > 0:
            raise InputError(f"minutes {self.minutes} is not positive")
        if self.num_processes < 1 or self.batch_size % self.num_processes:
            raise InputError(
                f"batch_size {self.batch_size} can't be shared by "
                f"num_processes {self.num_processes}"
            )


def train_autoencoder(
    dataset: str,
    output: str,
    config: AutoencoderTrainingConfig,
    *,
    shape: AutoencoderConfig | None = None,
    autoencoder: str | None = None,
    recogniser: str | None = None,
) -> None:
    """Trains an autoencoder and writes it to ``output``.

    Args:
      dataset: an image dataset folder with identities.
      output: a folder for the checkpoint and then the model.
      config: the settings.
      shape: the autoencoder's shape in the full phase.
      autoencoder: in the decoder phase, the folder of the trained autoencoder.
      recogniser: in the decoder phase, the recogniser whose features judge.

    Raises:
      InputError: an unreadable dataset, or a phase without what it needs.
    """
    if is_complete(output):
        logging.info("%s is trained already", output)
        return
    decoder_phase = config.phase == "decoder"
    for name, value in (("autoencoder", autoencoder), ("recogniser", recogniser)):
        if decoder_phase != (value is not None):
            verb = "needs" if decoder_phase else "doesn't take"
            raise InputError(f"the {config.phase} phase {verb} --{name}")
    shape = shape or AutoencoderConfig()
    if decoder_phase:
        shape = AutoencoderConfig(**read_description(autoencoder, KIND)["config"])
    images = load_training_images(dataset, shape.image_size)
    arguments = (images, output, config, shape, autoencoder, recogniser)
    run_workers(_train, arguments, config.num_processes)
    (pathlib.Path(output) / CHECKPOINT).unlink(missing_ok=True)


def _train(
    workers: Workers,
    images: TrainingImages,
    output: str,
    config: AutoencoderTrainingConfig,
    shape: AutoencoderConfig,
    autoencoder: str | None,
    recogniser: str | None,
) -> None:
    torch.manual_seed(config.seed)
    model = FaceAutoencoder(shape).to(memory_format=torch.channels_last)
    if autoencoder is not None:
        load_weights(autoencoder, model)
    else:
        spread = images.images[:: max(1, len(images.images) // 4096)]
        model.start_from_principal_components(to_unit_range(spread))
    features = None if recogniser is None else _load_features(recogniser)
    trained = model.decoder_parameters() if features else list(model.parameters())
    optimizer = torch.optim.AdamW(
        trained, lr=config.learning_rate, betas=(0.9, 0.99), weight_decay=1e-4
    )
    torch.manual_seed(config.seed + 1 + workers.rank)
    own_batch = config.batch_size // config.num_processes

    def update(progress: float, step: int) -> dict[str, float]:
        rate = config.learning_rate * cosine_schedule(progress, step, warmup=100)
        for group in optimizer.param_groups:
            group["lr"] = rate
        batch = images.images[torch.randint(len(images.images), (own_batch,))]
        batch = to_unit_range(batch.flip(3) if step % 2 else batch)
        terms = _losses(model, batch, config, features)
        optimizer.zero_grad()
        sum(terms.values()).backward()
        workers.average_gradients(trained)
        torch.nn.utils.clip_grad_norm_(trained, 1.0)
        optimizer.step()
        return {name: term.item() for name, term in terms.items()}

    def evaluate() -> dict[str, float]:
        return {"held-out dB": _held_out_psnr(model, images.held_out)}

    record = train_for(
        60 * config.minutes,
        update,
        {"model": model, "optimizer": optimizer},
        output,
        settings={**model_settings(config), "shape": str(shape)},
        images_per_step=config.batch_size,
        workers=workers,
        evaluate=evaluate,
    )
    if workers.rank == 0:
        if not features:
            _standardise(model, images.images)
        record |= evaluate()
        logging.info("done: %s", record)
        description = {
            "kind": KIND,
            "config": dataclasses.asdict(shape),
            "training": {**record, **provenance(dataclasses.asdict(config))},
        }
        save_model(output, model, description)


def _losses(
    model: FaceAutoencoder,
    images: torch.Tensor,
    config: AutoencoderTrainingConfig,
    features: Any | None,
) -> dict[str, torch.Tensor]:
    """The weighted terms of the loss, by name."""
    terms = {}
    if features is None:
        latents = model.distribution(images)
        dimensions = latent_dimensions(model.config)
        terms["kl"] = config.kl_weight * latents.kl().mean() / dimensions
        decoded = model.decode_raw(latents.sample())
    else:
        with torch.no_grad():
            latents = model.encode(images)
        strength = config.latent_noise * torch.rand(len(latents), 1, 1, 1)
        decoded = model.decode(latents + strength * torch.randn_like(latents))
        terms["features"] = config.feature_weight * features(decoded, images)
    error = decoded - images
    terms["l1"] = error.abs().mean()
    terms["gradient"] = config.gradient_weight * _gradient_size(error)
    for scale in (2, 4):
        coarse = functional.avg_pool2d(error, scale).abs().mean()
        terms[f"l1/{scale}"] = config.coarse_weight * coarse
    return terms


def _gradient_size(image: torch.Tensor) -> torch.Tensor:
    """Mean absolute difference between neighbouring pixels, both directions."""
    horizontal = (image[..., 1:] - image[..., :-1]).abs().mean()
    vertical = (image[..., 1:, :] - image[..., :-1, :]).abs().mean()
    return horizontal + vertical


def _load_features(name: str) -> Any:
    """A distance between images: of a recogniser's normalised feature maps."""
    from bridges.embedding.recogniser import load_recogniser

    recogniser = load_recogniser(name)
    recogniser.network.eval().requires_grad_(False)

    def distance(first: torch.Tensor, second: torch.Tensor) -> torch.Tensor:
        with torch.no_grad():
            targets = recogniser.features(second)
        terms = [
            (functional.normalize(x) - functional.normalize(y)).square().sum(1).mean()
            for x, y in zip(recogniser.features(first), targets, strict=True)
        ]
        return sum(terms) / len(terms)

    return distance


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
_DEFAULTS = AutoencoderTrainingConfig()
flags.DEFINE_string("dataset", None, "Image dataset folder.", flag_values=FLAGS)
flags.DEFINE_string("output", None, "Folder of the result.", flag_values=FLAGS)
flags.DEFINE_string(
    "autoencoder", None, "Trained autoencoder (decoder phase).", flag_values=FLAGS
)
flags.DEFINE_string(
    "recogniser", None, "Judge of features (decoder phase).", flag_values=FLAGS
)
flags.DEFINE_enum("phase", _DEFAULTS.phase, PHASES, "What to train.", flag_values=FLAGS)
flags.DEFINE_float("minutes", _DEFAULTS.minutes, "Time budget.", flag_values=FLAGS)
flags.DEFINE_integer(
    "num_processes", _DEFAULTS.num_processes, "Processes.", flag_values=FLAGS
)
flags.DEFINE_integer(
    "batch_size", _DEFAULTS.batch_size, "Images per step.", flag_values=FLAGS
)
flags.DEFINE_float(
    "learning_rate", _DEFAULTS.learning_rate, "Its peak.", flag_values=FLAGS
)
flags.DEFINE_float(
    "feature_weight",
    _DEFAULTS.feature_weight,
    "Weight of the recogniser's features (decoder phase).",
    flag_values=FLAGS,
)
flags.DEFINE_integer("seed", _DEFAULTS.seed, "Seed of the run.", flag_values=FLAGS)


def main() -> None:
    """Parsed flags to a trained autoencoder."""
    for name in ("dataset", "output"):
        if getattr(FLAGS, name) is None:
            raise InputError(f"--{name} is missing; see --help")
    logging.set_verbosity(logging.INFO)
    config = AutoencoderTrainingConfig(
        minutes=FLAGS.minutes,
        phase=FLAGS.phase,
        num_processes=FLAGS.num_processes,
        batch_size=FLAGS.batch_size,
        learning_rate=FLAGS.learning_rate,
        feature_weight=FLAGS.feature_weight,
        seed=FLAGS.seed,
    )
    train_autoencoder(
        FLAGS.dataset,
        FLAGS.output,
        config,
        autoencoder=FLAGS.autoencoder,
        recogniser=FLAGS.recogniser,
    )


def run() -> None:
    run_command(main, FLAGS)


if __name__ == "__main__":
    run()
