"""Elements of the page as plain data; the templates turn them into HTML."""

from collections.abc import Sequence
from typing import Any, NamedTuple

# Names and values in a list; a value that is None is left out.
Facts = Sequence[tuple[str, object]]


class Section(NamedTuple):
    """A titled section.

    Attributes:
      name: its anchor; ``<name>.html.j2`` is the template of its content, unless
        ``template`` names another.
      title: the heading.
      lead: a sentence under the title, may be empty.
      content: the values that the template shows, as its variable ``content``.
      note: shown in place of the content: what is missing, and why.
      template: of the content, without its suffixes.
    """

    name: str
    title: str
    lead: str = ""
    content: Any = None
    note: str = ""
    template: str = ""


class Card(NamedTuple):
    """A stage of the chain: its name, its main figure, and what that measures."""

    name: str
    figure: str
    text: str


class Picture(NamedTuple):
    """An image that the page carries inside.

    Attributes:
      source: the image as a data URI.
      alternative: the description for readers who do not see it.
    """

    source: str
    alternative: str


class Captioned(NamedTuple):
    """A picture with words beneath it.

    Attributes:
      pictures: one, or several that belong together.
      name: of what they show, in bold.
      text: what is to be said of it; may be empty.
    """

    pictures: Sequence[Picture]
    name: str
    text: str = ""


class Header(NamedTuple):
    """The head of the page.

    Attributes:
      kicker: what the page is of, in a word and a name: ``"run demo"``.
      headline: one sentence.
      faces: a strip of faces, 10 or 20; may be empty.
    """

    kicker: str
    headline: str
    faces: Sequence[Picture] = ()


class Identity(NamedTuple):
    """A person on the page.

    Attributes:
      name: its name or number.
      cosine: mean cosine of its images to the reference embedding, or None.
      neighbour: the gallery face nearest to the reference, or None.
      faces: its first images.
    """

    name: str | int
    cosine: str | None
    neighbour: Picture | None
    faces: Sequence[Picture]


class Plot(NamedTuple):
    """A drawing and its caption.

    Attributes:
      svg: an ``<svg>`` element of :mod:`bridges.report.plots`, the only markup among
        the elements.
      caption: plain text.
    """

    svg: str
    caption: str


class Table(NamedTuple):
    """A table; on a narrow screen it scrolls sideways or turns into cards.

    Attributes:
      kind: its class in the style sheet.
      head: column titles.
      rows: cells, as many as titles; the first of each row names it.
    """

    kind: str
    head: Sequence[str]
    rows: Sequence[Sequence[str]]
