"""WebDataset: tar archives, shards, whose members of one stem make up a sample.

::

    faces-000000.tar    00000012.jpg, 00000012.cls (the label in decimals) and .json

The label is in ``cls``, or in ``json`` as ``label``. Tar archives of plain folders,
which have neither, are read as well: the folder then says who is on an image.
"""

import json
import os
import pathlib
import re
import tarfile
from typing import Any, NamedTuple

from bridges.datasets.folder_listing import image_suffixes
from bridges.datasets.formats.archive_members import (
    LARGEST_TABLE,
    check_name,
    records_of,
    sort_members,
    unnamed,
)
from bridges.datasets.formats.file_ranges import LARGEST_IMAGE, FileRanges
from bridges.datasets.formats.packed_images import (
    PackedImages,
    check_file,
)
from bridges.datasets.identity_folders import AUTO
from hyperface_jax import InputError
from hyperface_jax.commands import progress

_BLOCK = 512
_LABEL = re.compile("-?[0-9]{1,18}")
_COMPRESSED = {b"\x1f\x8b": "gzip", b"BZ": "bzip2", b"\xfd7": "xz", b"\x28\xb5": "zstd"}
# Bytes of a label or of a sample's JSON at most.
_LARGEST_ENTRY = 1 << 24


class _Member(NamedTuple):
    """Where the content of a member is."""

    name: str
    shard: int
    offset: int
    size: int


class WebDataset(PackedImages):
    """Tar archives of images; an image source."""

    def __init__(
        self, path: str | os.PathLike[str], *, identity_from: str = AUTO
    ) -> None:
        """Lists the members and reads the labels; decodes no image.

        Args:
          path: a ``.tar``, or a folder of them, read in the order of their names.
          identity_from: what says who is on an image where no label does.

        Raises:
          InputError: truncated, compressed, or a name that leads out of it.
        """
        path = pathlib.Path(path)
        shards = [path]
        if path.is_dir():
            shards = sorted(path.glob("*.tar"))
        shards = [check_file(shard) for shard in shards]
        self._files = [FileRanges(shard) for shard in shards]
        members, other = [], []
        shown = progress(shards, description="listing shards", unit="shard")
        for number, shard in enumerate(shown):
            found, skipped = _list_members(shard, number)
            members += found
            other += skipped
        samples = _samples(members)
        if any(one.image and one.fields.keys() & {"cls", "json"} for one in samples):
            named = self._read_samples(samples)
        else:
            named = self._read_tree(members, identity_from, str(path))
        self._members, records, who, left_out = named
        tables = path if path.is_dir() else path.parent
        super().__init__(path, shards, records, who, tables=tables)
        self.left_out = left_out | ({"no file": other} if other else {})

    def _content(self, index: int) -> bytes:
        member = self._members[index]
        content = self._bytes(member, LARGEST_IMAGE)
        if len(content) != member.size:
            raise ValueError("the archive ends before the image does")
        return content

    def _bytes(self, member: _Member, most: int) -> bytes:
        if member.size > most:
            raise InputError(
                f"{self._files[member.shard].path}: {member.name} has {member.size:,} "
                f"bytes, expected {most:,} at most"
            )
        return self._files[member.shard].read(member.offset, member.size)

    def _read_samples(self, samples: list["_Sample"]) -> Any:
        """Images, records, labels and what is left out, of samples with labels."""
        members, records, labels, empty = [], [], [], []
        for sample in samples:
            if sample.image is None:
                empty.append(sample.key)
                continue
            record: dict[str, Any] = {}
            if "json" in sample.fields:
                record = self._json(sample.fields["json"])
            label = record.get("label")
            if "cls" in sample.fields:
                label = self._label(sample.fields["cls"])
            if label is not None and (type(label) not in (int, str) or label == ""):
                raise self._refused(sample.image, f"label {label!r} is no whole number")
            if not isinstance(record.get("file_name"), str) or not record["file_name"]:
                record["file_name"] = sample.image.name
            record.pop("label", None)
            members.append(sample.image)
            records.append(record)
            labels.append(label)
        unlabelled = [
            m for m, label in zip(members, labels, strict=True) if label is None
        ]
        if unlabelled and len(unlabelled) < len(members):
            raise self._refused(unlabelled[0], "has no label, others have one")
        if len({type(label) for label in labels}) > 1:
            raise self._refused(members[0], "has a label of another kind than others")
        left_out = {"samples without an image": empty} if empty else {}
        return members, records, None if unlabelled else labels, left_out

    def _read_tree(self, members: list[_Member], identity_from: str, place: str) -> Any:
        """The same of an archive of a plain folder."""
        names = [member.name for member in members]
        position = {name: i for i, name in enumerate(names)}
        if len(position) < len(names):
            raise InputError(f"{place}: holds a name twice; make it again")
        images, left_out = sort_members(names)
        if not images:
            raise InputError(f"{place}: no images in it")
        tables = {
            name: (
                lambda member=members[position[name]]: self._bytes(
                    member, LARGEST_TABLE
                )
            )
            for name in left_out.get("not an image by its suffix", ())
        }
        listed = [names[i] for i in images]
        named, records, who = records_of(listed, tables, identity_from, place)
        left_out |= unnamed(listed, named)
        return [members[position[name]] for name in named], records, who, left_out

    def _label(self, member: _Member) -> int:
        text = (
            self._bytes(member, _LARGEST_ENTRY)[:64].decode("ascii", "replace").strip()
        )
        if not _LABEL.fullmatch(text):
            raise self._refused(
                member, f"{text!r} is no label, expected a whole number"
            )
        return int(text)

    def _json(self, member: _Member) -> dict[str, Any]:
        try:
            value = json.loads(self._bytes(member, _LARGEST_ENTRY))
        except (ValueError, RecursionError) as error:
            raise self._refused(member, f"not JSON ({error})") from None
        if not isinstance(value, dict):
            raise self._refused(member, "expected a JSON object")
        return value

    def _refused(self, member: _Member, what: str) -> InputError:
        place = self._files[member.shard].path
        return InputError(f"{place}: {member.name}: {what}; mend the archive")


