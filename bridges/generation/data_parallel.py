"""Synchronous data parallel training on the cores of one machine.

Small networks use two cores better as two single-threaded processes that average
their gradients than as one process with two threads, and a second busy program next to
spinning OpenMP threads slows them several times.
"""

import multiprocessing
import os
import tempfile
from collections.abc import Callable, Sequence
from multiprocessing.queues import SimpleQueue
from typing import Any

import torch
from absl import logging
from torch import distributed

from hyperface_jax import InputError
from hyperface_jax.commands import lacks_memory


class Workers:
    """The processes of one training run, seen from one of them.

    Attributes:
      rank: which process this is, from 0; process 0 logs and writes.
      count: how many there are.
    """

    def __init__(self, rank: int, count: int) -> None:
        self.rank = rank
        self.count = count

    def average_gradients(self, parameters: Sequence[torch.nn.Parameter]) -> None:
        """Replaces each gradient by its mean over the processes, in one message."""
        if self.count == 1:
            return
        gradients = [parameter.grad for parameter in parameters]
        flat = torch.cat([gradient.flatten() for gradient in gradients])
        distributed.all_reduce(flat)
        flat /= self.count
        pieces = flat.split([gradient.numel() for gradient in gradients])
        for gradient, piece in zip(gradients, pieces, strict=True):
            gradient.copy_(piece.view(gradient.shape))

    def agree(self, value: float) -> float:
        """The value that process 0 holds; each process has to call it."""
        if self.count == 1:
            return value
        message = torch.tensor(value, dtype=torch.float64)
        distributed.broadcast(message, 0)
        return message.item()


def run_workers(
    function: Callable[..., None], arguments: tuple[Any, ...], count: int
) -> None:
    """Calls ``function(workers, *arguments)`` in ``count`` single-threaded processes.

    What one process fails at, the caller is told as if there were only one; none of
    them outlives the call.

    Args:
      function: importable by name when ``count`` > 1.
      arguments: picklable; tensors should be in shared memory.
      count: one process runs here and starts no other.

    Raises:
      InputError, OSError or MemoryError: what ``function`` raised, or a process was
        ended from outside.
      Exception: anything else, with the traceback of the process.
    """
    if count == 1:
        torch.set_num_threads(1)
        function(Workers(0, 1), *arguments)
        return
    # Read by the OpenMP runtime of the children when it starts: idle threads sleep.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    failures = multiprocessing.get_context("spawn").SimpleQueue()
    with tempfile.TemporaryDirectory() as folder:
        context = torch.multiprocessing.spawn(
            _enter,
            (count, folder, failures, logging.get_verbosity(), function, arguments),
            nprocs=count,
            join=False,
        )
        try:
            while not context.join():
                pass
        except torch.multiprocessing.ProcessRaisedException:
            if failures.empty():
                raise
            raise failures.get() from None
        except torch.multiprocessing.ProcessExitedException:
            raise MemoryError(
                "a training process was ended from outside, most likely for lack of "
                "memory; the same command goes on from the last checkpoint"
            ) from None
        finally:
            for process in context.processes:
                process.terminate()
            for process in context.processes:
                process.join()


def _enter(
    rank: int,
    count: int,
    folder: str,
    failures: SimpleQueue,
    verbosity: int,
    function: Callable[..., None],
    arguments: tuple[Any, ...],
) -> None:
    torch.set_num_threads(1)
    logging.set_verbosity(verbosity)
    distributed.init_process_group(
        "gloo",
        init_method=f"file://{folder}/rendezvous",
        rank=rank,
        world_size=count,
    )
    try:
        function(Workers(rank, count), *arguments)
    except Exception as error:
        # Before the others notice that this process leaves.
        if isinstance(error, InputError | OSError) or lacks_memory(error):
            failures.put(error)
        raise
    finally:
        distributed.destroy_process_group()
