"""Forwards of AdaFace's and insightface's backbones, written from state dicts alone."""

import torch
from torch.nn import functional as F

from bridges.recognition.backbones import build_backbone

EPS = 1e-5


def randomised(name: str, seed: int = 0) -> dict[str, torch.Tensor]:
    """A state dict of a backbone for 32 px, every tensor of it random."""
    random = torch.Generator().manual_seed(seed)
    state = {}
    with torch.device("meta"):
        network = build_backbone(name, image_size=32, embedding_size=8)
    for key, value in network.state_dict().items():
        if key.endswith("num_batches_tracked"):
            continue
        spread = torch.rand(value.shape, generator=random)
        if value.ndim > 1:
            state[key] = (spread - 0.5) * (12 / value[0].numel()) ** 0.5
        elif key.endswith("running_mean") or key.endswith("bias"):
            state[key] = spread - 0.5
        else:
            state[key] = spread + 0.5
    return state


def normalised(x, state, name):
    """Batch normalisation in evaluation, by its definition."""
    shape = (1, -1, *[1] * (x.ndim - 2))
    mean, variance = (state[f"{name}.running_{k}"] for k in ("mean", "var"))
    x = (x - mean.view(shape)) / (variance.view(shape) + EPS).sqrt()
    if f"{name}.weight" in state:
        x = x * state[f"{name}.weight"].view(shape) + state[f"{name}.bias"].view(shape)
    return x


def adaface_forward(state, x, depths):
    """IR as the description of AdaFace's net.py has it."""

    def prelu(x, name):
        return torch.where(x > 0, x, x * state[f"{name}.weight"].view(1, -1, 1, 1))

    def convolved(x, name, stride, padding):
        return F.conv2d(x, state[f"{name}.weight"], None, stride, padding)

    x = convolved(x, "input_layer.0", 1, 1)
    x = prelu(normalised(x, state, "input_layer.1"), "input_layer.2")
    k = 0
    for depth in depths:
        for i in range(depth):
            at, stride = f"body.{k}", 2 if i == 0 else 1
            if f"{at}.shortcut_layer.0.weight" in state:
                way = convolved(x, f"{at}.shortcut_layer.0", stride, 0)
                way = normalised(way, state, f"{at}.shortcut_layer.1")
            else:
                way = x[:, :, ::stride, ::stride]
            y = normalised(x, state, f"{at}.res_layer.0")
            y = convolved(y, f"{at}.res_layer.1", 1, 1)
            y = prelu(normalised(y, state, f"{at}.res_layer.2"), f"{at}.res_layer.3")
            y = convolved(y, f"{at}.res_layer.4", stride, 1)
            x = way + normalised(y, state, f"{at}.res_layer.5")
            k += 1
    x = normalised(x, state, "output_layer.0").flatten(1)
    x = x @ state["output_layer.3.weight"].T + state["output_layer.3.bias"]
    return normalised(x, state, "output_layer.4")


def insightface_forward(state, x, depths):
    """iresnet as the description of arcface_torch has it."""

    def prelu(x, name):
        return torch.where(x > 0, x, x * state[f"{name}.weight"].view(1, -1, 1, 1))

    x = F.conv2d(x, state["conv1.weight"], None, 1, 1)
    x = prelu(normalised(x, state, "bn1"), "prelu")
    for stage, depth in enumerate(depths, 1):
        for i in range(depth):
            at, stride = f"layer{stage}.{i}", 2 if i == 0 else 1
            y = normalised(x, state, f"{at}.bn1")
            y = F.conv2d(y, state[f"{at}.conv1.weight"], None, 1, 1)
            y = prelu(normalised(y, state, f"{at}.bn2"), f"{at}.prelu")
            y = F.conv2d(y, state[f"{at}.conv2.weight"], None, stride, 1)
            y = normalised(y, state, f"{at}.bn3")
            if i == 0:
                x = F.conv2d(x, state[f"{at}.downsample.0.weight"], None, stride, 0)
                x = normalised(x, state, f"{at}.downsample.1")
            x = x + y
    x = normalised(x, state, "bn2").flatten(1)
    x = x @ state["fc.weight"].T + state["fc.bias"]
    return normalised(x, state, "features")
