"""A dataset in the making: images, and a journal for each block of the plan.

::

    images/000012/000012_003.jpg    as in the finished dataset folder
    .generation/plan.json           what is being made; gone once it is finished
    .generation/blocks/000007.jsonl a line an image of block 7: record, SHA-256

An image is written first and journalled then, so a journal says more than is true at
most of what a power cut took; every image is compared with its digest at the end. An
image that was made again has a later line, and the last one counts. Several processes
may write, each to blocks that it holds.
"""

import contextlib
import hashlib
import pathlib
import shutil
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

from bridges.datasets.journal import Journal, read_entries
from bridges.generation.plan import Plan
from hyperface_jax import InputError, files
from hyperface_jax.artifacts import Output

_BLOCKS, _PLAN = "blocks", "plan.json"


class Entry(NamedTuple):
    """What a journal says of an image.

    Attributes:
      record: what the metadata of the dataset will say.
      sha256: of the file.
    """

    record: dict[str, Any]
    sha256: str


class Draft:
    """The folder of a dataset that is being made.

    Attributes:
      images: folder that ``images/…`` lies in.
      work: folder of journals and other notes, removed at the end.
      plan: which images there are to be.
    """

    def __init__(self, images: pathlib.Path, work: pathlib.Path, plan: Plan) -> None:
        self.images, self.work, self.plan = images, work, plan

    def begin(self, description: Mapping[str, Any]) -> None:
        """Opens the draft for all who work on it."""
        files.write_json(self.plan_file, description)

    @property
    def plan_file(self) -> pathlib.Path:
        """Says what is being made."""
        return self.work / _PLAN

    @property
    def is_open(self) -> bool:
        """Whether images may be missing. What a journal said before this is whole."""
        return self.plan_file.exists()

    def remove(self) -> None:
        """Removes all but the images; the dataset is finished."""
        # First, so that who reads a journal that is gone can tell why.
        self.plan_file.unlink(missing_ok=True)
        shutil.rmtree(self.work, ignore_errors=True)

    def path(self, row: int) -> pathlib.Path:
        """Where the image of a row is."""
        return self.images / self.file_name(row)

    def file_name(self, row: int) -> str:
        """The path of an image below :attr:`images`, with ``/``."""
        identity, index = self.plan.image(row)
        return f"images/{identity:06d}/{identity:06d}_{index:03d}.jpg"

    def entries(self, block: int) -> dict[int, Entry]:
        """What there is of a block, by row."""
        try:
            found, _ = read_entries(self._journal(block))
        except FileNotFoundError:  # Not begun, or removed by whoever finished.
            return {}
        return self._parsed(found, block)

    def count(self, block: int) -> int:
        """How many images there are of a block, by its journal."""
        return len(self.entries(block))

    @property
    def images_made(self) -> int:
        """How many there are of all blocks."""
        return sum(map(self.count, range(self.plan.num_blocks)))

    def all_entries(self) -> Iterator[tuple[int, Entry]]:
        """Every image in order: row and entry; a block is in memory at a time.

        Raises:
          InputError: one is missing, since somebody changed the folder meanwhile.
        """
        for block in range(self.plan.num_blocks):
            entries = self.entries(block)
            for row in self.plan.rows(block):
                if row not in entries:
                    raise InputError(
                        f"{self._journal(block)}: says nothing of image {row}, it was "
                        "changed; run the same command again"
                    )
                yield row, entries[row]

    @contextlib.contextmanager
    def writing(self, block: int) -> Iterator["OpenBlock"]:
        """Holds a block.

        Raises:
          HeldElsewhere: another process holds it.
        """
        path = self._journal(block)
        with Output(path, lambda: None).writing():
            journal = Journal(path)
            with contextlib.closing(journal):
                yield OpenBlock(self, journal, self._parsed(journal.entries, block))

    def damaged(self, block: int) -> list[int]:
        """Rows of a block whose image is not the one that was written."""
        found = []
        for row, entry in self.entries(block).items():
            try:
                content = self.path(row).read_bytes()
            except OSError:
                content = b""
            if hashlib.sha256(content).hexdigest() != entry.sha256:
                found.append(row)
        return found

    def _journal(self, block: int) -> pathlib.Path:
        return self.work / _BLOCKS / f"{block:06d}.jsonl"

    def _parsed(
        self, entries: Iterable[dict[str, Any]], block: int
    ) -> dict[int, Entry]:
        rows, found = self.plan.rows(block), {}
        for entry in entries:
            try:
                record, sha256 = entry["record"], entry["sha256"]
                row = self.plan.row(record["identity"], record["index"])
                # An entry that is not of our making says nothing.
                if row in rows and record["file_name"] == self.file_name(row):
                    found[row] = Entry(record, str(sha256))
            except (KeyError, TypeError):
                continue
        return found


class OpenBlock:
    """A block that this process holds.

    Attributes:
      entries: what there is of it, by row.
    """

    def __init__(
        self, draft: Draft, journal: Journal, entries: dict[int, Entry]
    ) -> None:
        self._draft, self._journal = draft, journal
        self.entries = entries
        self._folders: set[pathlib.Path] = set()

    def put(self, row: int, content: bytes, record: dict[str, Any]) -> None:
        """Writes an image and then its entry.

        Args:
          row: which image.
          content: the file.
          record: what is known of it; ``file_name`` is added.

        Raises:
          OSError: the disk is full.
        """
        path = self._draft.path(row)
        if path.parent not in self._folders:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._folders.add(path.parent)
        # No fsync per image: the digest tells torn files.
        path.write_bytes(content)
        record = {"file_name": self._draft.file_name(row), **record}
        self.note(row, record, hashlib.sha256(content).hexdigest())

    def note(self, row: int, record: dict[str, Any], sha256: str) -> None:
        """Adds an entry for an image that is there."""
        self._journal.append({"sha256": sha256, "record": record})
        self.entries[row] = Entry(record, sha256)
