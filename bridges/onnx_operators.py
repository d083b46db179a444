"""What the operators of ONNX do that detectors and recognisers of faces consist of.

Each is a function of tensors, whose keyword arguments are the operator's attributes as
ONNX names them (https://onnx.ai/onnx/operators). An attribute with a value that is not
computed here is refused rather than passed over.
"""

import inspect
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch.nn import functional

from hyperface_jax import InputError

Tensor = torch.Tensor

# Attributes of which one value is computed here, or that don't matter (None).
_FIXED: dict[str, dict[str, Any]] = {
    "BatchNormalization": {"momentum": None, "spatial": 1, "training_mode": 0},
    "Conv": {"auto_pad": "NOTSET", "kernel_shape": None},
    "Dropout": {"seed": None},
    "Flatten": {"axis": 1},
    "Gemm": {"alpha": 1.0, "beta": 1.0, "transA": 0},
    "MaxPool": {
        "auto_pad": "NOTSET",
        "dilations": [1, 1],
        "pads": [0, 0, 0, 0],
        "storage_order": 0,
    },
    "Resize": {
        "coordinate_transformation_mode": "asymmetric",
        "cubic_coeff_a": None,
        "mode": "nearest",
        "nearest_mode": "floor",
    },
}


def arguments_of(
    operator: str, num_inputs: int, attributes: dict[str, Any]
) -> dict[str, Any]:
    """The attributes of a node as keyword arguments, defaults filled in.

    Args:
      operator: a key of :data:`OPERATORS`.
      num_inputs: how many tensors the node takes.
      attributes: its attributes by name.

    Raises:
      InputError: attributes or inputs that the operator here does not take.
    """
    fixed, rest = _FIXED.get(operator, {}), {}
    for name, value in attributes.items():
        if isinstance(value, bytes):
            value = value.decode(errors="replace")
        if name not in fixed:
            rest[name] = value
        elif fixed[name] is not None and fixed[name] != value:
            raise InputError(
                f"operator {operator} with {name} = {value!r}, expected {fixed[name]!r}"
            )
    signature = inspect.signature(OPERATORS[operator])
    try:
        bound = signature.bind(*[None] * num_inputs, **rest)
    except TypeError as error:
        raise InputError(f"operator {operator} of another kind: {error}") from None
    bound.apply_defaults()
    return bound.kwargs


def _conv(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    *,
    dilations: Sequence[int] = (1, 1),
    group: int = 1,
    pads: Sequence[int] = (0, 0, 0, 0),
    strides: Sequence[int] = (1, 1),
) -> Tensor:
    top, left, bottom, right = pads
    if (top, left) != (bottom, right):
        x, top, left = functional.pad(x, (left, right, top, bottom)), 0, 0
    return functional.conv2d(
        x, weight, bias, tuple(strides), (top, left), tuple(dilations), group
    )


def _batch_normalization(
    x: Tensor,
    scale: Tensor,
    shift: Tensor,
    mean: Tensor,
    variance: Tensor,
    *,
    epsilon: float = 1e-5,
) -> Tensor:
    return functional.batch_norm(
        x, mean, variance, scale, shift, training=False, eps=epsilon
    )


def _max_pool(
    x: Tensor,
    *,
    ceil_mode: int = 0,
    kernel_shape: Sequence[int],
    strides: Sequence[int] = (1, 1),
) -> Tensor:
    return functional.max_pool2d(
        x,
        tuple(kernel_shape),
        tuple(strides),
        ceil_mode=bool(ceil_mode),
    )


def _resize(x: Tensor, region: Tensor | None, scales: Tensor) -> Tensor:
    del region  # Of other modes.
    if scales[:2].tolist() != [1.0, 1.0]:
        raise InputError("operator Resize of the batch or the channels")
    return functional.interpolate(x, scale_factor=scales[2:].tolist(), mode="nearest")


def _reshape(x: Tensor, shape: Tensor, *, allowzero: int = 0) -> Tensor:
    sizes = shape.tolist()
    if not allowzero:
        sizes = [x.shape[i] if size == 0 else size for i, size in enumerate(sizes)]
    return x.reshape(sizes)


def _gemm(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    *,
    transB: int = 0,
) -> Tensor:
    return functional.linear(x, weight if transB else weight.T, bias)


def _dequantize_linear(
    q: Tensor,
    scale: Tensor,
    zero: Tensor | None = None,
    *,
    axis: int = 1,
    block_size: int = 0,
) -> Tensor:
    zero = torch.zeros_like(scale) if zero is None else zero.float()
    # Files are about that give the size of the blocks although one scale is for all.
    if block_size and scale.ndim == q.ndim:
        scale, zero = (
            each.repeat_interleave(block_size, axis).narrow(axis, 0, q.shape[axis])
            for each in (scale, zero)
        )
    elif scale.ndim == 1:
        shape = [1] * q.ndim
        shape[axis] = -1
        scale, zero = scale.view(shape), zero.view(shape)
    return (q.float() - zero) * scale


def _prelu(x: Tensor, slope: Tensor) -> Tensor:
    return functional.prelu(x, slope.flatten())


def _dropout(
    x: Tensor,
    ratio: Tensor | None = None,
    training: Tensor | None = None,
) -> Tensor:
    del ratio, training  # Of training.
    return x


def _flatten(x: Tensor) -> Tensor:
    return x.flatten(1)


# By the type that a node has.
OPERATORS: dict[str, Callable[..., Tensor]] = {
    "Add": lambda x, y: x + y,
    "BatchNormalization": _batch_normalization,
    "Conv": _conv,
    "DequantizeLinear": _dequantize_linear,
    "Dropout": _dropout,
    "Flatten": _flatten,
    "Gemm": _gemm,
    "Identity": lambda x: x,
    "MaxPool": _max_pool,
    "Mul": lambda x, y: x * y,
    "PRelu": _prelu,
    "Relu": lambda x: x.relu(),
    "Reshape": _reshape,
    "Resize": _resize,
    "Sigmoid": lambda x: x.sigmoid(),
    "Sub": lambda x, y: x - y,
    "Transpose": lambda x, *, perm: x.permute(*perm),
}
