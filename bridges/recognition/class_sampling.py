"""Partial FC: each step compares with a random part of the classes (An et al., 2022).

Of a million identities the logits of a batch of 512 take 2 GB, and as much again for
their gradient. A step needs the classes of its own images and enough others; only their
centres move. The head holds the chosen ones alone, while all rest here, beside what the
optimiser remembers of each.
"""

import torch
from torch import nn

from bridges.recognition.config import TrainingConfig
from hyperface_jax import InputError

# What an optimiser remembers of each number of a parameter.
_REMEMBERED = {"sgd": ("momentum_buffer",), "adamw": ("exp_avg", "exp_avg_sq")}


class SampledClasses(nn.Module):
    """All classes of a head that holds some of them.

    Attributes:
      num_classes: how many there are.
      num_chosen: how many the head holds.
    """

    def __init__(self, head: nn.Module, config: TrainingConfig) -> None:
        """Takes the head's classes over, and leaves it the first ``num_chosen``.

        Args:
          head: with its classes along the last axis of each parameter.
          config: ``class_share``, ``batch_size`` and ``optimizer``.

        Raises:
          InputError: fewer classes to choose than there are images in a batch.
        """
        super().__init__()
        self.num_classes = next(head.parameters()).shape[-1]
        self.num_chosen = max(1, round(config.class_share * self.num_classes))
        if self.num_chosen < min(config.batch_size, self.num_classes):
            raise InputError(
                f"class_share {config.class_share:g} of {self.num_classes:,} "
                f"identities is {self.num_chosen:,} classes, fewer than the "
                f"{config.batch_size} images of a batch may have; raise class_share "
                "or lower batch_size"
            )
        for name, parameter in head.named_parameters():
            whole = parameter.detach().clone()
            self.register_buffer(name, whole)
            for key in _REMEMBERED[config.optimizer]:
                self.register_buffer(f"{name}_{key}", torch.zeros_like(whole))
            parameter.data = whole[..., : self.num_chosen].clone()
        self.register_buffer("chosen", torch.arange(self.num_chosen))

    @torch.no_grad()
    def choose(
        self,
        head: nn.Module,
        labels: torch.Tensor,
        optimizer: torch.optim.Optimizer,
        generator: torch.Generator,
    ) -> None:
        """Gives the head the classes of a step, and the optimiser what it knew of them.

        Args:
          head: whose parameters are replaced.
          labels: ``[b]``, the classes of all images of the step.
          optimizer: of the head.
          generator: on the CPU; read without being changed.
        """
        drawn = torch.Generator(labels.device if labels.is_cuda else "cpu")
        drawn.manual_seed(generator.initial_seed())
        chance = torch.rand(self.num_classes, generator=drawn, device=drawn.device)
        chance = chance.to(labels.device)
        # No chance is as large, so these are among the largest.
        chance[labels] = 2.0
        self.chosen = chance.topk(self.num_chosen).indices.sort().values
        for name, parameter in head.named_parameters():
            parameter.data = getattr(self, name)[..., self.chosen]
            for key, value in optimizer.state[parameter].items():
                if value.shape == parameter.shape:
                    value.copy_(getattr(self, f"{name}_{key}")[..., self.chosen])

    @torch.no_grad()
    def put_back(self, head: nn.Module, optimizer: torch.optim.Optimizer) -> None:
        """Keeps what a step made of its classes."""
        for name, parameter in head.named_parameters():
            getattr(self, name)[..., self.chosen] = parameter.data
            for key, value in optimizer.state[parameter].items():
                if value.shape == parameter.shape:
                    getattr(self, f"{name}_{key}")[..., self.chosen] = value

    def places(self, labels: torch.Tensor) -> torch.Tensor:
        """Where labels stand among the chosen classes."""
        return torch.searchsorted(self.chosen, labels)
