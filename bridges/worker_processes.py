"""Ordered parallel map over worker processes that only their parent can stop.

A terminal, a scheduler or a container engine may send a signal to every process of a
group. Only the parent answers it; workers ignore signals until the parent ends them.
"""

import concurrent.futures
import contextlib
import functools
import multiprocessing
import os
import queue
import signal
import threading
import traceback
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from multiprocessing import connection, resource_tracker
from multiprocessing.process import BaseProcess
from typing import Any

from hyperface_jax import InputError, interruptions

# Items queued per process, so that none has to wait for its next.
AHEAD = 2


def map_in_processes(
    function: Callable[[Any], Any],
    items: Iterable[Any],
    num_processes: int,
    *,
    initializer: Callable[..., None] | None = None,
    arguments: tuple[Any, ...] = (),
) -> Iterator[Any]:
    """Yields ``function(item)`` for each item, in order.

    When it is interrupted, closed or fails, its processes are killed at once, whatever
    they are doing.

    Args:
      function: importable by name.
      items: picklable; read lazily, a few ahead.
      num_processes: number of worker processes.
      initializer: called first in each process, with ``arguments``.
      arguments: arguments of ``initializer``.

    Raises:
      MemoryError: a worker was killed from outside, most likely for lack of memory.
      Exception: whatever ``function`` or ``initializer`` raised.
    """
    with process_pool(
        function, num_processes, initializer=initializer, arguments=arguments
    ) as submit:
        ahead: deque[concurrent.futures.Future[Any]] = deque()
        for item in items:
            ahead.append(submit(item))
            if len(ahead) > AHEAD * num_processes:
                yield ahead.popleft().result()
        while ahead:
            yield ahead.popleft().result()


@contextlib.contextmanager
def process_pool(
    function: Callable[[Any], Any],
    num_processes: int,
    *,
    initializer: Callable[..., None] | None = None,
    arguments: tuple[Any, ...] = (),
) -> Iterator[Callable[[Any], "concurrent.futures.Future[Any]"]]:
    """Processes that are handed items one by one; killed at the end of the body.

    Args:
      function: see :func:`map_in_processes`, as the others.
      num_processes: number of worker processes.
      initializer: called first in each process, with ``arguments``.
      arguments: arguments of ``initializer``.

    Yields:
      A function that hands an item to the next process that is idle, and returns a
      future of ``function(item)``. Whoever calls it waits for results: more than
      :data:`AHEAD` items a process gain nothing.
    """
    children: set[BaseProcess] = set()
    idle: queue.SimpleQueue[connection.Connection] = queue.SimpleQueue()
    # One thread per process waits for its answers and ends when the process does.
    with concurrent.futures.ThreadPoolExecutor(num_processes) as threads:
        try:
            with starting(children):
                for _ in range(num_processes):
                    idle.put(_start(function, initializer, arguments))
            yield functools.partial(threads.submit, _ask, idle)
        finally:
            threads.shutdown(wait=False, cancel_futures=True)
            kill(children)


@contextlib.contextmanager
def starting(children: set[BaseProcess]) -> Iterator[None]:
    """Blocks signals while processes start; this one receives them afterwards.

    A process that is still importing would answer Ctrl-C with a traceback.

    Args:
      children: the set that the started processes of ``multiprocessing`` are added to.
    """
    before = set(multiprocessing.active_children())
    with contextlib.ExitStack() as later:
        if hasattr(signal, "pthread_sigmask"):  # not on Windows
            # Starting it unblocks signals, so it must already run.
            resource_tracker.ensure_running()
            mask = signal.pthread_sigmask(signal.SIG_BLOCK, interruptions.SIGNALS)
            later.callback(signal.pthread_sigmask, signal.SIG_SETMASK, mask)
        try:
            yield
        finally:
            children |= set(multiprocessing.active_children()) - before


def kill(children: Iterable[BaseProcess]) -> None:
    """Kills processes and waits until they have ended."""
    for child in children:
        child.kill()
    for child in children:
        child.join()


def follow_parent() -> None:
    """Ignores signals; ends this process when its parent has ended for any reason."""
    for number in interruptions.SIGNALS:
        signal.signal(number, signal.SIG_IGN)
    threading.Thread(target=_exit_with_parent, daemon=True).start()


def default_num_processes() -> int:
    """One process per core that this process may use."""
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:  # Systems without it cannot restrict a process to cores.
        return os.cpu_count() or 1


def _start(
    function: Callable[[Any], Any],
    initializer: Callable[..., None] | None,
    arguments: tuple[Any, ...],
) -> connection.Connection:
    """Starts a worker; returns the connection that :func:`_ask` uses."""
    # Spawned, because forking a process with threads of JAX or torch is unsafe.
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    with theirs:
        context.Process(
            target=_serve, args=(theirs, function, initializer, arguments)
        ).start()
    return ours


def _ask(idle: "queue.SimpleQueue[connection.Connection]", item: Any) -> Any:
    """Sends an item to an idle worker and returns its result."""
    process = idle.get()
    try:
        process.send(item)
        result, error = process.recv()
    except (EOFError, ConnectionError):
        raise MemoryError(
            "a worker process was killed from outside, most likely for lack of "
            "memory; use a smaller --num_processes, finished work is kept "
            "(a script of your own must call this under if __name__ == '__main__')"
        ) from None
    finally:
        idle.put(process)
    if error is not None:
        raise error
    return result


def _serve(
    parent: connection.Connection,
    function: Callable[[Any], Any],
    initializer: Callable[..., None] | None,
    arguments: tuple[Any, ...],
) -> None:
    """Main loop of a worker: answers items until the parent closes the connection."""
    follow_parent()
    failure = None
    try:
        if initializer is not None:
            initializer(*arguments)
    except Exception as error:
        failure = error  # Raised when the first item arrives.
    with contextlib.suppress(EOFError, ConnectionError):
        while True:
            item = parent.recv()
            try:
                if failure is not None:
                    raise failure
                parent.send((function(item), None))
            except Exception as error:
                if not isinstance(error, InputError):
                    # Pickling drops the traceback, so it travels as a note.
                    error.add_note(traceback.format_exc())
                parent.send((None, error))


def _exit_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        connection.wait([parent.sentinel])
        os._exit(1)
