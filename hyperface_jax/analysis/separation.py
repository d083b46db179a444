r"""How far apart identities are, and how tight each one is.

The inter-class and intra-class statistics of the embedding-extraction study that
follows HyperFace (Mankame et al., equations 2 and 3, Table 1), beside the theoretical
bound.
"""

from typing import Any, NamedTuple

import numpy as np

from hyperface_jax import checks
from hyperface_jax.bounds import max_cosine
from hyperface_jax.embeddings.conversion import as_array
from hyperface_jax.embeddings.labels import coded
from hyperface_jax.errors import InputError
from hyperface_jax.packing import objective


class Separation(NamedTuple):
    """Statistics of identities on the hypersphere; angles in degrees.

    Attributes:
      num_identities: ``n``.
      num_embeddings: of all identities together.
      dimension: ``d``.
      mean_norm: of the embeddings as given, before they are made exactly unit.
      mean_inter_distance: the mean cosine distance ``1 - cos`` between the centres of
        two identities, over all pairs.
      max_inter_cosine: the largest cosine between the centres of two identities.
      min_inter_angle: the angle of that cosine: ``θ_min`` of equation 2.
      nearest_cosine_quantiles: the 0, 5, 25, 50, 75, 95 and 100 % quantiles of the
        cosine of each centre to the nearest other.
      mean_intra_angle: the mean over identities of ``intra_angle``.
      intra_angle: ``[n]``, the mean angle of an identity's embeddings to its centre:
        ``Var_c`` of equation 3.
      bound: no ``n`` centres have a smaller largest cosine.
      gap: ``max_inter_cosine - bound``.
    """

    num_identities: int
    num_embeddings: int
    dimension: int
    mean_norm: float
    mean_inter_distance: float
    max_inter_cosine: float
    min_inter_angle: float
    nearest_cosine_quantiles: np.ndarray
    mean_intra_angle: float
    intra_angle: np.ndarray
    bound: float
    gap: float


QUANTILES = (0.0, 0.05, 0.25, 0.5, 0.75, 0.95, 1.0)


def separation_statistics(
    embeddings: Any,
    labels: Any = None,
    *,
    unit_centres: bool = True,
    block_size: int | None = None,
) -> Separation:
    r"""Measures the separation of identities.

    Equation 3 of Mankame et al. takes the angle between an embedding and the *mean* of
    its identity as ``arccos(z · z̄)``, which is an angle only when the mean is divided
    by its length; that is the default here, and ``unit_centres=False`` is the letter of
    the equation. The mean distance over pairs needs no pairs: with unit centres
    :math:`c_i`, :math:`\sum_{i ≠ j} c_i · c_j = |\sum_i c_i|^2 - n`.

    Args:
      embeddings: ``[m, d]``, unit rows.
      labels: ``[m]`` whole numbers or names, the identity of each row; None makes
        each its own.
      unit_centres: whether the mean is made unit before angles to it are taken.
      block_size: side of the tiles of cosines; None takes what suits the device.

    Raises:
      InputError: malformed rows or labels, a single identity, or an identity whose
        embeddings cancel so that it has no centre.
    """
    rows = checks.unit_rows(embeddings, "embeddings", min_rows=2)
    checks.instance_of(unit_centres, "unit_centres", bool)
    checks.block_size(block_size)
    given = as_array(embeddings, "embeddings")
    labels = np.arange(len(rows)) if labels is None else labels
    codes, called = coded(labels, len(rows), "labels")
    names, identity = np.unique(codes, return_inverse=True)
    names = names if called is None else called
    n, d = len(names), rows.shape[1]
    if n < 2:
        raise InputError("labels hold one identity; separation needs at least 2")
    means, centres = _centres(rows, names, identity)
    cosines = np.sum(rows * (centres if unit_centres else means)[identity], axis=1)
    angles = np.degrees(np.arccos(np.clip(cosines, -1, 1)))
    intra = np.bincount(identity, angles) / np.bincount(identity)
    terms, nearest, _ = objective.measure(
        centres.astype(np.float32),
        None,
        regularization_weight=0.0,
        reduction="min",
        block_size=block_size,
    )
    bound = max_cosine.max_cosine_bound(n, d)
    pair_sum = np.sum(centres.sum(axis=0) ** 2) - n
    return Separation(
        num_identities=n,
        num_embeddings=len(rows),
        dimension=d,
        mean_norm=float(np.linalg.norm(given.astype(np.float64), axis=1).mean()),
        mean_inter_distance=float(1 - pair_sum / (n * (n - 1))),
        max_inter_cosine=terms.max_cosine,
        min_inter_angle=float(np.degrees(np.arccos(np.clip(terms.max_cosine, -1, 1)))),
        nearest_cosine_quantiles=np.quantile(nearest, QUANTILES),
        mean_intra_angle=float(intra.mean()),
        intra_angle=intra,
        bound=bound,
        gap=terms.max_cosine - bound,
    )


def _centres(
    rows: np.ndarray, names: np.ndarray, identity: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """The ``[n, d]`` float64 mean of each identity's rows, and the same made unit."""
    means = np.zeros((len(names), rows.shape[1]))
    np.add.at(means, identity, rows.astype(np.float64))
    means /= np.bincount(identity)[:, None]
    lengths = np.linalg.norm(means, axis=1)
    if lengths.min() < 1e-6:
        name = names[lengths.argmin()]
        raise InputError(f"the embeddings of identity {name} cancel; it has no centre")
    return means, means / lengths[:, None]
