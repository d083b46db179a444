"""Standard output and standard error: what they can show, and whether anybody reads."""

import codecs
import contextlib
import os
import sys
from typing import Any

# What to print where a stream can't show a character; anything else as an escape.
_PLAIN = str.maketrans(
    {"±": "+/-", "–": "-", "—": "-", "−": "-", "…": "...", "×": "x", "·": "|", "α": "a"}
)


def show_everything() -> None:
    """Has every character printed in some form, whatever the streams' encodings."""
    codecs.register_error("hyperface_jax", _replace_unprintable)
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:
            # Closed by whoever started us.
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))
        if hasattr(getattr(sys, name), "reconfigure"):
            getattr(sys, name).reconfigure(errors="hyperface_jax")


def leave_stdout() -> None:
    """Says nothing more on standard output, which nobody reads any longer.

    It was read by "head", say, or by a pager that was left. Without this the
    interpreter would complain when it flushes at the end.
    """
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def words_beside(output: str | None) -> contextlib.AbstractContextManager[Any]:
    """Has words go to standard error where ``output`` is standard output."""
    with contextlib.suppress(OSError, ValueError):
        if output and os.path.samestat(os.stat(output), os.fstat(sys.stdout.fileno())):
            return contextlib.redirect_stdout(sys.stderr)
    return contextlib.nullcontext()


def _replace_unprintable(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    text = error.object[error.start : error.end].translate(_PLAIN)
    return text.encode("ascii", "backslashreplace").decode(), error.end
