"""Trains the identity-conditioned latent diffusion model on an image dataset.

Needs a trained autoencoder, whose latents it works in, and a recogniser, whose
embeddings it is conditioned on. A killed run goes on where it was.

Example:
  python -m bridges.generation.train_latent_diffusion --dataset=faces \\
    --autoencoder=autoencoder --recogniser=recogniser_f --output=diffusion \\
    --minutes=40 --num_processes=2
"""

import copy
import dataclasses
import pathlib
from typing import Any

import torch
from absl import flags, logging

from bridges.generation.data_parallel import Workers, run_workers
from bridges.generation.identity_conditioning import (
    IdentityIndex,
    index_identities,
    mean_of_others,
)
from bridges.generation.latent_cache import LatentCache, load_latent_cache
from bridges.generation.latent_diffusion import (
    DiffusionConfig,
    IdentityDenoiser,
    alphas_cumprod,
    diffusion_loss,
)
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
from hyperface_jax import InputError
from hyperface_jax.commands import provenance, run_command

KIND = "latent diffusion"


@dataclasses.dataclass(frozen=True)
class DiffusionTrainingConfig:
    """Settings of a training run.

    Attributes:
      minutes: time budget, from the first step on.
      num_processes: single-threaded processes that share a batch.
      batch_size: images per step over all processes.
      learning_rate: its peak.
      drop_rate: how often the condition is left out, for guidance.
      ema_decay: of the moving average of the weights that is the result.
      seed: of weights, batches and noise.
    """

    minutes: float = 40.0
    num_processes: int = 2
    batch_size: int = 64
    learning_rate: float = 1e-3
    drop_rate: float = 0.1
    ema_decay: float = 0.998
    seed: int = 0

    def __post_init__(self) -> None:
        if not self.minutes > 0:
            raise InputError(f"minutes {self.minutes} is not positive")
        if self.num_processes < 1 or self.batch_size % self.num_processes:
            raise InputError(
                f"batch_size {self.batch_size} can't be shared by "
                f"num_processes {self.num_processes}"
            )


