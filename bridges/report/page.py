"""The report: one HTML file with everything in it, to open, mail or archive."""

import os
import pathlib

from bridges.report import sections
from bridges.report.rendering import check_page, write_page
from bridges.report.run_folder import is_synthetic, read_run_folder

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
    write_page(
        output,
        sections.header(run),
        [section(run) for section in _SECTIONS],
        all_synthetic=bool(shown) and all(is_synthetic(part) for part in shown),
    )
    return output
