"""Settings of generated datasets, checked; loads no network."""

import dataclasses
from typing import Any

from bridges.settings_checks import check_settings
from hyperface_jax import InputError

_RANGES = {
    "images_per_identity": (1, 10**6),
    "beta": (0, 1),
    "seed": (0, 2**63 - 1),
    "num_processes": (1, 10**4),
    "batch_size": (1, 2**16),
    "min_cosine": (-1, 1),
    "tries": (1, 1000),
    "image_size": (16, 1024),
    "collision_threshold": (-1, 1),
    "collision_rounds": (0, 100),
}


@dataclasses.dataclass(frozen=True)
class GenerationConfig:
    """Settings of a generated dataset.

    Attributes:
      generator: ``"embedded"`` for the one that ships, or what
        :func:`bridges.generators.generator.load_generator` takes.
      paths: where its files are, of its :attr:`GeneratorKind.paths`; None for a
        generator that is found by its name alone.
      recogniser: name or path of the recogniser the references live in; it measures
        ``reference_cosine``. Empty for the one that the generator names.
      images_per_identity: images of each reference.
      beta: β of Algorithm 3, the intra-class noise on the embedding.
      seed: seed of the dataset.
      min_cosine: an image whose embedding has a smaller cosine with its reference is
        drawn again, with other noise; -1 takes every face.
      tries: how often an image is drawn at most. If none is good enough the best is
        kept, and ``flag`` says so in its record.
      image_size: side in pixels of aligned crops, None for 112; not to be given for
        generators whose images are aligned already.
      detector: finds the faces that are to be aligned, a name in ``DETECTORS``; empty
        for ``"mtcnn"``, and likewise.
      collision_recogniser: recogniser by which images of different identities are
        compared after generation; empty for no such check.
      collision_threshold: images of two identities with this cosine or a larger one
        are drawn again; to be given with ``collision_recogniser``, since it means
        nothing without.
      collision_rounds: how often that is repeated at most.
      format: of the output, a name in ``FORMATS``.
      num_processes: single-threaded processes; None for one per core. Does not change
        the images. An accelerator is used by one process.
      batch_size: images computed at once; None for the generator's default on the
        device. Another size may round differently, so it is recorded.
      settings: of the generator, of its ``settings_type``; None for its defaults.
    """

    generator: str = "embedded"
    paths: Any | None = None
    recogniser: str = ""
    images_per_identity: int = 64
    beta: float = 0.01
    seed: int = 0
    min_cosine: float = 0.3
    tries: int = 4
    image_size: int | None = None
    detector: str = ""
    collision_recogniser: str = ""
    collision_threshold: float | None = None
    collision_rounds: int = 3
    format: str = "folder"
    num_processes: int | None = None
    batch_size: int | None = None
    settings: Any | None = None

    def __post_init__(self) -> None:
        check_settings(self, _RANGES)
        if bool(self.collision_recogniser) != (self.collision_threshold is not None):
            given, missing = "collision_threshold", "collision_recogniser"
            if self.collision_recogniser:
                given, missing = missing, given
            raise InputError(
                f"{given} is given without {missing}; a threshold means something for "
                "one recogniser alone, so give both or neither"
            )
