"""dlib's recogniser behind the protocol, with a network in its place."""

import importlib.util
import types

import numpy as np
import pytest

from bridges.recognisers.dlib import DlibRecogniser
from bridges.recognisers.embedding import embed_images
from bridges.recognisers.recogniser import load_recogniser
from hyperface_jax import InputError


@pytest.mark.skipif(importlib.util.find_spec("dlib") is not None, reason="dlib is here")
def test_what_is_not_installed_is_refused_with_the_remedy():
    with pytest.raises(InputError, match="dlib: not installed; pip install dlib-bin"):
        load_recogniser("dlib")


def columns(chip: np.ndarray) -> list[float]:
    """A descriptor: the mean of each column but the last 22."""
    assert chip.shape == (150, 150, 3) and chip.dtype == np.uint8
    return chip.mean((0, 2))[:128].tolist()


def test_rows_are_unit_and_mirror_images_are_added():
    network = types.SimpleNamespace(compute_face_descriptor=columns)
    judge = DlibRecogniser(network, "0" * 64)
    # Grey that gets lighter to the right, and the same mirrored.
    ramp = np.linspace(0, 255, 64).astype(np.uint8)
    images = np.empty((2, 64, 64, 3), np.uint8)
    images[0], images[1] = ramp[:, None], ramp[::-1, None]
    raw = judge.descriptors(images)
    # The eyes are 0.3146 of the crop apart and 0.3504 of the chip, so the chip is 0.898
    # as wide as the crop; its left edge is 0.3419 - 0.898 * 0.3182 = 0.056 from there.
    shares = 0.056 + 0.898 * (np.arange(128) + 0.5) / 150
    np.testing.assert_allclose(raw[0], 255 * (64 * shares - 0.5) / 63, atol=3)
    np.testing.assert_allclose(raw[1], 255 - raw[0], atol=3 + 255 * 0.01)
    rows = embed_images(judge, images)
    np.testing.assert_allclose(np.linalg.norm(rows, axis=1), 1, atol=1e-6)
    np.testing.assert_allclose(rows[0], rows[1], atol=1e-6)
    alone = embed_images(judge, images, flip=False)
    assert alone[0] @ alone[1] < 0.9
