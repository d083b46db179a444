"""Processes of one run find each other before JAX connects them.

``jax.distributed`` waits in silence for five minutes and then aborts the program when
one of them does not come. So they first meet here, at the same address: whoever is
missing is named, in one line.
"""

import socket
import sys
import time

from hyperface_jax.commands import InputError

SECONDS = 300.0
_QUIET_SECONDS = 2.0
_GO = b"go\n"


def meet(
    host: str,
    port: int,
    num_processes: int,
    process_id: int,
    *,
    seconds: float = SECONDS,
) -> None:
    """Returns, at about the same time in each, once all processes are there.

    Args:
      host: of process 0.
      port: free there; free again when this returns.
      num_processes: how many processes there are.
      process_id: which of them this is, from 0.
      seconds: how long to wait.

    Raises:
      InputError: some did not come in time, or two have the same number.
    """
    deadline = time.monotonic() + seconds
    if process_id == 0:
        _welcome(port, set(range(1, num_processes)), deadline)
    else:
        _report(host, port, process_id, deadline)


def _welcome(port: int, missing: set[int], deadline: float) -> None:
    """Process 0: waits for the others, then lets them all go."""
    others: list[socket.socket] = []
    begun, told = time.monotonic(), False
    try:
        with _listen(port) as server:
            while missing:
                names = ", ".join(map(str, sorted(missing)))
                if time.monotonic() > deadline:
                    raise InputError(
                        f"process {names} did not come to port {port}; start all "
                        "with the same --coordinator and --num_processes"
                    )
                if not told and time.monotonic() > begun + _QUIET_SECONDS:
                    print(
                        f"waiting at port {port} for process {names}", file=sys.stderr
                    )
                    told = True
                server.settimeout(0.5)
                try:
                    other, _ = server.accept()
                except TimeoutError:
                    continue
                others.append(other)
                other.settimeout(5.0)
                _strike_off(missing, other)
        for other in others:
            other.sendall(_GO)
    except OSError as error:
        raise InputError(
            f"a process that had come to port {port} has gone "
            f"({error.strerror or error}); its own message says why"
        ) from None
    finally:
        for other in others:
            other.close()


def _listen(port: int) -> socket.socket:
    try:
        return socket.create_server(("", port))
    except OSError as error:
        raise InputError(
            f"process 0 can't listen at port {port} ({error.strerror or error}); name "
            "another with --coordinator"
        ) from None


def _strike_off(missing: set[int], other: socket.socket) -> None:
    """Notes who has come; strangers who do not say a number are ignored."""
    try:
        said = other.makefile("r").readline().strip()
    except (OSError, UnicodeDecodeError):
        return
    if not said.isdigit():
        return
    if int(said) not in missing:
        raise InputError(
            f"process {said} came twice, or is not one of --num_processes; give each "
            "its own --process_id"
        )
    missing.remove(int(said))


def _report(host: str, port: int, process_id: int, deadline: float) -> None:
    """The others: say who they are, and wait until all have."""
    begun, told = time.monotonic(), False
    while time.monotonic() < deadline:
        try:
            with socket.create_connection((host, port), timeout=5.0) as process_0:
                process_0.sendall(f"{process_id}\n".encode())
                process_0.settimeout(max(0.1, deadline + 5 - time.monotonic()))
                if process_0.recv(len(_GO)):
                    return
            raise InputError(
                f"process 0 at {host}:{port} gave up; its own message says why"
            )
        except OSError:
            time.sleep(0.2)
        if not told and time.monotonic() > begun + _QUIET_SECONDS:
            print(f"waiting for process 0 at {host}:{port}", file=sys.stderr)
            told = True
    raise InputError(
        f"process {process_id} found no process 0 at {host}:{port}; start all with the "
        "same --coordinator and --num_processes"
    )
