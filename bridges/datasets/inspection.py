"""Inspection of a collection of images: what is in it, and what is wrong with it."""

import collections
import concurrent.futures
import hashlib
import os
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from bridges.datasets.decoding import open_bytes, stored_as
from bridges.datasets.groups import groups_of
from bridges.datasets.identity_folders import AUTO
from bridges.datasets.image_source import ImageSource, open_images
from bridges.datasets.images import UnreadableImage, name_of, quiet_decoders
from bridges.worker_processes import default_num_processes
from hyperface_jax.commands import progress

_AT_ONCE = 256
# Every image is decoded whole; of very large ones this many pixels a side are kept.
_DECODED_SIZE = 64
_DIGEST = 32
# An attribute of more words than these describes images, not groups of people.
_MOST_WORDS = 100


class Duplicate(NamedTuple):
    """Images of the same bytes.

    Attributes:
      names: of the images, two at least, as in the metadata.
      people: who they are said to show, each once; empty where nothing says it.
    """

    names: Sequence[str]
    people: Sequence[int | str]


class Inspection(NamedTuple):
    """What is in a collection.

    Attributes:
      name: the folder or file.
      num_images: how many there are, unreadable ones included.
      num_people: how many people; None where nothing says who is on an image.
      images_per_person: ``min``, ``median`` and ``max``; None likewise.
      sizes: images by width and height in pixels as stored, the most usual first.
      formats: images by format (``"JPEG"``), likewise.
      groups: for each attribute that groups the images, ``images`` and ``people`` by
        word, as :func:`bridges.datasets.groups.groups_of` reads it.
      unreadable: the reason by name of each image that can't be read.
      duplicates: images of the same bytes; those said to show several people first.
      left_out: files that do not count, by the reason.
    """

    name: str
    num_images: int
    num_people: int | None
    images_per_person: Mapping[str, float] | None
    sizes: Mapping[tuple[int, int], int]
    formats: Mapping[str, int]
    groups: Mapping[str, Mapping[str, Mapping[str, int]]]
    unreadable: Mapping[str, str]
    duplicates: Sequence[Duplicate]
    left_out: Mapping[str, Sequence[str]]

    @property
    def num_repeated(self) -> int:
        """How many images repeat another one."""
        return sum(len(found.names) - 1 for found in self.duplicates)

    @property
    def num_across_people(self) -> int:
        """How many duplicates are said to show several people."""
        return sum(len(found.people) > 1 for found in self.duplicates)


class _Seen(NamedTuple):
    """An image that was looked at: what it is, or why it can't be read."""

    digest: bytes = b"\0" * _DIGEST
    format: str = ""
    size: tuple[int, int] = (0, 0)
    reason: str = ""


def inspect_images(
    images: str | os.PathLike[str] | ImageSource, *, identity_from: str = AUTO
) -> Inspection:
    """Reads and decodes every image once, on all cores, a few at a time.

    Args:
      images: a folder, a file, or an opened source; see
        :func:`bridges.datasets.image_source.open_images`.
      identity_from: what says who is on an image of a folder, likewise.

    Raises:
      InputError: no images there, or as ``open_images``.
    """
    if isinstance(images, str | os.PathLike):
        images = open_images(images, identity_from=identity_from)
    names = [str(record["file_name"]) for record in images.records]
    digests = np.zeros((len(images), _DIGEST), np.uint8)
    sizes: collections.Counter[tuple[int, int]] = collections.Counter()
    formats: collections.Counter[str] = collections.Counter()
    unreadable = dict(getattr(images, "unreadable", {}))
    readable = np.zeros(len(images), bool)
    for i, seen in enumerate(_looked_at(images)):
        if seen.reason:
            unreadable[names[i]] = seen.reason
            continue
        readable[i] = True
        digests[i] = np.frombuffer(seen.digest, np.uint8)
        sizes[seen.size] += 1
        formats[seen.format] += 1
    counts = np.bincount(images.labels) if images.labelled and len(images) else None
    return Inspection(
        name=images.name,
        num_images=len(images),
        num_people=len(images.identities) if images.labelled else None,
        images_per_person=None if counts is None else _spread(counts),
        sizes=dict(sizes.most_common()),
        formats=dict(formats.most_common()),
        groups=_groups(images),
        unreadable=unreadable,
        duplicates=_duplicates(images, names, digests, np.flatnonzero(readable)),
        left_out=getattr(images, "left_out", {}),
    )


def to_record(found: Inspection) -> dict[str, Any]:
    """The inspection as a JSON-ready dictionary."""
    sizes = [[*size, count] for size, count in found.sizes.items()]
    return {
        **found._asdict(),
        "sizes": sizes,
        "duplicates": [
            {"names": list(each.names), "people": list(each.people)}
            for each in found.duplicates
        ],
        "left_out": {reason: list(names) for reason, names in found.left_out.items()},
    }


def _looked_at(images: ImageSource) -> Iterator[_Seen]:
    """Looks at every image, in order."""

    def look(index: int) -> _Seen:
        name = name_of(images, index)
        try:
            content = images.read(index)
            open_bytes(content, _DECODED_SIZE, name)
            kind, size = stored_as(content, name)
        except UnreadableImage as error:
            return _Seen(reason=error.reason)
        return _Seen(hashlib.sha256(content).digest(), kind, size)

    # Decoders and hashes release the interpreter's lock, so threads run side by side.
    with (
        quiet_decoders(),
        concurrent.futures.ThreadPoolExecutor(default_num_processes()) as pool,
        progress(description="inspecting", total=len(images), unit="image") as bar,
    ):
        for start in range(0, len(images), _AT_ONCE):
            some = range(start, min(start + _AT_ONCE, len(images)))
            yield from pool.map(look, some)
            bar.update(len(some))


def _spread(counts: np.ndarray) -> dict[str, float]:
    return {
        "min": int(counts.min()),
        "median": float(np.median(counts)),
        "max": int(counts.max()),
    }


def _groups(images: ImageSource) -> dict[str, dict[str, dict[str, int]]]:
    """Images and people of each group."""
    result = {}
    for attribute, words in groups_of(images.records).items():
        known, group = np.unique(words, return_inverse=True)
        if len(known) > _MOST_WORDS:
            continue
        result[attribute] = {
            str(word): {
                "images": int((group == i).sum()),
                **(
                    {"people": len(np.unique(images.labels[group == i]))}
                    if images.labelled
                    else {}
                ),
            }
            for i, word in enumerate(known)
        }
    return result


def _duplicates(
    images: ImageSource, names: list[str], digests: np.ndarray, rows: np.ndarray
) -> list[Duplicate]:
    """Images of the same digest among ``rows``.

    Args:
      images: the source.
      names: of its images.
      digests: ``[n, 32]`` uint8.
      rows: those that could be read, ascending.
    """
    # As four numbers each they sort without an object per image.
    words = np.ascontiguousarray(digests[rows]).view(np.uint64)
    order = np.lexsort(words.T)
    equal = (words[order][1:] == words[order][:-1]).all(axis=1)
    starts = np.flatnonzero(np.diff(np.concatenate([[False], equal, [False]])))
    found = []
    for first, last in starts.reshape(-1, 2):
        same = np.sort(rows[order[first : last + 1]])
        people = np.unique(images.labels[same]) if images.labelled else ()
        found.append(
            Duplicate(
                [names[i] for i in same], [images.identities[who] for who in people]
            )
        )
    return sorted(found, key=lambda each: (-min(len(each.people), 2), each.names[0]))
