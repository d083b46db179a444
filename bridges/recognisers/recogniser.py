"""The recogniser in use: what the rest of the package needs of one, and how to add one.

A recogniser is a class with four members, and one registry entry. This one is complete;
it embeds an image as its coarse colours::

    import numpy as np
    from bridges.recognisers.recogniser import RECOGNISERS

    class Colours:
        image_size = 8
        embedding_size = 192
        model = {"name": "colours", "sha256": "0" * 64}

        def embed(self, images, *, flip=True):
            rows = images.reshape(len(images), -1).astype(np.float32) + 1
            if flip:
                rows += images[:, :, ::-1].reshape(len(images), -1)
            return rows / np.linalg.norm(rows, axis=1, keepdims=True)

    RECOGNISERS.register("colours", lambda place, device: Colours())

From then on ``load_recogniser``, ``embed_folder`` and ``verify_checkpoint`` take
``"colours"`` in this process. To give it to the commands, ``hyperface-embed
--model=colours``, add an entry to :data:`RECOGNISERS` below instead: a string
``"module:attribute"``, so that nothing is imported before it is asked for.

``sha256`` identifies the weights: embeddings are only compared with those of the same
digest. Batching, resampling and progress are in :mod:`bridges.recognisers.embedding`;
an implementation with torch, on any device, is :mod:`bridges.recognisers.network`.
"""

import os
import pathlib
from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol

import numpy as np

from bridges import pretrained
from bridges.registry import Registry
from hyperface_jax import InputError, files
from hyperface_jax.artifacts import read_json

if TYPE_CHECKING:
    import torch

    from bridges.devices import Device

# What a folder holds whose config.json does not say: a checkpoint of hyperface-train.
_DEFAULT_KIND = "checkpoint"


class Recogniser(Protocol):
    """Maps face images to unit vectors, near each other for one person.

    Attributes:
      model: ``{"name", "sha256"}``: what embedding files remember.
      image_size: the side ``s`` in pixels of the images that it takes.
      embedding_size: the length ``d`` of an embedding.
    """

    model: dict[str, str]
    image_size: int
    embedding_size: int

    def embed(self, images: np.ndarray, *, flip: bool = True) -> np.ndarray:
        """Embeds a batch of images.

        Args:
          images: ``[n, s, s, 3]`` uint8 RGB, faces aligned as in training.
          flip: embed each image together with its mirror image.

        Returns:
          ``[n, d]`` float32, unit rows.
        """


class PerceptualRecogniser(Recogniser, Protocol):
    """A recogniser with feature maps to compare; autoencoder training needs one."""

    def features(self, x: "torch.Tensor") -> "list[torch.Tensor]":
        """Intermediate feature maps, finest first.

        Args:
          x: ``[n, 3, s, s]`` in [-1, 1], on the recogniser's device; gradients flow
            through to it.
        """


Loader = Callable[[pathlib.Path, "Device"], Recogniser]

# By the name that is asked for; by the suffix of a file; by the kind that the
# config.json of a folder says. A loader is given the name or path, and the device.
RECOGNISERS: Registry[Loader] = Registry(
    "recogniser",
    {
        _DEFAULT_KIND: "bridges.recognisers.iresnet:load_checkpoint",
        "sface": "bridges.recognisers.sface:load_sface",
        "dlib": "bridges.recognisers.dlib:load_dlib",
        ".onnx": "bridges.recognisers.onnx_file:load_onnx",
        ".pth": "bridges.recognisers.torch_file:load_torch_file",
        ".pt": "bridges.recognisers.torch_file:load_torch_file",
        ".ckpt": "bridges.recognisers.torch_file:load_torch_file",
    },
)


def load_recogniser(
    name_or_path: str | os.PathLike[str] = "recogniser_f",
    *,
    device: str = "auto",
    precision: str = "float32",
) -> Recogniser:
    """Loads a recogniser by name, or from a file or folder.

    Args:
      name_or_path: a name in :data:`RECOGNISERS`; a file with a suffix registered
        there; ``"recogniser_f"``, which ships; or the folder of a checkpoint, see
        :func:`bridges.pretrained.find`.
      device: what to compute on, see :func:`bridges.devices.find_device`.
      precision: of matrix products and convolutions, likewise.

    Raises:
      InputError: nothing there, an unfinished training, damaged files, or a device
        that is not there.
    """
    load, place = _resolve(name_or_path)
    # Imports torch, which listing the names does without.
    from bridges.devices import find_device

    return load(place, find_device(device, precision))


def perceptual(recogniser: Recogniser) -> PerceptualRecogniser:
    """The same recogniser, if it has feature maps.

    Raises:
      InputError: it has none.
    """
    if not callable(getattr(recogniser, "features", None)):
        raise InputError(
            f"{recogniser.model['name']}: has no feature maps to compare images by; "
            "give another recogniser, such as recogniser_f"
        )
    return recogniser


def _resolve(name_or_path: str | os.PathLike[str]) -> tuple[Loader, pathlib.Path]:
    """What loads a recogniser, and the name or path to call it with."""
    name = files.path_of(name_or_path)
    place = pathlib.Path(name)
    if name in RECOGNISERS and name != _DEFAULT_KIND:
        if place.exists():
            raise InputError(
                f"{name}: the name of a recogniser, and of something here; give "
                f"{place.resolve()} for the latter, or rename it to have the other"
            )
        return RECOGNISERS[name], place
    if place.suffix.lower() in RECOGNISERS and not place.is_dir():
        return RECOGNISERS[place.suffix.lower()], place
    folder = pretrained.find(name)
    if not folder.is_dir():
        raise InputError(f"{name}: no recogniser there; expected {_expected()}")
    return RECOGNISERS[_kind_of(folder)], folder


def _kind_of(folder: pathlib.Path) -> str:
    """The registry key that ``config.json`` gives."""
    config = folder / pretrained.CONFIG
    kind = read_json(config).get("kind") if config.is_file() else None
    if kind is None:
        return _DEFAULT_KIND
    if not isinstance(kind, str) or kind not in RECOGNISERS:
        raise InputError(
            f"{config}: kind is {kind!r}, expected one of {', '.join(RECOGNISERS)}"
        )
    return kind


def _expected() -> str:
    """What can be given for a recogniser, in words."""
    names = [n for n in RECOGNISERS if n != _DEFAULT_KIND and not n.startswith(".")]
    suffixes = [name for name in RECOGNISERS if name.startswith(".")]
    found = f"the folder of a checkpoint, or a name: recogniser_f, {', '.join(names)}"
    return f"a file ending in {' or '.join(suffixes)}, {found}" if suffixes else found
