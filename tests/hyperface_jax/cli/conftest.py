"""A gallery on disk."""

import numpy as np
import pytest

from hyperface_jax import save_embeddings


@pytest.fixture
def gallery(tmp_path, unit_rows):
    """An embedding file of 20 rows of 10 people."""
    path = tmp_path / "gallery.npz"
    save_embeddings(
        path,
        unit_rows,
        kind="gallery",
        labels=np.arange(20) // 2,
        names=[f"image_{i}.jpg" for i in range(20)],
        model={"name": "tiny", "sha256": "0" * 64},
    )
    return path
