"""Which images a step takes: every epoch in an order of its own, sources by weight."""

from collections.abc import Sequence

import numpy as np

from hyperface_jax import InputError

# Of whole epochs: a step lies in two at most.
_KEPT = 2


class ImageOrder:
    """The order of images in a training, a function of the seed alone.

    An epoch shows an image of a source with weight ``w`` ``w`` times: of a weight of
    1.5 every image once, and a random half of them, another one each epoch, a second
    time. Without weights every image comes once an epoch, whatever the batch size; a
    batch may hold the end of one epoch and the start of the next.

    Attributes:
      epoch_size: images of an epoch.
    """

    def __init__(
        self, counts: Sequence[int], seed: int, weights: Sequence[float] = ()
    ) -> None:
        """Prepares the order.

        Args:
          counts: images of each source; positions count through the sources.
          seed: of the training.
          weights: of each source, above 0; none for 1 each.

        Raises:
          InputError: as many weights as sources are needed.
        """
        if weights and len(weights) != len(counts):
            raise InputError(
                f"dataset_weights are {len(weights)}, expected one for each of the "
                f"{len(counts)} data sets"
            )
        self._counts = list(counts)
        self._weights = list(weights) or [1.0] * len(counts)
        self._seed = seed
        self._epochs: dict[int, np.ndarray] = {}
        self.epoch_size = sum(
            round(weight * count)
            for weight, count in zip(self._weights, self._counts, strict=True)
        )

    def batch(self, step: int, batch_size: int) -> np.ndarray:
        """The images of a step: a slice of the epochs laid end to end.

        Returns:
          ``[batch_size]`` int64 positions.
        """
        start = step * batch_size
        end = start + batch_size
        first, last = start // self.epoch_size, (end - 1) // self.epoch_size
        parts = []
        for epoch in range(first, last + 1):
            begun = epoch * self.epoch_size
            parts.append(self._epoch(epoch)[max(0, start - begun) : end - begun])
        return np.concatenate(parts)

    def _epoch(self, epoch: int) -> np.ndarray:
        if epoch not in self._epochs:
            while len(self._epochs) >= _KEPT:
                del self._epochs[min(self._epochs)]
            self._epochs[epoch] = self._drawn(
                np.random.default_rng((self._seed, epoch))
            )
        return self._epochs[epoch]

    def _drawn(self, random: np.random.Generator) -> np.ndarray:
        if all(weight == 1 for weight in self._weights):
            return random.permutation(self.epoch_size)
        shown, first = [], 0
        for count, weight in zip(self._counts, self._weights, strict=True):
            whole, some = divmod(round(weight * count), count)
            rows = np.arange(first, first + count)
            again = random.choice(rows, some, replace=False)
            shown += [*([rows] * whole), again]
            first += count
        return random.permutation(np.concatenate(shown))
