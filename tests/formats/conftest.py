"""A tree of people to convert, with encoded images of several kinds."""

import io
import pathlib

import pytest
from PIL import Image

from bridges.datasets.formats.recordio import MAGIC
from bridges.datasets.images import encode_jpeg
from tests.datasets.small_datasets import picture


def encoded(number: int, kind: str) -> bytes:
    if kind == "jpg":
        return encode_jpeg(picture(number, 16))
    buffer = io.BytesIO()
    Image.fromarray(picture(number, 16)).save(buffer, "PNG")
    return buffer.getvalue()


@pytest.fixture
def tree(tmp_path) -> pathlib.Path:
    """Three people with three, two and four images; one holds RecordIO's magic."""
    folder = tmp_path / "tree"
    number = 0
    for person, count in (("ann", 3), ("Bob Ä", 2), ("carl", 4)):
        (folder / person).mkdir(parents=True)
        for k in range(count):
            kind = "png" if number % 4 == 3 else "jpg"
            content = encoded(number, kind)
            if number == 0:
                # Behind a JPEG's end anything may lie; here at multiples of 4, or not.
                content += bytes(-len(content) % 4) + MAGIC * 2 + b"xyz" + MAGIC + b"e"
            (folder / person / f"{k}.{kind}").write_bytes(content)
            number += 1
    return folder


def contents_of(tree: pathlib.Path) -> dict[str, list[bytes]]:
    """Encoded images by person, in the order of their names."""
    return {
        person.name: [path.read_bytes() for path in sorted(person.iterdir())]
        for person in tree.iterdir()
    }


def read_back(source) -> dict[str, list[bytes]]:
    """The same of an image source."""
    found: dict[str, list[bytes]] = {}
    for i, label in enumerate(source.labels):
        found.setdefault(str(source.identities[label]), []).append(source.read(i))
    return found
