"""What the names of an archive's members say: which are safe, and who is on them."""

import json
import posixpath
from collections.abc import Callable, Sequence
from typing import Any

from bridges.datasets.dataset_format import METADATA, identities_in, parse_metadata
from bridges.datasets.folder_listing import image_suffixes, is_of_a_system
from bridges.datasets.formats.stylegan import LABELS_FILE, labels_of
from bridges.datasets.identity_folders import (
    AUTO,
    check_identity_from,
    identities_of,
)
from hyperface_jax import InputError

# Bytes of a table in an archive at most.
LARGEST_TABLE = 1 << 30


def check_name(name: str, place: str) -> None:
    """Refuses an archive whose members would lie outside of it.

    Raises:
      InputError: an absolute name, one with ``..``, or one that is no text.
    """
    parts = name.replace("\\", "/").split("/")
    drive = len(parts[0]) == 2 and parts[0].endswith(":")
    if name.startswith(("/", "\\")) or ".." in parts or drive or "\0" in name:
        raise InputError(
            f"{place}: member {name[:200]!r} would lie outside of the archive; make it "
            "again with plain relative names"
        )


def sort_members(names: Sequence[str]) -> tuple[list[int], dict[str, list[str]]]:
    """Tells images from what else is in an archive.

    Args:
      names: of the members that are files.

    Returns:
      The positions of images in ``names``, and what is left out by the reason.
    """
    kept, left_out = [], {}
    for position, name in enumerate(names):
        parts = name.split("/")
        reason = None
        if any(part.startswith(".") and part != "." for part in parts):
            reason = "hidden"
        elif any(map(is_of_a_system, parts[:-1])):
            reason = "folder of thumbnails or of the system"
        elif posixpath.splitext(name)[1].lower() not in image_suffixes():
            reason = "not an image by its suffix"
        if reason is None:
            kept.append(position)
        else:
            left_out.setdefault(reason, []).append(name)
    return kept, left_out


def records_of(
    names: Sequence[str],
    tables: dict[str, Callable[[], bytes]],
    identity_from: str,
    place: str,
) -> tuple[list[str], list[dict[str, Any]], list[int | str] | None]:
    """Who is on the images of an archive.

    As in a folder: ``metadata.jsonl`` says it, or StyleGAN's ``dataset.json``, or the
    names of folders. Folders that all images are in do not count: archives are made
    of a folder as often as of what is in it.

    Args:
      names: of the images.
      tables: what reads the other members, by name.
      identity_from: a key of :data:`bridges.datasets.identity_folders.IDENTITY_FROM`.
      place: the archive, for messages.

    Returns:
      The images that count, a record for each, and the identity of each or None.

    Raises:
      InputError: tables that are damaged or don't fit, or an unclear tree of folders.
    """
    check_identity_from(identity_from)
    if identity_from == AUTO:
        for table, parse in ((METADATA, _described), (LABELS_FILE, _labelled)):
            member = _shallowest(table, tables)
            if member is not None:
                text = _text(tables[member], f"{place}: {member}")
                found = parse(text, posixpath.dirname(member), f"{place}: {member}")
                if found is not None:
                    _check_present(found[0], names, f"{place}: {member}")
                    return found
    common = posixpath.commonpath(names) if len(names) > 1 else ""
    depth = min(name.count("/") for name in names)
    skipped = min(common.count("/") + bool(common), max(depth - 1, 0))
    inner = ["/".join(name.split("/")[skipped:]) for name in names]
    who = identities_of(inner, identity_from, place)
    return list(names), [{"file_name": name} for name in names], who


def unnamed(names: Sequence[str], named: Sequence[str]) -> dict[str, list[str]]:
    """What is left out, by the reason, where a table names some of the images alone."""
    listed = set(named)
    rest = [name for name in names if name not in listed]
    return {"not in the table of the archive": rest} if rest else {}


def _described(text: str, folder: str, place: str) -> Any:
    """The images of ``metadata.jsonl``."""
    records = parse_metadata(text, place)
    names = [_below(folder, record["file_name"]) for record in records]
    return names, records, identities_in(records)


def _labelled(text: str, folder: str, place: str) -> Any:
    """The images of StyleGAN's ``dataset.json``; None where it is something else."""
    try:
        labels = labels_of(json.loads(text), place)
    except (ValueError, RecursionError) as error:
        raise InputError(f"{place}: not JSON ({error})") from None
    if labels is None:
        return None
    names = [_below(folder, name) for name in labels]
    return names, [{"file_name": name} for name in names], list(labels.values())


def _below(folder: str, name: str) -> str:
    return posixpath.normpath(posixpath.join(folder, name.replace("\\", "/")))


def _shallowest(table: str, members: dict[str, Any]) -> str | None:
    """The member of that name that is in the fewest folders."""
    found = [name for name in members if posixpath.basename(name) == table]
    return min(found, key=lambda name: (name.count("/"), name), default=None)


def _text(read: Callable[[], bytes], place: str) -> str:
    try:
        return read().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError(f"{place}: not text ({error})") from None


def _check_present(wanted: Sequence[str], names: Sequence[str], place: str) -> None:
    present = set(names)
    missing = [name for name in wanted if name not in present]
    if missing:
        raise InputError(
            f"{place}: names {missing[0]!r}, which is not in the archive; the archive "
            "is incomplete, make it again"
        )
