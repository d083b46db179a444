"""Demographic groups of images from their metadata."""

from collections.abc import Sequence
from typing import Any

import numpy as np

# Attributes that identify an image or a person rather than a group of people.
_NO_GROUPS = ("file_name", "identity")


def groups_of(records: Sequence[dict[str, Any]]) -> dict[str, np.ndarray]:
    """Reads the groups of images from their metadata.

    An attribute groups images when every image has it: as a word; as shares of several
    words, of which the largest counts (``ethnicity``); or, for ``gender``, as a number
    from 0 (female) to 1 (male).

    Args:
      records: the metadata, one dictionary an image.

    Returns:
      ``[n]`` strings by attribute, for each attribute that groups them.
    """
    found = {}
    for key in records[0] if records else ():
        values = [group_of(key, record.get(key)) for record in records]
        if key not in _NO_GROUPS and None not in values:
            found[key] = np.asarray(values, np.str_)
    return found


def group_of(key: str, value: Any) -> str | None:
    """The word for one value of an attribute, or None when it names no group.

    Args:
      key: the attribute.
      value: what a record has for it; None where it has nothing.
    """
    if isinstance(value, str):
        return value
    if isinstance(value, dict) and value:
        if all(isinstance(share, int | float) for share in value.values()):
            # Of equal shares, the first in the alphabet.
            return max(sorted(value), key=value.get)
    if key == "gender" and isinstance(value, int | float):
        return "male" if value > 0.5 else "female"
    return None
