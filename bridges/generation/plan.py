"""The plan of a dataset: which images there are, and in which order.

The order is that of identities, and within one that of its images. The plan is cut into
blocks, and the blocks are what workers share among themselves: how many workers there
are changes neither plan nor blocks, so other workers may go on with what some began.
Nothing here is as long as the plan.
"""

import dataclasses
from collections.abc import Iterable
from typing import NamedTuple

# A block has so many images at most; small datasets have so many blocks.
_LARGEST_BLOCK = 1024
_FEW_BLOCKS = 64


class Planned(NamedTuple):
    """An image to be made.

    Attributes:
      identity: row of its reference.
      index: its number within the identity.
    """

    identity: int
    index: int


@dataclasses.dataclass(frozen=True)
class Plan:
    """The images of a dataset, in rows.

    Attributes:
      identities: how many there are.
      images_per_identity: images of each.
    """

    identities: int
    images_per_identity: int

    def __len__(self) -> int:
        return self.identities * self.images_per_identity

    @property
    def block_size(self) -> int:
        """Rows in a block; the last one may have fewer."""
        return min(_LARGEST_BLOCK, -(-len(self) // _FEW_BLOCKS))

    @property
    def num_blocks(self) -> int:
        return -(-len(self) // self.block_size)

    def rows(self, block: int) -> range:
        """The rows of a block."""
        start = block * self.block_size
        return range(start, min(start + self.block_size, len(self)))

    def by_block(self, rows: Iterable[int]) -> dict[int, list[int]]:
        """Some rows, rising, by the number of their block."""
        found: dict[int, list[int]] = {}
        for row in sorted(rows):
            found.setdefault(row // self.block_size, []).append(row)
        return found

    def image(self, row: int) -> Planned:
        """The image of a row."""
        return Planned(*divmod(row, self.images_per_identity))

    def row(self, identity: int, index: int) -> int:
        """The row of an image."""
        return identity * self.images_per_identity + index


class Shard(NamedTuple):
    """A worker's share of the blocks: every ``count``-th.

    Attributes:
      number: which one, 1 … count.
      count: how many workers there are.
    """

    number: int = 1
    count: int = 1

    def blocks(self, plan: Plan) -> range:
        """The numbers of its blocks."""
        return range(self.number - 1, plan.num_blocks, self.count)

    def __str__(self) -> str:
        return f"{self.number}/{self.count}"
