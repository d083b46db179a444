"""What pages are made of: contact sheets, plots, numbers in words."""

import io
import re

import numpy as np
import pytest
from PIL import Image

from bridges.report.contact_sheet import contact_sheet, encode_png, evenly_spaced
from bridges.report.plots import plot_convergence
from bridges.report.wording import count, duration


def test_a_contact_sheet_puts_every_face_in_its_place():
    colours = np.arange(5, dtype=np.uint8) * 40
    faces = [np.full((8, 8, 3), colour, np.uint8) for colour in colours]
    sheet = contact_sheet([faces[:3], faces[3:]], size=8, gap=2)
    assert sheet.shape == (22, 32, 3)
    np.testing.assert_array_equal(sheet[2:10, 12:20], faces[1])
    np.testing.assert_array_equal(sheet[12:20, 2:10], faces[3])
    assert (sheet[12:20, 22:30] == 255).all(), "a shorter row ends in white"
    decoded = np.asarray(Image.open(io.BytesIO(encode_png(sheet))))
    np.testing.assert_array_equal(decoded, sheet)


def test_plots_take_every_colour_from_the_page():
    svg = plot_convergence(np.arange(3), np.arange(3.0), label="a & b")
    assert not re.search(r"#[0-9a-f]{6}", svg.replace("#000000", "")), svg
    assert 'aria-label="a &amp; b"' in svg


@pytest.mark.parametrize(
    ("total", "expected"), [(1, [0]), (3, [0, 1, 2]), (9, [0, 4, 8])]
)
def test_indices_are_evenly_spaced(total, expected):
    assert evenly_spaced(3, total) == expected


def test_wording():
    assert [count(1, "face"), count(2000, "identity")] == ["1 face", "2,000 identities"]
    assert [duration(s) for s in (None, 59.4, 59.6, 3600)] == [
        "–",
        "59 s",
        "1 min 00 s",
        "60 min 00 s",
    ]
