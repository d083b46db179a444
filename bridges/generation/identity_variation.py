"""Algorithm 3 of HyperFace: small random turns of a reference embedding.

Each image of an identity is conditioned on a slightly different embedding, so that a
synthetic person varies as the embeddings of a real one do. All randomness of image k of
identity i is a function of (dataset seed, i, k) alone: any image can be made again by
itself, and neither order nor number of images changes it.
"""

import numpy as np

from hyperface_jax import check_embeddings, checks


class ImageRandomness:
    """All randomness of an image, from numbers that are not checked any more."""

    def __init__(self, dataset_seed: int, identity: int, index: int) -> None:
        """Names the image.

        Args:
          dataset_seed: seed of the whole dataset.
          identity: number of the identity.
          index: number of the image within it.
        """
        # Two children of the image's own sequence, as its method ``spawn`` makes them.
        self._noise, self._direction = (
            np.random.SeedSequence(dataset_seed, spawn_key=(identity, index, child))
            for child in range(2)
        )

    def seed(self, attempt: int = 0) -> int:
        """See :func:`image_seed`."""
        words = self._noise.generate_state(attempt + 1, np.uint64)
        return int(words[attempt]) >> 1

    def turned(self, reference: np.ndarray, beta: float) -> np.ndarray:
        """See :func:`vary_identity`."""
        draw = np.random.Generator(np.random.PCG64(self._direction))
        varied = reference + beta * draw.standard_normal(reference.shape)
        return (varied / np.linalg.norm(varied)).astype(np.float32)


def image_seed(dataset_seed: int, identity: int, index: int, attempt: int = 0) -> int:
    """The seed of an image's generator noise, in [0, 2⁶³).

    Args:
      dataset_seed: seed of the whole dataset.
      identity: number of the identity.
      index: number of the image within it.
      attempt: which time the image is drawn, from 0.
    """
    return _checked(dataset_seed, identity, index).seed(attempt)


def vary_identity(
    reference: np.ndarray,
    *,
    beta: float,
    dataset_seed: int,
    identity: int,
    index: int,
) -> np.ndarray:
    """The condition of image ``index`` of an identity: ``(x + βv)/‖x + βv‖``.

    Args:
      reference: x, ``[d]`` unit vector.
      beta: β ≥ 0, how much of ``v ~ N(0, I)`` is added: the standard deviation of each
        entry of ``βv``.
      dataset_seed: seed of the whole dataset.
      identity: number of the identity.
      index: number of the image within it.

    Returns:
      ``[d]`` float32 unit vector.

    References:
      Shahreza and Marcel, `HyperFace: Generating Synthetic Face Recognition Datasets by
      Exploring Face Embedding Hypersphere <https://arxiv.org/abs/2411.08470>`_, 2025,
      Algorithm 3.
    """
    reference = np.asarray(reference)
    check_embeddings(reference[None], "reference")
    checks.in_range(beta, "beta", 0)
    return _checked(dataset_seed, identity, index).turned(reference, beta)


def _checked(dataset_seed: int, identity: int, index: int) -> ImageRandomness:
    for name, value in (("identity", identity), ("index", index)):
        checks.whole_number(value, name, 0, 2**32 - 1)
    checks.whole_number(dataset_seed, "dataset_seed", 0)
    return ImageRandomness(dataset_seed, identity, index)
