"""Random numbers for the images of a batch, whatever part of it a process computes."""

from typing import NamedTuple

import torch


class Part(NamedTuple):
    """Where images stand in the batch of the step they belong to.

    Attributes:
      first: the position of the first of them.
      total: images of the batch.
    """

    first: int
    total: int


class Draws:
    """Numbers for each image of a part, cut from those of the whole batch.

    So the same image gets the same numbers however a batch is divided among processes.
    They are drawn on the CPU, so that they are the same on every device.
    """

    def __init__(
        self,
        count: int,
        generator: torch.Generator,
        device: torch.device,
        part: Part | None = None,
    ) -> None:
        """Prepares to draw.

        Args:
          count: images of the part.
          generator: source of all randomness, on the CPU.
          device: where :meth:`normal` goes.
          part: by default the part is the whole batch.
        """
        self.generator = generator
        self.device = device
        self.part = part or Part(0, count)
        self._rows = slice(self.part.first, self.part.first + count)

    def uniform(self, *shape: int) -> torch.Tensor:
        """``[count, *shape]`` in [0, 1), on the CPU."""
        return torch.rand(self.part.total, *shape, generator=self.generator)[self._rows]

    def normal(self, *shape: int) -> torch.Tensor:
        """``[count, *shape]`` standard normal, on the device."""
        drawn = torch.randn(self.part.total, *shape, generator=self.generator)
        return drawn[self._rows].to(self.device, non_blocking=True)

    def offsets(self, limit: int) -> torch.Tensor:
        """``[2, count, 1]`` whole numbers from ``-limit`` to ``limit``, on the CPU."""
        size = (2, self.part.total, 1)
        drawn = torch.randint(-limit, limit + 1, size, generator=self.generator)
        return drawn[:, self._rows]

    def whole(self, low: int, high: int) -> int:
        """One number for the whole batch, from ``low`` to ``high - 1``."""
        return int(torch.randint(low, high, (1,), generator=self.generator))

    def pixel_noise(self, x: torch.Tensor) -> torch.Tensor:
        """Standard normal numbers of the shape of ``x``, where it is.

        The only large draw: on an accelerator from a generator there, whose seed is
        drawn on the CPU.
        """
        shape = (self.part.total, *x.shape[1:])
        if x.device.type == "cpu":
            return torch.randn(shape, generator=self.generator)[self._rows]
        seed = self.whole(0, 2**63 - 1)
        there = torch.Generator(x.device).manual_seed(seed)
        return torch.randn(shape, generator=there, device=x.device)[self._rows]
