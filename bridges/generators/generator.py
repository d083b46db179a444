"""The generator: what the rest of the package needs of one, and how to add one.

A generator is a class with the members of :class:`Generator`, a settings dataclass, and
one registry entry. This one is complete; its images are of one grey::

    import dataclasses
    import numpy as np
    from bridges.generators.generator import GENERATORS, GeneratorKind
    from bridges.recognisers.recogniser import load_recogniser

    @dataclasses.dataclass(frozen=True)
    class GreySettings:
        brightness: float = dataclasses.field(
            default=0.5, metadata={"help": "0 is black, 1 is white"}
        )

    class Grey:
        model = {"name": "grey", "sha256": "0" * 64}
        licence, version, settings_type = None, 1, GreySettings
        embedding_size, image_size = 512, 64

        def __init__(self, name_or_path, device, batch_size):
            self.recogniser = load_recogniser("recogniser_f", device="cpu").model

        def generate(self, embeddings, seeds, settings=None):
            level = np.uint8(255 * (settings or GreySettings()).brightness)
            return np.full((len(embeddings), 64, 64, 3), level)

    GENERATORS.register("grey", GeneratorKind(GreySettings, Grey))

From then on ``load_generator`` and ``generate_dataset`` take ``"grey"`` in this
process. To give it to the commands, ``hyperface-generate --generator=grey
--brightness=0.7``, add an entry to :data:`GENERATORS` below instead, with strings
``"module:attribute"``, so that nothing is imported before it is asked for.

This module loads no torch until a generator is loaded. An implementation with torch, on
any device, is :mod:`bridges.generators.latent_diffusion.generator`.
"""

import contextlib
import dataclasses
import os
import pathlib
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from bridges import pretrained
from bridges.pretrained import CONFIG, WEIGHTS
from bridges.registry import Registry, imported
from hyperface_jax import InputError, files
from hyperface_jax.artifacts import read_json

if TYPE_CHECKING:
    from bridges.devices import Device

DEFAULT_GENERATOR = "latent_diffusion"
# How many images are computed at once. Rounding inside a matrix product depends on its
# shape, so every batch has this many rows, padded if need be: an image then does not
# depend on how many are made with it.
BATCH_SIZE = 16
ACCELERATOR_BATCH_SIZE = 128
# Folders written before there were several kinds.
_FIRST_KIND = "generator"

Loader = Callable[[str, "Device", int | None], "Generator"]


class Generator(Protocol):
    """An identity-conditioned face generator.

    Attributes:
      model: ``{"name", "sha256"}`` of this generator.
      recogniser: ``{"name", "sha256"}`` of the recogniser whose embeddings it takes.
      licence: what images it was trained on and how its own may be used, or None.
      embedding_size: length ``d`` of an embedding.
      image_size: height and width ``s`` of an image in pixels.
      version: part of what data sets record; to be raised when the same weights, seeds
        and settings give other images.
      settings_type: its settings, a frozen dataclass with a default for every field.
    """

    model: dict[str, str]
    recogniser: dict[str, str]
    licence: str | None
    embedding_size: int
    image_size: int
    version: int
    settings_type: type

    def generate(
        self,
        embeddings: np.ndarray,
        seeds: Sequence[int] | np.ndarray,
        settings: Any | None = None,
    ) -> np.ndarray:
        """Makes an image for each embedding.

        An image is a function of its embedding, its seed and the settings; what else
        is in the call does not matter.

        Args:
          embeddings: ``[n, d]`` unit rows, in the space of :attr:`recogniser`.
          seeds: ``[n]`` integers in [0, 2⁶³).
          settings: a :attr:`settings_type`; None for its defaults.

        Returns:
          ``[n, s, s, 3]`` uint8 RGB.

        Raises:
          InputError: embeddings, seeds or settings that can't be used.
        """


@dataclasses.dataclass(frozen=True)
class GeneratorKind:
    """A kind of generator: its settings, and how one is loaded.

    Worker processes are sent the kind they need, so with several of them both have to
    be ``"module:attribute"``, or classes and functions that can be imported by name.

    Attributes:
      settings: the settings dataclass. Each field has a default and, for the flag made
        of it, ``metadata["help"]``; its name is that of no field of
        :class:`bridges.generation.GenerationConfig`. Commands read it for ``--help``,
        so its module should not load torch.
      load: ``load(name_or_path, device, batch_size)`` returns a :class:`Generator`.
        It is given what was asked for, where to compute, and how many images to compute
        at once, None for the default of the device.
      suffixes: of files that this kind of generator is stored in, ``(".pkl",)``.
    """

    settings: type | str
    load: Loader | str
    suffixes: tuple[str, ...] = ()

    def default_settings(self) -> Any:
        """The settings with every default."""
        return imported(self.settings)()


