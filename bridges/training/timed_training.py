"""A training loop bounded by time, resumed from its checkpoint after a kill.

Progress is the share of the time budget that is spent, and the learning rate is a
function of progress, so the same command gives a finished model on any machine: a
faster one takes more steps. Two runs are therefore not bit-equal.
"""

import contextlib
import io
import math
import os
import pathlib
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import torch
from absl import logging

from bridges.devices import Device
from bridges.provenance import check_same_settings
from bridges.training.data_parallel import Workers
from hyperface_jax import InputError, files, interruptions

CHECKPOINT = "training.pt"
SECONDS_PER_LOG = 30.0


def cosine_schedule(progress: float, step: int, *, warmup: int) -> float:
    """The share of the peak learning rate: linear warm-up, then half a cosine.

    Args:
      progress: the share of the time budget spent, in [0, 1].
      step: steps taken so far.
      warmup: steps until the peak.
    """
    return min(1.0, (step + 1) / warmup) * (
        0.005 + 0.995 * 0.5 * (1 + math.cos(math.pi * min(1.0, progress)))
    )


def gradient_scaler(device: Device) -> torch.amp.GradScaler:
    """Keeps gradients of float16 from becoming zero; does nothing otherwise."""
    enabled = device.precision == "float16"
    return torch.amp.GradScaler(device.torch.type, enabled=enabled)


def optimizer_step(
    optimizer: torch.optim.Optimizer,
    loss: torch.Tensor,
    *,
    learning_rate: float,
    workers: Workers,
    scaler: torch.amp.GradScaler,
) -> None:
    """Descends ``loss``: gradients averaged over the processes, their norm at most 1.

    Args:
      optimizer: of one group of parameters.
      loss: a scalar with a graph.
      learning_rate: of this step.
      workers: the processes of the run.
      scaler: of the loss, see :func:`gradient_scaler`.
    """
    (group,) = optimizer.param_groups
    group["lr"] = learning_rate
    optimizer.zero_grad()
    scaler.scale(loss).backward()
    # Before it is known whether some are infinite, so that all processes find the same.
    workers.average_gradients(group["params"])
    scaler.unscale_(optimizer)
    torch.nn.utils.clip_grad_norm_(group["params"], 1.0)
    scaler.step(optimizer)
    scaler.update()


def train_for(
    seconds: float,
    update: Callable[[float, int], Mapping[str, float | torch.Tensor]],
    state: Mapping[str, Any],
    folder: str | os.PathLike[str],
    *,
    settings: Mapping[str, Any],
    images_per_step: int,
    workers: Workers,
    evaluate: Callable[[], Mapping[str, float]] | None = None,
    evaluate_every: float = 120.0,
    checkpoint_every: float = 120.0,
) -> dict[str, Any]:
    """Calls ``update`` until the budget is spent, with checkpoints and a log.

    When interrupted it finishes the step and saves the state; a later call resumes from
    there.

    Args:
      seconds: the budget, counting what an earlier, killed run spent.
      update: ``update(progress, step)`` takes one optimiser step and returns the terms
        of the loss, as numbers or as scalars on any device.
      state: objects with ``state_dict`` and ``load_state_dict`` to keep.
      folder: where the checkpoint lives; a checkpoint found there is continued.
      settings: what the model depends on; a checkpoint of other settings is refused.
        The budget is not among them: a run may be given more time.
      images_per_step: over all processes, for the log.
      workers: the processes of the run.
      evaluate: figures on held-out data for the log; called in process 0 alone.
      evaluate_every: seconds between evaluations.
      checkpoint_every: seconds between checkpoints, the most that a kill can cost.

    Returns:
      ``steps``, ``images``, ``seconds``, ``milliseconds_per_image`` and, in process 0,
      the final figures of ``evaluate``.
    """
    path = pathlib.Path(folder) / CHECKPOINT
    spent, step = _load(path, state, settings)
    if step:
        # Otherwise every run would draw the random numbers of the first again.
        torch.manual_seed(torch.initial_seed() + step * workers.count)
    log = _Log(step, spent, images_per_step)
    resumed_at = time.monotonic() - spent
    saved = evaluated = spent
    step_seconds = 0.0
    # A step changes the state piece by piece; only between steps can it be saved.
    with interruptions.held_back() as interrupted:
        while True:
            spent = workers.agree(time.monotonic() - resumed_at)
            ends = workers.agree(bool(interrupted) or workers.told_to_end) > 0
            evaluates = evaluate is not None and spent - evaluated > evaluate_every
            # Also before an evaluation, which takes long and may be interrupted, too.
            due = spent >= seconds or ends or evaluates
            due |= interruptions.is_due(spent - saved, checkpoint_every, step_seconds)
            if due and workers.rank == 0:
                _save(path, state, settings, spent, step)
                saved = spent
            if ends:
                raise KeyboardInterrupt
            if spent >= seconds:
                break
            if evaluates and workers.rank == 0:
                log.figures = dict(evaluate())
                evaluated = spent
            begun = time.monotonic()
            terms = update(spent / seconds, step)
            step_seconds = time.monotonic() - begun
            step += 1
            if workers.rank == 0:
                log.add(terms)
                if spent - log.since > SECONDS_PER_LOG:
                    log.write(step, spent, seconds)
    record = _summary(step, step * images_per_step, spent)
    if workers.rank == 0 and evaluate is not None:
        record |= evaluate()
        logging.info("done: %s", record)
    return record


