"""Who is on the images of pairs, as far as the pairs themselves say.

Most lists of pairs name images, not people. A genuine pair says that its two images
show one person, so people are the connected components of the graph of images that
genuine pairs are the edges of. An image in no genuine pair is taken for a person of its
own: nothing says otherwise, and intervals are then narrower than they should be if such
images share people.
"""

import numpy as np
from scipy import sparse
from scipy.sparse import csgraph


def people_of_pairs(images: np.ndarray, same: np.ndarray) -> np.ndarray:
    """The people of each pair's images.

    Args:
      images: ``[p, 2]`` integers, the two images of each pair; an image has one number
        in all pairs.
      same: ``[p]`` bool, whether the pair shows one person.

    Returns:
      ``[p, 2]`` int64, numbers ``0 … k-1`` of people.
    """
    names, node = np.unique(images, return_inverse=True)
    node = node.reshape(-1, 2)
    first, second = node[np.asarray(same, bool)].T
    edges = sparse.coo_matrix(
        (np.ones(len(first), np.int8), (first, second)), shape=(len(names),) * 2
    )
    _, person = csgraph.connected_components(edges, directed=False)
    return person.astype(np.int64)[node]


def own_people(same: np.ndarray) -> np.ndarray:
    """People where nothing is known: those of each pair are in no other pair.

    Args:
      same: ``[p]`` bool, whether the pair shows one person.

    Returns:
      ``[p, 2]`` int64, as :func:`people_of_pairs`.
    """
    first = 2 * np.arange(len(same))
    return np.stack([first, np.where(same, first, first + 1)], axis=1)
