"""Some images of a source, as a source."""

import hashlib
from collections.abc import Sequence

from bridges.datasets.image_files import number_identities
from bridges.datasets.image_source import ImageSource


class Subset:
    """Chosen images of another source, which is read when they are.

    Attributes are those of :class:`bridges.datasets.image_source.ImageSource`;
    identities without an image among the chosen ones are left out, and the others are
    numbered anew.
    """

    def __init__(self, source: ImageSource, rows: Sequence[int]) -> None:
        """Chooses images.

        Args:
          source: what to choose from.
          rows: positions in it.
        """
        self._source = source
        self._rows = [int(row) for row in rows]
        self.name = source.name
        self.labelled = source.labelled
        self.records = [source.records[row] for row in self._rows]
        who = [record["file_name"] for record in self.records]
        if source.labelled:
            who = [source.identities[source.labels[row]] for row in self._rows]
        self.identities, self.labels = number_identities(who)

    def __len__(self) -> int:
        return len(self._rows)

    def read(self, index: int) -> bytes:
        """The encoded bytes of an image, as the source reads them."""
        return self._source.read(self._rows[index])

    def fingerprint(self) -> str:
        """SHA-256 of the source's fingerprint and the positions chosen."""
        text = f"{self._source.fingerprint()} {self._rows}"
        return hashlib.sha256(text.encode()).hexdigest()
