"""The device that the tests of this folder compare with the CPU."""

import jax
import pytest
import torch


@pytest.fixture(scope="session")
def gpu() -> jax.Device:
    """JAX's first GPU; ``make test-gpu`` lets JAX see it."""
    try:
        return jax.devices("gpu")[0]
    except RuntimeError:
        pytest.skip("JAX has no GPU here; make test-gpu looks for one")


@pytest.fixture(scope="session")
def cuda() -> str:
    """Torch's first CUDA device."""
    if not torch.cuda.is_available():
        pytest.skip("torch has no CUDA device here")
    return "cuda:0"
