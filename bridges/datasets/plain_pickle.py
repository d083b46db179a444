"""Pickles of plain data, read without the power to run anything.

Python's own ``pickle`` calls whatever a file names. This reader is a stack machine for
the operations that lists, tuples, bytes, text, numbers and NumPy arrays of numbers are
written with, by Python 2 or 3 and any NumPy; nothing is imported or called, and every
other operation is refused by its name.
"""

import codecs
import io
import math
import pickletools
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

# Name to what it stands for here; the same under the names of older packages.
_KNOWN = {
    "numpy.core.multiarray _reconstruct": "array",
    "numpy._core.multiarray _reconstruct": "array",
    "numpy.core.multiarray scalar": "scalar",
    "numpy._core.multiarray scalar": "scalar",
    "numpy.core.numeric _frombuffer": "buffer",
    "numpy._core.numeric _frombuffer": "buffer",
    "numpy ndarray": "ndarray",
    "numpy dtype": "dtype",
    "_codecs encode": "encode",
    "builtins bytes": "bytes",
    "__builtin__ bytes": "bytes",
}
_CODES = {ord(each.code): each for each in pickletools.opcodes}
_PLAIN = frozenset(
    (
        "BININT BININT1 BININT2 INT LONG LONG1 LONG4 BINFLOAT FLOAT "
        "BINUNICODE SHORT_BINUNICODE BINUNICODE8 UNICODE "
        "BINBYTES SHORT_BINBYTES BINBYTES8"
    ).split()
)
_CONSTANTS = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False}
_TUPLES = {"EMPTY_TUPLE": 0, "TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3}
# Kinds of numbers that arrays may hold: truth values, integers, floats.
_KINDS = "biuf"


class PickleError(ValueError):
    """What is wrong with a pickle, in words without its name."""


class _Global(NamedTuple):
    """A name that the pickle asks for, standing for itself."""

    kind: str


class _Mark(NamedTuple):
    """Where a list or a tuple begins."""


class _Type:
    """A NumPy dtype, given first by its name and then its byte order."""

    def __init__(self, name: Any) -> None:
        name = _text(name)
        try:
            self.dtype = np.dtype(name) if len(name) <= 8 else None
        except (TypeError, ValueError):
            self.dtype = None
        if self.dtype is None or self.dtype.kind not in _KINDS:
            raise PickleError(f"an array of {name!r}, expected numbers")

    def set_state(self, state: Any) -> None:
        order = _text(state[1]) if isinstance(state, tuple) and len(state) > 1 else ""
        if order in ("<", ">"):
            self.dtype = self.dtype.newbyteorder(order)
        elif order not in ("|", "="):
            raise PickleError(f"an array of byte order {order!r}")


class _Array:
    """A NumPy array, empty first and then given its numbers."""

    def __init__(self) -> None:
        self.value: np.ndarray | None = None

    def set_state(self, state: Any) -> None:
        if not isinstance(state, tuple) or len(state) != 5:
            raise PickleError("an array in a form that is not known")
        _, shape, kind, fortran, content = state
        self.value = _array(content, kind, shape, "F" if fortran else "C")


def load_plain(content: bytes) -> Any:
    """Reads a pickle.

    Args:
      content: of the file.

    Returns:
      Lists, tuples, bytes, text, numbers and arrays. Text of Python 2, which may be
      either, comes as bytes.

    Raises:
      PickleError: truncated, damaged, or with anything else in it.
    """
    try:
        return _Reader(content).read()
    except PickleError:
        raise
    except (ValueError, TypeError, IndexError, KeyError, OverflowError) as error:
        reason = " ".join(str(error).split())[:80]
        raise PickleError(f"a damaged or truncated pickle ({reason})") from None


class _Reader:
    """The stack machine."""

    def __init__(self, content: bytes) -> None:
        self._stream = io.BytesIO(content)
        self._stack: list[Any] = []
        self._memo: dict[int, Any] = {}

    def read(self) -> Any:
        while True:
            code = self._stream.read(1)
            if not code:
                raise PickleError("a truncated pickle")
            operation = _CODES.get(code[0])
            if operation is None:
                raise PickleError("no pickle, or a damaged one")
            name = operation.name
            if name == "STRING":
                self._stack.append(self._line_of_text())
                continue
            argument = operation.arg and operation.arg.reader(self._stream)
            if name == "STOP":
                (value,) = self._stack
                return _finished(value)
            self._step(name, argument)

    def _step(self, name: str, argument: Any) -> None:
        stack = self._stack
        if name in _PLAIN:
            stack.append(argument)
        elif name in _CONSTANTS:
            stack.append(_CONSTANTS[name])
        elif name in ("BINSTRING", "SHORT_BINSTRING"):
            # Of Python 2; read by pickletools as if it were Latin-1.
            stack.append(argument.encode("latin-1"))
        elif name == "BYTEARRAY8":
            stack.append(bytes(argument))
        elif name in _TUPLES:
            count = _TUPLES[name]
            self._require(count)
            stack[len(stack) - count :] = [tuple(stack[len(stack) - count :])]
        elif name in _HANDLERS:
            _HANDLERS[name](self, argument)
        elif name not in ("PROTO", "FRAME"):
            raise PickleError(
                f"the operation {name}, which could run anything, and is not read"
            )

    def _line_of_text(self) -> bytes:
        line = self._stream.readline().rstrip(b"\r\n")
        quote = line[:1]
        if len(line) < 2 or quote not in (b"'", b'"') or line[-1:] != quote:
            raise PickleError("a truncated pickle")
        return codecs.escape_decode(line[1:-1])[0]

    def _require(self, count: int) -> None:
        if len(self._stack) < count or any(
            isinstance(each, _Mark) for each in self._stack[len(self._stack) - count :]
        ):
            raise PickleError("a damaged pickle")

    def _since_mark(self) -> list[Any]:
        """What lies on the last mark; both are taken away."""
        for at in range(len(self._stack) - 1, -1, -1):
            if isinstance(self._stack[at], _Mark):
                found = self._stack[at + 1 :]
                del self._stack[at:]
                return found
        raise PickleError("a damaged pickle")

    def _mark(self, _: Any) -> None:
        self._stack.append(_Mark())

    def _empty_list(self, _: Any) -> None:
        self._stack.append([])

    def _list(self, _: Any) -> None:
        self._stack.append(self._since_mark())

    def _tuple(self, _: Any) -> None:
        self._stack.append(tuple(self._since_mark()))

    def _append(self, _: Any) -> None:
        self._require(2)
        self._extend([self._stack.pop()])

    def _appends(self, _: Any) -> None:
        self._extend(self._since_mark())

    def _extend(self, values: list[Any]) -> None:
        self._require(1)
        target = self._stack[-1]
        if not isinstance(target, list):
            raise PickleError("a damaged pickle")
        target.extend(values)

    def _put(self, number: int) -> None:
        self._require(1)
        self._memo[number] = self._stack[-1]

    def _memoize(self, _: Any) -> None:
        self._put(len(self._memo))

    def _get(self, number: int) -> None:
        self._stack.append(self._memo[number])

    def _pop(self, _: Any) -> None:
        self._stack.pop()

    def _pop_mark(self, _: Any) -> None:
        self._since_mark()

    def _dup(self, _: Any) -> None:
        self._require(1)
        self._stack.append(self._stack[-1])

    def _global(self, name: str) -> None:
        if name not in _KNOWN:
            raise PickleError(
                f"{'.'.join(name.split())[:60]!r}, which could run anything, and is "
                "not read"
            )
        self._stack.append(_Global(_KNOWN[name]))

    def _stack_global(self, _: Any) -> None:
        self._require(2)
        name, module = self._stack.pop(), self._stack.pop()
        self._global(f"{_text(module)} {_text(name)}")

    def _reduce(self, _: Any) -> None:
        self._require(2)
        arguments, called = self._stack.pop(), self._stack.pop()
        if not isinstance(called, _Global) or not isinstance(arguments, tuple):
            raise PickleError("the operation REDUCE on what is no function")
        self._stack.append(_made(called.kind, arguments))

    def _build(self, _: Any) -> None:
        self._require(2)
        state = self._stack.pop()
        if not isinstance(self._stack[-1], _Array | _Type):
            raise PickleError("the operation BUILD on what is no array")
        self._stack[-1].set_state(state)


_HANDLERS: dict[str, Callable[[_Reader, Any], None]] = {
    "MARK": _Reader._mark,
    "EMPTY_LIST": _Reader._empty_list,
    "LIST": _Reader._list,
    "TUPLE": _Reader._tuple,
    "APPEND": _Reader._append,
    "APPENDS": _Reader._appends,
    "PUT": _Reader._put,
    "BINPUT": _Reader._put,
    "LONG_BINPUT": _Reader._put,
    "MEMOIZE": _Reader._memoize,
    "GET": _Reader._get,
    "BINGET": _Reader._get,
    "LONG_BINGET": _Reader._get,
    "POP": _Reader._pop,
    "POP_MARK": _Reader._pop_mark,
    "DUP": _Reader._dup,
    "GLOBAL": _Reader._global,
    "STACK_GLOBAL": _Reader._stack_global,
    "REDUCE": _Reader._reduce,
    "BUILD": _Reader._build,
}


def _made(kind: str, arguments: tuple[Any, ...]) -> Any:
    """What a known function of a pickle returns."""
    if kind == "array":
        return _Array()
    if kind == "dtype":
        return _Type(arguments[0])
    if kind == "encode" and arguments[1:] in (("latin1",), ("latin-1",)):
        return _text(arguments[0]).encode("latin-1")
    if kind == "bytes" and not arguments:
        return b""
    if kind == "scalar":
        return _array(arguments[1], arguments[0], (), "C").item()
    if kind == "buffer":
        found = _Array()
        content, dtype, shape, order = arguments
        found.value = _array(content, dtype, shape, _text(order))
        return found
    raise PickleError(f"a call of {kind} in a form that is not known")


def _array(content: Any, kind: Any, shape: Any, order: str) -> np.ndarray:
    """An array of bytes; refuses all that could be no array of numbers."""
    sizes = shape if isinstance(shape, tuple) else None
    plain = sizes is not None and all(
        type(size) is int and 0 <= size < 2**40 for size in sizes
    )
    if not plain or len(sizes) > 8 or not isinstance(kind, _Type) or order not in "CF":
        raise PickleError("an array in a form that is not known")
    if not isinstance(content, bytes):
        raise PickleError("an array of objects, expected numbers")
    if math.prod(sizes) * kind.dtype.itemsize != len(content):
        raise PickleError("an array of another size than its content")
    return np.frombuffer(content, kind.dtype).reshape(sizes, order=order)


def _finished(value: Any) -> Any:
    """The value with arrays in place of what has stood for them, three levels deep.

    Each list is taken once, however often it is part of others: a small file can name
    one a billion times.
    """
    taken: dict[tuple[int, int], Any] = {}

    def plain(value: Any, depth: int) -> Any:
        if isinstance(value, _Array):
            if value.value is None:
                raise PickleError("an array without content")
            return value.value
        if isinstance(value, _Global | _Type | _Mark):
            raise PickleError("a name in place of data")
        if not depth or not isinstance(value, list | tuple):
            return value
        key = id(value), depth
        if key not in taken:
            taken[key] = type(value)([plain(each, depth - 1) for each in value])
        return taken[key]

    return plain(value, 3)


def _text(value: Any) -> str:
    if isinstance(value, bytes):
        return value.decode("latin-1")
    if not isinstance(value, str):
        raise PickleError("a damaged pickle")
    return value
