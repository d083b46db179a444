"""Weights that the system does not let us read are refused by name."""

import os

import pytest
import torch

from bridges.weights_file import build_to_fit, read_weights
from hyperface_jax import InputError

# A file that can be read, and not mapped into memory as safetensors does.
UNMAPPED = "/proc/self/status"


@pytest.mark.skipif(not os.path.exists(UNMAPPED), reason="needs Linux")
def test_a_file_that_cannot_be_mapped_is_named():
    for read in (
        lambda: read_weights(UNMAPPED),
        lambda: build_to_fit(UNMAPPED, "config.json", lambda: torch.nn.Linear(1, 1)),
    ):
        with pytest.raises(InputError, match=f"^{UNMAPPED}: .*error"):
            read()
