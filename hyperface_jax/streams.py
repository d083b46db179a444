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

# Of the two, what was closed when the command started.
_closed: set[str] = set()


def printable(text: str) -> str:
    """``text`` with what would steer a terminal, in the name of a file say, escaped."""
    return "".join(
        c if c.isprintable() else c.encode("unicode_escape", "surrogatepass").decode()
        for c in text
    )


def show_everything() -> None:
    """Has every character printed in some form, whatever the streams' encodings."""
    codecs.register_error("hyperface_jax", _replace_unprintable)
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:
            # Closed by whoever started us.
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))
            _closed.add(name)
        if hasattr(getattr(sys, name), "reconfigure"):
            getattr(sys, name).reconfigure(errors="hyperface_jax")


def leave_stdout() -> None:
    """Says nothing more on standard output, which nobody reads any longer.

    It was read by "head", say, or by a pager that was left. Without this the
    interpreter would complain when it flushes at the end.
    """
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def is_closed(output: str | None) -> bool:
    """Whether ``output`` is standard output, and that was closed from the start."""
    names = ("/dev/stdout", "/dev/fd/1", "/proc/self/fd/1")
    return "stdout" in _closed and output in names


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
