"""The gate: images that do not show whom they are to show are drawn again.

An image that fails is drawn with other noise, a bounded number of times, and then the
best of them is kept and flagged: nothing waits for an image that never comes. Failed
images of several batches are drawn again together, in full batches.
"""

import concurrent.futures
import itertools
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

from bridges.generation.image_workers import Condition, MadeImage, Submit
from bridges.generation.plan import Planned

NO_FACE, LOW_COSINE = "no_face", "low_cosine"
_COMMA = ","


def words_of(flag: str) -> list[str]:
    """The words of an image's flag; none of an image that is as it should be."""
    return flag.split(_COMMA) if flag else []


def with_word(flag: str, word: str) -> str:
    """A flag that has a word, which it may have already."""
    words = words_of(flag)
    return flag if word in words else _COMMA.join([*words, word])


class Drawn(NamedTuple):
    """An image that is kept.

    Attributes:
      planned: which one it is.
      made: the image.
      seed: of the attempt that it is from.
      tries: how often it was drawn.
      flag: why it would not have passed, a word; empty as a rule.
    """

    planned: Planned
    made: MadeImage
    seed: int
    tries: int
    flag: str


class _Wanted(NamedTuple):
    """An image that is not good enough yet; the best of it so far, and its seed."""

    planned: Planned
    attempt: int
    best: tuple[MadeImage, int] | None = None


class Gate(NamedTuple):
    """What an image has to be, and how often it is drawn.

    Attributes:
      min_cosine: between the image and its reference.
      tries: how often it is drawn at most.
      first_attempt: the number of the first attempt; others were made before.
    """

    min_cosine: float
    tries: int
    first_attempt: int = 0

    def flag(self, made: MadeImage) -> str:
        """Why an image does not pass; empty if it does."""
        if not made.has_face:
            return NO_FACE
        # A NaN, too, is not large enough.
        return "" if made.cosine >= self.min_cosine else LOW_COSINE

    def draw(
        self,
        planned: Iterable[Planned],
        condition: Callable[[Planned, int], Condition],
        submit: Submit,
        *,
        batch_size: int,
        ahead: int,
    ) -> Iterator[Drawn]:
        """Draws images until they pass, or have been drawn often enough.

        Args:
          planned: the images; taken as needed.
          condition: what an attempt at an image is made from.
          submit: makes a batch, as of
            :func:`bridges.generation.image_workers.image_pool`.
          batch_size: images in a batch.
          ahead: batches under way.

        Yields:
          The images, roughly in their order.
        """
        fresh = (_Wanted(each, self.first_attempt) for each in planned)
        again: deque[_Wanted] = deque()
        under_way: deque[
            tuple[list[tuple[_Wanted, int]], concurrent.futures.Future[list[MadeImage]]]
        ] = deque()

        def next_batch() -> list[_Wanted]:
            """Failed images first; fewer than a batch only where no more will come."""
            batch = [again.popleft() for _ in range(min(len(again), batch_size))]
            batch += itertools.islice(fresh, batch_size - len(batch))
            if len(batch) < batch_size and under_way:
                again.extend(batch)
                return []
            return batch

        while True:
            while len(under_way) < ahead and (batch := next_batch()):
                asked = [condition(each.planned, each.attempt) for each in batch]
                seeds = [each.seed for each in asked]
                under_way.append(([*zip(batch, seeds, strict=True)], submit(asked)))
            if not under_way:
                return
            batch, future = under_way.popleft()
            for (wanted, seed), made in zip(batch, future.result(), strict=True):
                drawn = self._judged(wanted, made, seed)
                if isinstance(drawn, Drawn):
                    yield drawn
                else:
                    again.append(drawn)

    def _judged(self, wanted: _Wanted, made: MadeImage, seed: int) -> Drawn | _Wanted:
        best = wanted.best
        if best is None or _worth(made) > _worth(best[0]):
            best = (made, seed)
        tries = wanted.attempt - self.first_attempt + 1
        flag = self.flag(best[0])
        if not flag or tries == self.tries:
            return Drawn(wanted.planned, *best, tries, flag)
        return _Wanted(wanted.planned, wanted.attempt + 1, best)


def _worth(made: MadeImage) -> tuple[bool, float]:
    """A face first, then the cosine; of equals the earlier attempt is kept."""
    return made.has_face, made.cosine
