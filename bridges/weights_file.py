"""Weights on the disk: read whole or refused by name, and the network they are of."""

import os
import pathlib
from collections.abc import Callable
from typing import TypeVar

import safetensors
import torch
from safetensors.torch import load_file

from hyperface_jax import InputError

PathLike = str | os.PathLike[str]
Network = TypeVar("Network", bound=torch.nn.Module)
# What safetensors raises at damaged bytes, by where the damage is.
UNREADABLE = (safetensors.SafetensorError, KeyError, TypeError, ValueError)


def read_weights(path: PathLike) -> dict[str, torch.Tensor]:
    """Reads a safetensors file.

    Raises:
      InputError: a damaged file, or one that can't be read.
    """
    try:
        return load_file(path)
    except UNREADABLE as error:
        raise _damaged(path, error) from None
    except OSError as error:
        raise _named(path, error) from None


def build_to_fit(
    path: PathLike, config: PathLike, build: Callable[[], Network]
) -> Network:
    """Builds the network that a configuration describes, if the weights are of it.

    That is found out without memory for the network, so a damaged configuration can't
    ask for more than there is.

    Args:
      path: the weights, a safetensors file.
      config: the configuration, for messages.
      build: builds the network.

    Raises:
      InputError: damaged weights, a configuration of no network, or of another one.
    """
    try:
        with torch.device("meta"):
            wanted = {
                name: tuple(value.shape) for name, value in build().state_dict().items()
            }
    except InputError as error:
        raise InputError(f"{os.fspath(config)}: {error}") from None
    except Exception as error:
        # Whatever the layers make of numbers that are none of theirs.
        reason = " ".join(str(error).split()) or type(error).__name__
        raise InputError(
            f"{os.fspath(config)}: describes no network that can be built ({reason})"
        ) from None
    found = _shapes(path)
    for name in sorted({*wanted, *found}):
        if wanted.get(name) != found.get(name):
            raise InputError(
                f"{os.fspath(path)}: weights of another network than "
                f"{pathlib.Path(config).name} says ({name} is "
                f"{found.get(name, 'missing')}, expected {wanted.get(name, 'none')})"
            )
    return build()


def _shapes(path: PathLike) -> dict[str, tuple[int, ...]]:
    try:
        with safetensors.safe_open(path, "pt") as file:
            return {key: tuple(file.get_slice(key).get_shape()) for key in file.keys()}
    except UNREADABLE as error:
        raise _damaged(path, error) from None
    except OSError as error:
        raise _named(path, error) from None


def _named(path: PathLike, error: OSError) -> OSError | InputError:
    """The error, which from safetensors has only words, with the file's name."""
    if error.filename is not None:
        return error
    return InputError(
        f"{os.fspath(path)}: can't be read ({error}); copy it to another disk"
    )


def _damaged(path: PathLike, error: Exception) -> InputError:
    reason = " ".join(str(error).split())
    return InputError(
        f"{os.fspath(path)}: damaged ({reason}); copy it again, or train anew"
    )
