"""Packing written again the plain way: dense, in NumPy and double precision."""

import numpy as np


def random_rows(n: int, d: int, seed: int = 0) -> np.ndarray:
    """``[n, d]`` float32 random unit rows."""
    rows = np.random.default_rng(seed).standard_normal((n, d))
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def clustered_rows(n: int, d: int, seed: int = 0) -> np.ndarray:
    """``[n, d]`` float32 unit rows about a common direction, as faces are."""
    rows = random_rows(n, d, seed).astype(np.float64)
    rows[:, 0] += 1.0
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def dense_objective(
    x: np.ndarray, gallery: np.ndarray, alpha: float, reduction: str
) -> float:
    """``J`` from the full matrices of cosines."""
    x = x / np.linalg.norm(x, axis=1, keepdims=True)
    distance = 1 - x @ x.T
    np.fill_diagonal(distance, np.inf)
    nearest = distance.min(axis=1)
    spread = nearest.min() if reduction == "min" else nearest.mean()
    return -spread + alpha * (1 - x @ gallery.T).min(axis=1).mean()


def dense_gradient(
    x: np.ndarray, gallery: np.ndarray, alpha: float, reduction: str
) -> np.ndarray:
    """The gradient of :func:`dense_objective` at unit rows, by hand."""
    n = len(x)
    cosine = x @ x.T
    np.fill_diagonal(cosine, -np.inf)
    weights = np.zeros((n, n))
    if reduction == "min":
        weights[np.unravel_index(cosine.argmax(), cosine.shape)] = 1.0
    else:
        weights[np.arange(n), cosine.argmax(axis=1)] = 1.0 / n
    gradient = (weights + weights.T) @ x
    gradient -= alpha / n * gallery[(x @ gallery.T).argmax(axis=1)]
    return gradient - np.sum(gradient * x, axis=1, keepdims=True) * x


def dense_algorithm1(
    x: np.ndarray,
    gallery: np.ndarray,
    *,
    iterations: int,
    alpha: float = 0.5,
    reduction: str = "min",
    rate: float = 0.01,
    decay_rate: float = 0.75,
    decay_every: int = 5000,
) -> tuple[np.ndarray, list[float]]:
    """Algorithm 1 with Adam written out; the objective is that before each step."""
    x, gallery = x.astype(np.float64), gallery.astype(np.float64)
    mean, square, objectives = np.zeros_like(x), np.zeros_like(x), []
    for step in range(iterations):
        objectives.append(dense_objective(x, gallery, alpha, reduction))
        gradient = dense_gradient(x, gallery, alpha, reduction)
        mean = 0.9 * mean + 0.1 * gradient
        square = 0.999 * square + 0.001 * gradient**2
        unbiased = mean / (1 - 0.9 ** (step + 1))
        scale = np.sqrt(square / (1 - 0.999 ** (step + 1))) + 1e-8
        x = x - rate * decay_rate ** (step // decay_every) * unbiased / scale
        x /= np.linalg.norm(x, axis=1, keepdims=True)
    return x, objectives
