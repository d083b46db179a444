"""Ctrl-C, SIGTERM and a hang-up: what is under way is saved, and the end comes soon.

Schedulers and container engines send SIGTERM and kill some seconds later, so a command
that was asked to end has about five of them: a step that is under way may be finished
and its result saved, and whatever takes longer is left.
"""

import _thread
import atexit
import contextlib
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator

# Those of them that the system has.
SIGNALS = tuple(
    getattr(signal, name)
    for name in ("SIGINT", "SIGTERM", "SIGHUP", "SIGBREAK")
    if hasattr(signal, name)
)
# What a shell says of a program that Ctrl-C ended.
EXIT_CODE = 130
# Seconds after a signal in which a step may end; the rest of the five is for saving.
PATIENCE = 3.0
# Seconds after a signal until the process is ended, whatever it does. On a busy machine
# that itself may take one.
_LAST = 4.0
# Within so many seconds a further signal is the first again, by another way: to the
# process and to its group, say.
_ECHO = 1.0


class Interrupted(KeyboardInterrupt):
    """A signal arrived.

    Python notes a plain KeyboardInterrupt that passes through ``exec``, as in an import
    that defines named tuples: caught or not, the program ends by SIGINT then.
    """


class _Signals:
    """The signals since a context was entered.

    Attributes:
      received: their numbers, but for echoes of the first.
    """

    def __init__(self) -> None:
        self.received: list[int] = []
        self._first = -float("inf")

    def start_again(self) -> None:
        self.received.clear()

    def add(self, number: int) -> bool:
        """Whether this one says something new."""
        now = time.monotonic()
        if self.received and now - self._first < _ECHO:
            return False
        if not self.received:
            self._first = now
        self.received.append(number)
        return True


# One for nested contexts: what one has answered another takes for an echo.
_signals = _Signals()


def is_due(since: float, every: float, step: float) -> bool:
    """Whether to save the state after a step.

    An interruption does not wait for a step that takes too long, so what was done
    before has to be safe by then.

    Args:
      since: seconds since it was saved.
      every: seconds after which it always is.
      step: seconds that the step took.
    """
    return since > every or step > PATIENCE


@contextlib.contextmanager
def held_back() -> Iterator[list[int]]:
    """Holds interruptions back until a step is complete.

    In the middle of a step there is no state to save. What is inside has to look after
    each step whether a signal came, and then to save and to raise KeyboardInterrupt.
    That is also raised at the end, and in the middle of what takes longer than
    ``PATIENCE``; another signal, a second after the first, raises it at once.

    Yields:
      A list, empty until a signal arrives. Signals arrive in the main thread alone.
    """
    if threading.current_thread() is not threading.main_thread():
        yield []
        return
    _signals.start_again()
    is_over = threading.Event()

    def lose_patience(number: int) -> None:
        if not is_over.wait(PATIENCE):
            # By then more than an echo.
            _thread.interrupt_main(number)

    def note(number: int, frame: object) -> None:
        del frame
        if not _signals.add(number):
            return
        if len(_signals.received) > 1:
            raise Interrupted
        # Not threading.Thread, whose lock the interrupted code may be holding.
        _thread.start_new_thread(lose_patience, (number,))

    try:
        with _handling(note):
            yield _signals.received
    finally:
        is_over.set()
    if _signals.received:
        raise Interrupted


@contextlib.contextmanager
def answered(last_words: str) -> Iterator[None]:
    """Ends a command within seconds of a signal, whatever it is doing.

    Inside, the first signal raises KeyboardInterrupt, to tidy up by; the rest is done
    here. Raising is not always enough: a long call of compiled code does not return for
    it, and the interpreter waits for such a call before it ends. A thread therefore
    ends the process when time is over.

    Args:
      last_words: a line for standard error.

    Raises:
      SystemExit: interrupted; with ``EXIT_CODE``.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    _signals.start_again()
    unspoken = threading.Lock()

    def end(reader: socket.socket) -> None:
        if _signal_arrives(reader):
            time.sleep(_LAST)
            if unspoken.acquire(blocking=False):
                # Not by sys.stderr, whose lock may be held for ever.
                with contextlib.suppress(OSError):
                    # Below a progress bar.
                    line = ("\n" if os.isatty(2) else "") + last_words + "\n"
                    os.write(2, line.encode(errors="backslashreplace"))
            os._exit(EXIT_CODE)

    with _noticing(end), _leaving_quickly(), _handling(_interrupt):
        try:
            yield
        except (Exception, KeyboardInterrupt) as error:
            # Compiled code may make any other exception of a KeyboardInterrupt.
            if _signals.received:
                for number in SIGNALS:
                    signal.signal(number, signal.SIG_IGN)
            elif not isinstance(error, KeyboardInterrupt):
                raise
            # After a hang-up nobody listens.
            with contextlib.suppress(OSError):
                if unspoken.acquire(blocking=False):
                    print(last_words, file=sys.stderr, flush=True)
            sys.exit(EXIT_CODE)


@contextlib.contextmanager
def _leaving_quickly() -> Iterator[None]:
    """After a signal, skips what the interpreter does last, which has no limit.

    It waits for computations, and threads of Python are dead by then. What libraries
    registered to be done at the end, loaded since, is still done.
    """
    atexit.register(_leave)
    try:
        yield
    finally:
        if not _signals.received:
            atexit.unregister(_leave)


def _leave() -> None:
    for stream in (sys.stdout, sys.stderr):
        # None, or closed, or nobody listens.
        with contextlib.suppress(OSError, ValueError, AttributeError):
            stream.flush()
    os._exit(EXIT_CODE)


def _interrupt(number: int, frame: object) -> None:
    del frame
    if _signals.add(number):
        raise Interrupted


@contextlib.contextmanager
def _handling(handler: Callable[[int, object], None]) -> Iterator[None]:
    """Handles all signals but those that are ignored, as under nohup."""
    before = {number: signal.getsignal(number) for number in SIGNALS}
    # None: by something that is not Python.
    handled = [n for n in SIGNALS if before[n] not in (signal.SIG_IGN, None)]
    try:
        for number in handled:
            signal.signal(number, handler)
        yield
    finally:
        for number in handled:
            # Not where the process is to end, and ignores signals.
            if signal.getsignal(number) is handler:
                signal.signal(number, before[number])


@contextlib.contextmanager
def _noticing(watch: Callable[[socket.socket], None]) -> Iterator[None]:
    """Calls ``watch`` in a thread, with what signals are written to as they arrive.

    Handlers run only between two instructions of the interpreter; this does not wait.
    """
    reader, writer = socket.socketpair()
    writer.setblocking(False)
    before = signal.set_wakeup_fd(writer.fileno(), warn_on_full_buffer=False)

    def run() -> None:
        # Open for as long as something is written to it.
        with reader:
            watch(reader)

    threading.Thread(target=run, daemon=True).start()
    try:
        yield
    finally:
        signal.set_wakeup_fd(before)
        writer.close()


def _signal_arrives(reader: socket.socket) -> bool:
    """Waits for a signal; False when the writer was closed before one came."""
    while number := reader.recv(1):
        if number[0] in SIGNALS:
            return True
    return False
