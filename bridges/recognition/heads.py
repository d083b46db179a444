"""The heads by name, and how to add one; loads no torch until one is built.

A head turns the backbone's outputs and labels into the logits of a cross-entropy. It is
an options dataclass, a module, and one registry entry. This one, a plain softmax, is
complete::

    import dataclasses
    from torch import nn
    from bridges.recognition.heads import HEADS, HeadEntry, HeadOutput

    @dataclasses.dataclass(frozen=True)
    class SoftmaxOptions:
        heat: float = dataclasses.field(default=1.0, metadata={"help": "temperature"})

    class SoftmaxHead(nn.Linear):
        def __init__(self, embedding_size, num_classes, options):
            super().__init__(embedding_size, num_classes)
            self.heat = options.heat

        def forward(self, features, labels, progress):
            logits = super().forward(features) / self.heat
            return HeadOutput(logits, logits)

    HEADS.register("softmax", HeadEntry(SoftmaxOptions, SoftmaxHead))

From then on ``build_head`` and ``TrainingConfig`` take ``"softmax"`` in this process,
and ``hyperface-train``, where it is imported later, has ``--head=softmax`` and
``--heat``. To have it in the command always, add an entry to :data:`HEADS` below, with
the options in a module that loads no torch and ``"module:attribute"`` for the head.
"""

import dataclasses
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple, Protocol

from bridges.registry import Registry, imported
from bridges.settings_checks import check_settings
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

    Its weights are drawn from torch's global generator when it is built.
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


_ADAFACE_RANGES = {
    "margin": (0, 1.5),
    "scale": (1e-3, 1e4),
    "concentration": (0, 1e3),
    "margin_warmup": (0, 1),
}


@dataclasses.dataclass(frozen=True)
class AdaFaceOptions:
    """Options of :class:`bridges.recognition.adaface.AdaFaceHead`.

    Attributes:
      margin: ``m``, in radians for the angle and in cosine for the offset, 0 to 1.5.
      scale: ``s``, the inverse temperature of the softmax.
      concentration: ``h``, the slope of the quality in standard deviations of the norm.
      warm_start: start the norm statistics from the first batches. As published they
        start at 20 and 100, and with a momentum of 0.01 it takes some 460 steps until
        the standard deviation has come down from 100 and the margin starts to adapt:
        longer than a short training.
      margin_warmup: fraction of the training over which the margin grows from 0.
    """

    margin: float = dataclasses.field(
        default=0.4, metadata={"help": "margin of the head"}
    )
    scale: float = dataclasses.field(
        default=32.0,
        metadata={"help": "scale of the head, the inverse temperature of its softmax"},
    )
    concentration: float = dataclasses.field(
        default=0.333, metadata={"help": "AdaFace's h"}
    )
    warm_start: bool = dataclasses.field(
        default=True,
        metadata={"help": "start AdaFace's norm statistics from the first batches"},
    )
    margin_warmup: float = dataclasses.field(
        default=0.3,
        metadata={
            "help": "fraction of the training over which the margin grows from 0"
        },
    )

    def __post_init__(self) -> None:
        check_settings(self, _ADAFACE_RANGES)


HEADS: Registry[HeadEntry] = Registry(
    "head",
    {"adaface": HeadEntry(AdaFaceOptions, "bridges.recognition.adaface:AdaFaceHead")},
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
