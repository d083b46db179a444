"""The device that torch computes on, and the precision it computes with."""

import contextlib
import dataclasses
import functools
from collections.abc import Iterator

import torch
from torch import Tensor

from bridges.device_flags import PRECISIONS
from hyperface_jax import InputError, checks
from hyperface_jax.commands import announce


@dataclasses.dataclass(frozen=True)
class Device:
    """Where torch computes, and how precisely.

    Attributes:
      name: ``"cpu"``, ``"cuda:0"``, ``"mps"``: what ``torch.device`` takes.
      precision: a key of :data:`bridges.device_flags.PRECISIONS`. With a smaller
        one than float32, matrix products and convolutions are autocast to it, while
        weights stay float32; Arc2Face casts its weights.
    """

    name: str = "cpu"
    precision: str = "float32"

    @property
    def torch(self) -> torch.device:
        """The same for torch."""
        return torch.device(self.name)

    @property
    def is_accelerator(self) -> bool:
        """Whether one process with large batches is the way to use it."""
        return self.torch.type != "cpu"

    def autocast(self) -> contextlib.AbstractContextManager:
        """A context in which networks compute in :attr:`precision`."""
        if self.precision == "float32":
            return contextlib.nullcontext()
        return torch.autocast(self.torch.type, getattr(torch, self.precision))

    def take(self, tensor: Tensor) -> Tensor:
        """A tensor of the CPU on this device; the same tensor where that is the CPU.

        To CUDA it is copied from pinned memory, while the program continues.
        """
        if self.torch.type == "cuda":
            return tensor.pin_memory().to(self.torch, non_blocking=True)
        return tensor.to(self.torch)

    def describe(self) -> str:
        """The device's kind in words, for records: ``"NVIDIA H100, float32"``."""
        kind = "cpu"
        if self.torch.type == "cuda":
            kind = torch.cuda.get_device_name(self.torch)
        elif self.is_accelerator:
            kind = self.torch.type
        return f"{kind}, {self.precision}"

    def record(self) -> dict[str, str]:
        """``{"device": …}`` for records; empty for float32 on the CPU, which records
        without that entry mean."""
        return {} if self == Device() else {"device": self.describe()}


def find_device(
    name: str = "auto", precision: str = "float32", *, quiet: bool = False
) -> Device:
    """The device to compute on.

    On CUDA, float32 then means float32: TF32 is switched off for products and
    convolutions, and algorithms are chosen that give the same bits each time.

    Args:
      name: ``"auto"`` for CUDA, else MPS, else the CPU, which is then said on standard
        error; ``"cpu"``, ``"cuda"``, ``"cuda:N"`` or ``"mps"``.
      precision: ``"float32"``, ``"bfloat16"`` or ``"float16"``.
      quiet: don't say which one ``"auto"`` is; the caller does by
        :func:`announce_device` once it is sure to compute.

    Raises:
      InputError: a device that is not there, or an unknown name or precision.
    """
    checks.one_of(precision, "precision", PRECISIONS)
    chosen = _best() if name == "auto" else name
    device = Device(_checked(chosen), precision)
    if not quiet:
        announce_device(name, device)
    if device.torch.type == "cuda":
        torch.backends.cuda.matmul.allow_tf32 = False
        torch.backends.cudnn.allow_tf32 = False
        torch.backends.cudnn.benchmark = False
        torch.backends.cudnn.deterministic = True
    return device


def announce_device(name: str, device: Device) -> None:
    """Says on standard error, once a process, which device ``"auto"`` is.

    Args:
      name: what was asked for; only of ``"auto"`` is anything said.
      device: what :func:`find_device` made of it.
    """
    if name == "auto":
        _say_once(f"computing on {device.describe()} (--device=auto)")


@contextlib.contextmanager
def single_threaded() -> Iterator[None]:
    """One thread for torch: how a sum is split among threads changes its rounding."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def _best() -> str:
    if torch.cuda.is_available():
        return "cuda"
    return "mps" if torch.backends.mps.is_available() else "cpu"


def _checked(name: str) -> str:
    """The name with its number, if the device is there."""
    kind, _, number = str(name).partition(":")
    numbered = kind == "cuda" and (not number or number.isdecimal())
    if not numbered and name not in ("cpu", "mps"):
        raise InputError(f"device is {name!r}, expected auto, cpu, cuda, cuda:N or mps")
    if kind == "cuda":
        count = torch.cuda.device_count() if torch.cuda.is_available() else 0
        if int(number or 0) >= count:
            raise InputError(
                f"device {name}: {count} CUDA devices are visible to torch "
                f"{torch.__version__}; give --device=cpu, or install a CUDA build of "
                "torch and its driver"
            )
        return f"cuda:{int(number or 0)}"
    if kind == "mps" and not torch.backends.mps.is_available():
        raise InputError(f"device {name}: torch sees no Apple GPU; give --device=cpu")
    return kind


@functools.cache
def _say_once(line: str) -> None:
    announce(line)
