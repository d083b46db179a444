"""The embedding map: from one recogniser's embeddings to another's, fitted on pairs."""

from typing import Any, NamedTuple

import numpy as np

from bridges.embedding_maps import held_out
from bridges.embedding_maps.affine_map import AffineMap
from bridges.embedding_maps.procrustes import fit_procrustes
from bridges.embedding_maps.ridge import Fold, fit_ridge
from hyperface_jax import InputError, check_model, checks
from hyperface_jax.commands import announce

# A recogniser that makes such errors is of no use with any threshold: recogniser F on
# photographs, which it does not know, makes 25 %.
WORST_ERROR_RATE = 0.25
# People paired at random are found as often as by chance, or by luck three times so.
LEAST_TIMES_CHANCE = 5
# Of small galleries, where chance alone is high.
ENOUGH_RANK1 = 0.5
# What the rank-1 of rendered people still gains from (benchmarks/embedding_maps.py).
ENOUGH_PEOPLE = 1000


class EmbeddingMap(NamedTuple):
    """A map between the embeddings of two recognisers, and what it is worth.

    Attributes:
      map: :class:`AffineMap`, called with ``[n, p]`` rows to map.
      from_model: ``{"name", "sha256"}`` of the recogniser whose rows it maps.
      to_model: of the one to whose space it maps them.
      strength: of the ridge, chosen over people.
      fitted_to: ``"others"`` or ``"same"``, images of the person, likewise.
      num_pairs: how many it was fitted on.
      num_people: of how many people they were.
      measured: by name the measures on held-out people, see :func:`held_out.measure`:
        ``held_out`` of this map, ``procrustes`` of the best rotation, and
        ``target_alone`` of the target recogniser itself, None where people have one
        image each.
      provenance: what made it, where it was read from a file; else nothing.
    """

    map: AffineMap
    from_model: dict[str, str]
    to_model: dict[str, str]
    strength: float
    fitted_to: str
    num_pairs: int
    num_people: int
    measured: dict[str, dict[str, Any] | None]
    provenance: dict[str, Any]


def fit_embedding_map(
    from_embeddings: np.ndarray,
    to_embeddings: np.ndarray,
    labels: Any = None,
    *,
    from_model: dict[str, str],
    to_model: dict[str, str],
    seed: int = 0,
) -> EmbeddingMap:
    """Fits a map on images that both recognisers have embedded.

    Affine ridge regression of the mean of the other images of a person, or of the same
    image, on each row. People are dealt into five folds. The target and the strength
    are those that err least on folds left out; the measures are of maps fitted, target
    and strength and all, without the people they are measured on. The map itself is
    fitted on everyone.

    Args:
      from_embeddings: ``[n, p]``, unit rows.
      to_embeddings: ``[n, q]``, unit rows; row i is of the same image.
      labels: ``[n]`` whole numbers or names, who is on each image. None makes each a
        person of its own, which flatters where it is not so.
      from_model: ``{"name", "sha256"}`` of the recogniser of ``from_embeddings``.
      to_model: likewise.
      seed: of the folds.

    Raises:
      InputError: malformed rows, labels or models; fewer than 20 people; one and the
        same model; or a map that is worthless: its held-out equal error rate is .25 or
        more, or it finds a person at most five times as often as chance would, or no
        more than half of the time where people are few.
    """
    a = checks.unit_rows(from_embeddings, "from_embeddings")
    b = checks.unit_rows(to_embeddings, "to_embeddings")
    if len(a) != len(b):
        raise InputError(
            f"from_embeddings has {len(a)} rows and to_embeddings {len(b)}; row i of "
            "both must be of the same image"
        )
    from_model = _identity_of(from_model, "from_model")
    to_model = _identity_of(to_model, "to_model")
    if from_model["sha256"] == to_model["sha256"]:
        raise InputError(
            f"both sides are of {from_model['name']} ({from_model['sha256'][:12]}…); "
            "there is nothing to map; give two recognisers"
        )
    checks.whole_number(seed, "seed", 0)
    people = _people(labels, len(a))
    fold_of = held_out.split_people(people, seed)
    folds = held_out.fold_sums(a, b, people, fold_of)
    ridge = fit_ridge(folds)
    chosen = held_out.choose_measured(people, fold_of, seed)
    measured = _measured(a, b, folds, fold_of, chosen)
    _refuse_worthless(measured["held_out"], from_model["name"], to_model["name"])
    return EmbeddingMap(
        ridge.map,
        from_model,
        to_model,
        ridge.strength,
        ridge.fitted_to,
        len(a),
        int(people.max()) + 1,
        measured,
        {},
    )


