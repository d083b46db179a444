"""Image files: every format, upright, opaque, and refused by name."""

import io
import os
import pickle
import stat
import struct
import zlib

import numpy as np
import pytest
from PIL import Image, ImageOps

from bridges.datasets.image_files import ImageFiles
from bridges.datasets.images import (
    UnreadableImage,
    decode_bytes,
    encode_jpeg,
    read_image,
    unreadable_images,
)
from hyperface_jax import InputError
from tests.datasets.heic import HEIC
from tests.datasets.small_datasets import picture


def jpeg_with(exif: bytes) -> bytes:
    """A JPEG, 16 high and 24 wide, with this block of EXIF."""
    wide = np.concatenate([picture(0), picture(1)[:, :8]], axis=1)
    content = encode_jpeg(wide)
    block = b"Exif\0\0" + exif
    return (
        content[:2]
        + b"\xff\xe1"
        + struct.pack(">H", len(block) + 2)
        + block
        + content[2:]
    )


def exif_of(orientation: int) -> bytes:
    exif = Image.Exif()
    exif[0x0112] = orientation
    exif[0x010F] = "a camera"
    exif[0x011A] = (72, 1)
    return exif.tobytes().removeprefix(b"Exif\0\0")


@pytest.mark.parametrize("orientation", range(1, 9))
def test_orientation_is_applied_as_pillow_does(tmp_path, orientation):
    (tmp_path / "a.jpg").write_bytes(jpeg_with(exif_of(orientation)))
    with Image.open(tmp_path / "a.jpg") as file:
        expected = np.asarray(ImageOps.exif_transpose(file))
    np.testing.assert_array_equal(read_image(tmp_path / "a.jpg"), expected)


