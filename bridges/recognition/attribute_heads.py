"""Heads that read attributes of a face from a backbone's outputs, in physical units.

A trained one is kept beside the backbone::

    attributes.safetensors  the heads' weights, and the units of their outputs
    config.json             "attributes": what each head gives
"""

import pathlib
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import safetensors.torch
import torch
from torch import nn

from bridges import weights_file
from bridges.pretrained import CONFIG
from hyperface_jax import InputError, files

ATTRIBUTES = "attributes.safetensors"
# What changes its sign in a mirror image.
_MIRRORED = ("yaw", "roll")


class NumberHead(nn.Module):
    """Linear estimates of numbers, such as angles in degrees.

    Attributes:
      fields: ``k`` names of what it gives.
      centre: ``[k]``: what the labels are around.
      scale: ``[k]``: their standard deviation, the unit that it computes in.
      mirror_signs: ``[k]``: -1 for what changes its sign in a mirror image, else 1.
    """

    def __init__(self, embedding_size: int, fields: Sequence[str]) -> None:
        super().__init__()
        self.fields = tuple(fields)
        self.linear = nn.Linear(embedding_size, len(fields))
        # Starts at the mean of the labels, so that the first loss is their variance.
        nn.init.zeros_(self.linear.weight)
        nn.init.zeros_(self.linear.bias)
        self.register_buffer("centre", torch.zeros(len(fields)))
        self.register_buffer("scale", torch.ones(len(fields)))
        signs = [-1.0 if field in _MIRRORED else 1.0 for field in self.fields]
        self.register_buffer("mirror_signs", torch.tensor(signs), persistent=False)

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """``[b, embedding_size]`` to ``[b, k]`` in the labels' own units."""
        return self.centre + self.scale * self.linear(features)

    def combined(self, plain: torch.Tensor, mirrored: torch.Tensor) -> torch.Tensor:
        """The mean of what is estimated of images and of their mirror images."""
        return (plain + self.mirror_signs * mirrored) / 2

    def description(self) -> dict[str, Any]:
        """The entry of ``config.json``."""
        return {"numbers": list(self.fields)}


class ClassHead(nn.Module):
    """Linear logits of classes, such as expressions.

    Attributes:
      names: the ``k`` classes.
    """

    def __init__(self, embedding_size: int, names: Sequence[str]) -> None:
        super().__init__()
        self.names = tuple(names)
        self.linear = nn.Linear(embedding_size, len(names))
        nn.init.zeros_(self.linear.weight)
        nn.init.zeros_(self.linear.bias)

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """``[b, embedding_size]`` to ``[b, k]`` probabilities."""
        return self.linear(features).softmax(1)

    def combined(self, plain: torch.Tensor, mirrored: torch.Tensor) -> torch.Tensor:
        """The mean of the probabilities of images and of their mirror images."""
        return (plain + mirrored) / 2

    def description(self) -> dict[str, Any]:
        """The entry of ``config.json``."""
        return {"classes": list(self.names)}


AttributeHead = NumberHead | ClassHead


class TrainedHeads(NamedTuple):
    """The heads of a recogniser.

    Attributes:
      heads: by the name of the task that trained them.
      sha256: of their file.
    """

    heads: dict[str, AttributeHead]
    sha256: str


def descriptions(heads: Mapping[str, AttributeHead]) -> dict[str, Any]:
    """What goes into a recogniser's ``config.json``; empty where there are no heads."""
    if not heads:
        return {}
    return {"attributes": {name: head.description() for name, head in heads.items()}}


def save_heads(folder: str | pathlib.Path, heads: Mapping[str, AttributeHead]) -> None:
    """Writes heads beside a recogniser, or removes those of an earlier one.

    Args:
      folder: created when missing.
      heads: by the name of their task.
    """
    path = pathlib.Path(folder) / ATTRIBUTES
    if not heads:
        path.unlink(missing_ok=True)
        return
    state = nn.ModuleDict(heads).state_dict()
    content = {name: value.detach().cpu().contiguous() for name, value in state.items()}
    files.write_bytes(path, safetensors.torch.save(content))


def load_heads(
    folder: str | pathlib.Path, config: Mapping[str, Any]
) -> TrainedHeads | None:
    """Reads the heads of a recogniser; None where it has none.

    Args:
      folder: the recogniser's.
      config: the content of its ``config.json``.

    Raises:
      InputError: a damaged file, or heads of another recogniser.
    """
    described = config.get("attributes")
    if not described:
        return None
    folder = pathlib.Path(folder)
    path = folder / ATTRIBUTES

    def build() -> nn.ModuleDict:
        return nn.ModuleDict(
            {
                name: _build(entry, config["embedding_size"])
                for name, entry in described.items()
            }
        )

    heads = weights_file.build_to_fit(path, folder / CONFIG, build)
    heads.load_state_dict(weights_file.read_weights(path))
    heads.eval().requires_grad_(False)
    return TrainedHeads(dict(heads.items()), files.sha256_of(path))


def _build(entry: Mapping[str, Any], embedding_size: int) -> AttributeHead:
    (kind, names), *more = entry.items()
    build = {"numbers": NumberHead, "classes": ClassHead}.get(kind)
    if build is None or more or not all(isinstance(name, str) for name in names):
        raise InputError(f"attributes has {entry!r}, expected numbers or classes")
    return build(embedding_size, names)
