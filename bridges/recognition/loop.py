"""The loop of a recognition training: batches, steps, checkpoints, interruptions."""

import contextlib
import dataclasses
import os
import time
from collections.abc import Callable, Iterator

import numpy as np
import torch

from bridges.recognition.config import TrainingConfig
from bridges.recognition.diagnosis import Watch
from bridges.recognition.history import (
    TrainingCounts,
    ends_epoch,
    fetch,
    scalars_of,
)
from bridges.recognition.image_batches import ImageBatches
from bridges.recognition.image_order import ImageOrder
from bridges.recognition.state import TrainingState
from bridges.recognition.steps import (
    ALONE,
    learning_rate_at,
    num_steps,
    step_generator,
    train_step,
)
from bridges.recognition.training_log import TrainingLog
from bridges.recognition.validation import SCORES, Validation
from bridges.training.data_parallel import Workers
from hyperface_jax import interruptions
from hyperface_jax.commands import announce
from hyperface_jax.commands import progress as progress_bar

# On an accelerator: each reading waits until the device has done what is queued.
_FETCHED_AT_ONCE = 20


@dataclasses.dataclass(frozen=True)
class Surroundings:
    """What a training runs in; no weight depends on it.

    Attributes:
      save: called every ``checkpoint_seconds``, when interrupted and after the last
        step; writes the state and the counts.
      output: the folder, for messages.
      checkpoint_seconds: how often to save.
      num_classes: identities trained on, for messages.
      workers: the processes that share each batch.
      log: where steps are written, or None.
      validation: people to verify after each epoch, or None.
    """

    save: Callable[[], None]
    output: str | os.PathLike[str]
    checkpoint_seconds: float
    num_classes: int = 2
    workers: Workers = ALONE
    log: TrainingLog | None = None
    validation: Validation | None = None


def run_training(
    state: TrainingState,
    counts: TrainingCounts,
    images: ImageBatches,
    order: ImageOrder,
    config: TrainingConfig,
    around: Surroundings,
) -> None:
    """Trains to the end, changing ``state`` and ``counts``.

    On an accelerator the host runs ahead: losses are read, and checked, every 20 steps
    and before the state is saved.

    Args:
      state: the networks and their optimiser.
      counts: how far the training is.
      images: what to train on.
      order: which of them each step takes.
      config: the settings.
      around: where results go.

    Raises:
      InputError: a loss that is not finite, or an unreadable image.
      KeyboardInterrupt: interrupted, after the step was finished and saved.
    """
    step, total = counts.step, num_steps(order.epoch_size, config)
    at_once = _FETCHED_AT_ONCE if state.device.is_accelerator else 1
    reader = _Reader(state, counts, order, config, around)
    for _, module in state.modules():
        module.train()
    saved = time.monotonic()
    with (
        progress_bar(
            description="training",
            total=total * config.batch_size,
            unit="image",
            initial=step * config.batch_size,
        ) as bar,
        # A step changes the state bit by bit: midway there is none to save.
        interruptions.held_back() as interrupted,
        contextlib.closing(
            _batches(state, counts, images, order, config, step, total, around.workers)
        ) as batches,
    ):
        while step < total:
            begun = time.monotonic()
            batch = next(batches)
            reader.waited += time.monotonic() - begun
            out = train_step(
                state,
                batch.images,
                batch.targets,
                config,
                progress=step / total,
                generator=step_generator(config.seed, step),
                workers=around.workers,
            )
            step += 1
            reader.pending.append(scalars_of(out))
            now, stop = time.monotonic(), bool(interrupted)
            due = interruptions.is_due(
                now - saved, around.checkpoint_seconds, now - begun
            )
            ended = ends_epoch(step, order.epoch_size, config)
            if around.workers.count > 1:
                # They agree, at steps that all come to.
                asked = len(reader.pending) == at_once or ended
                due = around.workers.any(due) if asked else False
                stop = around.workers.any(stop) if asked else False
            # Also at the end: what comes after may be interrupted, too.
            due = due or stop or step == total
            if due or ended or len(reader.pending) == at_once:
                bar.set_postfix(_shown(reader.read(now)), refresh=False)
            bar.update(config.batch_size)
            if due or ended:
                _share_skipped(counts, around.workers)
            if due:
                around.save()
                saved = time.monotonic()
            if stop:
                raise KeyboardInterrupt