def describe(fitted: EmbeddingMap) -> list[str]:
    """What a map is worth, in lines."""
    found = fitted.measured["held_out"]
    lines = [
        f"{fitted.from_model['name']} -> {fitted.to_model['name']}, "
        f"{fitted.num_pairs:,} pairs of {fitted.num_people:,} people; held out: "
        f"{_rates(found)}, cosine to the true row {found['cosine']:.3f} (centred "
        f"{found['centred_cosine']:.3f})",
        f"  the best rotation (Procrustes): {_rates(fitted.measured['procrustes'])}",
    ]
    alone = fitted.measured["target_alone"]
    if alone is not None:
        lines.append(f"  {fitted.to_model['name']} itself: {_rates(alone)}")
    if found["same_images"]:
        lines.append(
            "  measured on the same images, one a person, which flatters; give two or "
            "more images of a person"
        )
    if fitted.num_people < ENOUGH_PEOPLE:
        lines.append(
            f"  {fitted.num_people:,} people are few; up to {ENOUGH_PEOPLE:,} a map "
            "clearly gains"
        )
    return lines


def _rates(measures: dict[str, Any]) -> str:
    return (
        f"rank-1 {measures['rank1']:.3f} of {measures['people_in_a_gallery']}, EER "
        f"{measures['equal_error_rate']:.2%}"
    )


def _people(labels: Any, rows: int) -> np.ndarray:
    """The people of all rows, ``0 … k-1``; refuses too few."""
    if labels is None:
        announce(
            "nothing says who is on an image: each counts as a person of its own, and "
            "the measures flatter where two show the same; give labels"
        )
        people = np.arange(rows)
    else:
        codes = checks.labels(labels, rows)
        people = np.unique(codes, return_inverse=True)[1]
    count = int(people.max()) + 1
    if count < held_out.LEAST_PEOPLE:
        raise InputError(
            f"{count} people are too few to fit a map and know what it is worth; give "
            f"images of at least {held_out.LEAST_PEOPLE}, better of {ENOUGH_PEOPLE:,}, "
            "such as hyperface-render makes"
        )
    return people


def _measured(
    a: np.ndarray,
    b: np.ndarray,
    folds: list[Fold],
    fold_of: np.ndarray,
    chosen: held_out.Measured,
) -> dict[str, dict[str, Any] | None]:
    """The measures of :class:`EmbeddingMap`."""
    rows, true = a[chosen.rows], b[chosen.rows]
    own_folds = fold_of[chosen.rows]
    found: dict[str, dict[str, Any] | None] = {}
    for name, fit in (
        ("held_out", lambda rest: fit_ridge(rest).map),
        ("procrustes", fit_procrustes),
    ):
        mapped, means = held_out.out_of_fold(fit, folds, own_folds, rows)
        found[name] = held_out.measure(mapped, true, means, chosen)
    alone = chosen.enrolled is not None
    found["target_alone"] = (
        held_out.measure(true, true, means, chosen) if alone else None
    )
    return found


def _refuse_worthless(measures: dict[str, Any], from_name: str, to_name: str) -> None:
    least = min(LEAST_TIMES_CHANCE * measures["chance"], ENOUGH_RANK1)
    good = measures["equal_error_rate"] < WORST_ERROR_RATE and measures["rank1"] > least
    if not good:
        raise InputError(
            f"the map from {from_name} to {to_name} is worthless on held-out people: "
            f"{_rates(measures)} (chance {measures['chance']:.3f}; an EER of "
            f"{WORST_ERROR_RATE:.0%} or a rank-1 of {least:.3f} is refused); fit on "
            "more people, and on images that both recognisers know"
        )


def _identity_of(model: Any, name: str) -> dict[str, str]:
    """The name and digest of a model; refuses what has none."""
    if model is None:
        raise InputError(
            f"{name} is None; a map must know which recognisers it is between: give "
            '{"name": …, "sha256": …}'
        )
    check_model(model, None, name)
    return {"name": model["name"], "sha256": model["sha256"]}
