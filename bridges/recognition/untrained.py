"""Running statistics of networks that have not been trained.

Batch normalisation begins with a running variance of 1, whatever the weights before it.
Where these are large, a network that is evaluated before its training multiplies its
activations from layer to layer: of iresnet50 as published they reach 1e26, whose
squares are no float32, and rows divided by their norm are zeros; of iresnet100 they
are no numbers. Here the running variance begins with what the weights make of inputs
of a known mean square. Training reads batch statistics alone and forgets the start of
the running ones by a tenth a step, so its losses and weights do not change by a bit.
"""

from torch import nn

# Mean squares of what a layer is given: pixels that fill [-1, 1] evenly, and a PReLU's
# output (slope .25) of a normal distribution, (1 + .25²) / 2.
PIXELS = 1 / 3
ACTIVATED = (1 + 0.25**2) / 2


def start_after(convolution: nn.Conv2d, norm: nn.BatchNorm2d, square: float) -> None:
    """Sets the running variance behind a convolution with fresh weights.

    Args:
      convolution: its weights are drawn independently, with mean 0.
      norm: what follows it.
      square: mean square of the convolution's input.
    """
    weights = convolution.weight.detach()
    norm.running_var.copy_(square * weights.square().sum(dim=(1, 2, 3)))
