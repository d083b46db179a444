"""The networks of Arc2Face, read from their published files.

They are built from their configurations without memory, and take the tensors of their
files as they are: nothing is drawn at random first, nothing is fetched, and a tensor
that is missing, left over or of another shape is refused by name, where
``from_pretrained`` of the libraries would go on with random numbers.
"""

import contextlib
import inspect
import pathlib
import pickle
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import diffusers
import torch
import transformers
from diffusers import AutoencoderKL, ControlNetModel, UNet2DConditionModel
from torch import nn
from transformers import CLIPTextConfig, CLIPTextModel

from bridges.generators.arc2face.lora import merge_lora
from bridges.weights_file import read_weights
from hyperface_jax import InputError
from hyperface_jax.artifacts import read_json

State = dict[str, torch.Tensor]

# What diffusers called the layers of an autoencoder's attention before 0.17; Stable
# Diffusion 1.5 is published with these names.
_OLD_ATTENTION = {
    "query": "to_q",
    "key": "to_k",
    "value": "to_v",
    "proj_attn": "to_out.0",
}
# transformers 5.6 dropped this prefix from the names of CLIPTextModel.
_TEXT_PREFIX = "text_model."
# A buffer of whole numbers, 0 to 76, which old files hold and new ones don't.
_POSITIONS = "embeddings.position_ids"


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Without the libraries' remarks about configurations of older versions."""
    libraries = (diffusers.utils.logging, transformers.utils.logging)
    levels = [library.get_verbosity() for library in libraries]
    for library in libraries:
        library.set_verbosity_error()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for library, level in zip(libraries, levels, strict=True):
            library.set_verbosity(level)


def load_unet(
    config: pathlib.Path,
    weights: pathlib.Path,
    dtype: torch.dtype = torch.float32,
    lora: pathlib.Path | None = None,
) -> UNet2DConditionModel:
    """Loads the denoising network.

    Args:
      config: its ``config.json``.
      weights: its ``.safetensors`` or ``.bin``.
      dtype: what to compute in.
      lora: a LoRA to add to the weights, see
        :func:`bridges.generators.arc2face.lora.merge_lora`.

    Raises:
      InputError: damaged files, or files that don't belong together.
    """
    state = read_state(weights)
    if lora is not None:
        merge_lora(state, read_weights(lora), lora)
    return _filled(
        config, _diffusers(config, UNet2DConditionModel), state, weights, dtype
    )


def load_controlnet(
    config: pathlib.Path, weights: pathlib.Path, dtype: torch.dtype = torch.float32
) -> ControlNetModel:
    """Loads a ControlNet, likewise."""
    state = read_state(weights)
    return _filled(config, _diffusers(config, ControlNetModel), state, weights, dtype)


def load_vae(
    config: pathlib.Path, weights: pathlib.Path, dtype: torch.dtype = torch.float32
) -> AutoencoderKL:
    """Loads the autoencoder, likewise."""
    state = {
        _renamed(name, _OLD_ATTENTION) if ".attentions." in name else name: value
        for name, value in read_state(weights).items()
    }
    return _filled(config, _diffusers(config, AutoencoderKL), state, weights, dtype)


def load_text_encoder(
    config: pathlib.Path, weights: pathlib.Path, dtype: torch.dtype = torch.float32
) -> CLIPTextModel:
    """Loads the text encoder, with or without ``text_model.`` in its names."""
    state = {
        name.removeprefix(_TEXT_PREFIX): value
        for name, value in read_state(weights).items()
    }
    state.pop(_POSITIONS, None)
    shape = {k: v for k, v in read_json(config).items() if not k.startswith("_")}

    def build() -> CLIPTextModel:
        return CLIPTextModel(CLIPTextConfig(**shape))

    network = _filled(config, build, state, weights, dtype)
    # No tensor of the file, and without numbers where the network has no memory.
    positions = network.get_submodule(_submodule(network, "embeddings"))
    count = network.config.max_position_embeddings
    positions.register_buffer(
        "position_ids", torch.arange(count)[None], persistent=False
    )
    return network


def read_state(path: pathlib.Path) -> State:
    """The tensors of a ``.safetensors`` file, or of a ``.bin`` file of torch.

    Of the latter, only tensors and plain values are read (``weights_only``).

    Raises:
      InputError: a damaged file, or one that holds anything else.
    """
    if path.suffix == ".safetensors":
        return read_weights(path)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            state = torch.load(path, map_location="cpu", weights_only=True)
    except (MemoryError, PermissionError):
        raise
    except pickle.UnpicklingError:
        raise InputError(
            f"{path}: damaged, or holds more than tensors; fetch it again"
        ) from None
    except Exception as error:  # Whatever a damaged archive or pickle leads to.
        reason = " ".join(str(error).split())[:120] or type(error).__name__
        raise InputError(f"{path}: damaged ({reason}); fetch it again") from None
    if not isinstance(state, dict) or not all(
        isinstance(name, str) and isinstance(value, torch.Tensor)
        for name, value in state.items()
    ):
        raise InputError(f"{path}: holds more than tensors, expected a state dict")
    return dict(state)


def _diffusers(config: pathlib.Path, kind: type) -> Callable[[], nn.Module]:
    """What builds a network of diffusers from its configuration."""
    known = inspect.signature(kind.__init__).parameters
    shape = {key: value for key, value in read_json(config).items() if key in known}
    return lambda: kind.from_config(shape)


def _filled(
    config: pathlib.Path,
    build: Callable[[], nn.Module],
    state: State,
    weights: pathlib.Path,
    dtype: torch.dtype,
) -> Any:
    """The network with the tensors of its file, ready to compute."""
    try:
        with quiet(), torch.device("meta"):
            network = build()
    except Exception as error:
        # Whatever the layers make of numbers that are none of theirs.
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        raise InputError(
            f"{config}: describes no network that can be built ({reason})"
        ) from None
    wanted = {
        name.removeprefix(_TEXT_PREFIX): (name, tuple(value.shape))
        for name, value in network.state_dict().items()
    }
    found = {name: tuple(value.shape) for name, value in state.items()}
    for name in sorted({*wanted, *found}):
        shape = wanted[name][1] if name in wanted else "none"
        if found.get(name) != shape:
            raise InputError(
                f"{weights}: weights of another network than {config} says ({name} is "
                f"{found.get(name, 'missing')}, expected {shape}); fetch both again"
            )
    for name, value in state.items():
        if not value.is_floating_point():
            raise InputError(f"{weights}: {name} holds {value.dtype}, no weights")
    network.load_state_dict(
        {wanted[name][0]: value.to(dtype) for name, value in state.items()},
        assign=True,
    )
    return network.eval().requires_grad_(False)


def _renamed(name: str, words: dict[str, str]) -> str:
    return ".".join(words.get(word, word) for word in name.split("."))


def _submodule(network: nn.Module, name: str) -> str:
    """The path of a part, which older versions of transformers have one level down."""
    return name if hasattr(network, name) else _TEXT_PREFIX + name
