"""The report: one HTML file with everything in it, to open, mail or archive."""

import html
import importlib.resources
import os
import pathlib

from bridges.report import sections
from bridges.report.run_folder import is_synthetic, read_run_folder
from hyperface_jax import InputError, files

_PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>{title}</title>
<style>
{style}</style>
</head>
<body>
<main>
{body}
</main>
<footer>{footer}{sign}</footer>
</body>
</html>
"""


# In every page, and in nothing else that could be taken for one.
_SIGN = "Made by hyperface_jax."


def write_report(
    run_folder: str | os.PathLike[str], output: str | os.PathLike[str] | None = None
) -> pathlib.Path:
    """Writes the report of a run: one self-contained page.

    Needs no network to read: styles, plots and pictures are inside. Sections whose
    part of the run is missing say so.

    Args:
      run_folder: what :mod:`bridges.report.run_folder` describes.
      output: the file to write; by default ``report.html`` in the run folder.

    Returns:
      The file written.

    Raises:
      InputError: no such folder, nothing of a run in it, or an unreadable image.
    """
    run = read_run_folder(run_folder)
    output = pathlib.Path(output or run.folder / "report.html")
    files.check_output(output)
    _check_ours(output)
    body = "\n".join(
        section(run)
        for section in (
            sections.header,
            sections.chain,
            sections.packing,
            sections.generated,
            sections.gallery,
            sections.accuracy,
            sections.settings,
        )
    )
    shown = [part for part in (run.gallery_images, run.dataset) if part is not None]
    synthetic = shown and all(is_synthetic(part) for part in shown)
    style = importlib.resources.files("bridges.report").joinpath("style.css")
    page = _PAGE.format(
        title=html.escape(f"hyperface_jax · {run.folder.resolve().name}"),
        style=style.read_text(encoding="utf-8"),
        body=body,
        sign=_SIGN,
        footer="Every face on this page is synthetic. " if synthetic else "",
    )
    files.write_text(output, page)
    return output


def _check_ours(output: pathlib.Path) -> None:
    """Refuses to write over anything but an earlier report."""
    if files.was_written(output) and _SIGN.encode() not in output.read_bytes():
        raise InputError(
            f"{output}: exists and is no report of ours; name another --output"
        )
