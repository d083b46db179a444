"""Elements of the page: sections, tables, cards and the wording of numbers."""

import html
from collections.abc import Sequence


def section(name: str, title: str, lead: str, body: str) -> str:
    """A titled section.

    Args:
      name: its anchor.
      title: plain text.
      lead: a sentence under the title, plain text, may be empty.
      body: HTML.
    """
    lead = f"<p class='lead'>{html.escape(lead)}</p>" if lead else ""
    return f"<section id='{name}'><h2>{html.escape(title)}</h2>{lead}{body}</section>"


def note(text: str) -> str:
    """A remark set apart: what is missing, and why."""
    return f"<p class='note'>{html.escape(text)}</p>"


def card(name: str, figure: str, text: str) -> str:
    """A stage of the chain: its name, its number, what the number counts."""
    return (
        f"<li><span class='name'>{html.escape(name)}</span>"
        f"<span class='figure'>{html.escape(figure)}</span>"
        f"<span class='text'>{html.escape(text)}</span></li>"
    )


def table(head: Sequence[str], rows: Sequence[Sequence[str]], kind: str) -> str:
    """A table; on a narrow screen it scrolls sideways or, of some kinds, is cards.

    Args:
      head: column titles.
      rows: cells, plain text; the first of each row names it.
      kind: its class in the style sheet.
    """
    titles = "".join(f"<th scope='col'>{html.escape(title)}</th>" for title in head)
    lines = "".join(_row(head[1:], row) for row in rows)
    return (
        f"<div class='table {kind}'><table><thead><tr>{titles}</tr></thead>"
        f"<tbody>{lines}</tbody></table></div>"
    )


def _row(titles: Sequence[str], row: Sequence[str]) -> str:
    first, *rest = row
    # A narrow screen shows some tables as cards, where each cell names its column.
    cells = "".join(
        f"<td data-title='{html.escape(title)}'>{html.escape(cell)}</td>"
        for title, cell in zip(titles, rest, strict=True)
    )
    return f"<tr><th scope='row'>{html.escape(first)}</th>{cells}</tr>"


def facts(values: Sequence[tuple[str, object]]) -> str:
    """A list of names and values; values that are None are left out."""
    items = "".join(
        f"<div><dt>{html.escape(name)}</dt><dd>{html.escape(str(value))}</dd></div>"
        for name, value in values
        if value is not None
    )
    return f"<dl>{items}</dl>"


def count(number: int, noun: str) -> str:
    """``1 face``, ``2,000 faces``, ``3 identities``."""
    plural = noun[:-1] + "ies" if noun.endswith("y") else noun + "s"
    return f"{number:,} {noun if number == 1 else plural}"


def duration(seconds: float | None) -> str:
    """``12 s``, ``3 min 05 s``, or a dash when unknown."""
    if seconds is None:
        return "–"
    whole = round(seconds)
    return f"{whole} s" if whole < 60 else f"{whole // 60} min {whole % 60:02d} s"


def moment(text: str | None) -> str | None:
    """An ISO 8601 time to the minute, as people write it."""
    return text and f"{text[:10]} {text[11:16]} UTC"


def short_commit(commit: str | None) -> str | None:
    """The first twelve digits of a commit, with its + when files were changed."""
    return commit and commit[:12] + "+" * commit.endswith("+")


def percent(value: float | None) -> str:
    """A fraction in per cent with one decimal, or a dash when unknown."""
    return "–" if value is None else f"{100 * value:.1f} %"
