"""A function mapped over items by worker processes, in order."""

import concurrent.futures
import contextlib
import multiprocessing
import os
import signal
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import connection, resource_tracker
from typing import Any

# Submitted per process beyond what is being worked on: an interrupt waits for no more.
_AHEAD = 2


def map_in_processes(
    function: Callable[[Any], Any],
    items: Iterable[Any],
    num_processes: int,
    *,
    initializer: Callable[..., None] | None = None,
    arguments: tuple[Any, ...] = (),
) -> Iterator[Any]:
    """Yields ``function(item)`` of each item, in order.

    Args:
      function: importable by name.
      items: picklable; taken as needed, a few ahead.
      num_processes: how many work at once.
      initializer: called first in each process, with ``arguments``.
      arguments: of ``initializer``.

    Raises:
      MemoryError: a process was ended from outside.
      Exception: what ``function`` or ``initializer`` raised.
    """
    with concurrent.futures.ProcessPoolExecutor(
        num_processes,
        # Spawned, not forked: a fork would carry over threads of JAX or torch.
        mp_context=multiprocessing.get_context("spawn"),
        initializer=_start,
        initargs=(initializer, arguments),
    ) as pool:
        ahead: deque[concurrent.futures.Future[Any]] = deque()
        try:
            for item in items:
                with _interrupts_later():
                    ahead.append(pool.submit(_call, function, item))
                if len(ahead) > _AHEAD * num_processes:
                    yield ahead.popleft().result()
            while ahead:
                yield ahead.popleft().result()
        except BrokenProcessPool:
            raise MemoryError(
                "a worker process was ended from outside, most likely for lack of "
                "memory; use a smaller --num_processes, what is finished is kept "
                "(a script of your own has to start it under if __name__ == "
                "'__main__')"
            ) from None
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


@contextlib.contextmanager
def _interrupts_later() -> Iterator[None]:
    """Keeps Ctrl-C from processes that start meanwhile; this one gets it afterwards.

    A terminal sends it to all. A process that is still importing would answer with a
    traceback.
    """
    # It unblocks the signal when it starts, so it has to run before.
    resource_tracker.ensure_running()
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def default_num_processes() -> int:
    """One process for every core this process may use."""
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:  # Not on this system; it then limits no process to cores.
        return os.cpu_count() or 1


# Why the initializer of this worker failed, for the first item to tell.
_failure: Exception | None = None


def _start(initializer: Callable[..., None] | None, arguments: tuple[Any, ...]) -> None:
    # Ctrl-C is the parent's to handle; a worker goes when its parent is gone, however.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_exit_with_parent, daemon=True).start()
    if initializer is None:
        return
    try:
        initializer(*arguments)
    except Exception as error:
        # The pool would only say that a process is gone, not why.
        global _failure
        _failure = error


def _call(function: Callable[[Any], Any], item: Any) -> Any:
    if _failure is not None:
        raise _failure
    return function(item)


def _exit_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        connection.wait([parent.sentinel])
        os._exit(1)
