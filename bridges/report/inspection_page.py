"""An inspection in words, as files, and as a page to look at."""

import os
import pathlib
from collections.abc import Mapping, Sequence

import numpy as np

from bridges.datasets.decoding import decode_bytes, quiet_decoders
from bridges.datasets.image_source import ImageSource
from bridges.datasets.images import name_of
from bridges.datasets.inspection import Duplicate, Inspection, to_record
from bridges.report.contact_sheet import (
    contact_sheet,
    encode_png,
    evenly_spaced,
    rows_by_identity,
)
from bridges.report.elements import Header, Identity, Section, Table
from bridges.report.pictures import pixels_picture
from bridges.report.rendering import check_page, write_page
from bridges.report.wording import count
from hyperface_jax import InputError, files
from hyperface_jax.artifacts import Output, check_vacant
from hyperface_jax.commands import provenance

RECORD, SHEET, PAGE = "inspection.json", "contact_sheet.png", "index.html"
# The contact sheet: people and images of each, or images of a flat folder.
_PEOPLE, _OF_EACH, _FLAT = 8, 8, 48
_FLAT_COLUMNS = 12
_FACE_PIXELS = 112
# So many of a list are said in a line, and shown in a table of the page.
_IN_A_LINE, _IN_A_TABLE = 5, 50
# A person, or None in a flat folder, and images ``[s, s, 3]`` uint8.
_Row = tuple[int | str | None, list[np.ndarray]]


def summary(found: Inspection) -> list[str]:
    """What was found, in lines; all of it is in :data:`RECORD`."""
    lines = [_headline(found)]
    lines += [f"{name}: {value}" for name, value in _facts(found)]
    for attribute, words in found.groups.items():
        told = [f"{word} {number['images']:,}" for word, number in words.items()]
        lines.append(f"{attribute}: {', '.join(told)}")
    for reason, names in sorted(found.left_out.items()):
        lines.append(f"left out: {len(names):,}, {reason}: {_some(names)}")
    named = [f"{name}: {reason}" for name, reason in found.unreadable.items()]
    lines.append(f"unreadable: {_told(named)}")
    repeats = f"duplicates by content: {found.num_repeated:,}"
    if found.num_people is not None:
        repeats += f" ({found.num_across_people:,} across people)"
    told = [_some(each.names, " = ") for each in found.duplicates]
    return [*lines, repeats + (f": {_some(told, '; ')}" if told else "")]


def write_inspection(
    found: Inspection, images: ImageSource, folder: str | os.PathLike[str]
) -> pathlib.Path:
    """Writes an inspection: a record, a contact sheet and a page.

    ``inspection.json`` holds everything; ``contact_sheet.png`` and ``index.html`` show
    a few images of some people, and the page what else there is to look at.

    Args:
      found: of these images.
      images: the source.
      folder: to write to; an earlier inspection there is replaced.

    Returns:
      The page.

    Raises:
      InputError: the folder is a file or holds something else.
    """
    folder = pathlib.Path(folder)
    check_inspection_output(folder, images.name)
    page = folder / PAGE

    def write() -> pathlib.Path:
        folder.mkdir(parents=True, exist_ok=True)
        # First, since by it the folder is known as ours.
        record = {**to_record(found), "created_with": provenance()}
        files.write_json(folder / RECORD, record)
        rows = _faces(found, images)
        files.discard(folder / SHEET)
        if rows:
            sheet = contact_sheet([faces for _, faces in rows], size=_FACE_PIXELS)
            files.write_bytes(folder / SHEET, encode_png(sheet))
        write_page(page, _header(found), _sections(found, rows))
        return page

    return Output(folder, lambda: None, is_folder=True).make(write)


def check_inspection_output(
    folder: str | os.PathLike[str], images: str | os.PathLike[str]
) -> None:
    """Checks a folder before the work whose result it is to hold.

    Args:
      folder: to write to.
      images: the folder or file that is inspected.

    Raises:
      InputError: it is a file, or holds something but no inspection; or it lies among
        the images, of which its contact sheet would be one the next time.
    """
    inside, place = pathlib.Path(folder).resolve(), pathlib.Path(images).resolve()
    if place in (inside, *inside.parents):
        raise InputError(
            f"{os.fspath(folder)}: lies in the folder of the images; name another "
            "--output"
        )
    if not (pathlib.Path(folder) / RECORD).is_file():
        check_vacant(folder, RECORD, "inspection")
    check_page(pathlib.Path(folder) / PAGE)


def _headline(found: Inspection) -> str:
    line = count(found.num_images, "image")
    if found.num_people is None:
        return f"{line}, nothing says who is on them"
    people = "person" if found.num_people == 1 else "people"
    return f"{line} of {found.num_people:,} {people}"


