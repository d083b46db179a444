"""Settings of the demo chain."""

import dataclasses
from typing import Any

from bridges.generation.generation_config import GenerationConfig
from bridges.generators.generator import GENERATORS, kind_of
from bridges.recognition.config import TrainingConfig
from bridges.settings_checks import check_settings
from hyperface_jax import InputError

_RANGES = {
    "gallery_identities": (2, 10**7),
    "gallery_images": (1, 10**6),
    "num_identities": (2, 10**7),
    "images_per_identity": (2, 10**6),
    "num_pairs": (40, 10**7),
    "image_size": (16, 1024),
    "packing_iterations": (1, 10**9),
    "regularization_weight": (0, 1e6),
    "batch_size": (2, 2**20),
    "seed": (0, 2**32 - 1),
}


@dataclasses.dataclass(frozen=True)
class DemoConfig:
    """Everything a demo run depends on.

    The defaults fit ten minutes on two cores.

    Attributes:
      gallery_identities: people rendered for the gallery, at least 2.
      gallery_images: images of each, at least 1.
      num_identities: references to pack, at least 2.
      images_per_identity: images generated of each reference, at least 2: the
        recogniser learns what two images of one person share.
      num_pairs: pairs in each of the five verification sets, a multiple of 20, at
        least 40: ten folds, half of each the same person.
      image_size: side of rendered images in pixels.
      packing_iterations: at least 1.
      regularization_weight: α ≥ 0, how strongly references are held near the gallery.
        At the paper's 0.5 they go as far apart as they can, to places where the small
        shipped generator has seen nobody; at 2 its images still show who was asked for.
      epochs: passes of the training over the images.
      batch_size: images per training step.
      recogniser: the recogniser whose hypersphere is packed: a name or a folder.
      generator: the image generator: a name or a folder.
      paths: where its files are; None for one that its name or folder says all of.
      settings: of that generator, of its ``settings_type``; None for its defaults.
      compare: also train on rendered faces and on unpacked references.
      seed: of everything random.
    """

    gallery_identities: int = 2000
    gallery_images: int = 1
    num_identities: int = 200
    images_per_identity: int = 16
    num_pairs: int = 600
    image_size: int = 64
    packing_iterations: int = 300
    regularization_weight: float = 2.0
    epochs: float = 20.0
    batch_size: int = 128
    recogniser: str = "recogniser_f"
    generator: str = GenerationConfig.generator
    paths: Any | None = None
    settings: Any | None = None
    compare: bool = False
    seed: int = 0

    def __post_init__(self) -> None:
        check_settings(self, _RANGES)
        if self.num_pairs % 20:
            raise InputError(
                f"num_pairs is {self.num_pairs}, expected a multiple of 20: "
                "ten folds, half of each the same person"
            )
        images = self.num_identities * self.images_per_identity
        if self.batch_size > images:
            raise InputError(
                f"batch_size is {self.batch_size}, but only {images} images are "
                "generated; lower it"
            )
        if self.compare and self.num_identities > self.gallery_identities:
            raise InputError(
                f"num_identities is {self.num_identities}, but the gallery has "
                f"{self.gallery_identities} people, so some references start between "
                "two of them and there is no unpacked set to compare with; raise "
                "gallery_identities or leave compare out"
            )
        # They check what they are made of.
        self.generation()
        self.training()

    def generation(self) -> GenerationConfig:
        """The settings of the generated datasets."""
        return GenerationConfig(
            generator=self.generator,
            recogniser=self.recogniser,
            images_per_identity=self.images_per_identity,
            seed=self.seed,
            settings=self.settings,
            paths=self.paths,
        )

    def record(self) -> dict[str, Any]:
        """All settings that the files of a run depend on, for ``run.json``.

        Those of the generator stand among the others. Whether to compare is not among
        them: comparisons may be added to a finished run; nor are places of files.

        Raises:
          InputError: no such generator.
        """
        values = {
            field.name: getattr(self, field.name) for field in dataclasses.fields(self)
        }
        del values["compare"], values["paths"]
        settings = values.pop("settings")
        if settings is None:
            settings = GENERATORS[kind_of(self.generator)].default_settings()
        return {**values, **dataclasses.asdict(settings)}

    def training(self) -> TrainingConfig:
        """The settings of the trained recognisers."""
        return TrainingConfig(
            epochs=self.epochs, batch_size=self.batch_size, seed=self.seed
        )
