"""What a map is worth: measured on people whom it was not fitted on."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from bridges.embedding_maps.affine_map import AffineMap
from bridges.embedding_maps.moments import Moments
from bridges.embedding_maps.ridge import Fold, without
from bridges.embedding_maps.targets import other_images
from bridges.evaluation.error_rates import equal_error_rate

# People in a gallery, where there are as many: rank-1 depends on how many there are,
# and this way the figures of maps fitted on 300 people or more compare.
GALLERY_PEOPLE = 60
# Of a fold: what is measured of more than that says the same more slowly.
_MOST_GALLERIES = 5
_MOST_IMAGES = 8
# With fewer people neither rate says anything.
LEAST_PEOPLE = 20
NUM_FOLDS = 5


class Measured(NamedTuple):
    """Rows to measure on, person after person.

    Attributes:
      rows: ``[m]``, which pairs of rows.
      galleries: ``[m]``, the gallery of each, from 0.
      people: ``[m]``, the person of each.
      enrolled: ``[m]`` bool, whether the mapped row is enrolled; the true rows of the
        others are probes. None where people have one image each: its mapped row is
        enrolled and its true row the probe.
    """

    rows: np.ndarray
    galleries: np.ndarray
    people: np.ndarray
    enrolled: np.ndarray | None


def split_people(people: np.ndarray, seed: int) -> np.ndarray:
    """The fold of each row, ``[n]``: people are dealt at random, whole.

    Those with several images first, so that all folds have their share of them.

    Args:
      people: ``[n]`` in ``0 … k-1``.
      seed: of the dealing.
    """
    alone = np.bincount(people) == 1
    shuffled = np.random.default_rng(seed).permutation(len(alone))
    in_turn = shuffled[np.argsort(alone[shuffled], kind="stable")]
    fold_of = np.empty(len(alone), np.int64)
    fold_of[in_turn] = np.arange(len(alone)) % NUM_FOLDS
    return fold_of[people]


def fold_sums(
    a: np.ndarray, b: np.ndarray, people: np.ndarray, fold_of: np.ndarray
) -> list[Fold]:
    """What the fits take, of each fold.

    Args:
      a: ``[n, p]``, unit rows to map.
      b: ``[n, q]``, unit rows of the same images.
      people: ``[n]`` in ``0 … k-1``.
      fold_of: ``[n]``, see :func:`split_people`.
    """
    others = other_images(b, people)
    return [
        Fold(*(Moments.of(a[own], target[own]) for target in (b, others)))
        for own in (fold_of == fold for fold in range(NUM_FOLDS))
    ]


def choose_measured(people: np.ndarray, fold_of: np.ndarray, seed: int) -> Measured:
    """Chooses what to measure on: galleries of people at random, some images of each.

    A gallery is of one fold. Were it of several, a map that had learned from a probe's
    person would have mapped the others in it, nearer to that person than they are.

    Args:
      people: ``[n]`` in ``0 … k-1``, at least :data:`LEAST_PEOPLE` of them.
      fold_of: ``[n]``, see :func:`split_people`.
      seed: of the choice.
    """
    counts = np.bincount(people)
    several = np.flatnonzero(counts > 1)
    alone = len(several) < LEAST_PEOPLE
    candidates = np.flatnonzero(counts) if alone else several
    candidates = np.random.default_rng([seed, 1]).permutation(candidates)
    fold_of_person = np.empty(len(counts), np.int64)
    fold_of_person[people] = fold_of
    of_fold = [candidates[fold_of_person[candidates] == k] for k in range(NUM_FOLDS)]
    size = min(GALLERY_PEOPLE, *map(len, of_fold))
    # Whole galleries only, so that rank-1 is always among as many.
    chosen = np.concatenate(
        [some[: size * min(len(some) // size, _MOST_GALLERIES)] for some in of_fold]
    )
    order = np.argsort(people, kind="stable")
    first = np.concatenate(([0], np.cumsum(counts)))
    taken = [
        order[first[person] : first[person + 1]][: 1 if alone else _MOST_IMAGES]
        for person in chosen
    ]
    lengths = [len(rows) for rows in taken]
    enrolled = [np.arange(length) < (length + 1) // 2 for length in lengths]
    return Measured(
        np.concatenate(taken),
        np.repeat(np.arange(len(chosen)) // size, lengths),
        np.repeat(chosen, lengths),
        None if alone else np.concatenate(enrolled),
    )


def out_of_fold(
    fit: Callable[[Sequence[Fold]], AffineMap],
    folds: Sequence[Fold],
    fold_of: np.ndarray,
    rows: np.ndarray,
) -> tuple[np.ndarray, np.ndarray]:
    """Maps each row by what is fitted without the people of its fold.

    Args:
      fit: from the sums over other folds to a map.
      folds: sums over the pairs of each fold.
      fold_of: ``[m]``, the fold of each row.
      rows: ``[m, p]``.

    Returns:
      ``[m, q]`` float32 mapped rows, and the ``[m, q]`` float32 mean of the target rows
      that each was fitted with.
    """
    width = folds[0].same.ab.shape[1]
    mapped = np.empty((len(rows), width), np.float32)
    means = np.empty_like(mapped)
    for number in np.unique(fold_of):
        found = fit(without(folds, number))
        of_fold = fold_of == number
        mapped[of_fold], means[of_fold] = found(rows[of_fold]), found.to_mean
    return mapped, means


def measure(
    mapped: np.ndarray, true: np.ndarray, means: np.ndarray, chosen: Measured
) -> dict[str, Any]:
    """Measures mapped rows against true ones.

    Args:
      mapped: ``[m, q]`` unit rows, of ``chosen.rows``.
      true: ``[m, q]`` unit rows, what the target recogniser says of the same images.
      means: ``[m, q]``, what is taken off both for ``centred_cosine``: a target space
        with a large common mean has large cosines between anybody.
      chosen: who is who.

    Returns:
      JSON-ready: ``rank1``, how often the person of a true row is the one enrolled
      nearest, by the mean of half of their mapped rows; ``chance`` of it;
      ``equal_error_rate`` of all pairs of a mapped and a true row of another image;
      ``cosine`` and ``centred_cosine``, the means over images of a mapped row to the
      true row of the same image; and how much they were measured on.
    """
    hits, scores, same = [], [], []
    for number in range(chosen.galleries.max() + 1):
        own = chosen.galleries == number
        enrolled = None if chosen.enrolled is None else chosen.enrolled[own]
        people = chosen.people[own]
        hits.append(_identified(mapped[own], true[own], people, enrolled))
        alike = people[:, None] == people
        # The same image is no proof, unless there is no other.
        counted = np.full(alike.shape, True)
        if enrolled is not None:
            np.fill_diagonal(counted, False)
        scores.append((mapped[own] @ true[own].T)[counted])
        same.append(alike[counted])
    hit = np.concatenate(hits)
    num_people = len(np.unique(chosen.people))
    galleries = int(chosen.galleries.max()) + 1
    return {
        "rank1": float(hit.mean()),
        "chance": galleries / num_people,
        "equal_error_rate": equal_error_rate(
            np.concatenate(scores), np.concatenate(same)
        ),
        "cosine": _mean_cosine(mapped, true),
        "centred_cosine": _mean_cosine(mapped - means, true - means),
        "people": num_people,
        "people_in_a_gallery": num_people // galleries,
        "probes": len(hit),
        "pairs": sum(map(len, scores)),
        "same_images": chosen.enrolled is None,
    }


def _identified(
    mapped: np.ndarray,
    true: np.ndarray,
    people: np.ndarray,
    enrolled: np.ndarray | None,
) -> np.ndarray:
    """For each probe of a gallery, whether its person is the nearest: ``[probes]``."""
    if enrolled is None:
        enrolled, probes = np.full(len(people), True), true
        wanted = people
    else:
        probes, wanted = true[~enrolled], people[~enrolled]
    names, person = np.unique(people[enrolled], return_inverse=True)
    centres = np.zeros((len(names), mapped.shape[1]))
    np.add.at(centres, person, mapped[enrolled])
    centres /= np.maximum(np.linalg.norm(centres, axis=1, keepdims=True), 1e-12)
    return names[(probes @ centres.T).argmax(axis=1)] == wanted


def _mean_cosine(first: np.ndarray, second: np.ndarray) -> float:
    lengths = np.linalg.norm(first, axis=1) * np.linalg.norm(second, axis=1)
    products = np.einsum("nd,nd->n", first, second, dtype=np.float64)
    return float((products / np.maximum(lengths, 1e-12)).mean())
