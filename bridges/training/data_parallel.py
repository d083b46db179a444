"""Synchronous data parallel training on the cores, or the GPUs, of one machine.

Small networks use two cores better as two single-threaded processes that average their
gradients than as one process with two threads: spinning OpenMP threads become several
times slower when another program keeps the cores busy. On CUDA each process has a GPU
of its own.
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

from bridges.devices import Device
from bridges.worker_processes import follow_parent, kill, starting
from hyperface_jax import InputError, interruptions
from hyperface_jax.commands import lacks_memory


class Workers:
    """The processes of one training run, seen from one of them.

    Attributes:
      rank: which process this is, from 0; process 0 logs and writes.
      count: how many there are.
      device: what this process computes on.
    """

    def __init__(
        self,
        rank: int,
        count: int,
        end: Event | None = None,
        device: Device | None = None,
    ) -> None:
        self.rank = rank
        self.count = count
        self.device = device or Device()
        self._end = end

    @property
    def told_to_end(self) -> bool:
        """Whether the starting process was interrupted, so that these have to save.

        They do not all see it at the same moment, so act on what they :meth:`agree` on.
        """
        return self._end is not None and self._end.is_set()

    def average_gradients(self, parameters: Sequence[torch.nn.Parameter]) -> None:
        """Replaces each gradient by its mean over the processes, in one message.

        What has no gradient has none in any process, as the head of a task that is
        silenced, and keeps none.
        """
        if self.count == 1:
            return
        gradients = [each.grad for each in parameters if each.grad is not None]
        flat = torch.cat([gradient.flatten() for gradient in gradients])
        distributed.all_reduce(flat)
        flat /= self.count
        pieces = flat.split([gradient.numel() for gradient in gradients])
        for gradient, piece in zip(gradients, pieces, strict=True):
            gradient.copy_(piece.view(gradient.shape))

    def average(self, values: torch.Tensor) -> torch.Tensor:
        """The mean of a tensor over the processes; each process has to call it."""
        if self.count == 1:
            return values
        total = values.clone()
        distributed.all_reduce(total)
        return total / self.count

    def any(self, value: bool) -> bool:
        """Whether it is true in one of the processes; each has to call it."""
        if self.count == 1:
            return value
        return bool(self.average(torch.tensor(float(value), device=self.device.torch)))

    def share(self, value: Any) -> Any:
        """What process 0 holds, anything picklable; each process has to call it."""
        if self.count == 1:
            return value
        message = [value]
        distributed.broadcast_object_list(message, 0)
        return message[0]

    def collect(self, value: Any) -> list[Any]:
        """What each process holds, anything picklable; each has to call it."""
        if self.count == 1:
            return [value]
        found = [None] * self.count
        distributed.all_gather_object(found, value)
        return found

    def agree(self, value: float) -> float:
        """The value that process 0 holds; each process has to call it."""
        if self.count == 1:
            return value
        # On the device, since NCCL sends nothing else.
        message = torch.tensor(value, dtype=torch.float64, device=self.device.torch)
        distributed.broadcast(message, 0)
        return message.item()


def num_workers(wanted: int, batch_size: int, device: Device) -> int:
    """How many processes share a batch: those wanted, but one per accelerator at most.

    Args:
      wanted: how many there should be.
      batch_size: has to be divisible by the result.
      device: of process 0; on CUDA, the others use those with the next numbers.
    """
    if not device.is_accelerator:
        return wanted
    present = 1
    if device.torch.type == "cuda":
        present = torch.cuda.device_count() - device.torch.index
    most = min(wanted, present)
    count = max(n for n in range(1, most + 1) if batch_size % n == 0)
    if count < wanted:
        logging.info("%d processes, each with a device of its own", count)
    return count


def run_workers(
    function: Callable[..., None],
    arguments: tuple[Any, ...],
    count: int,
    device: Device | None = None,
) -> None:
    """Calls ``function(workers, *arguments)`` in ``count`` single-threaded processes.

    An error in one process is raised here as if there were only one; none of them
    outlives the call.

    Args:
      function: importable by name when ``count`` > 1. What it raises has to be
        picklable then. Interrupted, it is told to end and given some seconds.
      arguments: picklable; tensors should be in shared memory.
      count: one process runs here and starts no other.
      device: of process 0, by default the CPU; see :func:`num_workers`.

    Raises:
      MemoryError: a process was ended from outside.
      Exception: what ``function`` raised.
    """
    device = device or Device()
    if count == 1:
        torch.set_num_threads(1)
        function(Workers(0, 1, device=device), *arguments)
        return
    # Read by the OpenMP runtime of the children when it starts: idle threads sleep.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    # Spawned, not forked: a fork would carry over threads of torch.
    context = torch.multiprocessing.get_context("spawn")
    end, failures = context.Event(), context.SimpleQueue()
    children: set[BaseProcess] = set()
    with tempfile.TemporaryDirectory() as folder:
        run = (count, folder, end, failures, logging.get_verbosity(), device)
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
    first: Device,
    function: Callable[..., None],
    arguments: tuple[Any, ...],
) -> None:
    follow_parent()
    torch.set_num_threads(1)
    logging.set_verbosity(verbosity)
    device = _device_of(rank, first)
    distributed.init_process_group(
        "nccl" if device.torch.type == "cuda" else "gloo",
        init_method=f"file://{folder}/rendezvous",
        rank=rank,
        world_size=count,
    )
    try:
        function(Workers(rank, count, end, device), *arguments)
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


def _device_of(rank: int, first: Device) -> Device:
    """The device of a process: on CUDA, the ``rank``-th from the first one on."""
    if first.torch.type != "cuda":
        return first
    device = Device(f"cuda:{first.torch.index + rank}", first.precision)
    torch.cuda.set_device(device.torch)
    return device
