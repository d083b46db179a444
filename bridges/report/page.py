"""The report: one HTML file with everything in it, to open, mail or archive."""

import importlib.resources
import os
import pathlib
from collections.abc import Sequence

import jinja2

from bridges.report import sections
from bridges.report.elements import Header, Section
from bridges.report.run_folder import is_synthetic, read_run_folder
from hyperface_jax import InputError, files

# Marks a file as a report, which a later report may replace.
_SIGN = "Made by hyperface_jax."

_SECTIONS = (
    sections.chain,
    sections.packing,
    sections.generated,
    sections.gallery,
    sections.accuracy,
    sections.settings,
)


def write_report(
    run_folder: str | os.PathLike[str], output: str | os.PathLike[str] | None = None
) -> pathlib.Path:
    """Writes the report of a run: one self-contained page.

    Styles, plots and pictures are inside, so reading it needs no network. A section
    whose part of the run is missing says so.

    Args:
      run_folder: what :mod:`bridges.report.run_folder` describes.
      output: the file to write; by default ``report.html`` in the run folder.

    Returns:
      The file written.

    Raises:
      InputError: no such folder, nothing of a run in it, an unreadable image, or an
        output that exists and is not a report.
    """
    run = read_run_folder(run_folder)
    output = pathlib.Path(output or run.folder / "report.html")
    check_page(output)
    shown = [part for part in (run.gallery_images, run.dataset) if part is not None]
    return write_page(
        output,
        sections.header(run),
        [section(run) for section in _SECTIONS],
        all_synthetic=bool(shown) and all(is_synthetic(part) for part in shown),
    )


def check_page(output: pathlib.Path) -> None:
    """Checks that a page can be written to ``output``, before any work.

    Raises:
      InputError: a folder that is not there, or something that is no page of ours.
    """
    files.check_output(output)
    if files.was_written(output) and _SIGN.encode() not in output.read_bytes():
        raise InputError(
            f"{output}: exists and is not a report by hyperface_jax; name another "
            "--output"
        )


def write_page(
    output: pathlib.Path,
    header: Header,
    parts: Sequence[Section],
    *,
    all_synthetic: bool = False,
) -> pathlib.Path:
    """Writes one self-contained page.

    Args:
      output: the file; see :func:`check_page`.
      header: what stands on top.
      parts: the sections, in order.
      all_synthetic: say that no face on the page is of a real person.

    Returns:
      The file written.
    """
    style = importlib.resources.files("bridges.report").joinpath("style.css")
    page = (
        _templates()
        .get_template("page.html.j2")
        .render(
            header=header,
            sections=parts,
            style=style.read_text(encoding="utf-8"),
            all_synthetic=all_synthetic,
            sign=_SIGN,
        )
    )
    files.write_text(output, page)
    return output


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