class _Reader:
    """Reads the numbers of steps from the device, and says them where they belong."""

    def __init__(
        self,
        state: TrainingState,
        counts: TrainingCounts,
        order: ImageOrder,
        config: TrainingConfig,
        around: Surroundings,
    ) -> None:
        self.pending: list[dict[str, torch.Tensor]] = []
        self.waited = 0.0
        self._state, self._counts, self._config = state, counts, config
        self._size = order.epoch_size
        self._around = around
        self._total = num_steps(order.epoch_size, config)
        self._watch = Watch(
            config,
            around.num_classes,
            around.output,
            state.device.precision,
            tasks=[*state.tasks],
        )
        self._last = time.monotonic()

    def read(self, now: float) -> dict[str, float]:
        """Counts, checks and logs the pending steps; the numbers of the last one."""
        counts, config = self._counts, self._config
        seconds, waited = now - self._last, self.waited
        counts.seconds += seconds
        counts.waited += waited
        steps = len(self.pending)
        for values in fetch(self.pending, self._around.workers):
            self._watch.look(values, counts.step, counts.step / self._total)
            counts.add(values, self._size, config)
        self.pending.clear()
        self.waited = 0.0
        ended = ends_epoch(counts.step, self._size, config)
        if ended and self._around.validation is not None:
            score = self._around.validation.measure(self._state)
            for path, reason in self._around.validation.skipped.items():
                _skip(counts, path, reason)
            found = dict(zip(SCORES, score, strict=True))
            counts.history[-1] |= found
            values |= found
        log = self._around.log
        if log is not None and log.is_due(counts.step, ended):
            log.write(
                {
                    "step": counts.step,
                    "epoch": counts.step * config.batch_size / self._size,
                    **values,
                    "learning_rate": learning_rate_at(
                        (counts.step - 1) / self._total, config
                    ),
                    "images_per_second": steps * config.batch_size / max(seconds, 1e-9),
                    "waiting": waited / max(seconds, 1e-9),
                }
            )
        # What validating took is no time of the training.
        self._last = time.monotonic()
        return values


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
    counts: TrainingCounts,
    images: ImageBatches,
    order: ImageOrder,
    config: TrainingConfig,
    first: int,
    total: int,
    workers: Workers = ALONE,
) -> Iterator[_Batch]:
    """The batches of the steps from ``first`` on: this process's part of each."""

    def moved(array: np.ndarray) -> torch.Tensor:
        return state.device.take(torch.from_numpy(array))

    orders = (
        part_of(order.batch(step, config.batch_size), config.accumulation, workers)
        for step in range(first, total)
    )
    decoded = images.batches(orders)
    with contextlib.closing(decoded):
        for batch in decoded:
            for path, reason in batch.skipped.items():
                _skip(counts, path, reason)
            yield _Batch(
                moved(batch.pixels).permute(0, 3, 1, 2),
                {
                    name: moved(np.asarray(task.targets)[batch.rows])
                    for name, task in state.tasks.items()
                },
            )


def part_of(batch: np.ndarray, accumulation: int, workers: Workers) -> np.ndarray:
    """What a process has of a batch: its part of each piece, one after the other.

    So a piece, which batch norms take their statistics of, is of the same images
    however many processes share it.
    """
    return batch.reshape(accumulation, workers.count, -1)[:, workers.rank].ravel()


def _skip(counts: TrainingCounts, path: str, reason: str) -> None:
    """Names an image that can't be read, once."""
    if path not in counts.skipped:
        announce(f"{path}: {reason}; left out")
        counts.skipped[path] = reason


def _share_skipped(counts: TrainingCounts, workers: Workers) -> None:
    """Tells the first process, which says and saves it, what others could not read."""
    for skipped in workers.collect(counts.skipped):
        for path, reason in skipped.items():
            _skip(counts, path, reason)


def _shown(values: dict[str, float]) -> dict[str, str]:
    """What the progress bar says of a step."""
    return {
        name: f"{value:.2f}" if name.endswith("loss") else f"{value:.3f}"
        for name, value in sorted(values.items())
        if name != "mean_cosine"
    }
