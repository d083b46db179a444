"""Bytes of image files: recognising other formats, and removing metadata.

Decoders refuse a whole photograph where something beside its pixels is damaged or too
large: a colour profile, a text, a resolution.
"""

import re
import struct
import zlib
from collections.abc import Iterator

_PNG = b"\x89PNG\r\n\x1a\n"
_JPEG = b"\xff\xd8\xff"
_JPEG_START_OF_SCAN = 0xDA
_JPEG_COMMENT = 0xFE
_JPEG_APPLICATION = range(0xE0, 0xF0)
# Segments that change how a photograph looks, and the least length of a whole one: the
# first two give the colour space of its channels, the third its orientation.
_JPEG_KEPT = {
    0xE0: (b"JFIF\0", 14),
    0xEE: (b"Adobe", 12),
    0xE1: (b"Exif\0\0", 6),
}
_PALETTE = 3
# The brands of formats that phones write follow the size of the first box.
_HEIC = re.compile(rb"....ftyp(heic|heix|heim|heis|hevc|hevx|mif1|msf1)", re.DOTALL)
_MARKUP = re.compile(
    rb"(\xef\xbb\xbf)?\s*<(!doctype\s+html|html|head|body|script)", re.I
)
_DRAWING = re.compile(rb"(\xef\xbb\xbf)?\s*<(\?xml.*)?<?svg", re.DOTALL | re.I)
_REMEDY = "convert it to JPEG or PNG"
_KINDS = (
    (b"version https://git-lfs", "a Git LFS pointer, not the image; run git lfs pull"),
    (b"%PDF-", f"a PDF document; {_REMEDY}"),
    (b"%!PS", f"PostScript; {_REMEDY}"),
    (b"\xc5\xd0\xd3\xc6", f"PostScript; {_REMEDY}"),
    (b"\xff\x0a", f"a JPEG XL image; {_REMEDY}"),
    (b"\0\0\0\x0cJXL ", f"a JPEG XL image; {_REMEDY}"),
    (b"II*\0", f"a TIFF image of a kind that can't be decoded; {_REMEDY}"),
    (b"MM\0*", f"a TIFF image of a kind that can't be decoded; {_REMEDY}"),
    (b"PK\3\4", "a ZIP archive; unpack it"),
    (b"PK\5\6", "a ZIP archive without files; remove it or make it again"),
)
# The suffix of an image by how it begins; files that are written need one.
_SUFFIXES = (
    (b"\xff\xd8\xff", ".jpg"),
    (b"\x89PNG\r\n\x1a\n", ".png"),
    (b"GIF8", ".gif"),
    (b"BM", ".bmp"),
    (b"II*\0", ".tif"),
    (b"MM\0*", ".tif"),
    (b"\0\0\0\x0cjP  ", ".jp2"),
    (b"\xff\x4f\xff\x51", ".j2k"),
    (b"P5", ".pgm"),
    (b"P6", ".ppm"),
)
# How many bytes kind_of looks at.
START = 512


def kind_of(start: bytes) -> str | None:
    """Names the format of a file that can't be decoded, and the remedy.

    Args:
      start: the first :data:`START` bytes.

    Returns:
      None for an unknown format.
    """
    if _HEIC.match(start):
        return f"a HEIC image; pip install pi-heif, or {_REMEDY}"
    if _MARKUP.match(start):
        return "an HTML page, not an image; download it again"
    if _DRAWING.match(start):
        return f"an SVG drawing; {_REMEDY}"
    return next((kind for magic, kind in _KINDS if start.startswith(magic)), None)


def suffix_of(content: bytes) -> str | None:
    """The suffix of an encoded image, with the dot; None where none is known."""
    if content[:4] == b"RIFF" and content[8:12] == b"WEBP":
        return ".webp"
    if content[4:12] in (b"ftypavif", b"ftypavis"):
        return ".avif"
    return next((s for magic, s in _SUFFIXES if content.startswith(magic)), None)


def without_metadata(content: bytes) -> bytes | None:
    """Removes from an image file all that does not change how the image looks.

    Args:
      content: of a whole file.

    Returns:
      The content of a smaller file; None where there is nothing to remove, or the file
      is neither PNG nor JPEG.
    """
    if content.startswith(_PNG):
        kept = b"".join([_PNG, *_png_chunks(memoryview(content))])
        # Without its palette it would decode to another picture.
        has_palette = b"PLTE" in kept or kept[25:26] != bytes([_PALETTE])
        return kept if has_palette and len(kept) < len(content) else None
    if content.startswith(_JPEG):
        kept = b"".join([content[:2], *_jpeg_segments(memoryview(content))])
        return kept if len(kept) < len(content) else None
    return None


def _png_chunks(content: memoryview) -> Iterator[memoryview]:
    """The chunks that make up the picture, unchanged."""
    at = len(_PNG)
    while at + 12 <= len(content):
        length, name = struct.unpack_from(">I4s", content, at)
        chunk = content[at : at + 12 + length]
        # A lower-case first letter marks a chunk that readers may skip.
        needed = not name[0] & 0x20 or name == b"tRNS"
        if needed or (name == b"eXIf" and _is_whole(chunk)):
            yield chunk
        at += 12 + length
        if name == b"IEND":
            return
    yield content[at:]


def _is_whole(chunk: memoryview) -> bool:
    return zlib.crc32(chunk[4:-4]) == int.from_bytes(chunk[-4:], "big")


def _jpeg_segments(content: memoryview) -> Iterator[memoryview]:
    """The segments that make up the picture, unchanged."""
    at = 2
    while at + 4 <= len(content):
        fill, marker, length = struct.unpack_from(">BBH", content, at)
        if fill != 0xFF or marker in (0xFF, _JPEG_START_OF_SCAN) or length < 2:
            break
        segment = content[at : at + 2 + length]
        at += 2 + length
        if marker in _JPEG_APPLICATION:
            start, least = _JPEG_KEPT.get(marker, (b"", None))
            payload = segment[4:]
            if least is None or len(payload) < least:
                continue
            if payload[: len(start)] != start:
                continue
        elif marker == _JPEG_COMMENT:
            continue
        yield segment
    yield content[at:]