def train_latent_diffusion(
    dataset: str,
    autoencoder: str,
    recogniser: str,
    output: str,
    config: DiffusionTrainingConfig,
    *,
    shape: DiffusionConfig | None = None,
    initial: str | None = None,
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
      initial: folder of a trained denoiser to start from instead of random weights.

    Raises:
      InputError: a dataset or a model that can't be read, or an initial denoiser of
        other latents or conditions.
    """
    if is_complete(output):
        logging.info("%s is trained already", output)
        return
    cache = load_latent_cache(
        dataset, autoencoder, recogniser, output, num_processes=config.num_processes
    )
    shape = dataclasses.replace(
        shape or DiffusionConfig(),
        latent_channels=cache.latents.shape[2],
        latent_size=cache.latents.shape[3],
        embedding_size=cache.embeddings.shape[1],
    )
    if initial is not None:
        shape = DiffusionConfig(**_check_initial(initial, cache)["config"])
    arguments = (cache, output, config, shape, initial)
    run_workers(_train, arguments, config.num_processes)
    (pathlib.Path(output) / CHECKPOINT).unlink(missing_ok=True)


def _train(
    workers: Workers,
    cache: LatentCache,
    output: str,
    config: DiffusionTrainingConfig,
    shape: DiffusionConfig,
    initial: str | None,
) -> None:
    torch.manual_seed(config.seed)
    denoiser = IdentityDenoiser(shape).to(memory_format=torch.channels_last)
    if initial is not None:
        load_weights(initial, denoiser)
    average = copy.deepcopy(denoiser).requires_grad_(False)
    weights, averaged = list(denoiser.parameters()), list(average.parameters())
    optimizer = torch.optim.AdamW(
        weights, lr=config.learning_rate, betas=(0.9, 0.99), weight_decay=1e-2
    )
    torch.manual_seed(config.seed + 1 + workers.rank)
    batches = _Batches(cache, config)
    signal_power = alphas_cumprod()

    def update(progress: float, step: int) -> dict[str, float]:
        rate = config.learning_rate * cosine_schedule(progress, step, warmup=150)
        for group in optimizer.param_groups:
            group["lr"] = rate
        latents, conditions = batches.draw()
        loss = diffusion_loss(denoiser, latents, conditions, signal_power)
        optimizer.zero_grad()
        loss.backward()
        workers.average_gradients(weights)
        torch.nn.utils.clip_grad_norm_(weights, 1.0)
        optimizer.step()
        # Follows quickly at first, when the weights are still far from anything.
        decay = min(config.ema_decay, (1 + step) / (10 + step))
        torch._foreach_lerp_(averaged, weights, 1 - decay)
        return {"loss": loss.item()}

    def evaluate() -> dict[str, float]:
        return {"held-out loss": _held_out_loss(average, cache, signal_power)}

    record = train_for(
        60 * config.minutes,
        update,
        {"denoiser": denoiser, "average": average, "optimizer": optimizer},
        output,
        settings={
            **model_settings(config),
            "shape": str(shape),
            "initial": initial,
            **cache.models,
        },
        images_per_step=config.batch_size,
        workers=workers,
        evaluate=evaluate,
    )
    if workers.rank == 0:
        record |= evaluate()
        logging.info("done: %s", record)
        if initial is not None:
            record["initial"] = read_description(initial, KIND)["training"]
        description = {
            "kind": KIND,
            "config": dataclasses.asdict(shape),
            "recogniser": cache.recogniser,
            "autoencoder_latents": cache.models["autoencoder_latents"],
            "training": {**record, **provenance(dataclasses.asdict(config))},
        }
        save_model(output, average, description)


def _check_initial(folder: str, cache: LatentCache) -> dict[str, Any]:
    """The description of the denoiser in ``folder``, which has to fit the data."""
    description = read_description(folder, KIND)
    for what, found, needed in (
        (
            "latents of another autoencoder",
            description["autoencoder_latents"],
            cache.models["autoencoder_latents"],
        ),
        (
            "embeddings of another recogniser",
            description["recogniser"]["sha256"],
            cache.recogniser["sha256"],
        ),
    ):
        if found != needed:
            raise InputError(f"{folder}: was trained on {what} than given here")
    return description


class _Batches:
    """Draws latents (plain or mirrored) and the conditions they are learnt under."""

    def __init__(self, cache: LatentCache, config: DiffusionTrainingConfig) -> None:
        self._cache = cache
        self._index: IdentityIndex = index_identities(cache.labels)
        self._size = config.batch_size // config.num_processes
        self._drop_rate = config.drop_rate

    def draw(self) -> tuple[torch.Tensor, torch.Tensor]:
        images = torch.randint(len(self._cache.labels), (self._size,))
        mirrored = torch.randint(2, (self._size,))
        latents = self._cache.latents[mirrored, images].float()
        conditions = mean_of_others(self._cache.embeddings, self._index, images)
        kept = torch.rand(self._size, 1) >= self._drop_rate
        return latents, conditions * kept


def _held_out_loss(
    denoiser: IdentityDenoiser, cache: LatentCache, signal_power: torch.Tensor
) -> float:
    """The loss on identities never trained on, with the same noise every time."""
    generator = torch.Generator().manual_seed(0)
    index = index_identities(cache.held_out_labels)
    images = torch.arange(len(cache.held_out_labels))
    conditions = mean_of_others(cache.held_out_embeddings, index, images, generator)
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


FLAGS = flags.FlagValues()
_DEFAULTS = DiffusionTrainingConfig()
flags.DEFINE_string("dataset", None, "Image dataset folder.", flag_values=FLAGS)
flags.DEFINE_string(
    "autoencoder", None, "Folder of the trained autoencoder.", flag_values=FLAGS
)
flags.DEFINE_string(
    "recogniser", "recogniser_f", "Recogniser, name or folder.", flag_values=FLAGS
)
flags.DEFINE_string("output", None, "Folder of the result.", flag_values=FLAGS)
flags.DEFINE_string(
    "initial", None, "Trained denoiser to start from.", flag_values=FLAGS
)
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
flags.DEFINE_integer("seed", _DEFAULTS.seed, "Seed of the run.", flag_values=FLAGS)


def main() -> None:
    """Parsed flags to a trained denoiser."""
    for name in ("dataset", "autoencoder", "output"):
        if getattr(FLAGS, name) is None:
            raise InputError(f"--{name} is missing; see --help")
    logging.set_verbosity(logging.INFO)
    config = DiffusionTrainingConfig(
        minutes=FLAGS.minutes,
        num_processes=FLAGS.num_processes,
        batch_size=FLAGS.batch_size,
        learning_rate=FLAGS.learning_rate,
        seed=FLAGS.seed,
    )
    train_latent_diffusion(
        FLAGS.dataset,
        FLAGS.autoencoder,
        FLAGS.recogniser,
        FLAGS.output,
        config,
        initial=FLAGS.initial,
    )


def run() -> None:
    run_command(main, FLAGS)


if __name__ == "__main__":
    run()
