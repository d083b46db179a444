"""Damaged images of every format are read, or refused by name."""

import io

import numpy as np
import pytest
from PIL import Image

from bridges.datasets.images import read_image
from tests.datasets.heic import HEIC
from tests.fuzz.readers import survive

FORMATS = {
    "jpg": {"quality": 90},
    "progressive.jpg": {"progressive": True},
    "png": {},
    "palette.png": {"mode": "P"},
    "gif": {"mode": "P"},
    "tif": {},
    "deflate.tif": {"compression": "tiff_adobe_deflate"},
    "lzw.tif": {"compression": "tiff_lzw"},
    "webp": {},
    "lossless.webp": {"lossless": True},
    "avif": {},
    "jp2": {},
    "bmp": {},
    "ppm": {},
    "pgm": {"mode": "L"},
    "pbm": {"mode": "1"},
    "tga": {},
    "ico": {},
    "icns": {"mode": "RGBA"},
    "pcx": {},
    "sgi": {},
    "dds": {},
    "qoi": {},
    "im": {},
    "xbm": {"mode": "1"},
    "mpo": {},
}


def photograph(name: str) -> bytes:
    """A small image with metadata, in one of the formats."""
    options = dict(FORMATS[name])
    y, x = np.mgrid[:24, :20]
    image = Image.fromarray(np.stack([8 * y, 8 * x, 4 * (x + y)], 2).astype(np.uint8))
    image = image.convert(options.pop("mode", "RGB"))
    if name.endswith(("jpg", "png", "webp", "avif", "tif")):
        exif = Image.Exif()
        exif[0x0112], exif[0x010F], exif[0x011A] = 6, "a camera", 72.0
        options["exif"] = exif.tobytes()
    buffer = io.BytesIO()
    Image.init()
    suffix = "." + name.split(".")[-1]
    image.save(buffer, Image.registered_extensions()[suffix], **options)
    return buffer.getvalue()


@pytest.mark.parametrize("name", [*FORMATS, "heic"])
def test_images(name, tmp_path, monkeypatch):
    # A header can ask for any size; this one keeps memory and time small.
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 10**6)

    def read(path):
        image = read_image(path, 16)
        assert image.shape == (16, 16, 3) and image.dtype == np.uint8

    content = HEIC if name == "heic" else photograph(name)
    survive(tmp_path / f"a.{name.split('.')[-1]}", content, read)
