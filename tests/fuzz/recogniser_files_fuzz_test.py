"""Damaged weights of other projects are read, or refused by name; nothing is run."""

import argparse
import collections

import numpy as np
import pytest
import torch

from bridges.recognisers.recogniser import load_recogniser
from hyperface_jax import InputError
from tests.fuzz.readers import survive
from tests.recognisers.onnx_file_test import write


def use(path):
    """Loads a recogniser and embeds an image with it."""
    recogniser = load_recogniser(path, device="cpu")
    size = recogniser.image_size
    recogniser.embed(np.zeros((1, size, size, 3), np.uint8))


def look(path):
    """Reads a file that is too small to hold a backbone, as its reader will say."""
    try:
        load_recogniser(path, device="cpu")
    except InputError as error:
        assert str(path) in str(error) and "\n" not in str(error)


@pytest.mark.parametrize("name", ["a.pth", "legacy.pth", "a.ckpt"])
def test_files_of_torch(tmp_path, name):
    # Pickled bytes, not weights, are where damage does harm; so there are few weights.
    state = collections.OrderedDict(
        {
            "input_layer.0.weight": torch.ones(2, 3, 1, 1),
            "body.0.res_layer.1.weight": torch.ones(2, 2, dtype=torch.half),
            "output_layer.3.weight": torch.ones(2, 512),
        }
    )
    content = state
    if name.endswith(".ckpt"):
        state = {f"model.{key}": value for key, value in state.items()}
        settings = argparse.Namespace(arch="ir_18", lr=0.1)
        content = {"state_dict": state, "hyper_parameters": settings, "epoch": 25}
    path = tmp_path / name
    new = not name.startswith("legacy")
    torch.save(content, path, _use_new_zipfile_serialization=new)
    survive(path, path.read_bytes(), look)


def test_onnx_files(tmp_path):
    path = write(tmp_path / "arcface.onnx", scaled="Mul")
    survive(path, path.read_bytes(), use)
