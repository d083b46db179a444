"""Writing of a page from its header and sections."""

import importlib.resources
import os
import pathlib
from collections.abc import Sequence

import jinja2

from bridges.report.elements import Header, Section
from hyperface_jax import InputError, files

# Marks a file as a page of ours, which a later one may replace.
_SIGN = "Made by hyperface_jax."


def check_page(output: str | os.PathLike[str]) -> None:
    """Checks that a page can be written, before the work that it is to show.

    Raises:
      InputError: the output can't be written, or exists and is no page of ours.
    """
    files.check_output(output)
    output = pathlib.Path(output)
    if files.was_written(output) and _SIGN.encode() not in output.read_bytes():
        raise InputError(
            f"{output}: exists and is not a report by hyperface_jax; name another "
            "--output"
        )


def write_page(
    output: str | os.PathLike[str],
    header: Header,
    sections: Sequence[Section],
    *,
    all_synthetic: bool = False,
) -> None:
    """Writes one self-contained page, whole or not at all.

    Args:
      output: the file; :func:`check_page` says whether it may be replaced.
      header: of the page.
      sections: in their order.
      all_synthetic: whether to say that every face on it is.
    """
    style = importlib.resources.files("bridges.report").joinpath("style.css")
    page = (
        _templates()
        .get_template("page.html.j2")
        .render(
            header=header,
            sections=sections,
            style=style.read_text(encoding="utf-8"),
            all_synthetic=all_synthetic,
            sign=_SIGN,
        )
    )
    files.write_text(output, page)


def _templates() -> jinja2.Environment:
    """The templates; they escape every value, and an undefined one is an error."""
    return jinja2.Environment(
        loader=jinja2.PackageLoader("bridges.report"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
