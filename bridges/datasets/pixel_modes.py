"""Pixels as stored in image files to upright, opaque RGB of 8 bits."""

import numpy as np
from PIL import ExifTags, Image

# What transparent parts are put on: the paper that such images are made for.
_BACKGROUND = "white"
# The EXIF standard's orientations, and what sets each upright.
_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
# Pillow scales shades of these to 8 bits, and leaves the transparent one as it was.
_SCALED_TO_8_BITS = {"L;2": 255 / 3, "L;4": 255 / 15, "RGB;16B": 255 / 65535}
_WHITE_IS_ZERO = 0


def to_rgb(image: Image.Image) -> Image.Image:
    """Decodes an open image to RGB; its orientation stays as stored.

    Args:
      image: opened, not yet decoded.

    Returns:
      Mode RGB: grey of 12 or 16 bits scaled to 8, transparent parts on white.

    Raises:
      ValueError: grey whose range nothing tells.
      Exception: whatever Pillow raises for damaged files.
    """
    _scale_transparent_shade(image)
    image.load()
    if image.mode.startswith("I;16") or (image.mode, image.format) == ("I", "PPM"):
        image = _to_8_bits(image)
    elif image.mode in ("I", "F"):
        raise ValueError("grey of unknown range; save it as PNG of 8 or 16 bits")
    if image.has_transparency_data:
        # Under transparent pixels any colour may be hidden.
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, _BACKGROUND), image)
    return image if image.mode == "RGB" else image.convert("RGB")


def upright(stored: Image.Image, shown: Image.Image) -> Image.Image:
    """Applies the EXIF orientation of ``stored``, ignoring one that can't be read.

    ``ImageOps.exif_transpose`` also writes the metadata anew, and fails where one is
    of a wrong type.
    """
    try:
        method = _UPRIGHT.get(stored.getexif().get(ExifTags.Base.Orientation))
    except Exception:
        # Whatever is wrong with its metadata, the image itself has been decoded.
        return shown
    return shown if method is None else shown.transpose(method)


def _scale_transparent_shade(image: Image.Image) -> None:
    """Scales the transparent colour of a PNG as decoding will scale its pixels."""
    colour = image.info.get("transparency")
    if image.format != "PNG" or not isinstance(colour, int | tuple) or not image.tile:
        return
    scale = _SCALED_TO_8_BITS.get(image.tile[0].args)
    if scale is not None and isinstance(colour, int):
        image.info["transparency"] = int(colour * scale)
    elif scale is not None:
        image.info["transparency"] = tuple(int(channel * scale) for channel in colour)


def _to_8_bits(image: Image.Image) -> Image.Image:
    """Scales grey of 12 or 16 bits to 8; the transparent shade becomes white."""
    stored = np.asarray(image)
    tags = getattr(image, "tag_v2", {})
    bits = 12 if tags.get(ExifTags.Base.BitsPerSample) == (12,) else 16
    # Pillow's own conversion clips at 255; 65535 / 257 = 255.
    shades = np.rint(stored / ((2**bits - 1) / 255)).astype(np.uint8)
    if tags.get(ExifTags.Base.PhotometricInterpretation) == _WHITE_IS_ZERO:
        shades = 255 - shades
    if isinstance(image.info.get("transparency"), int):
        shades[stored == image.info["transparency"]] = 255
    return Image.fromarray(shades)
