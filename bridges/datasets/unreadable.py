"""Unreadable images, reported all at once: refused, or left out where that is asked."""

import os
from collections.abc import Mapping

from bridges.datasets.image_source import ImageSource
from bridges.datasets.images import unreadable_images
from bridges.datasets.subset import Subset
from hyperface_jax import InputError
from hyperface_jax.commands import announce

# More than these are also reported in lines of their own before the refusal.
_IN_ONE_LINE = 10


def check_source(
    source: ImageSource, *, skip_unreadable: bool = False
) -> tuple[ImageSource, dict[str, str]]:
    """Decodes every image, before work that a damaged one would end midway.

    Args:
      source: the images.
      skip_unreadable: leave out what can't be read instead of refusing it.

    Returns:
      The readable images, and what was left out: ``file_name`` to reason.

    Raises:
      InputError: names all that can't be read; or nothing is left.
    """
    found = unreadable_images(source)
    names = {source.records[i]["file_name"]: why for i, why in found.items()}
    unlisted = getattr(source, "unreadable", {})
    reasons = {**unlisted, **names}
    total = len(source) + len(unlisted)
    refuse_or_skip(reasons, total, source.name, skip_unreadable)
    rows = [i for i in range(len(source)) if i not in found]
    if not rows:
        raise InputError(f"{source.name}: no image in it can be read")
    return (Subset(source, rows) if found else source), reasons


def refuse_or_skip(
    reasons: Mapping[str, str],
    total: int,
    place: str | os.PathLike[str],
    skip_unreadable: bool,
) -> None:
    """Refuses what can't be read, or reports that it is left out.

    Args:
      reasons: path below ``place`` to the reason.
      total: how many paths there are in all.
      place: the folder or file that holds them.
      skip_unreadable: whether to leave them out.

    Raises:
      InputError: there are some, and they are not to be left out.
    """
    if not reasons:
        return
    if skip_unreadable or len(reasons) > _IN_ONE_LINE:
        for name, reason in reasons.items():
            announce(f"{os.path.join(place, name)}: {reason}")
    count = f"{len(reasons):,} of {total:,}"
    if skip_unreadable:
        announce(f"{os.fspath(place)}: left out {count} that can't be read")
        return
    named = [f"{name}: {reason}" for name, reason in reasons.items()]
    if len(named) > _IN_ONE_LINE:
        named = [*named[:_IN_ONE_LINE], "and those in the lines above"]
    raise InputError(
        f"{os.fspath(place)}: {count} can't be read: {'; '.join(named)}; mend or "
        "remove them, or pass --skip_unreadable to leave them out"
    )
