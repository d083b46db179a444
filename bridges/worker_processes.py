"""A function mapped over items by worker processes, in order.

Whoever starts processes here answers signals for all of them: a terminal, a scheduler
or a container engine may send one to each, and the others should neither say something
about it nor end before they are told to.
"""

import concurrent.futures
import contextlib
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

# Taken per process beyond what is being worked on, so that none waits for its next.
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

    Interrupted, closed or failed, it ends its processes at once, in the middle of what
    they are doing.

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
    children: set[BaseProcess] = set()
    idle: queue.SimpleQueue[connection.Connection] = queue.SimpleQueue()
    # A thread for each process, which waits for it; they end when the processes do.
    with concurrent.futures.ThreadPoolExecutor(num_processes) as threads:
        ahead: deque[concurrent.futures.Future[Any]] = deque()
        try:
            with starting(children):
                for _ in range(num_processes):
                    idle.put(_start(function, initializer, arguments))
            for item in items:
                ahead.append(threads.submit(_ask, idle, item))
                if len(ahead) > _AHEAD * num_processes:
                    yield ahead.popleft().result()
            while ahead:
                yield ahead.popleft().result()
        finally:
            for waiting in ahead:
                waiting.cancel()
            kill(children)


@contextlib.contextmanager
def starting(children: set[BaseProcess]) -> Iterator[None]:
    """Keeps signals from processes that start inside; this one gets them afterwards.

    A process that is still importing would answer Ctrl-C with a traceback.

    Args:
      children: the processes of ``multiprocessing`` that start inside are added.
    """
    before = set(multiprocessing.active_children())
    with contextlib.ExitStack() as later:
        if hasattr(signal, "pthread_sigmask"):  # not on Windows
            # It unblocks signals when it starts, so it has to run before.
            resource_tracker.ensure_running()
            mask = signal.pthread_sigmask(signal.SIG_BLOCK, interruptions.SIGNALS)
            later.callback(signal.pthread_sigmask, signal.SIG_SETMASK, mask)
        try:
            yield
        finally:
            children |= set(multiprocessing.active_children()) - before


def kill(children: Iterable[BaseProcess]) -> None:
    """Ends processes at once; returns when they are gone."""
    for child in children:
        child.kill()
    for child in children:
        child.join()


def follow_parent() -> None:
    """Ends this process when its parent is gone, however, and on no other signal."""
    for number in interruptions.SIGNALS:
        signal.signal(number, signal.SIG_IGN)
    threading.Thread(target=_exit_with_parent, daemon=True).start()


def default_num_processes() -> int:
    """One process for every core this process may use."""
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:  # Not on this system; it then limits no process to cores.
        return os.cpu_count() or 1


def _start(
    function: Callable[[Any], Any],
    initializer: Callable[..., None] | None,
    arguments: tuple[Any, ...],
) -> connection.Connection:
    """Starts a process; returns what :func:`_ask` speaks to it by."""
    # Spawned, not forked: a fork would carry over threads of JAX or torch.
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    with theirs:
        context.Process(
            target=_serve, args=(theirs, function, initializer, arguments)
        ).start()
    return ours


def _ask(idle: "queue.SimpleQueue[connection.Connection]", item: Any) -> Any:
    """What the function makes of an item, in a process that has nothing else to do."""
    process = idle.get()
    try:
        process.send(item)
        result, error = process.recv()
    except (EOFError, ConnectionError):
        raise MemoryError(
            "a worker process was ended from outside, most likely for lack of "
            "memory; use a smaller --num_processes, what is finished is kept "
            "(a script of your own has to start it under if __name__ == "
            "'__main__')"
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
    """What a process does: answers, for as long as there is somebody to ask."""
    follow_parent()
    failure = None
    try:
        if initializer is not None:
            initializer(*arguments)
    except Exception as error:
        failure = error  # For the first item to tell.
    with contextlib.suppress(EOFError, ConnectionError):
        while True:
            item = parent.recv()
            try:
                if failure is not None:
                    raise failure
                parent.send((function(item), None))
            except Exception as error:
                if not isinstance(error, InputError):
                    # Its traceback stays here; the parent raises it from another place.
                    error.add_note(traceback.format_exc())
                parent.send((None, error))


def _exit_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        connection.wait([parent.sentinel])
        os._exit(1)
