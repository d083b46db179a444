"""Collisions: images of two identities that a recogniser takes for one person.

References are apart, but images stray from them. So every image is compared with every
image of other identities, exactly, by a recogniser and a threshold that are named. Of
two images that collide the one that shows its own identity worse is drawn again, with
noise that it was not drawn with; then those are compared again, for a number of rounds.
What still collides is kept and flagged.
"""

import contextlib
import os
import pathlib
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from bridges.datasets.batches import read_batches
from bridges.generation.draft import Draft
from bridges.generation.gate import with_word
from bridges.generation.generated_images import GeneratedImages
from bridges.generation.image_run import ImageRun
from bridges.neighbours import near_pairs
from bridges.recognisers.embedding import BATCH_SIZE, embed_images
from bridges.recognisers.recogniser import Recogniser
from hyperface_jax import files
from hyperface_jax.artifacts import read_json
from hyperface_jax.commands import progress

COLLISION = "collision"
_STATE, _ROWS = "collisions.json", "collisions.f32"
# Embeddings are unit rows.
_SHORTEST = 0.5


class CollisionCheck:
    """Finds collisions in a draft and has them drawn again; resumable.

    Attributes:
      report: recogniser and threshold; ``images_before``, ``identities_before``: those
        in collision after generation; ``images_after``, ``identities_after``: at the
        end; ``rounds`` that were needed; ``redrawn``: images drawn, all rounds
        together. Complete once :meth:`resolve` is done.
      colliding: rows that still collide, likewise.
    """

    def __init__(
        self,
        run: ImageRun,
        recogniser: Recogniser,
        *,
        threshold: float,
        rounds: int,
    ) -> None:
        """Describes the check.

        Args:
          run: draws images; its draft is complete.
          recogniser: what must not confuse two identities.
          threshold: cosine from which on it does.
          rounds: how often images are drawn again at most.
        """
        self._run, self._draft = run, run.draft
        self._recogniser, self._threshold, self._rounds = recogniser, threshold, rounds
        plan = self._draft.plan
        self._people = np.arange(len(plan)) // plan.images_per_identity
        self.report: dict[str, Any] = {
            "recogniser": recogniser.model,
            "threshold": threshold,
        }
        self.colliding: list[int] = []

    def resolve(self) -> None:
        """Draws again what collides.

        Raises:
          HeldElsewhere: another process writes to the draft.
        """
        rows = self._embedded()
        state = self._state()
        if state is None:
            found, nearest = near_pairs(
                rows, self._people, self._threshold, description="collisions"
            )
            self.report |= self._counts(found, "before")
            state = self._begin([], found, nearest)
        self.report = state["report"]
        # A power cut may have taken what journals said of rounds before.
        for number, again in enumerate(state["rounds"], start=1):
            self._run.make_again(again, number)
        while state["again"] and len(state["rounds"]) < self._rounds:
            again = state["again"]
            rounds = [*state["rounds"], again]
            self._run.make_again(again, len(rounds))
            self._embed(rows, again, "embedding again")
            asked = np.union1d(state["colliding"], again)
            found, nearest = near_pairs(
                rows,
                self._people,
                self._threshold,
                queries=asked.astype(np.int64),
                description="collisions",
            )
            state = self._begin(rounds, found, nearest)
        self.report |= self._counts(state["colliding"], "after")
        self.report |= {
            "rounds": len(state["rounds"]),
            "redrawn": sum(map(len, state["rounds"])),
        }
        self.colliding = state["colliding"]

    def flag(self) -> None:
        """Says in the records of images that they still collide."""
        for block, of_block in self._draft.plan.by_block(self.colliding).items():
            with self._draft.writing(block) as opened:
                for row in of_block:
                    record, sha256 = opened.entries[row]
                    flag = with_word(record["flag"], COLLISION)
                    opened.note(row, record | {"flag": flag}, sha256)

    def _begin(
        self, rounds: list[list[int]], found: np.ndarray, nearest: np.ndarray
    ) -> dict[str, Any]:
        """Notes what the next round is to draw again, before it does.

        Args:
          rounds: what those before drew again.
          found: rows that collide.
          nearest: the row that each is nearest to.
        """
        state = {
            "rounds": rounds,
            "colliding": found.tolist(),
            "again": self._worse(found, nearest),
            "report": self.report,
        }
        if hasattr(os, "sync"):  # not on Windows
            os.sync()  # The images and journals that the state speaks of.
        files.write_json(self._draft.work / _STATE, state)
        return state

    def _state(self) -> dict[str, Any] | None:
        path = self._draft.work / _STATE
        return read_json(path) if path.exists() else None

    def _worse(self, found: np.ndarray, nearest: np.ndarray) -> list[int]:
        """Of each image that collides and the one it is nearest to the worse.

        That is the one with the smaller cosine to its own reference.
        """
        cosine = {
            row: record["reference_cosine"]
            for row, record in _records(self._draft, np.union1d(found, nearest))
        }

        def worth(row: int) -> tuple[float, int]:
            return cosine[row], -row

        pairs = zip(found.tolist(), nearest.tolist(), strict=True)
        return sorted({min(pair, key=worth) for pair in pairs})

    def _counts(self, rows: np.ndarray | list[int], when: str) -> dict[str, int]:
        people = np.unique(self._people[np.asarray(rows, np.int64)])
        return {f"images_{when}": len(rows), f"identities_{when}": len(people)}

    def _embedded(self) -> np.ndarray:
        """The embeddings of all images, ``[n, d]``, in a file that is mapped."""
        path = self._draft.work / _ROWS
        count, size = len(self._draft.plan), self._recogniser.embedding_size
        width = size * np.dtype(np.float32).itemsize
        path.touch()
        done = _unit_rows(path, size)
        if done < count:
            self._append(path, done, width)
        return np.memmap(path, np.float32, "r+", shape=(count, size))

    def _append(self, path: pathlib.Path, done: int, width: int) -> None:
        """Embeds the images behind the first ``done``."""
        os.truncate(path, done * width)
        with contextlib.closing(open(path, "ab")) as file:
            left = range(done, len(self._draft.plan))
            for _, embeddings in self._embeddings(left, "embedding", done):
                file.write(embeddings.tobytes())

    def _embed(self, rows: np.memmap, which: list[int], description: str) -> None:
        """Embeds some images once more."""
        for at, embeddings in self._embeddings(which, description, 0):
            rows[which[at.start : at.stop]] = embeddings
        rows.flush()

    def _embeddings(
        self, which: Sequence[int], description: str, done: int
    ) -> Iterator[tuple[range, np.ndarray]]:
        """Positions in ``which`` and their embeddings, batch by batch."""
        source = GeneratedImages(self._draft, "the generated images", which)
        size = self._recogniser.image_size
        bar = progress(
            description=description,
            total=len(which) + done,
            unit="image",
            initial=done,
        )
        with bar, read_batches(source, size, BATCH_SIZE) as batches:
            for at, images in batches:
                yield at, embed_images(self._recogniser, images)
                bar.update(len(at))


def _unit_rows(path: pathlib.Path, size: int) -> int:
    """How many rows there are before the first that a power cut has left of zeros."""
    there = path.stat().st_size // (size * np.dtype(np.float32).itemsize)
    if not there:
        return 0
    rows = np.memmap(path, np.float32, "r", shape=(there, size))
    for start in range(0, there, BATCH_SIZE):
        norms = np.linalg.norm(rows[start : start + BATCH_SIZE], axis=1)
        if not np.all(norms > _SHORTEST):
            return start + int(np.argmin(norms > _SHORTEST))
    return there


def _records(draft: Draft, rows: np.ndarray) -> Iterator[tuple[int, dict[str, Any]]]:
    """Records of some images, by rising row; each block is read once."""
    for block, of_block in draft.plan.by_block(rows.tolist()).items():
        entries = draft.entries(block)
        for row in of_block:
            yield row, entries[row].record
