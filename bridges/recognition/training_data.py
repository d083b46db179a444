"""What a recogniser is trained on: opened, checked, and described for the record."""

import os
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from bridges.datasets.image_source import ImageSource, open_images
from bridges.datasets.subset import Subset
from bridges.datasets.unreadable import check_source
from bridges.recognition import attribute_labels, checkpoint
from bridges.recognition.config import TrainingConfig
from bridges.training.data_parallel import Workers
from hyperface_jax import InputError
from hyperface_jax.commands import announce

PathLike = str | os.PathLike[str]
Dataset = PathLike | ImageSource


def open_sources(
    dataset: Dataset | Sequence[Dataset], identity_from: str
) -> list[ImageSource]:
    """Opens what to train on.

    Args:
      dataset: a path or an image source, or several.
      identity_from: as for :func:`bridges.datasets.image_source.open_images`.

    Raises:
      InputError: nothing given, or as ``open_images``.
    """
    one = isinstance(dataset, str | os.PathLike) or _is_source(dataset)
    sources = [
        each if _is_source(each) else open_images(each, identity_from=identity_from)
        for each in ([dataset] if one else dataset or ())
    ]
    if not sources:
        raise InputError("no dataset given to train on")
    _check_apart(sources)
    return sources


def describe(
    sources: Sequence[ImageSource], config: TrainingConfig, skip_unreadable: bool
) -> dict[str, Any]:
    """The record of a training that has not begun.

    Its ``settings`` and ``data`` tell the training from another one.

    Raises:
      InputError: sources without identities, or with too few; a task none of whose
        labels is there.
    """
    for source in sources:
        if not source.labelled:
            raise InputError(
                f"{source.name}: nothing says who is on the images; expected a "
                "dataset folder or one folder per identity"
            )
    _check_counts(sources, config)
    return {
        "format_version": checkpoint.FORMAT_VERSION,
        "complete": False,
        "settings": config.settings(),
        "data": {
            "images": sum(map(len, sources)),
            "identities": sum(len(source.identities) for source in sources),
            "fingerprint": " ".join(source.fingerprint() for source in sources),
            **attribute_labels.fingerprint(sources, config),
            **({"skip_unreadable": True} if skip_unreadable else {}),
        },
        "folders": [source.name for source in sources],
    }


def check_readable(
    sources: Sequence[ImageSource], config: TrainingConfig, skip_unreadable: bool
) -> tuple[list[ImageSource], dict[str, str]]:
    """Decodes every image before the training begins.

    Returns:
      The sources without the images left out, and those: path to reason.

    Raises:
      InputError: names what can't be read; or too few images are left.
    """
    kept, skipped = [], {}
    for source in sources:
        readable, found = check_source(source, skip_unreadable=skip_unreadable)
        kept.append(readable)
        skipped |= {os.path.join(source.name, name): why for name, why in found.items()}
    if skipped:
        _check_counts(kept, config)
    return kept, skipped


def check_together(
    sources: Sequence[ImageSource],
    config: TrainingConfig,
    skip_unreadable: bool,
    workers: Workers,
) -> tuple[list[ImageSource], dict[str, str]]:
    """:func:`check_readable`, by the first process for all of them.

    Args:
      sources: the same in each process, as the others.
      config: the settings.
      skip_unreadable: leave out what can't be read.
      workers: the processes.

    Returns:
      As :func:`check_readable`, in each process.

    Raises:
      InputError: likewise, in the first.
    """
    kept, skipped = list(sources), {}
    if not workers.rank:
        kept, skipped = check_readable(sources, config, skip_unreadable)
    skipped = workers.share(skipped)
    if workers.rank and skipped:
        kept = [without(source, skipped) for source in sources]
    return kept, skipped


def without(source: ImageSource, skipped: Mapping[str, str]) -> ImageSource:
    """A source without the images that :func:`check_readable` left out."""
    rows = [
        row
        for row, record in enumerate(source.records)
        if os.path.join(source.name, record["file_name"]) not in skipped
    ]
    return Subset(source, rows) if len(rows) < len(source) else source


def say_single_images(sources: Sequence[ImageSource]) -> None:
    """Says how many identities have one image, which teaches nothing of sameness."""
    counts = np.concatenate(
        [np.bincount(each.labels, minlength=len(each.identities)) for each in sources]
    )
    if alone := int((counts == 1).sum()):
        announce(
            f"{alone:,} of {len(counts):,} identities have one image: others are told "
            "from them, but nothing is learned of what two images of one share"
        )


def check_epoch(
    epoch_size: int, sources: Sequence[ImageSource], config: TrainingConfig
) -> None:
    """Checks that an epoch fills a batch.

    Raises:
      InputError: it doesn't.
    """
    if epoch_size < config.batch_size:
        where = ", ".join(source.name for source in sources)
        raise InputError(
            f"{where}: {epoch_size} images an epoch, fewer than batch_size "
            f"{config.batch_size}; lower it, or raise dataset_weights"
        )


def _is_source(given: Any) -> bool:
    return hasattr(given, "read") and hasattr(given, "records")


def _check_apart(sources: Sequence[ImageSource]) -> None:
    """Refuses a source that is given twice, and warns of people of one name.

    People of different sources are taken to be different people.
    """
    for number, source in enumerate(sources):
        for other in sources[:number]:
            if source is other or _same_place(source.name, other.name):
                raise InputError(f"{source.name}: given twice; give it once")
            shared = set(map(str, source.identities)) & set(map(str, other.identities))
            if source.labelled and other.labelled and shared - _numbers(shared):
                some = ", ".join(sorted(shared)[:3])
                announce(
                    f"{other.name} and {source.name}: {len(shared):,} names are in "
                    f"both ({some}); they are taken for different people"
                )


def _same_place(first: str, second: str) -> bool:
    """Whether two names lead to one folder or file; a source may have no place."""
    exist = os.path.exists(first) and os.path.exists(second)
    return exist and os.path.samefile(first, second)


def _numbers(names: set[str]) -> set[str]:
    """Those that only count, as in rendered and generated sets."""
    return {name for name in names if name.isdecimal()}


def _check_counts(sources: Sequence[ImageSource], config: TrainingConfig) -> None:
    num_images = sum(len(source) for source in sources)
    num_identities = sum(len(source.identities) for source in sources)
    where = ", ".join(source.name for source in sources)
    given = len(config.dataset_weights)
    if given and given != len(sources):
        raise InputError(
            f"dataset_weights are {given}, expected one for each of the "
            f"{len(sources)} data sets: {where}"
        )
    if num_identities < 2:
        raise InputError(f"{where}: one identity only; there is nobody to tell it from")
    # With weights the images of an epoch are others, see check_epoch.
    if num_images < config.batch_size and not config.dataset_weights:
        raise InputError(
            f"{where}: {num_images} images, fewer than batch_size {config.batch_size}; "
            "lower it"
        )
