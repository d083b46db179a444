"""Refusals: the exception of refused input, and how its messages quote things."""

import re

_OUT_OF_MEMORY = re.compile("RESOURCE_EXHAUSTED|out of memory|can't allocate", re.I)
# Characters of a quoted value.
_LONGEST = 60


class InputError(ValueError):
    """Input a command refuses: the message names the thing, the place, the remedy."""


def lacks_memory(error: Exception) -> bool:
    """Whether an error says that memory ran out."""
    # JAX and torch don't raise MemoryError; only their messages tell.
    return isinstance(error, MemoryError) or (
        isinstance(error, RuntimeError) and bool(_OUT_OF_MEMORY.search(str(error)))
    )


def shown(value: object) -> str:
    """How ``value`` is written in a message: on one short line."""
    try:
        text = " ".join(repr(value).split())
    except Exception:  # Its own code may raise anything; or a number is too long.
        return f"of type {type(value).__name__}"
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}…"


def reason_of(error: Exception) -> str:
    """What an error of another library says, on one line."""
    text = " ".join(str(error).split()) or type(error).__name__
    return text if len(text) <= 3 * _LONGEST else f"{text[: 3 * _LONGEST]}…"
