"""Making the images of a draft: those that are missing, or some again."""

import concurrent.futures
import contextlib
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from bridges.generation.draft import Draft, Entry, OpenBlock
from bridges.generation.gate import Drawn, Gate
from bridges.generation.generation_config import GenerationConfig
from bridges.generation.identity_variation import ImageRandomness
from bridges.generation.image_workers import Condition, ImageMaker, image_pool
from bridges.generation.plan import Planned
from bridges.worker_processes import default_num_processes
from hyperface_jax import EmbeddingFile
from hyperface_jax.artifacts import HeldElsewhere
from hyperface_jax.commands import progress

# Starting a process takes as long as making so many images.
_WORTH_A_PROCESS = 100
# Images that may wait to be written.
_WAITING = 64
REDRAWS = "redraws"

ToDo = Callable[[int, dict[int, Entry]], list[int]]
# What is said of an image, given what was said of it before.
Record = Callable[[Drawn, Entry | None], dict[str, Any]]


class ImageRun:
    """Makes images of references and puts them into a draft.

    Attributes:
      draft: where they go.
      config: the settings.
    """

    def __init__(
        self,
        draft: Draft,
        references: EmbeddingFile,
        config: GenerationConfig,
        maker: ImageMaker,
    ) -> None:
        """Describes the run.

        Args:
          draft: where the images go.
          references: who is to be shown.
          config: the settings.
          maker: makes the images; where processes of their own do, it is let go of.
        """
        self.draft, self.config, self._references = draft, config, references
        self._maker: ImageMaker | None = maker
        self._settings = maker.settings

    def make_missing(self, blocks: Sequence[int]) -> list[int]:
        """Makes the images that some blocks lack.

        Returns:
          The blocks that other processes hold, and that are left to them.
        """
        rows = self.draft.plan.rows

        def missing(block: int, entries: dict[int, Entry]) -> list[int]:
            return [row for row in rows(block) if row not in entries]

        total = sum(len(rows(block)) for block in blocks)
        there = {block: self.draft.count(block) for block in blocks}
        done = sum(there.values())
        wanted = [block for block in blocks if there[block] < len(rows(block))]
        return self._make(wanted, missing, self._gate(0), self._record, done, total)

    def make_again(self, rows: Sequence[int], number: int) -> None:
        """Draws images again, with noise that they have not been drawn with.

        Args:
          rows: which images. Those that were drawn again so often are left as they are.
          number: which time it is, from 1.

        Raises:
          HeldElsewhere: another process writes to the draft.
        """

        def record(drawn: Drawn, before: Entry) -> dict[str, Any]:
            made = self._record(drawn, before)
            tries = made["tries"] + before.record["tries"]
            return made | {"tries": tries, REDRAWS: number}

        self._make_some(rows, number, lambda redraws: redraws < number, record)

    def mend(self, rows: Sequence[int]) -> None:
        """Makes damaged images once more, as they were.

        Args:
          rows: which images.

        Raises:
          HeldElsewhere: another process writes to the draft.
        """
        times = set()
        for block, of_block in self.draft.plan.by_block(rows).items():
            entries = self.draft.entries(block)
            times |= {entries[row].record.get(REDRAWS, 0) for row in of_block}
        for number in sorted(times):
            self._make_some(
                rows,
                number,
                lambda redraws, n=number: redraws == n,
                lambda drawn, before: before.record,
            )

    def _make_some(
        self,
        rows: Sequence[int],
        number: int,
        concerned: Callable[[int], bool],
        record: Record,
    ) -> None:
        """Makes those images that were drawn again so often as is asked for."""
        by_block = self.draft.plan.by_block(rows)

        def to_do(block: int, entries: dict[int, Entry]) -> list[int]:
            redraws = {
                row: entries[row].record.get(REDRAWS, 0) for row in by_block[block]
            }
            return [row for row, times in redraws.items() if concerned(times)]

        held = self._make([*by_block], to_do, self._gate(number), record, 0, len(rows))
        if held:
            raise HeldElsewhere(
                f"{self.draft.images}: another process is writing it; wait for it"
            )

    def _gate(self, number: int) -> Gate:
        """The gate of the images that are drawn for the ``number``-th time again."""
        tries = self.config.tries
        return Gate(self.config.min_cosine, tries, first_attempt=number * tries)

    def _make(
        self,
        blocks: Sequence[int],
        to_do: ToDo,
        gate: Gate,
        record: Record,
        done: int,
        total: int,
    ) -> list[int]:
        """Makes what is to be done of some blocks; returns those held elsewhere."""
        if not blocks:
            return []
        settings, processes = self._settings, self.config.num_processes
        if processes is None:
            processes = min(
                default_num_processes(), max(1, (total - done) // _WORTH_A_PROCESS)
            )
        if settings.device.is_accelerator:
            processes = 1
        # Each process loads the models for itself; there is no room for more of them.
        if processes > 1:
            self._maker = None
        elif self._maker is None:
            self._maker = ImageMaker(settings)
        bar = progress(
            description="generating", total=total, unit="image", initial=done
        )
        with (
            image_pool(settings, processes, maker=self._maker) as (submit, ahead),
            _BlockWriter(self.draft, blocks, to_do) as writer,
            contextlib.closing(
                gate.draw(
                    writer.planned(),
                    self._condition,
                    submit,
                    batch_size=settings.batch_size,
                    ahead=ahead,
                )
            ) as drawn_images,
            bar,
        ):
            for drawn in drawn_images:
                bar.update(writer.put(drawn, record))
            bar.update(writer.wait())
        return writer.held_elsewhere

    def _condition(self, planned: Planned, attempt: int) -> Condition:
        """What an attempt at an image is made from."""
        reference = self._references.embeddings[planned.identity]
        random = ImageRandomness(self.config.seed, *planned)
        varied = random.turned(reference, self.config.beta)
        return Condition(varied, reference, random.seed(attempt))

    def _record(self, drawn: Drawn, before: Entry | None) -> dict[str, Any]:
        """What is said of an image that is drawn for the first time."""
        del before
        identity, index = drawn.planned
        groups = self._references.groups.items()
        return {
            **{name: str(of[identity]) for name, of in groups},
            "identity": identity,
            "index": index,
            "seed": drawn.seed,
            "reference_cosine": round(drawn.made.cosine, 4),
            "tries": drawn.tries,
            "flag": drawn.flag,
            **({REDRAWS: 0} if self.config.collision_recogniser else {}),
        }


class _BlockWriter:
    """Holds the blocks that images are made of, and writes these in a thread.

    Attributes:
      held_elsewhere: blocks that were passed over since another process holds them.
    """

    def __init__(self, draft: Draft, blocks: Sequence[int], to_do: ToDo) -> None:
        self._draft, self._blocks, self._to_do = draft, blocks, to_do
        self.held_elsewhere: list[int] = []
        # By block: what holds it, and how many of its images are to come.
        self._open: dict[int, tuple[contextlib.ExitStack, OpenBlock]] = {}
        self._left: dict[int, int] = {}
        self._thread = concurrent.futures.ThreadPoolExecutor(1)
        self._waiting: deque[tuple[int, concurrent.futures.Future[None]]] = deque()

    def planned(self) -> Iterator[Planned]:
        """The images to make; a block is held from when its first is asked for."""
        plan = self._draft.plan
        for block in self._blocks:
            held = contextlib.ExitStack()
            try:
                opened = held.enter_context(self._draft.writing(block))
            except HeldElsewhere:
                self.held_elsewhere.append(block)
                continue
            rows = self._to_do(block, opened.entries)
            if not self._draft.is_open:
                rows = []  # Somebody has finished meanwhile, and removed the journals.
            self._open[block], self._left[block] = (held, opened), len(rows)
            if not rows:
                self._close(block)
            yield from map(plan.image, rows)

    def put(self, drawn: Drawn, record: Record) -> int:
        """Has an image written; returns how many were written since the last call."""
        row = self._draft.plan.row(*drawn.planned)
        block = row // self._draft.plan.block_size
        _, opened = self._open[block]
        said = record(drawn, opened.entries.get(row))
        future = self._thread.submit(opened.put, row, drawn.made.content, said)
        self._waiting.append((block, future))
        return self.wait(_WAITING)

    def wait(self, at_most: int = 0) -> int:
        """Waits until at most so many images wait to be written; counts those written.

        Raises:
          OSError: the disk is full.
        """
        written = 0
        while len(self._waiting) > at_most:
            block, future = self._waiting.popleft()
            future.result()
            written += 1
            self._left[block] -= 1
            if not self._left[block]:
                self._close(block)
        return written

    def _close(self, block: int) -> None:
        held, _ = self._open.pop(block)
        held.close()

    def __enter__(self) -> "_BlockWriter":
        return self

    def __exit__(self, *exception: object) -> None:
        # What waits is written even if the next image can't be made.
        self._thread.shutdown()
        for block in [*self._open]:
            self._close(block)
