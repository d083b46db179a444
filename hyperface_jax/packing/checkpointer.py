"""Keeps the checkpoints of a descent: finds one to resume from, saves when due."""

import os
from typing import Any

import numpy as np

from hyperface_jax import interruptions
from hyperface_jax.devices import processes, sharded
from hyperface_jax.packing import checkpoint
from hyperface_jax.packing.checkpoint import Checkpoint


class Checkpointer:
    """Where and when the state of a descent is saved.

    All processes of a run must call its methods together; process 0 writes.

    Args:
      path: the file.
      fingerprint: of the run, see :func:`checkpoint.fingerprint`.
      seconds: the least time between two checkpoints, where dispatches are short
        enough for an interruption to wait for.

    Attributes:
      saved_at: the time of the descent from which the next save is counted.
    """

    def __init__(
        self, path: str | os.PathLike[str], fingerprint: str, seconds: float
    ) -> None:
        self._path, self._fingerprint, self._seconds = path, fingerprint, seconds
        self.saved_at = 0.0

    def load(self, state: Any) -> Checkpoint | None:
        """Returns the checkpoint of a descent of states like ``state``, or None.

        Raises:
          InputError: it is damaged, of another run, or not the same in all processes.
        """
        with processes.together():
            found = checkpoint.load(
                self._path, sharded.logical(state), self._fingerprint
            )
        processes.check_shared(self._path, 0 if found is None else found.iteration)
        return found

    def is_due(self, now: float, dispatch_seconds: float) -> bool:
        """Whether to save at the time ``now``, after a dispatch of that length."""
        return interruptions.is_due(
            now - self.saved_at, self._seconds, dispatch_seconds
        )

    def save(self, state: Any, history: list[np.ndarray], now: float) -> None:
        """Saves the state after the iterations of ``history``, at the time ``now``."""
        # Processes gather the state together; one of them writes it.
        whole = sharded.to_host(state)
        reached = Checkpoint(len(history), now, whole, np.stack(history))
        with processes.together():
            if processes.is_main_process():
                checkpoint.save(self._path, reached, self._fingerprint)
        self.saved_at = now
