"""People held out of a training, verified after each epoch to pick its best weights.

A benchmark is for one measurement at the end: whoever picks by it what to report
reports too much. So some of the training's own identities are put aside for that.
"""

import contextlib
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch

from bridges.datasets.image_source import ImageSource
from bridges.datasets.subset import Subset
from bridges.pixels import to_unit_range
from bridges.recognition.image_batches import ImageBatches
from bridges.recognition.state import TrainingState, weights_to_keep
from hyperface_jax import InputError

# Of each kind; one in a thousand is then still three pairs.
_MOST_PAIRS = 3000
_BATCH = 256
# What the history calls the fields of a Score.
SCORES = ("validation_accuracy", "validation_auc")


def split_people(
    sources: Sequence[ImageSource], share: float, seed: int
) -> tuple[list[ImageSource], list[ImageSource]]:
    """Puts a share of the identities aside, the same for the same seed.

    Args:
      sources: labelled images.
      share: of all identities with two images or more, above 0.
      seed: of the training.

    Returns:
      What to train on, a part of each source, and what to validate on.

    Raises:
      InputError: too few people for one of the two.
    """
    random = np.random.default_rng((seed, len(sources)))
    people = []
    for number, source in enumerate(sources):
        counts = np.bincount(source.labels, minlength=len(source.identities))
        several = random.permutation(np.flatnonzero(counts > 1))
        # Of each source somebody is left to train on.
        spared = len(several) == len(source.identities)
        people += [(number, int(identity)) for identity in several[int(spared) :]]
    wanted = round(share * len(people))
    every = sum(len(source.identities) for source in sources)
    if wanted < 2 or every - wanted < 2:
        raise InputError(
            f"validation_share {share:g} of {len(people)} people with two images is "
            f"{wanted}; at least 2 are needed, and 2 to train on; give another share, "
            "or 0"
        )
    chosen = random.choice(len(people), wanted, replace=False)
    held = [set() for _ in sources]
    for number, identity in (people[i] for i in chosen):
        held[number].add(identity)
    training, validation = [], []
    for source, aside in zip(sources, held, strict=True):
        is_aside = np.isin(source.labels, [*aside])
        for part, rows in ((training, ~is_aside), (validation, is_aside)):
            if rows.any():
                part.append(Subset(source, np.flatnonzero(rows)))
    return training, validation


class Score(NamedTuple):
    """How well pairs of held-out people are told apart.

    Attributes:
      accuracy: at the one threshold that is best for these pairs.
      auc: the area under the ROC curve.
    """

    accuracy: float
    auc: float


class Validation:
    """Pairs of people who are not trained on, and the best weights by them.

    Attributes:
      pairs: ``[p, 2]`` positions of images.
      same: ``[p]`` bool.
      skipped: images that could not be read when they were needed: path to reason.
      best: the score of the best epoch so far, or None.
      weights: of that epoch, as :func:`weights_to_keep` copies them.
    """

    def __init__(
        self, sources: Sequence[ImageSource], size: int, seed: int, **settings: Any
    ) -> None:
        """Draws the pairs and decodes the images.

        Args:
          sources: of :func:`split_people`.
          size: side of the network's input.
          seed: of the pairs.
          **settings: of :class:`ImageBatches`.

        Raises:
          UnreadableImage: as :class:`ImageBatches`.
        """
        self.images = ImageBatches(sources, size, **settings)
        first = np.cumsum([0, *(len(source.identities) for source in sources)])
        who = np.concatenate(
            [source.labels + first[i] for i, source in enumerate(sources)]
        )
        self.num_people = int(first[-1])
        self.pairs, self.same = _draw_pairs(who, np.random.default_rng(seed))
        # Of many images of many people most are in no pair.
        self._shown, places = np.unique(self.pairs, return_inverse=True)
        self._places = places.reshape(self.pairs.shape)
        self.skipped: dict[str, str] = {}
        self.best: Score | None = None
        self.weights: dict[str, torch.Tensor] = {}

    def measure(self, state: TrainingState) -> Score:
        """Verifies the pairs; keeps the weights where none were better before.

        Raises:
          InputError: no pairs of both kinds are left, of images that can be read.
        """
        rows, skipped = embed(state, self.images, self._shown)
        self.skipped |= skipped
        first, second = self._places.T
        cosines = np.einsum("pd,pd->p", rows[first], rows[second])
        # Those of which one image can't be read.
        kept = np.isfinite(cosines) if skipped else np.ones(len(cosines), bool)
        same = self.same[kept]
        if same.all() or not same.any():
            path, reason = next(iter(skipped.items()))
            raise InputError(
                f"{path}: {reason}; so few of the people held out can be read that no "
                "pairs of one and of two are left; raise validation_share"
            )
        score = score_of(cosines[kept], same)
        if self.best is None or score > self.best:
            self.best = score
            self.weights = weights_to_keep(state)
        return score

    def record(self, history: Sequence[dict[str, Any]]) -> dict[str, Any]:
        """What ``training.json`` says of it; the first of equal epochs is the best."""
        best = max(history, key=lambda row: Score(*(row[name] for name in SCORES)))
        return {
            "identities": self.num_people,
            "images": len(self.images),
            "pairs": len(self.pairs),
            "kept_epoch": best["epoch"],
            **{name: best[name] for name in SCORES},
        }