GENERATORS: Registry[GeneratorKind] = Registry(
    "generator",
    {
        "latent_diffusion": GeneratorKind(
            settings="bridges.generators.latent_diffusion.settings:"
            "LatentDiffusionSettings",
            load="bridges.generators.latent_diffusion.generator:load",
        )
    },
)


def load_generator(
    name_or_path: str | os.PathLike[str] = DEFAULT_GENERATOR,
    *,
    device: str = "auto",
    precision: str = "float32",
    batch_size: int | None = None,
) -> Generator:
    """Loads a generator.

    Args:
      name_or_path: a name in :data:`GENERATORS`; a file with a suffix of one of them;
        ``"embedded"`` for the one that ships; or a folder with a ``config.json`` that
        says which kind it is, see :func:`bridges.pretrained.find`.
      device: what to compute on, see :func:`bridges.devices.find_device`.
      precision: of matrix products and convolutions, likewise.
      batch_size: images computed at once; by default 16 on the CPU and 128 on an
        accelerator.

    Raises:
      InputError: no such generator, a damaged one, or no such device.
    """
    name = files.path_of(name_or_path)
    load = imported(GENERATORS[kind_of(name)].load)
    # Imports torch, which listing the kinds does without.
    from bridges.devices import find_device

    return load(name, find_device(device, precision), batch_size)


def kind_of(name_or_path: str | os.PathLike[str]) -> str:
    """The kind of a generator, a name in :data:`GENERATORS`.

    Raises:
      InputError: no such generator, or a folder of something else.
    """
    name = files.path_of(name_or_path)
    if name in GENERATORS:
        return name
    suffix = pathlib.Path(name).suffix.lower()
    for kind in GENERATORS:
        if suffix in GENERATORS[kind].suffixes:
            return kind
    folder = find_folder(name)
    if not (folder / CONFIG).is_file():
        raise InputError(
            f"{folder}: no {CONFIG} in it; expected the folder of a finished generator"
        )
    return _kind_of_folder(folder)


def find_folder(name_or_path: str | os.PathLike[str]) -> pathlib.Path:
    """The folder of a generator that ships, by its name, or of one of the caller's.

    Raises:
      InputError: no such folder.
    """
    folder = pretrained.find(name_or_path)
    if not folder.is_dir():
        shipped = shipped_generators()
        others = [name for name in GENERATORS if name not in shipped]
        registered = f", and registered: {', '.join(others)}" if others else ""
        raise InputError(
            f"no generator {str(name_or_path)!r}: it is no folder, and those that "
            f"ship are: {', '.join(shipped) or 'none'}{registered}"
        )
    return folder


def shipped_generators() -> list[str]:
    """Names of the generators that ship with the package."""
    found = []
    for path in sorted(pretrained.FOLDER.glob(f"*/{CONFIG}")):
        with contextlib.suppress(InputError):
            if (path.parent / WEIGHTS).is_file():
                _kind_of_folder(path.parent)
                found.append(path.parent.name)
    return found


def default_settings() -> dict[str, Any]:
    """The default settings of every kind of generator, by its name."""
    return {name: GENERATORS[name].default_settings() for name in GENERATORS}


def checked_settings(generator: Generator, settings: Any | None) -> Any:
    """The settings, by default the generator's own.

    Raises:
      InputError: settings of another kind of generator.
    """
    wanted = generator.settings_type
    if settings is None:
        return wanted()
    if not isinstance(settings, wanted):
        raise InputError(
            f"generator {generator.model['name']} takes settings of type "
            f"{wanted.__name__}, got {type(settings).__name__}"
        )
    return settings


def check_recogniser(recogniser: dict[str, str], generator: Generator) -> None:
    """Raises InputError unless ``generator`` takes embeddings of ``recogniser``."""
    wanted = generator.recogniser
    if recogniser["sha256"] != wanted["sha256"]:
        raise InputError(
            f"recogniser {recogniser['name']} ({recogniser['sha256'][:12]}…) is not "
            f"the one whose embeddings generator {generator.model['name']} takes, "
            f"{wanted['name']} ({wanted['sha256'][:12]}…); give that --recogniser, or "
            "none with a generator that ships"
        )


def _kind_of_folder(folder: pathlib.Path) -> str:
    """The kind that a folder's configuration names."""
    found = read_json(folder / CONFIG).get("kind")
    if found is None:
        raise InputError(
            f"{folder / CONFIG}: describes no model; expected a {_FIRST_KIND}"
        )
    kind = DEFAULT_GENERATOR if found == _FIRST_KIND else found
    if not isinstance(kind, str) or kind not in GENERATORS:
        raise InputError(
            f"{folder}: holds the model kind {found!r}, expected {_FIRST_KIND!r}"
        )
    return kind
