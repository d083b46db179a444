"""Two made-up recognisers that see the same people, and pictures of them."""

from typing import NamedTuple

import numpy as np

A = {"name": "a", "sha256": "a" * 64}
B = {"name": "b", "sha256": "b" * 64}
C = {"name": "c", "sha256": "c" * 64}


class Planted(NamedTuple):
    """Unit rows ``a`` [n, p] and ``b`` [n, q] of the same images, and their people."""

    a: np.ndarray
    b: np.ndarray
    people: np.ndarray


def unit(rows):
    return (rows / np.linalg.norm(rows, axis=-1, keepdims=True)).astype(np.float32)


def planted(num_people=60, images=4, noise=0.3, *, p=12, q=16, seed=0) -> Planted:
    """People have traits; both see them linearly, and some of the picture each."""
    random = np.random.default_rng(seed)
    traits = random.normal(size=(num_people, 8))
    people = np.repeat(np.arange(num_people), images)
    seen = traits[people] + noise * random.normal(size=(len(people), 8))
    a = seen @ random.normal(size=(8, p)) + noise * random.normal(size=(len(people), p))
    b = seen @ random.normal(size=(8, q)) + 2 * random.normal(size=q)
    return Planted(unit(a), unit(b), people)
