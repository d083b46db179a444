"""The loop of a recognition training: batches, steps, checkpoints, interruptions."""

import contextlib
import dataclasses
import os
import time
from collections.abc import Callable, Iterator

import numpy as np
import torch

from bridges.recognition.config import TrainingConfig
from bridges.recognition.history import (
    TrainingCounts,
    check_finite,
    fetch,
    scalars_of,
)
from bridges.recognition.image_batches import ImageBatches
from bridges.recognition.state import TrainingState
from bridges.recognition.steps import (
    batch_indices,
    num_steps,
    step_generator,
    train_step,
)
from hyperface_jax import interruptions
from hyperface_jax.commands import progress as progress_bar

# On an accelerator: each reading waits until the device has done what is queued.
_FETCHED_AT_ONCE = 20


def run_training(
    state: TrainingState,
    counts: TrainingCounts,
    images: ImageBatches,
    config: TrainingConfig,
    save: Callable[[], None],
    *,
    output: str | os.PathLike[str],
    checkpoint_seconds: float,
) -> None:
    """Trains to the end, changing ``state`` and ``counts``.

    On an accelerator the host runs ahead: losses are read, and checked, every 20 steps
    and before the state is saved.

    Args:
      state: the networks and their optimiser.
      counts: how far the training is.
      images: what to train on.
      config: the settings.
      save: called every ``checkpoint_seconds``, when interrupted and after the last
        step; writes ``state`` and ``counts``.
      output: the folder, for messages.
      checkpoint_seconds: how often to save.

    Raises:
      InputError: a loss that is not finite, or an unreadable image.
      KeyboardInterrupt: interrupted, after the step was finished and saved.
    """
    step, total = counts.step, num_steps(len(images), config)
    at_once = _FETCHED_AT_ONCE if state.device.is_accelerator else 1
    for _, module in state.modules():
        module.train()
    pending: list[dict[str, torch.Tensor]] = []
    saved = last = time.monotonic()
    with (
        progress_bar(
            description="training", total=total, unit="step", initial=step
        ) as bar,
        # A step changes the state bit by bit: midway there is none to save.
        interruptions.held_back() as interrupted,
        contextlib.closing(_batches(state, images, config, step, total)) as batches,
    ):
        while step < total:
            begun = time.monotonic()
            batch = next(batches)
            out = train_step(
                state,
                batch.images,
                batch.targets,
                config,
                progress=step / total,
                generator=step_generator(config.seed, step),
            )
            step += 1
            pending.append(scalars_of(out))
            now, stop = time.monotonic(), bool(interrupted)
            due = interruptions.is_due(now - saved, checkpoint_seconds, now - begun)
            # Also at the end: what comes after may be interrupted, too.
            due = due or stop or step == total
            if due or len(pending) == at_once:
                counts.seconds += now - last
                last = now
                for values in fetch(pending):
                    check_finite(values, [*state.tasks], output, counts.step)
                    counts.add(values, len(images), config)
                pending.clear()
                bar.set_postfix(_shown(values), refresh=False)
            bar.update()
            if due:
                save()
                saved = time.monotonic()
            if stop:
                raise KeyboardInterrupt


@dataclasses.dataclass(frozen=True)
class _Batch:
    """What a step needs, on the device.

    Attributes:
      images: ``[b, 3, s, s]`` uint8.
      targets: ``[b]`` or ``[b, k]`` of each task.
    """

    images: torch.Tensor
    targets: dict[str, torch.Tensor]


def _batches(
    state: TrainingState,
    images: ImageBatches,
    config: TrainingConfig,
    first: int,
    total: int,
) -> Iterator[_Batch]:
    """The batches of the steps from ``first`` on."""

    def order(step: int) -> np.ndarray:
        return batch_indices(len(images), config.batch_size, config.seed, step)

    def moved(array: np.ndarray) -> torch.Tensor:
        return state.device.take(torch.from_numpy(array))

    decoded = images.batches(map(order, range(first, total)))
    with contextlib.closing(decoded):
        for step, pixels in zip(range(first, total), decoded, strict=True):
            chosen = order(step)
            yield _Batch(
                moved(pixels).permute(0, 3, 1, 2),
                {
                    name: moved(np.asarray(task.targets)[chosen])
                    for name, task in state.tasks.items()
                },
            )


def _shown(values: dict[str, float]) -> dict[str, str]:
    """What the progress bar says of a step."""
    return {
        name: f"{value:.2f}" if name.endswith("loss") else f"{value:.3f}"
        for name, value in sorted(values.items())
    }
