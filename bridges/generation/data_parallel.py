"""Synchronous data parallel training on the cores of one machine.

Small networks use two cores better as two single-threaded processes that average
their gradients than as one process with two threads, and a second busy program next to
spinning OpenMP threads slows them several times.
"""

import os
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Sequence
from multiprocessing import connection
from multiprocessing.process import BaseProcess
from multiprocessing.queues import SimpleQueue
from multiprocessing.synchronize import Event
from typing import Any

import torch
from absl import logging
from torch import distributed

from bridges.worker_processes import follow_parent, kill, starting
from hyperface_jax import InputError, interruptions
from hyperface_jax.commands import lacks_memory


class Workers:
    """The processes of one training run, seen from one of them.

    Attributes:
      rank: which process this is, from 0; process 0 logs and writes.
      count: how many there are.
    """

    def __init__(self, rank: int, count: int, end: Event | None = None) -> None:
        self.rank = rank
        self.count = count
        self._end = end

    @property
    def told_to_end(self) -> bool:
        """Whether whoever started the processes was interrupted, and they are to save.

        Not all of them learn it at the same moment: go by what they :meth:`agree` on.
        """
        return self._end is not None and self._end.is_set()

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
      function: importable by name when ``count`` > 1. What it raises has to be
        picklable then. Interrupted, it is told to end and given some seconds.
      arguments: picklable; tensors should be in shared memory.
      count: one process runs here and starts no other.

    Raises:
      MemoryError: a process was ended from outside.
      Exception: what ``function`` raised.
    """
    if count == 1:
        torch.set_num_threads(1)
        function(Workers(0, 1), *arguments)
        return
    # Read by the OpenMP runtime of the children when it starts: idle threads sleep.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    # Spawned, not forked: a fork would carry over threads of torch.
    context = torch.multiprocessing.get_context("spawn")
    end, failures = context.Event(), context.SimpleQueue()
    children: set[BaseProcess] = set()
    with tempfile.TemporaryDirectory() as folder:
        run = (count, folder, end, failures, logging.get_verbosity())
        try:
            with starting(children):
                processes = [
                    context.Process(
                        target=_enter, args=(rank, *run, function, arguments)
                    )
                    for rank in range(count)
                ]
                for process in processes:
                    process.start()
            _await(processes, failures)
        except KeyboardInterrupt:
            end.set()
            late = time.monotonic() + interruptions.PATIENCE
            for process in children:
                process.join(max(0.0, late - time.monotonic()))
            if not failures.empty():
                # It could not save.
                raise failures.get()[1] from None
            raise
        finally:
            kill(children)


def _await(processes: Sequence[BaseProcess], failures: SimpleQueue) -> None:
    """Waits until all processes have ended, or raises what the first one failed at."""
    running = list(processes)
    while running and not any(process.exitcode for process in processes):
        connection.wait([process.sentinel for process in running])
        running = [process for process in running if process.exitcode is None]
    ended = {rank for rank, process in enumerate(processes) if process.exitcode}
    reports = []
    while not failures.empty():
        reports.append(failures.get())
    # Where one is gone, the others fail as well, at talking to it.
    if reports and _is_cause(reports[0][1]):
        raise reports[0][1]
    if ended - {rank for rank, _ in reports}:
        raise MemoryError(
            "a training process was ended from outside, most likely for lack of "
            "memory; the same command goes on from the last checkpoint"
        )
    if reports:
        raise reports[0][1]


def _is_cause(error: Exception) -> bool:
    return isinstance(error, InputError | OSError) or lacks_memory(error)


def _enter(
    rank: int,
    count: int,
    folder: str,
    end: Event,
    failures: SimpleQueue,
    verbosity: int,
    function: Callable[..., None],
    arguments: tuple[Any, ...],
) -> None:
    follow_parent()
    torch.set_num_threads(1)
    logging.set_verbosity(verbosity)
    distributed.init_process_group(
        "gloo",
        init_method=f"file://{folder}/rendezvous",
        rank=rank,
        world_size=count,
    )
    try:
        function(Workers(rank, count, end), *arguments)
    except KeyboardInterrupt:
        # As told, by one that waits: what the interpreter does last takes a second.
        os._exit(0)
    except Exception as error:
        if not _is_cause(error):
            # Its traceback stays here; the parent raises it from another place.
            error.add_note(traceback.format_exc())
        # Before the others notice that this process leaves.
        failures.put((rank, error))
        sys.exit(1)
    finally:
        distributed.destroy_process_group()
