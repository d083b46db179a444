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
        embedding_size, image_size, aligned = 512, 64, True
        default_recogniser = "recogniser_f"

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
from typing import Any, Protocol

import numpy as np

from bridges import pretrained
from bridges.pretrained import CONFIG, WEIGHTS
from bridges.registry import Registry, imported
from hyperface_jax import InputError, check_embeddings, files
from hyperface_jax.artifacts import read_json

DEFAULT_GENERATOR = "latent_diffusion"
# How many images are computed at once. Rounding inside a matrix product depends on its
# shape, so every batch has this many rows, padded if need be: an image then does not
# depend on how many are made with it.
BATCH_SIZE = 16
ACCELERATOR_BATCH_SIZE = 128
# Folders written before there were several kinds.
_FIRST_KIND = "generator"

# Given the name or path, the device, the batch size, and by keyword the paths.
Loader = Callable[..., "Generator"]


class Generator(Protocol):
    """An identity-conditioned face generator.

    It may have a method ``check_settings(settings)`` besides, which raises InputError
    for settings that these weights don't go with; it is called before images are made.

    Attributes:
      model: ``{"name", "sha256"}`` of this generator.
      recogniser: ``{"name", "sha256"}`` of the recogniser whose embeddings it takes.
      default_recogniser: name or path of that recogniser, for
        :func:`bridges.recognisers.recogniser.load_recogniser`.
      licence: what images it was trained on and how its own may be used, or None.
      aligned: whether the face in an image lies on
        :data:`bridges.alignment.ARCFACE_TEMPLATE` already; where not, who makes data
        sets finds it and aligns it.
      embedding_size: length ``d`` of an embedding.
      image_size: height and width ``s`` of an image in pixels.
      version: part of what data sets record; to be raised when the same weights, seeds
        and settings give other images.
      settings_type: its settings, a frozen dataclass with a default for every field.
    """

    model: dict[str, str]
    recogniser: dict[str, str]
    default_recogniser: str
    licence: str | None
    aligned: bool
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


