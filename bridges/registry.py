"""Implementations of one seam by name, each imported when it is first asked for."""

import importlib
from collections.abc import Iterator, Mapping
from typing import Any, Generic, TypeVar

from hyperface_jax import InputError

T = TypeVar("T")


def imported(entry: T | str) -> T:
    """An implementation itself, or the one that ``"module:attribute"`` names.

    Raises:
      InputError: there is no such module or no such attribute in it.
    """
    if not isinstance(entry, str):
        return entry
    name, _, attribute = entry.partition(":")
    if not name or not attribute:
        raise InputError(f"{entry!r} is registered, expected 'module:attribute'")
    try:
        module = importlib.import_module(name)
    except ModuleNotFoundError as error:
        # A package that the module itself lacks is another fault, told as it is.
        if error.name is None or not f"{name}.".startswith(f"{error.name}."):
            raise
        raise InputError(f"{entry!r} is registered, but {error}") from None
    if not hasattr(module, attribute):
        raise InputError(
            f"{entry!r} is registered, but module {name!r} has no {attribute!r}"
        )
    return getattr(module, attribute)


class Registry(Generic[T]):
    """The implementations of a seam, by name.

    A new implementation is one line: an entry where the registry is made, or a call of
    :meth:`register` from code outside of this package. What is registered as
    ``"module:attribute"`` is imported on first use, so that listing the names for
    ``--help`` loads no torch.
    """

    def __init__(self, what: str, entries: Mapping[str, T | str] | None = None) -> None:
        """Makes a registry.

        Args:
          what: the seam in a word, for messages: ``"head"``.
          entries: implementations by name, or ``"module:attribute"`` to import.
        """
        self.what = what
        self._entries: dict[str, Any] = dict(entries or {})

    def register(self, name: str, implementation: T | str) -> None:
        """Adds an implementation, or replaces the one of that name.

        Args:
          name: what settings and flags call it.
          implementation: it, or ``"module:attribute"`` to import on first use.
        """
        self._entries[name] = implementation

    def __contains__(self, name: object) -> bool:
        return name in self._entries

    def __iter__(self) -> Iterator[str]:
        return iter(self._entries)

    def __len__(self) -> int:
        return len(self._entries)

    def __getitem__(self, name: str) -> T:
        """The implementation of a name.

        Raises:
          InputError: none of that name is registered, or what is can't be found.
        """
        if name not in self._entries:
            raise InputError(
                f"{self.what} is {name!r}, expected one of {', '.join(self._entries)}"
            )
        found = self._entries[name] = imported(self._entries[name])
        return found
