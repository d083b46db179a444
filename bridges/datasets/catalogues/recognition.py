"""Catalogues that are recognised by the names of their images alone."""

from collections.abc import Sequence

from bridges.datasets.catalogues import agedb, utkface
from bridges.datasets.catalogues.by_name import Entry

# Their names say so much that no other collection is named so by chance.
_UNMISTAKABLE = {"agedb": agedb.parse, "utkface": utkface.parse}
# Of a million names, these are enough; a few that are not so named are usual.
_LOOKED_AT, _NEEDED = 1000, 0.9


def recognise(names: Sequence[str]) -> str | None:
    """The catalogue after whose fashion images are named, a key of ``CATALOGUES``.

    Args:
      names: paths of the images, with ``/``.

    Returns:
      None where it is none of those that can't be mistaken.
    """
    some = names[:: max(1, len(names) // _LOOKED_AT)]
    for catalogue, parse in _UNMISTAKABLE.items():
        fitting = sum(isinstance(parse(name), Entry) for name in some)
        if some and fitting >= _NEEDED * len(some):
            return catalogue
    return None