class FileState(Protocol):
    """Whether a file can be used.

    Attributes:
      fault: what is wrong with it, and how to mend that; None where nothing shows.
      line: the state in a line.
    """

    fault: str | None
    line: str


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
      load: ``load(name_or_path, device, batch_size, **paths)`` returns a
        :class:`Generator`. It is given what was asked for, where to compute, how many
        images to compute at once, and those of the paths that were given.
      suffixes: of files that this kind of generator is stored in, ``(".pkl",)``.
      paths: where its files are, a dataclass as ``settings`` is; its fields are str,
        ``""`` where nothing is given. None where name_or_path says all.
      batch_sizes: images computed at once by default, on the CPU and on an accelerator.
      check: ``check(paths)`` says of each file whether it is there, as
        :class:`FileState`; loads no torch. None where there is nothing to look for.
    """

    settings: type | str
    load: Loader | str
    suffixes: tuple[str, ...] = ()
    paths: type | str | None = None
    batch_sizes: tuple[int, int] = (BATCH_SIZE, ACCELERATOR_BATCH_SIZE)
    check: Callable[[Any], Sequence["FileState"]] | str | None = None

    def default_settings(self) -> Any:
        """The settings with every default."""
        return imported(self.settings)()

    def default_paths(self) -> Any | None:
        """The paths with none given; None where this kind has none."""
        return None if self.paths is None else imported(self.paths)()


GENERATORS: Registry[GeneratorKind] = Registry(
    "generator",
    {
        "latent_diffusion": GeneratorKind(
            settings="bridges.generators.latent_diffusion.settings:"
            "LatentDiffusionSettings",
            load="bridges.generators.latent_diffusion.generator:load",
        ),
        "arc2face": GeneratorKind(
            settings="bridges.generators.arc2face.settings:Arc2FaceSettings",
            load="bridges.generators.arc2face.loading:load",
            paths="bridges.generators.arc2face.settings:Arc2FacePaths",
            # An image of 512 pixels takes a core minutes, so that more at once only
            # take memory; eight, with and without guidance, fill an accelerator.
            batch_sizes=(1, 8),
            check="bridges.generators.arc2face.files:check_files",
        ),
    },
)


def load_generator(
    name_or_path: str | os.PathLike[str] = DEFAULT_GENERATOR,
    *,
    device: str = "auto",
    precision: str = "float32",
    batch_size: int | None = None,
    **paths: str,
) -> Generator:
    """Loads a generator.

    Args:
      name_or_path: a name in :data:`GENERATORS`; a file with a suffix of one of them;
        ``"embedded"`` for the one that ships; or a folder with a ``config.json`` that
        says which kind it is, see :func:`bridges.pretrained.find`.
      device: what to compute on, see :func:`bridges.devices.find_device`.
      precision: of matrix products and convolutions, likewise.
      batch_size: images computed at once; by default
        :attr:`GeneratorKind.batch_sizes`.
      **paths: where its files are, fields of :attr:`GeneratorKind.paths`:
        ``load_generator("arc2face", models=…, base=…)``.

    Raises:
      InputError: no such generator, a damaged one, no such device, or a path that this
        kind does not take.
    """
    name = files.path_of(name_or_path)
    kind = kind_of(name)
    paths = _checked_paths(kind, paths)
    load = imported(GENERATORS[kind].load)
    # Imports torch, which listing the kinds does without.
    from bridges.devices import find_device

    place = find_device(device, precision)
    if batch_size is None:
        batch_size = GENERATORS[kind].batch_sizes[place.is_accelerator]
    return load(name, place, batch_size, **paths)


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


def check_files(
    name_or_path: str | os.PathLike[str], paths: Any | None
) -> Sequence[FileState]:
    """Looks for the files of a generator, without loading it.

    Args:
      name_or_path: as :func:`load_generator`.
      paths: of :attr:`GeneratorKind.paths`, or None.

    Returns:
      The state of each; nothing of a kind that is found by its name alone.

    Raises:
      InputError: no such generator.
    """
    check = GENERATORS[kind_of(name_or_path)].check
    return imported(check)(paths) if check else []


def checked_settings(generator: Generator, settings: Any | None) -> Any:
    """The settings, by default the generator's own.

    Raises:
      InputError: settings of another kind of generator, or none for this one.
    """
    wanted = generator.settings_type
    if settings is None:
        settings = wanted()
    if not isinstance(settings, wanted):
        raise InputError(
            f"generator {generator.model['name']} takes settings of type "
            f"{wanted.__name__}, got {type(settings).__name__}"
        )
    check = getattr(generator, "check_settings", None)
    if check is not None:
        check(settings)
    return settings


def checked_embeddings(generator: Generator, embeddings: Any) -> np.ndarray:
    """The embeddings as an array.

    Raises:
      InputError: no unit rows, or not of the generator's length.
    """
    embeddings = np.asarray(embeddings)
    check_embeddings(embeddings, "embeddings")
    if embeddings.shape[1] != generator.embedding_size:
        raise InputError(
            f"embeddings have {embeddings.shape[1]} entries, generator "
            f"{generator.model['name']} takes {generator.embedding_size}; embed the "
            f"images with {generator.recogniser['name']}"
        )
    return embeddings


def checked_seeds(seeds: Sequence[int] | np.ndarray, count: int) -> list[int]:
    """The seeds as Python's numbers.

    Raises:
      InputError: other than ``count`` whole numbers in [0, 2⁶³).
    """
    seeds = np.asarray(seeds, object)
    if seeds.ndim != 1:
        raise InputError(f"seeds have shape {seeds.shape}, expected ({count},)")
    if len(seeds) != count:
        raise InputError(f"{len(seeds)} seeds for {count} embeddings")
    for seed in seeds:
        whole = isinstance(seed, int | np.integer) and not isinstance(seed, bool)
        if not whole or not 0 <= seed < 2**63:
            raise InputError(f"seed {seed!r} is no whole number in [0, 2^63)")
    return [int(seed) for seed in seeds]


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


def _checked_paths(kind: str, paths: dict[str, Any]) -> dict[str, str]:
    """The paths given, as text; raises InputError for one the kind does not take."""
    known = GENERATORS[kind].default_paths()
    names = [] if known is None else [field.name for field in dataclasses.fields(known)]
    for name in paths:
        if name not in names:
            raise InputError(
                f"generator {kind} takes no path {name!r}; it takes "
                f"{', '.join(names) or 'none'}"
            )
    return {name: files.path_of(path) for name, path in paths.items() if path != ""}


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