class _Sample:
    """Members of one stem, by what follows the first dot."""

    def __init__(self, key: str) -> None:
        self.key = key
        self.image: _Member | None = None
        self.fields: dict[str, _Member] = {}


def _samples(members: list[_Member]) -> list[_Sample]:
    """Groups members that follow each other and share a shard and a stem."""
    samples: list[_Sample] = []
    last = None
    for member in members:
        folder, _, base = member.name.rpartition("/")
        stem, _, field = base.partition(".")
        key = f"{folder}/{stem}" if folder else stem
        if not stem or "/." in f"/{member.name.removeprefix('./')}":
            continue  # hidden
        if (member.shard, key) != last:
            samples.append(_Sample(key))
            last = (member.shard, key)
        field = field.lower()
        if f".{field.rpartition('.')[2]}" in image_suffixes():
            samples[-1].image = samples[-1].image or member
        else:
            samples[-1].fields.setdefault(field, member)
    return samples


def _list_members(path: pathlib.Path, shard: int) -> tuple[list[_Member], list[str]]:
    """The files of an archive, and the names of what is neither file nor folder."""
    with open(path, "rb") as file:
        packed = _COMPRESSED.get(file.read(2))
        if packed is not None:
            raise InputError(
                f"{path}: compressed by {packed}; unpack it to a plain .tar, whose "
                "images can be read where they are"
            )
        file.seek(0)
        members, other = [], []
        try:
            with tarfile.open(fileobj=file, mode="r:") as archive:
                while (info := archive.next()) is not None:
                    archive.members.clear()  # millions would fill the memory
                    check_name(info.name, str(path))
                    if info.isreg() and not info.issparse():
                        members.append(
                            _Member(info.name, shard, info.offset_data, info.size)
                        )
                    elif not info.isdir():
                        other.append(info.name)
                end = archive.offset
        except (InputError, OSError):
            raise
        except Exception as error:
            # Of damaged archives the module raises what the damage leads to.
            raise _damaged(path, str(error)) from None
        # The module takes damage behind the first member for the end.
        file.seek(end)
        if file.read(_BLOCK) != bytes(_BLOCK):
            raise _damaged(path, f"no member and no end at byte {end:,}")
        size = os.fstat(file.fileno()).st_size
    torn = next((m for m in members if m.size < 0 or m.offset + m.size > size), None)
    if torn is not None:
        raise _damaged(path, f"{torn.name} ends behind the end")
    return members, other


def _damaged(path: pathlib.Path, what: str) -> InputError:
    return InputError(
        f"{path}: not a readable tar archive ({' '.join(what.split())}); it is "
        "truncated or damaged, fetch it again"
    )
