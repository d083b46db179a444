"""Identities of images from the names of their folders."""

import collections
import os
import posixpath
import unicodedata
from collections.abc import Sequence

from hyperface_jax import InputError

# Names of folders that hold images of more than one person.
_OF_MANY = frozenset(
    (
        "data dataset dev eval faces images imgs masks photos pictures test testing "
        "train training val valid validation"
    ).split()
)
AUTO, TOP, LAST, PATH = "auto", "top", "last", "path"
# The choices, as --help explains them.
IDENTITY_FROM = {
    AUTO: "the top folder, refused where that may be wrong",
    TOP: "the top folder: ann/2019/1.jpg shows ann",
    LAST: "the folder the image lies in: train/ann/1.jpg and test/ann/2.jpg show ann",
    PATH: "all folders together: train/ann and test/ann are two people",
}
_PERSON = {
    TOP: lambda folders: folders[0],
    LAST: lambda folders: folders[-1],
    PATH: lambda folders: "/".join(folders),
}


def check_identity_from(identity_from: str, *more: str) -> None:
    """Refuses what is no key of ``IDENTITY_FROM`` and none of ``more``."""
    known = (*IDENTITY_FROM, *more)
    if identity_from not in known:
        raise InputError(
            f"identity_from is {identity_from!r}, expected one of {', '.join(known)}"
        )


def identities_of(
    names: Sequence[str], identity_from: str, place: str
) -> list[str] | None:
    """The identity of each image in a tree of folders.

    Args:
      names: paths of the images, with ``/``.
      identity_from: a key of ``IDENTITY_FROM``.
      place: the folder they are in, for messages.

    Returns:
      A name for each, or None for a flat folder, which does not say who is who.

    Raises:
      InputError: images beside the identities' folders; with ``"auto"``, folders with
        more than one possible meaning.
    """
    folders = [posixpath.dirname(name) for name in names]
    if not any(folders):
        return None
    if "" in folders:
        beside = folders.count("")
        raise InputError(
            f"{place}: {beside} of {len(names)} images lie beside the identities' "
            f"folders, {names[folders.index('')]} first; put them into one, or "
            "elsewhere"
        )
    if identity_from == AUTO:
        _refuse_ambiguous(sorted(set(folders)), place)
        identity_from = TOP
    return [_PERSON[identity_from](folder.split("/")) for folder in folders]


def _refuse_ambiguous(folders: Sequence[str], place: str) -> None:
    """Refuses folders where the top ones may not be people.

    Args:
      folders: all that hold images, sorted.
      place: for messages.
    """
    by_last = collections.defaultdict(list)
    below = collections.defaultdict(list)
    for folder in folders:
        by_last[_spelling(posixpath.basename(folder))].append(folder)
        below[folder.split("/")[0]].append(folder)
    for alike in by_last.values():
        names = {posixpath.basename(folder) for folder in alike}
        if len(names) > 1:
            raise InputError(
                f"{place}: {alike[0]} and {alike[1]} differ in spelling alone; rename "
                f"one, or say by --identity_from={PATH} that they are two people"
            )
        if len(alike) > 1:
            _refuse(place, f"{alike[0]} and {alike[1]} have the same last name")
    for top, inside in below.items():
        if top not in inside and len(inside) > 1:
            _refuse(place, f"in {top} images lie only in its {len(inside)} folders")
        if top.casefold() in _OF_MANY:
            _refuse(place, f"{top} does not sound like one person")


def _spelling(name: str) -> str:
    """The name without regard to case and to how accents are encoded.

    Copying between systems can turn one folder into two that differ in these alone.
    """
    # Through bytes: in some locales Python decodes names as something else.
    text = os.fsencode(name).decode("utf-8", "replace")
    return unicodedata.normalize("NFC", text).casefold()


def _refuse(place: str, found: str) -> None:
    raise InputError(
        f"{place}: {found}, so who is who is unclear; give one of the folders below, "
        f"or --identity_from={TOP} (each folder right below it is a person), {LAST} "
        f"(each name of a folder with images in it) or {PATH} (each such folder)"
    )
