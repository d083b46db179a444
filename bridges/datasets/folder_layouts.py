"""The layouts of folders of images: what each says of its images.

A dataset folder, or any with ``metadata.jsonl`` or ``metadata.csv``, has a line per
image; a tree has a
folder per identity; a flat folder does not say who is who.
"""

import os
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from bridges.datasets.dataset_format import (
    DESCRIPTION,
    METADATA,
    METADATA_TABLE,
    identities_in,
    read_metadata,
    read_metadata_table,
)
from bridges.datasets.folder_listing import ALIGNMENT, Listing, list_images
from bridges.datasets.identity_folders import AUTO, identities_of
from hyperface_jax import InputError
from hyperface_jax.artifacts import read_json


class FolderContent(NamedTuple):
    """The images of a folder.

    Attributes:
      records: a dictionary per image: the metadata, at least ``file_name``.
      who: the identity of each image; None where nothing says it.
      left_out: paths below the folder that do not count, by the reason.
      unreadable: paths of folders and links that can't be followed, and why not.
    """

    records: list[dict[str, Any]]
    who: list[int | str] | None
    left_out: Mapping[str, Sequence[str]] = {}
    unreadable: Mapping[str, str] = {}


def read_folder(folder: pathlib.Path, identity_from: str) -> FolderContent:
    """Lists a folder of any of the layouts; reads no image.

    Args:
      folder: it exists.
      identity_from: what says who is on an image where there is no metadata, a key of
        :data:`bridges.datasets.identity_folders.IDENTITY_FROM`. All but ``"auto"``
        ignore metadata.

    Raises:
      InputError: an unfinished dataset, metadata that name no identity or lie
        elsewhere, or folders that leave it open who is who.
    """
    # A link that leads nowhere is refused, not ignored.
    if identity_from == AUTO and os.path.lexists(folder / METADATA):
        return _described(folder, METADATA, read_metadata(folder / METADATA))
    if identity_from == AUTO and (folder / DESCRIPTION).exists():
        raise InputError(
            f"{folder}: the dataset is unfinished; run the command that was "
            "making it again, it goes on where it stopped"
        )
    if identity_from == AUTO and os.path.lexists(folder / METADATA_TABLE):
        records = read_metadata_table(folder / METADATA_TABLE)
        return _described(folder, METADATA_TABLE, records)
    _refuse_unfinished_alignment(folder)
    listing = list_images(folder)
    if listing.metadata and identity_from == AUTO:
        _refuse_misplaced(folder, listing.metadata[0])
    if any("/" in name for name in listing.images):
        return _by_identity(folder, listing, identity_from)
    return _flat(listing)


def _described(
    folder: pathlib.Path, table: str, records: list[dict[str, Any]]
) -> FolderContent:
    """The images that a table names."""
    who = identities_in(records)
    if (folder / DESCRIPTION).exists():
        return FolderContent(records, who)
    # Of our making, the metadata name every image; others' may not.
    named = {os.path.normpath(record["file_name"]) for record in records}
    found = list_images(folder).images
    unnamed = [name for name in found if os.path.normpath(name) not in named]
    left_out = {f"not in {table}": unnamed} if unnamed else {}
    return FolderContent(records, who, left_out)


def _by_identity(
    folder: pathlib.Path, listing: Listing, identity_from: str
) -> FolderContent:
    """The images of a tree with a folder per identity."""
    who = identities_of(listing.images, identity_from, str(folder))
    return _flat(listing)._replace(who=who)


def _flat(listing: Listing) -> FolderContent:
    """The images of a folder that does not say who is on them."""
    records = [{"file_name": name} for name in listing.images]
    return FolderContent(records, None, listing.left_out, listing.unreadable)


def _refuse_unfinished_alignment(folder: pathlib.Path) -> None:
    path = folder / ALIGNMENT
    if path.is_file() and read_json(path).get("complete") is False:
        raise InputError(
            f"{folder}: the alignment is unfinished; run hyperface-align again, it "
            "goes on where it stopped"
        )


def _refuse_misplaced(folder: pathlib.Path, metadata: str) -> None:
    remedy = (
        "give that folder"
        if "/" in metadata
        else f"write it as {METADATA}, lines of file_name and identity"
    )
    raise InputError(
        f"{folder}: {metadata} says who is on the images beside it; {remedy}, or "
        "--identity_from=top, last or path to go by the names of folders"
    )
