"""Fabricated trees of published catalogues; the images are plain colours."""

import pathlib
from collections.abc import Iterable

import numpy as np
from PIL import Image


def write_images(folder: pathlib.Path, names: Iterable[str], size: int = 8) -> None:
    """Writes an image of a colour of its own under each name."""
    for number, name in enumerate(names):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        colour = (number * 37 % 256, number * 91 % 256, number % 256)
        image = Image.new("RGB", (size, size), colour)
        image.save(path, "PNG" if path.suffix == ".png" else "JPEG")


def lfw_pairs(people: int, folds: int, each: int, *, header: bool = True) -> str:
    """A ``pairs.txt`` of people ``Ann_A``, ``Ann_B`` … with three images each."""
    random = np.random.default_rng(0)
    lines = [f"{folds}\t{each}"] if header else []
    names = [f"Ann_{chr(65 + i)}" for i in range(people)]
    for _ in range(folds):
        for _ in range(each):
            first, second = 1 + random.choice(3, 2, replace=False)
            lines.append(f"{random.choice(names)}\t{first}\t{second}")
        for _ in range(each):
            one, other = random.choice(names, 2, replace=False)
            first, second = random.integers(1, 4, 2)
            lines.append(f"{one}\t{first}\t{other}\t{second}")
    return "\n".join(lines) + "\n"


def lfw_names(people: int, under: str = "lfw/") -> list[str]:
    """The images that those pairs are of."""
    names = [f"Ann_{chr(65 + i)}" for i in range(people)]
    return [f"{under}{name}/{name}_{k:04d}.jpg" for name in names for k in (1, 2, 3)]
