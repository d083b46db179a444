"""Catalogues whose names of folders and files say everything."""

import collections
import pathlib
import posixpath
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from bridges.datasets.folder_layouts import FolderContent
from bridges.datasets.folder_listing import list_images
from hyperface_jax import InputError


class Entry(NamedTuple):
    """What the name of an image says.

    Attributes:
      who: the identity; None in a catalogue that has none.
      attributes: of the person, see :mod:`bridges.datasets.catalogues.attributes`.
    """

    who: int | str | None
    attributes: Mapping[str, Any] = {}


def read_names(
    folder: pathlib.Path,
    parse: Callable[[str], Entry | str],
    *,
    title: str,
    layout: str,
    person_folders: bool = True,
) -> FolderContent:
    """Reads a folder by the names of its images; opens no image.

    Images that are not named as in the catalogue are left out, with the reason. Folders
    above those that the layout names may be there or not.

    Args:
      folder: it exists.
      parse: what a path below the folder, with ``/``, says; or why it says nothing.
      title: of the catalogue, for messages.
      layout: how it names images, likewise.
      person_folders: whether the images of a person lie in a folder of their own.

    Raises:
      InputError: fewer than half of the images are named so, or the images of one
        person lie in two folders.
    """
    listing = list_images(folder)
    found = {name: parse(name) for name in listing.images}
    entries = {name: e for name, e in found.items() if isinstance(e, Entry)}
    others = [name for name in found if name not in entries]
    if len(entries) < len(others):
        raise InputError(
            f"{folder}: no folder of {title}, which has {layout}: "
            f"{len(others):,} of {len(found):,} images are not named so, {others[0]} "
            "first; give the folder that was unpacked, or another --identity_from"
        )
    left_out = collections.defaultdict(list, listing.left_out)
    for name in others:
        left_out[found[name]].append(name)
    labelled = any(entry.who is not None for entry in entries.values())
    if labelled and person_folders:
        _check_one_folder(folder, entries)
    return FolderContent(
        [{"file_name": name, **e.attributes} for name, e in entries.items()],
        [entry.who for entry in entries.values()] if labelled else None,
        dict(left_out),
        listing.unreadable,
    )


def folders_of(name: str) -> list[str]:
    """The folders above an image, the top one first."""
    return posixpath.dirname(name).split("/")


def stem_of(name: str) -> str:
    """The name of an image's file without its suffix."""
    return posixpath.splitext(posixpath.basename(name))[0]


def _check_one_folder(folder: pathlib.Path, entries: dict[str, Entry]) -> None:
    """Refuses two copies of a catalogue, and one person in two of its groups."""
    place: dict[int | str | None, str] = {}
    for name, entry in entries.items():
        inside = posixpath.dirname(name)
        before = place.setdefault(entry.who, inside)
        if before != inside:
            raise InputError(
                f"{folder}: {before} and {inside} are both of {entry.who}; give one of "
                "the folders above, or --identity_from=path if they are two people"
            )
