"""Trainings under ``torchrun``: which of the processes this is, and what they share.

``torchrun --nproc_per_node=N`` starts N processes of one command and tells each its
number by the environment. They hold the same networks, compute a part of each batch,
and take the same step with the mean of their gradients.
"""

import datetime
import functools
import os
from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar

import torch
from torch import distributed

from bridges.devices import Device, find_device
from bridges.training.data_parallel import Workers
from hyperface_jax import InputError
from hyperface_jax.commands import be_quiet

P = ParamSpec("P")
T = TypeVar("T")

# The others wait while the first one reads every image of a large set.
_PATIENCE = datetime.timedelta(hours=6)


def is_launched() -> bool:
    """Whether ``torchrun`` started this process beside others."""
    return int(os.environ.get("WORLD_SIZE", "1")) > 1


def rank() -> int:
    """The number of this process; 0 without ``torchrun``."""
    return int(os.environ.get("RANK", "0")) if is_launched() else 0


def join(device: str, precision: str) -> Workers:
    """Joins the other processes, if there are any.

    Args:
      device: as for :func:`bridges.devices.find_device`; with several processes on
        CUDA each takes the device of its number on its machine.
      precision: likewise.

    Raises:
      InputError: a device that is not there; or one device for all processes.
    """
    if not is_launched():
        return Workers(0, 1, device=find_device(device, precision, quiet=True))
    if device.startswith("cuda:"):
        raise InputError(
            f"device is {device}, but each process of torchrun needs one of its own; "
            "give --device=cuda"
        )
    place = find_device(device, precision, quiet=True)
    if place.torch.type == "cuda":
        place = find_device(f"cuda:{os.environ['LOCAL_RANK']}", precision, quiet=True)
        torch.cuda.set_device(place.torch)
    if not distributed.is_initialized():
        distributed.init_process_group(
            "nccl" if place.torch.type == "cuda" else "gloo",
            device_id=place.torch if place.torch.type == "cuda" else None,
            timeout=_PATIENCE,
        )
    if distributed.get_rank():
        be_quiet()
    return Workers(distributed.get_rank(), distributed.get_world_size(), device=place)


def shared(function: Callable[P, T]) -> Callable[P, T]:
    """Has a function say in one line that another process of it has ended.

    That one says why; those that wait for it fail at talking to it, wherever they are.

    Raises:
      ConnectionError: another process has ended.
    """

    @functools.wraps(function)
    def call(*arguments: P.args, **settings: P.kwargs) -> T:
        try:
            return function(*arguments, **settings)
        except RuntimeError as error:
            if not _is_lost(error):
                raise
            raise ConnectionError(
                f"process {rank()}: another process has ended, and says why; the same "
                "command goes on from the last checkpoint, if there is one"
            ) from None

    return call


def _is_lost(error: RuntimeError) -> bool:
    """Whether the network failed, and not a computation; Gloo has no type for it."""
    backend = isinstance(error, distributed.DistError) or "gloo/" in str(error)
    return is_launched() and backend


def check_same_step(workers: Workers, step: int, output: object) -> None:
    """Checks that all processes go on from one checkpoint; each has to call it.

    Raises:
      InputError: they don't: machines of disks of their own, of which one has it.
    """
    steps = workers.collect(step)
    if len(set(steps)) > 1:
        raise InputError(
            f"{output}: processes found checkpoints of the steps "
            f"{', '.join(map(str, steps))} there; put the output on a disk that all "
            "machines share"
        )


def leave() -> None:
    """Leaves the other processes; to be called once nothing is shared any more."""
    if distributed.is_available() and distributed.is_initialized():
        distributed.destroy_process_group()


def gathered(x: torch.Tensor) -> torch.Tensor:
    """The rows of all processes, in the order of their numbers; without a gradient.

    Args:
      x: ``[n, …]``, of one shape in all processes.
    """
    if not _together():
        return x
    parts = [torch.empty_like(x) for _ in range(distributed.get_world_size())]
    distributed.all_gather(parts, x.contiguous())
    return torch.cat(parts)


def summed(x: torch.Tensor) -> torch.Tensor:
    """The sum over all processes, through which gradients flow to each of them."""
    return _Sum.apply(x) if _together() else x


class _Sum(torch.autograd.Function):
    """A sum over the processes, whose gradient is the sum of theirs."""

    @staticmethod
    def forward(context: Any, x: torch.Tensor) -> torch.Tensor:
        total = x.clone(memory_format=torch.contiguous_format)
        distributed.all_reduce(total)
        return total

    @staticmethod
    def backward(context: Any, gradient: torch.Tensor) -> torch.Tensor:
        return _Sum.apply(gradient)


def _together() -> bool:
    return (
        distributed.is_available()
        and distributed.is_initialized()
        and distributed.get_world_size() > 1
    )


def synchronise_norms(network: torch.nn.Module, device: Device) -> torch.nn.Module:
    """Has batch norms take their statistics over the batches of all processes.

    Then N processes compute what one does with the whole batch. Names and values of
    parameters stay.

    Args:
      network: changed in place, or replaced where it is a batch norm itself.
      device: where it computes: CUDA has a kernel for it, the CPU has
        :class:`SynchronisedBatchNorm`.

    Returns:
      The network.
    """
    if device.torch.type == "cuda":
        return torch.nn.SyncBatchNorm.convert_sync_batchnorm(network)
    if isinstance(network, torch.nn.modules.batchnorm._BatchNorm):
        return SynchronisedBatchNorm(network)
    for name, child in network.named_children():
        setattr(network, name, synchronise_norms(child, device))
    return network


class SynchronisedBatchNorm(torch.nn.modules.batchnorm._BatchNorm):
    """Batch norm over all processes, on any device; torch has it for CUDA alone."""

    def __init__(self, norm: torch.nn.modules.batchnorm._BatchNorm) -> None:
        """Takes over the parameters, statistics and settings of a batch norm."""
        super().__init__(
            norm.num_features,
            norm.eps,
            norm.momentum,
            norm.affine,
            norm.track_running_stats,
        )
        self.weight, self.bias = norm.weight, norm.bias
        for name, buffer in norm.named_buffers():
            setattr(self, name, buffer)
        self.training = norm.training

    def _check_input_dim(self, x: torch.Tensor) -> None:
        """Any shape with channels second."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if not self.training:
            return super().forward(x)
        others = [axis for axis in range(x.ndim) if axis != 1]
        wide = x.float()
        count = x.numel() // x.shape[1] * distributed.get_world_size()
        mean = summed(wide.sum(others)) / count
        shape = [1, -1] + [1] * (x.ndim - 2)
        centred = wide - mean.view(shape)
        variance = summed(centred.square().sum(others)) / count
        with torch.no_grad():
            self.num_batches_tracked += 1
            self.running_mean.lerp_(mean, self.momentum)
            # Unbiased, as torch's batch norm keeps it.
            self.running_var.lerp_(variance * count / (count - 1), self.momentum)
        out = centred * torch.rsqrt(variance + self.eps).view(shape)
        if self.affine:
            out = out * self.weight.view(shape) + self.bias.view(shape)
        return out.to(x.dtype)