def _facts(found: Inspection) -> list[tuple[str, str]]:
    facts = []
    if found.images_per_person is not None:
        spread = found.images_per_person
        facts.append(
            (
                "images a person",
                f"{spread['min']:,} to {spread['max']:,}, median {spread['median']:g}",
            )
        )
    sizes = {f"{w} x {h}": number for (w, h), number in found.sizes.items()}
    return [*facts, ("sizes", _counted(sizes)), ("formats", _counted(found.formats))]


def _counted(numbers: Mapping[str, int]) -> str:
    told = [f"{name} ({number:,})" for name, number in numbers.items()]
    return _some(told) if told else "none"


def _some(told: Sequence[str], between: str = ", ") -> str:
    """The first of them, and how many more there are."""
    more = len(told) - _IN_A_LINE
    rest = f" and {more:,} more" if more > 0 else ""
    return between.join(told[:_IN_A_LINE]) + rest


def _told(named: Sequence[str]) -> str:
    return f"{len(named):,}" + (f": {_some(named, '; ')}" if named else "")


def _faces(found: Inspection, images: ImageSource) -> list[_Row]:
    """Images to show, a person a row; of a flat folder in rows without a name."""
    if images.labelled:
        chosen = evenly_spaced(_PEOPLE, len(images.identities))
        names = [images.identities[one] for one in chosen]
        rows = rows_by_identity(images, chosen, _OF_EACH)
    else:
        flat = evenly_spaced(_FLAT, len(images)) if len(images) else []
        starts = range(0, len(flat), _FLAT_COLUMNS)
        rows = [flat[start : start + _FLAT_COLUMNS] for start in starts]
        names = [None] * len(rows)
    with quiet_decoders():
        shown = [
            [
                decode_bytes(images.read(i), _FACE_PIXELS, name_of(images, i))
                for i in row
                if str(images.records[i]["file_name"]) not in found.unreadable
            ]
            for row in rows
        ]
    return [each for each in zip(names, shown, strict=True) if each[1]]


def _header(found: Inspection) -> Header:
    return Header(f"inspection of {pathlib.Path(found.name).name}", _headline(found))


def _sections(found: Inspection, rows: Sequence[_Row]) -> list[Section]:
    return [
        Section("inspection", "What is in it", content=_facts(found), template="facts"),
        _faces_section(found, rows),
        _groups_section(found),
        _duplicates_section(found),
        _unreadable_section(found),
    ]


def _faces_section(found: Inspection, rows: Sequence[_Row]) -> Section:
    if not rows:
        return Section("people", "Faces", note="None can be read.")
    if found.num_people is None:
        flat = [face for _, faces in rows for face in faces]
        content = [pixels_picture(face, f"image {k}") for k, face in enumerate(flat)]
        return Section("gallery", "Faces", "Some of the images.", content)
    people = []
    for name, faces in rows:
        shown = [pixels_picture(f, f"{name}, image {k}") for k, f in enumerate(faces)]
        people.append(Identity(name, None, None, shown))
    return Section(
        "people", "Faces", "Some of the people, a row each.", people, "", "generated"
    )


def _groups_section(found: Inspection) -> Section:
    rows = [
        (attribute, word, f"{numbers['images']:,}", f"{numbers.get('people', '–')}")
        for attribute, words in found.groups.items()
        for word, numbers in words.items()
    ]
    table = Table("groups", ("attribute", "group", "images", "people"), rows)
    note = "" if rows else "No attribute groups every image."
    return Section("groups", "Groups", "", table, note, "table")


def _duplicates_section(found: Inspection) -> Section:
    def row(each: Duplicate) -> tuple[str, str, str]:
        names = _some(list(map(str, each.names)))
        return (names, _some(list(map(str, each.people))), f"{len(each.names):,}")

    rows = [row(each) for each in found.duplicates[:_IN_A_TABLE]]
    table = Table("files", ("images of the same bytes", "people", "images"), rows)
    lead = f"{found.num_repeated:,} images repeat another one." if rows else ""
    if found.num_across_people:
        lead += f" {count(found.num_across_people, 'time')} across people."
    note = "" if rows else "No two images are the same file."
    return Section("duplicates", "Duplicates", lead, table, note, "table")


def _unreadable_section(found: Inspection) -> Section:
    rows = list(found.unreadable.items())
    table = Table("files", ("image", "why it can't be read"), rows[:_IN_A_TABLE])
    lead = f"{len(rows):,} of {found.num_images:,}." if rows else ""
    note = "" if rows else "Every image was decoded."
    return Section("unreadable", "Unreadable", lead, table, note, "table")
