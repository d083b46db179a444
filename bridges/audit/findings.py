"""What an audit finds, as plain data."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from bridges.audit.leaks import Leaks
from bridges.audit.people import Separability
from bridges.datasets.image_source import ImageSource
from hyperface_jax import EmbeddingFile

# The limits that a pipeline can gate on, by what they count.
LIMITS = ("leaks", "duplicates", "same_people", "mislabelled")


class Flagged(NamedTuple):
    """Something to look at.

    Attributes:
      kind: ``"leak"``, ``"duplicate"``, ``"same_people"`` or ``"mislabelled"``.
      image: of the audited set; empty of two people.
      person: who it is said to be.
      other: the image or person that it is too near to.
      cosine: of the two.
      why: in words.
    """

    kind: str
    image: str
    person: str
    other: str
    cosine: float
    why: str


class AuditedSet(NamedTuple):
    """Embeddings with their images, where there are any.

    Attributes:
      name: the folder or file.
      file: the embeddings.
      images: the images in the order of the embeddings, or None.
    """

    name: str
    file: EmbeddingFile
    images: ImageSource | None

    def image(self, row: int) -> str:
        """The name of an image."""
        names = self.file.names
        return str(row) if names is None else str(names[row])


class Audit(NamedTuple):
    """What was found.

    Attributes:
      audited: the set.
      real: the sets it was compared with.
      judge: ``name`` and ``sha256`` of the recogniser that says so.
      leaks: against each real set.
      flagged: everything to look at.
      counts: how many of each kind, by :data:`LIMITS`.
      separability: None without labels, or pairs of both kinds.
      spread: quantiles of the mean angle of a person's images to their centre, degrees.
      groups: by attribute and word: people, images, mean cosine between its people.
    """

    audited: AuditedSet
    real: Sequence[AuditedSet]
    judge: Mapping[str, str]
    leaks: Sequence[Leaks]
    flagged: Sequence[Flagged]
    counts: Mapping[str, int]
    separability: Separability | None
    spread: Mapping[str, float]
    groups: Mapping[str, Mapping[str, Mapping[str, float]]]
