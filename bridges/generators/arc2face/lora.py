"""A low-rank change of weights (LoRA), added to them as they are read.

Published LCM-LoRAs name their tensors as kohya's trainer does: for the layer
``down_blocks.0.conv`` there are ``lora_unet_down_blocks_0_conv.lora_down.weight``, of
``r`` rows, ``….lora_up.weight``, of ``r`` columns, and a number ``….alpha``. Weights
become ``W + alpha / r · up · down`` (Hu et al. 2022, section 4.1); for a convolution
the kernel is that of ``down``, and ``up`` is 1 × 1.
"""

import pathlib

import torch

from hyperface_jax import InputError

State = dict[str, torch.Tensor]

_PREFIX = "lora_unet_"
_PARTS = ("lora_down.weight", "lora_up.weight", "alpha")


def merge_lora(weights: State, lora: State, path: pathlib.Path) -> None:
    """Adds a LoRA to weights, in place and in float32.

    Args:
      weights: of a network, by the names of its parameters.
      lora: in the layout above.
      path: of the LoRA, for messages.

    Raises:
      InputError: a layer that the network does not have, one with other shapes, or one
        without all of its tensors.
    """
    if not lora:
        raise InputError(f"{path}: holds no tensors, expected a LoRA")
    layers = {
        _PREFIX + name.removesuffix(".weight").replace(".", "_"): name
        for name in weights
        if name.endswith(".weight")
    }
    for layer in sorted({name.partition(".")[0] for name in lora}):
        down, up, alpha = _tensors(lora, layer, path)
        if layer not in layers:
            raise InputError(
                f"{path}: changes {layer}, which the network does not have; give the "
                "LoRA of latent-consistency/lcm-lora-sdv1-5"
            )
        weight = weights[layers[layer]]
        rank = len(down)
        fits = (
            up.numel() == len(weight) * rank
            and up.shape[:2] == (len(weight), rank)
            and down.shape[1:] == weight.shape[1:]
        )
        if not fits:
            raise InputError(
                f"{path}: {layer} is {tuple(up.shape)} · {tuple(down.shape)}, which "
                f"does not fit the weights, {tuple(weight.shape)}"
            )
        change = (up.flatten(1) @ down.flatten(1)).reshape(weight.shape)
        weights[layers[layer]] = weight.float() + alpha / rank * change


def _tensors(
    lora: State, layer: str, path: pathlib.Path
) -> tuple[torch.Tensor, torch.Tensor, float]:
    """The two factors of a layer in float32, and its scale."""
    found = {name for name in lora if name.partition(".")[0] == layer}
    wanted = {f"{layer}.{part}" for part in _PARTS}
    if found != wanted or lora[f"{layer}.alpha"].numel() != 1:
        raise InputError(
            f"{path}: of {layer} there are {', '.join(sorted(found))[:200]}, expected "
            f"{', '.join(_PARTS)}; give the LoRA of latent-consistency/lcm-lora-sdv1-5"
        )
    down, up, alpha = (lora[f"{layer}.{part}"].float() for part in _PARTS)
    if down.ndim < 2 or up.ndim < 2:
        raise InputError(f"{path}: {layer} holds no matrices")
    return down, up, float(alpha)