@pytest.mark.parametrize("mode", ["L", "RGB", "RGBA"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_orientation_of_plain_tiff_is_applied(tmp_path, mode, orientation):
    wide = np.concatenate([picture(0), picture(1)[:, :8]], axis=1)
    stored = Image.fromarray(wide).convert(mode)
    stored.save(tmp_path / "a.tif", tiffinfo={0x0112: orientation})
    stored.getexif()[0x0112] = orientation
    expected = ImageOps.exif_transpose(stored).convert("RGB")
    np.testing.assert_array_equal(read_image(tmp_path / "a.tif"), np.asarray(expected))


def test_a_photo_with_broken_metadata_is_read(tmp_path):
    path = tmp_path / "a.jpg"
    path.write_bytes(jpeg_with(exif_of(1)))
    plain = read_image(path)
    either = [plain, plain.swapaxes(0, 1)]
    any_way_round = [
        image[::down, ::right].tobytes()
        for image in either
        for down in (1, -1)
        for right in (1, -1)
    ]
    valid = exif_of(6)
    random = np.random.default_rng(0)
    for _ in range(400):
        exif = bytearray(valid)
        for _ in range(random.integers(1, 6)):
            exif[random.integers(len(exif))] = random.integers(256)
        path.write_bytes(jpeg_with(bytes(exif)))
        assert read_image(path).tobytes() in any_way_round


def test_a_tag_of_a_wrong_type_hides_neither_image_nor_orientation(tmp_path):
    # XResolution as a signed ratio, 1/0: ImageOps.exif_transpose fails at writing it.
    entries = [(0x0112, 3, 1, struct.pack("<HH", 6, 0)), (0x011A, 10, 1, b"\x26\0\0\0")]
    exif = b"II*\0" + struct.pack("<IH", 8, len(entries))
    for tag, kind, count, value in entries:
        exif += struct.pack("<HHI", tag, kind, count) + value
    exif += bytes(4) + struct.pack("<II", 2**32 - 1, 1)
    (tmp_path / "a.jpg").write_bytes(jpeg_with(exif))
    assert read_image(tmp_path / "a.jpg").shape == (24, 16, 3)


@pytest.mark.parametrize(
    "suffix",
    ["jpg", "jfif", "png", "bmp", "gif", "tif", "webp", "avif", "jp2", "ppm", "pgm",
     "tga", "ico", "pcx", "sgi", "dds", "qoi", "mpo"],
)  # fmt: skip
def test_formats(tmp_path, suffix):
    path = tmp_path / f"a.{suffix}"
    image = Image.fromarray(np.full((16, 16, 3), (200, 90, 30), np.uint8))
    grey = suffix == "pgm"
    image.convert("L" if grey else "RGB").save(path)
    shown = read_image(path)
    expected = np.asarray(image.convert("L").convert("RGB") if grey else image)
    assert shown.shape == (16, 16, 3) and shown.dtype == np.uint8
    assert np.abs(shown.astype(int) - expected).max() < 12


def test_16_bit_grey_of_netpbm(tmp_path):
    shades = np.arange(256, dtype=np.uint16).reshape(16, 16)
    content = b"P5 16 16 65535\n" + (shades * 257).astype(">u2").tobytes()
    (tmp_path / "a.pgm").write_bytes(content)
    expected = np.repeat(shades[..., None], 3, axis=2)
    np.testing.assert_array_equal(read_image(tmp_path / "a.pgm"), expected)


@pytest.mark.parametrize("kind", ["RGBA", "LA", "P", "P alpha", "RGB key", "L key"])
def test_colours_under_transparent_pixels_do_not_show(tmp_path, kind):
    """Two files that look the same read the same, whatever is hidden in them."""
    alpha = np.zeros((16, 16), np.uint8)
    alpha[4:12, 4:12] = 255
    read = []
    for hidden in (0, 200):
        image = np.where(alpha[..., None] > 0, 90, hidden).repeat(3, 2).astype(np.uint8)
        path, options = tmp_path / f"{hidden}.png", {}
        if kind in ("RGBA", "LA"):
            picture = Image.fromarray(image).convert(kind)
            picture.putalpha(Image.fromarray(alpha))
        elif kind in ("RGB key", "L key"):
            picture = Image.fromarray(image).convert(kind.split()[0])
            key = (hidden,) * 3 if kind.startswith("RGB") else hidden
            options = {"transparency": key}
        else:
            picture = Image.fromarray((alpha > 0).astype(np.uint8), "P")
            picture.putpalette([hidden] * 3 + [90] * 3)
            options = {"transparency": b"\0\xff" if kind == "P alpha" else 0}
        picture.save(path, **options)
        read.append(read_image(path))
    np.testing.assert_array_equal(*read)
    assert (read[0][0, 0] == 255).all(), "on white"
    assert (read[0][8, 8] == 90).all()


def test_half_transparent_pixels_are_mixed_with_white(tmp_path):
    Image.new("RGBA", (16, 16), (0, 100, 200, 51)).save(tmp_path / "a.webp", lossless=1)
    mixed = np.round(0.2 * np.array([0, 100, 200]) + 0.8 * 255)
    assert np.abs(read_image(tmp_path / "a.webp") - mixed).max() <= 1


def test_large_photographs_are_read_small_and_without_a_word(tmp_path, recwarn):
    ramp = np.linspace(0, 255, 10_000).astype(np.uint8)
    Image.fromarray(np.broadcast_to(ramp, (9_000, 10_000))).save(tmp_path / "a.jpg")
    small = read_image(tmp_path / "a.jpg", 100)
    # The central square is 9,000 wide, and starts 500 from the left.
    expected = (500 + 90 * np.arange(100) + 45) / 10_000 * 255
    assert np.abs(small[50, :, 0] - expected).max() < 2
    assert not len(recwarn)


def chunk(name: bytes, content: bytes) -> bytes:
    """Of a PNG."""
    check = struct.pack(">I", zlib.crc32(name + content))
    return struct.pack(">I", len(content)) + name + content + check


def png(size: tuple[int, int], bits: int, colour: int, *rest: bytes) -> bytes:
    """A PNG of a width, a height, a colour type, and the chunks after the header."""
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", *size, bits, colour, 0, 0, 0))
    return b"".join([b"\x89PNG\r\n\x1a\n", header, *rest, chunk(b"IEND", b"")])


def bomb() -> bytes:
    """A PNG that says it has 40,000 x 40,000 pixels."""
    return png((40_000, 40_000), 8, 2, chunk(b"IDAT", zlib.compress(b"")))


@pytest.mark.parametrize(
    ("bits", "colour", "key", "row", "expected"),
    [
        (2, 0, (1,), bytes([0b00011011]), [0, 255, 170, 255]),
        (4, 0, (1,), b"\x01\x28", [0, 255, 34, 136]),
        (8, 0, (1,), b"\x00\x01\x02\x03", [0, 255, 2, 3]),
        (16, 0, (257,), struct.pack(">4H", 0, 257, 256, 65535), [0, 255, 1, 255]),
        (16, 2, (257,) * 3, struct.pack(">6H", *[0] * 3, *[257] * 3), [0, 255]),
    ],
)
def test_one_transparent_shade_is_put_on_white(
    tmp_path, bits, colour, key, row, expected
):
    transparent = chunk(b"tRNS", struct.pack(f">{len(key)}H", *key))
    pixels = chunk(b"IDAT", zlib.compress(b"\0" + row))
    content = png((len(expected), 1), bits, colour, transparent, pixels)
    (tmp_path / "a.png").write_bytes(content)
    assert read_image(tmp_path / "a.png")[0, :, 0].tolist() == expected


@pytest.mark.parametrize(("bits", "white"), [(8, 0), (16, 0), (16, 1), (12, 1)])
def test_grey_tiff_is_no_negative_and_not_dark(tmp_path, bits, white):
    shades = [0, 64, 255, 128]
    stored = [255 - shade if white == 0 else shade for shade in shades]
    if bits == 12:
        packed = "".join(f"{shade * 4095 // 255:012b}" for shade in stored)
        pixels = int(packed, 2).to_bytes(6, "big")
    else:
        scaled = np.array(stored) * (2**bits - 1) // 255
        pixels = scaled.astype(f"<u{bits // 8}").tobytes()
    tags = {256: 4, 257: 1, 258: bits, 259: 1, 262: white, 273: 8, 277: 1, 278: 1,
            279: len(pixels)}  # fmt: skip
    entries = b"".join(struct.pack("<HHII", k, 4, 1, v) for k, v in tags.items())
    start = 8 + len(pixels) + len(pixels) % 2
    content = struct.pack("<2sHI", b"II", 42, start) + pixels.ljust(start - 8, b"\0")
    content += struct.pack("<H", len(tags)) + entries + bytes(4)
    (tmp_path / "a.tif").write_bytes(content)
    assert read_image(tmp_path / "a.tif")[0, :, 0].tolist() == shades


def metadata_that_decoders_refuse() -> dict[str, bytes]:
    """Chunks of a PNG."""
    large = zlib.compress(bytes(2**21))
    wrong = chunk(b"tIME", bytes(7))[:-4] + bytes(4)
    return {
        "XMP": chunk(b"iTXt", b"XML:com.adobe.xmp\0\1\0\0\0" + large),
        "text": chunk(b"zTXt", b"Comment\0\0" + large),
        "profile": chunk(b"iCCP", b"icc\0\0" + large),
        "short profile": chunk(b"iCCP", b"icc"),
        "resolution": chunk(b"pHYs", b"\0"),
        "gamma": chunk(b"gAMA", b"\0"),
        "primaries": chunk(b"cHRM", b"\0"),
        "intent": chunk(b"sRGB", b""),
        "animation": chunk(b"acTL", b"\0"),
        "time": wrong,
    }


@pytest.mark.parametrize("kind", metadata_that_decoders_refuse())
def test_a_png_is_read_whatever_its_metadata(tmp_path, kind):
    buffer = io.BytesIO()
    image = Image.fromarray(picture(0)).convert("P", palette=Image.Palette.ADAPTIVE)
    image.save(buffer, "PNG", transparency=0, exif=b"Exif\0\0" + exif_of(6))
    content, path = buffer.getvalue(), tmp_path / "a.png"
    path.write_bytes(content)
    plain = read_image(path)
    path.write_bytes(
        content[:33] + metadata_that_decoders_refuse()[kind] + content[33:]
    )
    np.testing.assert_array_equal(read_image(path), plain)
    assert not unreadable_images(ImageFiles(tmp_path, [{"file_name": "a.png"}]))


@pytest.mark.parametrize(
    "segment",
    [b"\xff\xe0\0\7JFIF\0", b"\xff\xee\0\7Adobe", b"\xff\xe2\0\x0eICC_PROFILE\0"],
)
def test_a_jpeg_is_read_whatever_its_metadata(tmp_path, segment):
    path, whole = tmp_path / "a.jpg", jpeg_with(exif_of(6))
    path.write_bytes(whole)
    plain = read_image(path)
    path.write_bytes(whole[:2] + segment + whole[2:])
    np.testing.assert_array_equal(read_image(path), plain)
    # An image in RGB, and in CMYK, by what Adobe says of its channels.
    for mode, options in (("RGB", {"keep_rgb": True}), ("CMYK", {})):
        Image.fromarray(picture(0)).convert(mode).save(path, "JPEG", **options)
        content = path.read_bytes()
        plain = read_image(path)
        path.write_bytes(content[:2] + segment + content[2:])
        np.testing.assert_array_equal(read_image(path), plain)


def test_a_palette_that_is_lost_is_not_made_up(tmp_path):
    image = Image.fromarray(picture(0)).convert("P", palette=Image.Palette.ADAPTIVE)
    image.save(tmp_path / "a.png")
    content = (tmp_path / "a.png").read_bytes().replace(b"PLTE", b"pLTE")
    (tmp_path / "a.png").write_bytes(content)
    with pytest.raises(UnreadableImage, match="of no known format"):
        read_image(tmp_path / "a.png")


@pytest.mark.skipif(os.name != "posix", reason="needs a program that is a script")
def test_no_program_is_run(tmp_path, monkeypatch):
    ghostscript = tmp_path / "gs"
    ghostscript.write_text(f"#!/bin/sh\ntouch {tmp_path}/run\n")
    ghostscript.chmod(ghostscript.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    Image.fromarray(picture(0)).save(tmp_path / "a.eps")
    os.rename(tmp_path / "a.eps", tmp_path / "a.jpg")
    with pytest.raises(UnreadableImage, match="PostScript; convert it"):
        read_image(tmp_path / "a.jpg")
    assert not (tmp_path / "run").exists()


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs devices and pipes")
def test_devices_and_pipes_are_refused_at_once(tmp_path):
    os.mkfifo(tmp_path / "a.jpg")
    (tmp_path / "b.jpg").symlink_to("/dev/zero")
    for name in ("a.jpg", "b.jpg"):
        with pytest.raises(UnreadableImage, match=f"{name}: .*device or pipe"):
            read_image(tmp_path / name)


def test_heic_of_phones_is_read(tmp_path):
    (tmp_path / "a.heic").write_bytes(HEIC)
    image = read_image(tmp_path / "a.heic")
    assert image.shape == (32, 48, 3)
    expected = np.linspace(0, 255, 33)[:32, None, None] + 4
    assert np.abs(image - expected).max() < 12


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("a.jpg", b"", "the file is empty"),
        ("a.jpg", b"not an image", "of no known format"),
        ("a.jpg", b"\n<!DOCTYPE html><p>not found", "an HTML page"),
        ("a.jpg", b"<html>not found</html>", "an HTML page"),
        ("a.jpg", b"\0\0\0\x18ftypheic\0\0\0\0mif1heic", "HEIC image; pip"),
        ("a.jpg", b"version https://git-lfs.github.com/spec/v1", "git lfs pull"),
        ("a.jpg", b"%PDF-1.7", "a PDF document; convert it"),
        ("a.jpg", b"%!PS-Adobe-3.0", "PostScript; convert it"),
        ("a.jpg", b"PK\3\4" + bytes(30), "a ZIP archive"),
        ("a.jpg", b'<?xml version="1.0"?><svg/>', "an SVG drawing; convert it"),
        ("a.jpg", b"<svg/>", "an SVG drawing; convert it"),
        ("a.jpg", b"\xff\x0a" + bytes(30), "a JPEG XL image; convert it"),
        ("a.jpg", encode_jpeg(picture(0, 64))[:500], "[Tt]runcated"),
        ("a.png", bomb(), "more than 178,956,970 pixels"),
    ],
)
def test_refusals_name_file_and_reason(tmp_path, name, content, reason):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(UnreadableImage, match=rf"{name}: .*{reason}") as refused:
        read_image(tmp_path / name)
    assert "\n" not in str(refused.value)
    assert isinstance(refused.value, InputError)
    sent = pickle.loads(pickle.dumps(refused.value))
    assert (str(sent), sent.reason) == (str(refused.value), refused.value.reason)


def test_what_is_no_file_is_refused(tmp_path):
    (tmp_path / "gone.jpg").symlink_to(tmp_path / "nowhere")
    (tmp_path / "folder.jpg").mkdir()
    for name, reason in (
        ("none.jpg", "no such image"),
        ("gone.jpg", "a link that leads nowhere"),
        ("folder.jpg", "a folder, expected an image"),
        ("null\0.jpg", "null byte"),
    ):
        with pytest.raises(UnreadableImage, match=reason):
            read_image(tmp_path / name)


def test_bytes_are_decoded_as_the_file_and_named(tmp_path):
    content = jpeg_with(exif_of(6))
    (tmp_path / "a.jpg").write_bytes(content)
    with Image.open(tmp_path / "a.jpg") as file:
        square = ImageOps.fit(
            ImageOps.exif_transpose(file), (8, 8), Image.Resampling.BICUBIC
        )
    np.testing.assert_array_equal(decode_bytes(content, 8, "a"), np.asarray(square))
    np.testing.assert_array_equal(read_image(tmp_path / "a.jpg", 8), np.asarray(square))
    with pytest.raises(UnreadableImage, match=r"^a shard, 7: .*file is empty"):
        decode_bytes(b"", None, "a shard, 7")


def test_all_unreadable_ones_are_found(tmp_path):
    paths = [tmp_path / f"{i}.png" for i in range(600)]
    for path in paths:
        Image.fromarray(picture(0, 4)).save(path)
    paths[3].write_bytes(b"")
    paths[300].write_bytes(paths[300].read_bytes()[:60])
    paths[599].unlink()
    records = [{"file_name": path.name} for path in paths]
    found = unreadable_images(ImageFiles(tmp_path, records))
    assert list(found) == [3, 300, 599]
    assert "empty" in found[3] and "no such image" in found[599]
