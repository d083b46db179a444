"""The page of an alignment: what was found, what was not, and what is doubtful."""

import os
import pathlib
from collections.abc import Sequence

from bridges.datasets.folder_listing import ALIGNMENT_PAGE
from bridges.photographs.alignment_folder import (
    DOUBTFUL,
    NO_FACE,
    UNREADABLE,
    read_table,
)
from bridges.report.contact_sheet import evenly_spaced
from bridges.report.elements import Captioned, Header, Section
from bridges.report.pictures import face_picture, whole_picture
from bridges.report.rendering import check_page, write_page

# A page of more would be slow to open; alignment.csv has them all.
_MOST_SHOWN = 120
_CROPS = 48
_STRIP = 10
_PROMISED = "eyes, nose and corners of the mouth lie where recognisers expect them"


def write_alignment_page(
    folder: str | os.PathLike[str], images: str | os.PathLike[str]
) -> pathlib.Path:
    """Writes ``alignment.html`` beside the crops: one self-contained page.

    Args:
      folder: of :func:`bridges.photographs.align_faces.align_faces`, complete.
      images: the photographs.

    Returns:
      The file written.

    Raises:
      InputError: the folder was not made by it, or the photographs have gone.
    """
    folder, images = pathlib.Path(folder), pathlib.Path(images)
    output = folder / ALIGNMENT_PAGE
    check_page(output)
    rows = read_table(folder)
    by_status = {
        status: [row for row in rows if row["status"] == status]
        for status in (NO_FACE, DOUBTFUL, UNREADABLE)
    }
    crops = [row for row in rows if row["crop"]]
    pictures = {row["file"] for row in rows}
    found = len({row["file"] for row in crops})
    strip = [
        face_picture(folder / crops[i]["crop"], "")
        for i in evenly_spaced(_STRIP, len(crops))
    ]
    header = Header(
        f"alignment {folder.resolve().name}",
        f"Faces found in {found:,} of {len(pictures):,} photographs",
        strip if len(strip) == _STRIP else (),
    )
    missed = [
        Captioned([whole_picture(images / row["file"], "")], row["file"])
        for row in by_status[NO_FACE][:_MOST_SHOWN]
    ]
    doubtful = [
        Captioned(
            [
                face_picture(folder / row["crop"], "the crop"),
                whole_picture(images / row["file"], "the photograph"),
            ],
            row["crop"],
            row["why"],
        )
        for row in by_status[DOUBTFUL][:_MOST_SHOWN]
    ]
    sample = [
        face_picture(folder / crops[i]["crop"], crops[i]["crop"])
        for i in evenly_spaced(_CROPS, len(crops))
    ]
    parts = [
        _captioned("missed", "No face found", missed, len(by_status[NO_FACE])),
        _captioned("doubtful", "Doubtful crops", doubtful, len(by_status[DOUBTFUL])),
        Section(
            "gallery",
            "Aligned crops",
            f"{len(sample):,} of {len(crops):,}, evenly spaced: {_PROMISED}.",
            sample,
        ),
    ]
    if by_status[UNREADABLE]:
        facts = [(row["file"], row["why"]) for row in by_status[UNREADABLE]]
        parts.append(
            Section("unreadable", "Can't be read", content=facts, template="facts")
        )
    write_page(output, header, parts)
    return output


def _captioned(
    name: str, title: str, shown: Sequence[Captioned], total: int
) -> Section:
    if not total:
        return Section(name, title, note="None.")
    lead = f"{total:,} in all."
    if total > len(shown):
        lead = f"The first {len(shown):,} of {total:,}; alignment.csv lists them all."
    return Section(name, title, lead, shown, template="captioned")
