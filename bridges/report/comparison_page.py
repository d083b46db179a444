"""The page of a comparison: recognisers by verification sets."""

import os
from collections.abc import Mapping, Sequence

from bridges.report.elements import Header, Section, Table
from bridges.report.rendering import write_page
from bridges.report.wording import count

PAGE = "table.html"


def write_comparison_page(
    output: str | os.PathLike[str], tables: Mapping[str, Sequence[Sequence[str]]]
) -> None:
    """Writes tables as one self-contained page, whole or not at all.

    Args:
      output: the file; :func:`bridges.report.rendering.check_page` says whether it may
        be replaced.
      tables: rows by title, the head first; the first table has a row a recogniser and,
        but for the first and the last column, a column a set.
    """
    first = next(iter(tables.values()))
    sets = len(first[0]) - 2
    sections = [
        Section(
            f"table-{number}",
            title,
            content=Table("files", tuple(rows[0]), [tuple(row) for row in rows[1:]]),
            template="table",
        )
        for number, (title, rows) in enumerate(tables.items(), start=1)
    ]
    headline = f"{count(len(first) - 1, 'recogniser')} on {count(sets, 'set')} of pairs"
    write_page(output, Header("comparison", headline), sections)
