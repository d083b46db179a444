"""The device that the tests of this folder compare with the CPU."""

import jax
import pytest


@pytest.fixture(scope="session")
def gpu() -> jax.Device:
    """JAX's first GPU; ``make test-gpu`` lets JAX see it."""
    try:
        return jax.devices("gpu")[0]
    except RuntimeError:
        pytest.skip("JAX has no GPU here; make test-gpu looks for one")
