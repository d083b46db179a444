"""What rows can be fitted to: who is on an image, rather than the image."""

import numpy as np

_SHORTEST = 1e-12


def other_images(rows: np.ndarray, people: np.ndarray) -> np.ndarray:
    """For each row the mean of the person's other rows, made unit.

    A map fitted to the row of the same image also learns what the two recognisers say
    alike of the picture: pose, light. Fitted to other pictures of the person, it finds
    people better (benchmarks/embedding_maps.py).

    Args:
      rows: ``[n, q]`` float32, unit rows.
      people: ``[n]`` in ``0 … k-1``, the person of each.

    Returns:
      ``[n, q]`` float32, unit rows; the row itself where it is the only one of a
      person, or the others cancel.
    """
    sums = np.zeros((people.max() + 1, rows.shape[1]))
    np.add.at(sums, people, rows)
    others = sums[people] - rows
    lengths = np.linalg.norm(others, axis=1, keepdims=True)
    # Taking a row off the sum that is of it alone leaves rounding, not a direction.
    several = (np.bincount(people)[people] > 1)[:, None] & (lengths > _SHORTEST)
    return np.where(several, others / np.maximum(lengths, _SHORTEST), rows).astype(
        np.float32
    )
