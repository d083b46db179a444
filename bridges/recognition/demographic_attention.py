"""Channel attention that adapts to the demographic group of a face.

Mankame et al. name a "demographic attention module" and leave it undefined. This is our
reading, after the group-adaptive channel attention of Gong, Liu and Jain ("Mitigating
face recognition bias via group adaptive classifier", CVPR 2021), without its kernel
masks. After the third and the fourth stage of a backbone, channel c of a face of group
k is multiplied by

.. math::

    2 \\, \\mathrm{sigmoid}(a_{kc}) = 1 + \\tanh(a_{kc} / 2)

which is 1 at the start: the network is then exactly the plain one.

Nobody says which group a face belongs to when the network is used. So a linear
classifier reads it from the second stage, and the gate is the mean over the groups by
its probabilities: in training, too, where the groups of the records teach the
classifier and nothing else. Its gradient ends at the features that it reads, and the
other losses' gradients end at its probabilities.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import nn
from torch.nn import functional

from bridges.recognition.task_settings import DEMOGRAPHIC
from hyperface_jax import InputError

# Stages count from 1. The classifier reads the second on a grid of 4 x 4 fields.
_READ, _GATED, _GRID = 2, (3, 4), 4


class DemographicAttention(nn.Module):
    """Gates of groups, and the classifier that weighs them.

    Attributes:
      groups: the ``k`` names.
      gates: by stage, ``[k, channels]``: the numbers a.
      logits: ``[b, k]``: what the classifier made of the last batch in training; None
        before.
    """

    def __init__(self, groups: Sequence[str], widths: Sequence[int]) -> None:
        """Starts without a preference, and draws no random numbers.

        Args:
          groups: their names.
          widths: channels of the backbone's four stages.
        """
        super().__init__()
        self.groups = tuple(groups)
        size = widths[_READ - 1] * _GRID**2
        self.norm = nn.BatchNorm1d(size, affine=False)
        # Zeros: so that no group is another one's better by where it stands in a list.
        self.weight = nn.Parameter(torch.zeros(len(groups), size))
        self.bias = nn.Parameter(torch.zeros(len(groups)))
        self.gates = nn.ParameterDict(
            {
                str(stage): nn.Parameter(torch.zeros(len(groups), widths[stage - 1]))
                for stage in _GATED
            }
        )
        self.logits: torch.Tensor | None = None

    def group_weights(self, x: torch.Tensor) -> torch.Tensor:
        """Probabilities of the groups, ``[b, k]``, through which no gradient flows.

        Args:
          x: ``[b, c, s, s]``, output of the second stage, ``s`` a multiple of 4.
        """
        fields = functional.avg_pool2d(x.detach(), x.shape[-1] // _GRID)
        fields = self.norm(torch.flatten(fields, 1))
        logits = functional.linear(fields, self.weight, self.bias)
        if self.training:
            self.logits = logits
        return logits.detach().softmax(1)

    def gated(self, x: torch.Tensor, stage: int, weights: torch.Tensor) -> torch.Tensor:
        """Multiplies channels by the mean of the groups' gates.

        Args:
          x: ``[b, c, h, w]``, output of the stage.
          stage: 3 or 4.
          weights: from :meth:`group_weights`.
        """
        # As a change to 1: probabilities sum to 1 only nearly, and 1 must stay 1.
        gate = 1 + weights @ (self.gates[str(stage)] / 2).tanh()
        return x * gate.to(x.dtype)[:, :, None, None]


def run_stages(
    x: torch.Tensor, stages: Sequence[nn.Module], attention: DemographicAttention | None
) -> list[torch.Tensor]:
    """The outputs of a backbone's four stages, those without a layer left out.

    Args:
      x: output of the stem.
      stages: each a sequence of blocks.
      attention: None for the plain network.
    """
    maps = []
    for stage, layers in enumerate(stages, 1):
        if not len(layers):
            continue
        x = layers(x)
        if attention is not None:
            if stage == _READ:
                weights = attention.group_weights(x)
            elif stage in _GATED:
                x = attention.gated(x, stage, weights)
        maps.append(x)
    return maps


def attach(backbone: nn.Module, groups: Sequence[str]) -> nn.Module:
    """Gives a backbone attention to groups; returns it."""
    backbone.attention = DemographicAttention(groups, backbone.stage_widths)
    return backbone


def description(backbone: nn.Module) -> dict[str, Any]:
    """What a recogniser's ``config.json`` says of its attention; empty without."""
    if backbone.attention is None:
        return {}
    groups = list(backbone.attention.groups)
    return {"attention": {"kind": DEMOGRAPHIC, "groups": groups}}


def attach_described(backbone: nn.Module, described: Any) -> nn.Module:
    """Gives a backbone the attention that :func:`description` describes; returns it.

    Args:
      backbone: without attention.
      described: the entry of ``config.json``, None where there is none.

    Raises:
      InputError: attention that is not known here.
    """
    if described is None:
        return backbone
    given = described if isinstance(described, dict) else {}
    groups = given.get("groups")
    named = isinstance(groups, list) and all(isinstance(name, str) for name in groups)
    if given.get("kind") != DEMOGRAPHIC or not named:
        raise InputError(
            f"attention is {described!r}, expected {DEMOGRAPHIC} with groups"
        )
    return attach(backbone, groups)
