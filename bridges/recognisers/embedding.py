"""Embedding with any recogniser: checks, other sizes, batches, reading, progress."""

from collections.abc import Callable

import numpy as np
import torch
from torch.nn import functional

from bridges.datasets.batches import read_batches
from bridges.datasets.image_source import ImageSource
from bridges.recognisers.recogniser import Recogniser
from hyperface_jax import InputError, checks
from hyperface_jax.commands import progress

# Images at once: 256 of 112 px are 10 MB.
BATCH_SIZE = 256
# How far from 1 the norm of an embedding may be.
_TOLERANCE = 1e-3
# Shorter outputs are divided by this, so that one of zeros stays zeros.
_SHORTEST = 1e-12


def embed_images(
    recogniser: Recogniser,
    images: np.ndarray,
    *,
    flip: bool = True,
    batch_size: int = BATCH_SIZE,
) -> np.ndarray:
    """Embeds images of any size.

    Args:
      recogniser: embeds those of its own size.
      images: ``[n, h, h, 3]`` uint8 RGB; resampled when of another size.
      flip: embed each image together with its mirror image.
      batch_size: images at once; bounds the memory.

    Returns:
      ``[n, d]`` float32, unit rows.

    Raises:
      InputError: another shape or dtype; or the recogniser returns another one, or rows
        that are not finite or not unit.
    """

    def embed(batch: np.ndarray) -> np.ndarray:
        rows = recogniser.embed(batch, flip=flip)
        return _checked_rows(rows, len(batch), recogniser)

    return embed_batches(
        embed,
        images,
        image_size=recogniser.image_size,
        embedding_size=recogniser.embedding_size,
        batch_size=batch_size,
    )


def embed_source(
    recogniser: Recogniser,
    source: ImageSource,
    *,
    flip: bool = True,
    description: str = "embedding",
    batch_size: int = BATCH_SIZE,
) -> np.ndarray:
    """Embeds all images of a source, with a progress bar.

    The next batch is read and decoded by other threads meanwhile, so that a fast device
    need not wait for it.

    Args:
      recogniser: what to embed with.
      source: the images; cropped to squares and resampled when of another size.
      flip: as for :func:`embed_images`.
      description: of the bar.
      batch_size: images at once; two batches are in memory.

    Returns:
      ``[n, d]`` float32, unit rows.

    Raises:
      InputError: an unreadable image, which is named; or as :func:`embed_images`.
    """
    size = recogniser.image_size
    embeddings = np.empty((len(source), recogniser.embedding_size), np.float32)
    bar = progress(description=description, total=len(source), unit="image")
    with bar, read_batches(source, size, batch_size) as batches:
        for rows, images in batches:
            embeddings[rows.start : rows.stop] = embed_images(
                recogniser, images, flip=flip, batch_size=batch_size
            )
            bar.update(len(rows))
    return embeddings


def unit_sums(
    run: Callable[[np.ndarray], np.ndarray], *, flip: bool
) -> Callable[[np.ndarray], np.ndarray]:
    """What :func:`embed_batches` takes, of a network that runs outside of torch.

    Args:
      run: maps ``[b, s, s, 3]`` uint8 to ``[b, d]`` float32, not normalised.
      flip: add the outputs of the image and its mirror image before normalising.
    """

    def embed(batch: np.ndarray) -> np.ndarray:
        # In double precision neither sums nor squares of float32 overflow.
        rows = run(batch).astype(np.float64)
        if flip:
            rows = rows + run(batch[:, :, ::-1])
        norms = np.linalg.norm(rows, axis=1, keepdims=True)
        return (rows / np.maximum(norms, _SHORTEST)).astype(np.float32)

    return embed


def embed_batches(
    embed: Callable[[np.ndarray], np.ndarray],
    images: np.ndarray,
    *,
    image_size: int,
    embedding_size: int,
    batch_size: int,
) -> np.ndarray:
    """Calls ``embed`` on batches of checked images of the right size.

    Args:
      embed: maps ``[b, image_size, image_size, 3]`` uint8 to ``[b, embedding_size]``.
      images: ``[n, h, h, 3]`` uint8 RGB.
      image_size: side in pixels to resample to.
      embedding_size: length of a row.
      batch_size: the largest ``b``.

    Returns:
      ``[n, embedding_size]`` float32.

    Raises:
      InputError: another shape or dtype, or an impossible ``batch_size``.
    """
    images = _checked_images(images)
    checks.whole_number(batch_size, "batch_size", 1)
    embeddings = np.empty((len(images), embedding_size), np.float32)
    for start in range(0, len(images), batch_size):
        batch = resample(images[start : start + batch_size], image_size)
        embeddings[start : start + batch_size] = embed(batch)
    return embeddings


def resample(images: np.ndarray, size: int) -> np.ndarray:
    """Resamples images, bicubic and antialiased, unless they have the size already.

    Args:
      images: ``[n, h, h, 3]`` uint8.
      size: side in pixels.

    Returns:
      ``[n, size, size, 3]`` uint8.
    """
    if images.shape[1] == size:
        return images
    x = torch.from_numpy(np.array(images)).permute(0, 3, 1, 2)
    x = functional.interpolate(x, size=(size, size), mode="bicubic", antialias=True)
    return x.permute(0, 2, 3, 1).contiguous().numpy()


def _checked_images(images: np.ndarray) -> np.ndarray:
    try:
        images = np.asarray(images)
    except ValueError:
        raise InputError("images are no array: they differ in size") from None
    if images.dtype != np.uint8 or images.ndim != 4 or images.shape[3] != 3:
        raise InputError(
            f"images are {images.dtype} {images.shape}, expected uint8 "
            "[n, height, width, 3]"
        )
    if images.shape[1] != images.shape[2] or not images.shape[1]:
        raise InputError(f"images of shape {images.shape} are not square")
    return images


def _checked_rows(rows: np.ndarray, count: int, recogniser: Recogniser) -> np.ndarray:
    """What a recogniser returned, if it is what the protocol says."""
    name, shape = recogniser.model["name"], (count, recogniser.embedding_size)
    rows = np.asarray(rows)
    if rows.shape != shape or rows.dtype.kind != "f":
        raise InputError(
            f"{name}: returned embeddings {rows.dtype} {rows.shape}, expected float32 "
            f"{shape}; correct the recogniser"
        )
    if not np.isfinite(rows).all():
        raise InputError(
            f"{name}: returned embeddings that are no finite numbers; its weights are "
            "damaged, or of a training that diverged or never began"
        )
    norms = np.linalg.norm(rows, axis=1)
    # A network without a response gives zeros; what writes a file refuses them by row.
    if np.any((norms > 0) & (np.abs(norms - 1) > _TOLERANCE)):
        raise InputError(
            f"{name}: returned embeddings of norms {norms.min():.3g} to "
            f"{norms.max():.3g}, expected 1; correct the recogniser"
        )
    return rows
