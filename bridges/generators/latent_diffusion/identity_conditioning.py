"""How an identity steers the diffusion: from an embedding to a UNet's conditions."""

import math
from typing import NamedTuple

import torch
from torch import nn
from torch.nn import functional

# Part of what the settings of a training say: to be raised when conditions are chosen
# in another way.
CONDITIONS_VERSION = 3


class IdentityConditioning(nn.Module):
    """Turns unit embeddings into cross-attention tokens and a time-like embedding.

    A unit vector in d dimensions has entries near ``1/√d``; times ``√d`` they have
    unit variance, which the layers behind are initialised for. The zero vector stands
    for "anyone" and is what classifier-free guidance contrasts with.

    Attributes:
      tokens: how many cross-attention tokens an embedding becomes.
    """

    def __init__(self, embedding_size: int, tokens: int, token_size: int) -> None:
        super().__init__()
        self.tokens = tokens
        self.scale = math.sqrt(embedding_size)
        self.project = nn.Linear(embedding_size, tokens * token_size)

    def forward(self, embeddings: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """``[n, d]`` unit or zero rows to ``[n, tokens, token_size]`` and ``[n, d]``.

        The first goes to every cross-attention, the second is projected by the UNet
        itself and added to its time embedding.
        """
        scaled = embeddings * self.scale
        return self.project(scaled).unflatten(1, (self.tokens, -1)), scaled


class IdentityIndex(NamedTuple):
    """Which images show whom, for images sorted by identity.

    Attributes:
      labels: ``[n]`` int64, ascending from 0 (or from the first row's label).
      members: ``[k, m]`` int64: the images of an identity, padded with its first.
      present: ``[k, m]`` bool: False for padding.
    """

    labels: torch.Tensor
    members: torch.Tensor
    present: torch.Tensor


def index_identities(labels: torch.Tensor) -> IdentityIndex:
    """Builds the index of ascending ``labels`` ``[n]``, renumbered from 0."""
    _, renumbered, counts = labels.unique(return_inverse=True, return_counts=True)
    starts = counts.cumsum(0) - counts
    steps = torch.arange(int(counts.max()))
    present = steps < counts[:, None]
    members = starts[:, None] + torch.where(present, steps, 0)
    return IdentityIndex(renumbered, members, present)


def mean_of_others(
    embeddings: torch.Tensor,
    index: IdentityIndex,
    images: torch.Tensor,
    generator: torch.Generator | None = None,
) -> torch.Tensor:
    """Conditions for ``images``: who is in them, and nothing else about them.

    The normalised mean of more than half of the *other* images of the same identity,
    chosen anew every time, so that pose and light of the image itself can't leak into
    its condition. The mean of few would say less of who it is than references do. An
    identity with a single image is conditioned on that one.

    Args:
      embeddings: ``[n, d]`` unit rows.
      index: who is in which of the n images.
      images: ``[b]`` row numbers.
      generator: source of the choice.

    Returns:
      ``[b, d]`` unit rows.
    """
    identities = index.labels[images]
    members, present = index.members[identities], index.present[identities]
    eligible = present & (members != images[:, None])
    alone = ~eligible.any(1, keepdim=True)
    eligible = eligible | (alone & present)
    order = torch.rand(members.shape, generator=generator).masked_fill(~eligible, 2.0)
    ranks = order.argsort(1).argsort(1)
    available = eligible.sum(1, keepdim=True)
    share = 0.5 + 0.5 * torch.rand(len(images), 1, generator=generator)
    wanted = share * available
    chosen = (ranks <= wanted) & eligible
    weights = chosen.to(embeddings.dtype).unsqueeze(2)
    return functional.normalize((embeddings[members] * weights).sum(1))


def perturbed(
    conditions: torch.Tensor, beta: float, generator: torch.Generator | None = None
) -> torch.Tensor:
    """Turns conditions as Algorithm 3 will when images are made.

    Its noise points in all directions of the hypersphere, faces lie along few: a
    denoiser that meets such noise in training can learn to tell it from identity.

    Args:
      conditions: ``[b, d]`` unit rows.
      beta: β of Algorithm 3, as in ``identity_variation.vary_identity``.
      generator: source of the noise.

    Returns:
      ``[b, d]`` unit rows.

    References:
      Ho et al., `Cascaded Diffusion Models for High Fidelity Image Generation
      <https://arxiv.org/abs/2106.15282>`_, 2022, who call it conditioning augmentation.
    """
    noise = torch.randn(conditions.shape, generator=generator)
    return functional.normalize(conditions + beta * noise)
