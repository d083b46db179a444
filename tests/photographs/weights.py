"""MTCNN's weights, which ``make test`` fetches before it runs pytest."""

import pytest

from bridges.photographs import mtcnn_weights
from hyperface_jax import InputError


def are_here() -> bool:
    try:
        mtcnn_weights.find()
    except InputError:
        return False
    return True


needs_weights = pytest.mark.skipif(
    not are_here(), reason=f"MTCNN's weights are not here; run {mtcnn_weights.REMEDY}"
)
