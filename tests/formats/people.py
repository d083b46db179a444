"""Images of a few people to convert, and what a source says of them."""

import io
import pathlib

from PIL import Image

from bridges.datasets.image_source import ImageSource, open_images
from bridges.datasets.images import encode_jpeg
from tests.datasets.small_datasets import picture

NAMES = ("ann", "bob", "zoë")


def png(seed: int, size: int = 16) -> bytes:
    """A small PNG file."""
    buffer = io.BytesIO()
    Image.fromarray(picture(seed, size)).save(buffer, "PNG")
    return buffer.getvalue()


def write_people(folder: pathlib.Path, images: int = 3) -> pathlib.Path:
    """A folder a person; a PNG among JPEGs, and bytes behind the end of an image."""
    for number, name in enumerate(NAMES):
        (folder / name).mkdir(parents=True)
        for i in range(images):
            seed = 10 * number + i
            path = folder / name / f"photo {i}.{'png' if i == 1 else 'jpg'}"
            content = png(seed) if i == 1 else encode_jpeg(picture(seed))
            path.write_bytes(content + bytes(seed % 5))
    return folder


def content_of(source: ImageSource) -> list[tuple[object, bytes]]:
    """Who is on each image, and its bytes."""
    who = [None] * len(source)
    if source.labelled:
        who = [source.identities[label] for label in source.labels]
    return [(name, source.read(i)) for i, name in enumerate(who)]


def read(path: pathlib.Path) -> list[tuple[object, bytes]]:
    """The content of what is at ``path``."""
    return content_of(open_images(path))
