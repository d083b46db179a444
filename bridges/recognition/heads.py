"""The heads by name, and how to add one; loads no torch until one is built.

A head turns the backbone's outputs and labels into the logits of a cross-entropy. It is
an options dataclass, a module, and one registry entry. This one, a softmax with a
temperature, is complete::

    import dataclasses
    from torch import nn
    from bridges.recognition.heads import HEADS, HeadEntry, HeadOutput

    @dataclasses.dataclass(frozen=True)
    class HeatedOptions:
        heat: float = dataclasses.field(default=1.0, metadata={"help": "temperature"})

    class HeatedHead(nn.Linear):
        def __init__(self, embedding_size, num_classes, options):
            super().__init__(embedding_size, num_classes)
            self.heat = options.heat

        def forward(self, features, labels, progress):
            logits = super().forward(features) / self.heat
            return HeadOutput(logits, logits)

    HEADS.register("heated", HeadEntry(HeatedOptions, HeatedHead))

From then on ``build_head`` and ``TrainingConfig`` take ``"heated"`` in this process,
and ``hyperface-train``, where it is imported later, has ``--head=heated`` and
``--heat``. To have it in the command always, add an entry to :data:`HEADS` below, with
the options in a module that loads no torch and ``"module:attribute"`` for the head.
"""

import dataclasses
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple, Protocol

from bridges.recognition.head_options import (
    AdaFaceOptions,
    ArcFaceOptions,
    CombinedOptions,
    CosFaceOptions,
    RevivedSphereFaceOptions,
    SoftmaxOptions,
    SphereFaceOptions,
)
from bridges.registry import Registry, imported
from hyperface_jax import InputError, checks

if TYPE_CHECKING:
    import torch


class HeadOutput(NamedTuple):
    """What a head computes for a batch.

    Attributes:
      logits: ``[n, classes]`` for the cross-entropy, margin and scale applied.
      cosines: ``[n, classes]`` without the margin: the accuracy counts an image for
        the class with the largest one.
    """

    logits: "torch.Tensor"
    cosines: "torch.Tensor"


class Head(Protocol):
    """A ``torch.nn.Module``, built as ``Head(embedding_size, num_classes, options)``.

    Its weights are drawn from torch's global generator when it is built. Classes can be
    sampled (:mod:`bridges.recognition.class_sampling`) where the last axis of each of
    its parameters counts classes and ``forward`` takes their number from there.
    """

    def __call__(
        self, features: "torch.Tensor", labels: "torch.Tensor", progress: float
    ) -> HeadOutput:
        """Logits of a batch.

        Args:
          features: ``[n, embedding_size]`` float32, outputs of the backbone, not
            normalised.
          labels: ``[n]`` int64 in ``0 … num_classes-1``.
          progress: fraction of the training that is done, from 0 to 1; a head that
            ramps its margin up goes by it.
        """


class HeadOptions(Protocol):
    """A frozen dataclass that checks its own ranges.

    Each field has a default and ``metadata["help"]``. It becomes a flag of its name and
    a setting in ``training.json``, so it can't have the name of another setting.
    """

    __dataclass_fields__: ClassVar[dict[str, Any]]


class HeadEntry(NamedTuple):
    """What the registry holds for a head.

    Attributes:
      options: the class of its options.
      module: the :class:`Head`, or ``"module:attribute"`` to import it from.
    """

    options: type[HeadOptions]
    module: "type[torch.nn.Module] | str"


_MARGINS = "bridges.recognition.margin_heads"
HEADS: Registry[HeadEntry] = Registry(
    "head",
    {
        "adaface": HeadEntry(AdaFaceOptions, "bridges.recognition.adaface:AdaFaceHead"),
        "arcface": HeadEntry(ArcFaceOptions, f"{_MARGINS}:ArcFaceHead"),
        "cosface": HeadEntry(CosFaceOptions, f"{_MARGINS}:CosFaceHead"),
        "combined": HeadEntry(CombinedOptions, f"{_MARGINS}:CombinedHead"),
        "sphereface": HeadEntry(
            SphereFaceOptions, "bridges.recognition.sphereface:SphereFaceHead"
        ),
        "sphereface_revived": HeadEntry(
            RevivedSphereFaceOptions,
            "bridges.recognition.sphereface:RevivedSphereFaceHead",
        ),
        "softmax": HeadEntry(
            SoftmaxOptions, "bridges.recognition.softmax_head:SoftmaxHead"
        ),
    },
)


def build_head(
    name: str,
    embedding_size: int,
    num_classes: int,
    options: HeadOptions | None = None,
    **settings: Any,
) -> Head:
    """Builds a head of :data:`HEADS` with fresh weights.

    Args:
      name: a key of :data:`HEADS`.
      embedding_size: length of an embedding.
      num_classes: number of identities.
      options: an instance of the head's options; by default they are made of
        ``settings``.
      **settings: fields of the head's options.

    Raises:
      InputError: an unknown name or option, options of another head, or an impossible
        size.
    """
    checks.one_of(name, "head", tuple(HEADS))
    checks.whole_number(embedding_size, "embedding_size", 1)
    checks.whole_number(num_classes, "num_classes", 1)
    entry = HEADS[name]
    known = tuple(field.name for field in dataclasses.fields(entry.options))
    for setting in settings:
        checks.one_of(setting, f"option of {name}", known)
    if options is None:
        options = entry.options(**settings)
    elif settings:
        raise InputError(f"give options of {name} or {next(iter(settings))}, not both")
    check_options(name, options)
    return imported(entry.module)(embedding_size, num_classes, options)


def check_options(name: str, options: HeadOptions) -> None:
    """Checks that options are those of a head.

    Raises:
      InputError: they are of another type.
    """
    expected = HEADS[name].options
    if not isinstance(options, expected):
        raise InputError(
            f"head_options are {type(options).__name__}, but the head {name} takes "
            f"{expected.__name__}"
        )