@torch.inference_mode()
def embed(
    state: TrainingState, images: ImageBatches, positions: np.ndarray
) -> tuple[np.ndarray, dict[str, str]]:
    """Embeds images, each with its mirror image.

    Returns:
      ``[n, d]`` unit rows of ``positions``, NaN where an image can't be read; and
      those images: path to reason.
    """
    backbone = state.backbone
    was_training, rows, skipped = backbone.training, [], {}
    backbone.eval()
    orders = [
        positions[start : start + _BATCH] for start in range(0, len(positions), _BATCH)
    ]
    with contextlib.closing(images.batches(orders)) as batches:
        for order, batch in zip(orders, batches, strict=True):
            x = to_unit_range(state.device.take(torch.from_numpy(batch.pixels)))
            x = x.permute(0, 3, 1, 2)
            with state.device.autocast():
                features = backbone(x).float() + backbone(x.flip(3)).float()
            found = torch.nn.functional.normalize(features, dim=1).cpu().numpy()
            # Another one stands in its place.
            found[batch.rows != order] = np.nan
            rows.append(found)
            skipped |= batch.skipped
    backbone.train(was_training)
    return np.concatenate(rows), skipped


def score_of(cosines: np.ndarray, same: np.ndarray) -> Score:
    """Scores pairs.

    Args:
      cosines: ``[p]``.
      same: ``[p]`` bool, both kinds among them.
    """
    order = np.argsort(-cosines, kind="stable")
    cosines, same = cosines[order], same[order]
    # Accepted are the first k, for every k at which the cosine changes.
    ends = np.flatnonzero(np.append(np.diff(cosines) != 0, True))
    genuine = np.append(0, np.cumsum(same)[ends])
    impostors = np.append(0, np.cumsum(~same)[ends])
    correct = genuine + (impostors[-1] - impostors)
    area = np.trapezoid(genuine / genuine[-1], impostors / impostors[-1])
    return Score(float(correct.max() / len(same)), float(area))


def _draw_pairs(
    who: np.ndarray, random: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Pairs of one person, and as many of two, at random."""
    genuine = np.concatenate(
        [
            rows[np.stack(np.triu_indices(len(rows), 1), axis=1)]
            for rows in (np.flatnonzero(who == person) for person in np.unique(who))
        ]
    )
    genuine = random.permutation(genuine)[:_MOST_PAIRS]
    impostors = np.empty((0, 2), np.int64)
    while len(impostors) < len(genuine):
        drawn = random.integers(0, len(who), (2 * len(genuine), 2))
        drawn = drawn[who[drawn[:, 0]] != who[drawn[:, 1]]]
        impostors = np.concatenate([impostors, drawn])[: len(genuine)]
    same = np.arange(2 * len(genuine)) < len(genuine)
    return np.concatenate([genuine, impostors]), same