def _summary(steps: int, images: int, seconds: float) -> dict[str, Any]:
    return {
        "steps": steps,
        "images": images,
        "seconds": round(seconds, 1),
        "milliseconds_per_image": round(1e3 * seconds / max(1, images), 2),
    }


class _Log:
    """Means over the steps since the last line."""

    def __init__(self, step: int, spent: float, images_per_step: int) -> None:
        self.since = spent
        self.figures: dict[str, float] = {}
        self._step = step
        self._images_per_step = images_per_step
        self._sums: dict[str, float | torch.Tensor] = {}

    def add(self, terms: Mapping[str, float | torch.Tensor]) -> None:
        # Added up where they are: to ask an accelerator for a number is to wait for it.
        for name, value in terms.items():
            self._sums[name] = self._sums.get(name, 0.0) + value

    def write(self, step: int, spent: float, seconds: float) -> None:
        steps = step - self._step
        rate = 1e3 * (spent - self.since) / (steps * self._images_per_step)
        terms = {name: float(total) / steps for name, total in self._sums.items()}
        figures = " ".join(
            f"{name} {value:.4g}" for name, value in {**terms, **self.figures}.items()
        )
        logging.info(
            "%.1f of %.1f min, step %d, %.2f ms/img, %s",
            spent / 60,
            seconds / 60,
            step,
            rate,
            figures,
        )
        self.since, self._step, self._sums = spent, step, {}


def _save(
    path: pathlib.Path,
    state: Mapping[str, Any],
    settings: Mapping[str, Any],
    spent: float,
    step: int,
) -> None:
    content = {
        "settings": dict(settings),
        "spent": spent,
        "step": step,
        "state": {name: part.state_dict() for name, part in state.items()},
    }
    # To memory first: when writing to a file, torch hides the error of the system.
    buffer = io.BytesIO()
    torch.save(content, buffer)
    files.write_bytes(path, buffer.getvalue())


def _load(
    path: pathlib.Path, state: Mapping[str, Any], settings: Mapping[str, Any]
) -> tuple[float, int]:
    if not path.exists():
        return 0.0, 0
    try:
        content = torch.load(path, weights_only=True, map_location="cpu")
        found = dict(content["settings"])
        spent, step = content["spent"], content["step"]
        if not (spent >= 0 and step >= 0):
            raise ValueError(f"{step} steps in {spent} seconds")
    except Exception as error:
        # Damaged bytes make zipfile, pickle and torch raise anything.
        raise _damaged(path, error) from None
    check_same_settings(path, found, settings)
    try:
        for name, part in state.items():
            part.load_state_dict(content["state"][name])
    except Exception as error:
        raise _damaged(path, error) from None
    logging.info("continuing %s at step %d", path, step)
    return float(spent), int(step)


def _damaged(path: pathlib.Path, error: Exception) -> InputError:
    reason = " ".join(str(error).split()) or type(error).__name__
    return InputError(
        f"{path}: damaged ({reason[:200]}); remove it to train from the start"
    )


@contextlib.contextmanager
def evaluating(*modules: torch.nn.Module) -> Iterator[None]:
    """Evaluation mode and no gradients; each module's mode is restored after."""
    modes = [module.training for module in modules]
    for module in modules:
        module.eval()
    try:
        with torch.no_grad():
            yield
    finally:
        for module, mode in zip(modules, modes, strict=True):
            module.train(mode)
