"""Algorithm 3 of HyperFace: small random turns of a reference embedding.

Each image of an identity is conditioned on a slightly different embedding, so that a
synthetic person varies as the embeddings of a real one do. All randomness of image k of
identity i is a function of (dataset seed, i, k) alone: any image can be made again by
itself, and neither order nor number of images changes it.
"""

import numpy as np

from hyperface_jax import check_embeddings, checks


def image_seed(dataset_seed: int, identity: int, index: int, attempt: int = 0) -> int:
    """The seed of an image's generator noise, in [0, 2⁶³).

    Args:
      dataset_seed: seed of the whole dataset.
      identity: number of the identity.
      index: number of the image within it.
      attempt: which time the image is drawn, from 0.
    """
    noise, _ = _streams(dataset_seed, identity, index)
    words = noise.generate_state(attempt + 1, np.uint64)
    return int(words[attempt] >> np.uint64(1))


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
    _, direction = _streams(dataset_seed, identity, index)
    draw = np.random.Generator(np.random.PCG64(direction))
    varied = reference + beta * draw.standard_normal(reference.shape)
    return (varied / np.linalg.norm(varied)).astype(np.float32)


def _streams(
    dataset_seed: int, identity: int, index: int
) -> tuple[np.random.SeedSequence, np.random.SeedSequence]:
    """Independent seeds for the generator's noise and for the turn."""
    for name, value in (("identity", identity), ("index", index)):
        checks.whole_number(value, name, 0, 2**32 - 1)
    checks.whole_number(dataset_seed, "dataset_seed", 0)
    root = np.random.SeedSequence(dataset_seed, spawn_key=(identity, index))
    noise, direction = root.spawn(2)
    return noise, direction
