"""A source of images of one colour; loads no torch, for processes that read it."""

import io

import numpy as np
from PIL import Image


class Plain:
    """``n`` images of four people, whose colours say which image of which source it is.

    No image is stored: a hundred thousand of them take no memory.
    """

    labelled = True
    identities = range(4)

    def __init__(self, number: int, n: int, unreadable: int | None = None) -> None:
        self.name = f"plain {number}"
        self.labels = np.arange(n) % 4
        self.records = [{"file_name": f"{i}.png"} for i in range(n)]
        self._number, self._unreadable = number, unreadable

    def __len__(self) -> int:
        return len(self.labels)

    def read(self, index: int) -> bytes:
        if index == self._unreadable:
            return b"no image"
        colour = (index // 256, index % 256, self._number)
        content = io.BytesIO()
        Image.new("RGB", (8, 8), colour).save(content, "PNG")
        return content.getvalue()

    def fingerprint(self) -> str:
        return f"{self.name} {len(self)}"
