"""A training that goes on from the weights of another recogniser."""

import os
import pathlib
from typing import Any

import torch

from bridges import model_folder, pretrained
from bridges.recognition import checkpoint
from hyperface_jax import InputError

PathLike = str | os.PathLike[str]

# More keys say no more.
_NAMED = 3


def describe_initial(initial: PathLike | None) -> dict[str, Any]:
    """What the settings of a training record of it: the weights' digest.

    Args:
      initial: a recogniser of ours: the name of one that ships, or a folder; or None.

    Raises:
      InputError: no recogniser there.
    """
    if initial is None:
        return {}
    folder = pretrained.find(initial)
    checkpoint.read_config(folder)
    return {"initial": model_folder.digest_of(folder)}


def load_initial(initial: PathLike, backbone: torch.nn.Module) -> None:
    """Gives a backbone the weights of a recogniser.

    Args:
      initial: as for :func:`describe_initial`.
      backbone: of the same architecture.

    Raises:
      InputError: another architecture: says which keys differ.
    """
    folder = pretrained.find(initial)
    config = checkpoint.read_config(folder)
    weights = checkpoint.load_network(folder).state_dict()
    own = backbone.state_dict()
    differences = {
        "it lacks": own.keys() - weights.keys(),
        "it alone has": weights.keys() - own.keys(),
        "of another shape are": {
            key
            for key in own.keys() & weights.keys()
            if own[key].shape != weights[key].shape
        },
    }
    found = [f"{what} {_some(keys)}" for what, keys in differences.items() if keys]
    if found:
        raise InputError(
            f"{pathlib.Path(folder)}: a {config['backbone']} of {config['image_size']} "
            f"pixels and {config['embedding_size']} numbers, not what is to be "
            f"trained: {'; '.join(found)}; give backbone, image_size, "
            "embedding_size and attention of it"
        )
    backbone.load_state_dict(weights)


def _some(keys: set[str]) -> str:
    named = sorted(keys)[:_NAMED]
    more = f" and {len(keys) - _NAMED} more" if len(keys) > _NAMED else ""
    return ", ".join(named) + more
