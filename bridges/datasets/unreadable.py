"""What can't be read, told all at once: refused, or left out where that is asked."""

import os
from collections.abc import Mapping

from hyperface_jax import InputError
from hyperface_jax.commands import announce

# More than these are told in lines of their own before the refusal.
_IN_ONE_LINE = 10


def refuse_or_skip(
    reasons: Mapping[str, str],
    total: int,
    place: str | os.PathLike[str],
    skip_unreadable: bool,
) -> None:
    """Refuses what can't be read, or says that it is left out.

    Args:
      reasons: path below ``place`` to the reason.
      total: how many paths there are in all.
      place: the folder.
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
