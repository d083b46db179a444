"""Listing of a folder of images: the images, and what is left out and why."""

import functools
import os
import pathlib
from typing import NamedTuple

from PIL import Image

from bridges.datasets.dataset_facts import CARD, CHECKSUMS, CROISSANT
from bridges.datasets.decoding import decoded_formats

# Where systems and programs keep copies, thumbnails and deleted files.
_SYSTEM_FOLDERS = frozenset(
    (
        "$recycle.bin",
        "#recycle",
        "#snapshot",
        "@eadir",
        "@recycle",
        "@recently-snapshot",
        "__macosx",
        "lost+found",
        "system volume information",
        "_thumbs",
        "_vti_cnf",
        "thumb",
        "thumbnail",
        "thumbnails",
        "thumbs",
    )
)
# What hyperface-align writes beside crops, which says nothing of who is on them.
ALIGNMENT, ALIGNMENT_TABLE = "alignment.json", "alignment.csv"
ALIGNMENT_PAGE = "alignment.html"
# Likewise hyperface-convert; the tables are read where a format has numbers alone.
CONVERSION, LABELS, RECORDS = "conversion.json", "labels.csv", "records.jsonl"
# And hyperface-generate, whatever the format.
REFERENCES = "references.npz"
BESIDE_GENERATED = frozenset((CARD, CROISSANT, CHECKSUMS, REFERENCES))
_PASSED_OVER = BESIDE_GENERATED | {
    ALIGNMENT,
    ALIGNMENT_TABLE,
    ALIGNMENT_PAGE,
    CONVERSION,
    LABELS,
    RECORDS,
}
# Why other files of phones and cameras don't count, by their suffix.
_HEIC = "HEIC, which needs the package pi-heif: make photos, or pip install pi-heif"
_VIDEO = "a video; write its frames as images to use them"
_KNOWN_SUFFIXES = {
    ".heic": _HEIC,
    ".heif": _HEIC,
    **dict.fromkeys(
        ".3gp .avi .m4v .mkv .mov .mp4 .mpeg .mpg .mts .webm .wmv".split(), _VIDEO
    ),
}
# Files that say who is on the images beside them.
_METADATA = ("metadata.jsonl", "metadata.csv", "metadata.parquet", "dataset.json")
# Deeper nesting is no collection of photographs, and would exhaust Python's stack.
_DEEPEST = 100


class Listing(NamedTuple):
    """The files of a folder, by paths relative to it with ``/``, each part sorted.

    Attributes:
      images: files with the suffix of an image.
      left_out: what does not count, by the reason.
      unreadable: folders that can't be listed and links that lead nowhere, and why.
      metadata: files that say who is on the images beside them.
    """

    images: list[str]
    left_out: dict[str, list[str]]
    unreadable: dict[str, str]
    metadata: list[str]


@functools.cache
def image_suffixes() -> frozenset[str]:
    """Suffixes, lower case, of all formats that Pillow decodes."""
    formats = decoded_formats()
    known = Image.registered_extensions().items()
    # MPO, as stereo cameras write it, is a JPEG followed by another one.
    return frozenset([suffix for suffix, name in known if name in formats] + [".mpo"])


def list_images(folder: str | os.PathLike[str]) -> Listing:
    """Lists a folder and everything below it, following links; an image counts once.

    Args:
      folder: it exists.
    """
    listing = Listing([], {}, {}, [])
    lister = _Lister(pathlib.Path(folder), listing)
    lister.visit("")
    for names in (listing.images, listing.metadata, *listing.left_out.values()):
        names.sort()
    if lister.followed_links:
        _leave_out_repeated(pathlib.Path(folder), listing)
    return listing


def is_of_a_system(name: str) -> bool:
    """Whether systems or programs keep thumbnails or deleted files there."""
    return name.lower() in _SYSTEM_FOLDERS


class _Lister:
    """Walks a folder, adding to a listing."""

    def __init__(self, root: pathlib.Path, listing: Listing) -> None:
        self._root = root
        self._listing = listing
        self.followed_links = False

    def visit(self, name: str) -> bool:
        """Lists the folder ``name`` below the root; returns whether it holds images."""
        if name.count("/") >= _DEEPEST:
            self._listing.unreadable[name] = "nested too deeply"
            return True
        try:
            entries = sorted(os.scandir(self._root / name), key=lambda e: e.name)
        except OSError as error:
            reason = error.strerror or str(error)
            self._listing.unreadable[name or "."] = f"can't be listed ({reason})"
            return True
        before = len(self._listing.images)
        prefix = f"{name}/" if name else ""
        below = [self._see(entry, prefix + entry.name) for entry in entries]
        holds = len(self._listing.images) > before or any(below)
        if not holds and name:
            self._leave_out("folder without images", name)
        return holds

    def _see(self, entry: os.DirEntry, name: str) -> bool:
        """Lists an entry; returns whether it is a folder that holds images."""
        self.followed_links |= entry.is_symlink()
        if entry.name.startswith("."):
            self._leave_out("hidden", name)
        elif entry.is_symlink() and not os.path.exists(entry.path):
            # It may have led to a person's folder as well as to an image.
            self._listing.unreadable[name] = "a link that leads nowhere"
        elif entry.is_dir():
            return self._enter(entry, name)
        elif entry.name in _METADATA:
            self._listing.metadata.append(name)
        elif not entry.is_file():
            self._leave_out("no file", name)
        else:
            self._see_file(entry.name, name)
        return False

    def _see_file(self, entry_name: str, name: str) -> None:
        suffix = os.path.splitext(entry_name)[1].lower()
        if suffix in image_suffixes():
            self._listing.images.append(name)
        elif entry_name not in _PASSED_OVER:
            reason = _KNOWN_SUFFIXES.get(suffix, "not an image by its suffix")
            self._leave_out(reason, name)

    def _enter(self, entry: os.DirEntry, name: str) -> bool:
        if is_of_a_system(entry.name):
            self._leave_out("folder of thumbnails or of the system", name)
            return False
        if entry.is_symlink() and _leads_above(pathlib.Path(entry.path)):
            self._leave_out("link to a folder that it lies in", name)
            return False
        return self.visit(name)

    def _leave_out(self, reason: str, name: str) -> None:
        self._listing.left_out.setdefault(reason, []).append(name)


def _leads_above(link: pathlib.Path) -> bool:
    """Whether following a link to a folder would never end."""
    target = link.resolve()
    return any(parent.resolve() == target for parent in link.parents)


def _leave_out_repeated(root: pathlib.Path, listing: Listing) -> None:
    """Leaves out images that are listed twice because a link leads to them."""
    real = root.resolve()
    # An image in its own place is preferred to links to it.
    target = {name: os.path.realpath(root / name) for name in listing.images}
    order = sorted(
        listing.images, key=lambda name: (target[name] != os.fspath(real / name), name)
    )
    seen: set[str] = set()
    repeated = []
    for name in order:
        if target[name] in seen:
            repeated.append(name)
        seen.add(target[name])
    if repeated:
        listing.left_out["link to an image listed already"] = sorted(repeated)
        gone = set(repeated)
        listing.images[:] = [name for name in listing.images if name not in gone]
