"""Processes of one run find each other before JAX connects them.

``jax.distributed`` waits in silence for five minutes and then aborts the program when
one of them does not come. So they first meet here, at the same address: whoever is
missing is named, in one line.
"""

import secrets
import socket
import sys
import time

from hyperface_jax.errors import InputError

SECONDS = 300.0
_QUIET_SECONDS = 2.0
# While machines start, a host name may be unknown or unreachable for a moment.
_LOST_SECONDS = 10.0
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
      InputError: some did not come in time, or two have the same number; the host is
        unknown, or isn't this machine though this is process 0; or what listens there
        is another program.
    """
    deadline = time.monotonic() + seconds
    _resolve(host, port, min(deadline, time.monotonic() + _LOST_SECONDS))
    if process_id == 0:
        _welcome(host, port, num_processes, deadline)
    else:
        _report(host, port, process_id, deadline)


def _resolve(host: str, port: int, deadline: float) -> None:
    """Returns once the host has an address."""
    while True:
        try:
            socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
            return
        except (OSError, UnicodeError) as error:
            if time.monotonic() > deadline:
                reason = getattr(error, "strerror", None) or error
                raise InputError(
                    f"--coordinator: the host {host} is unknown ({reason}); name one "
                    "that all processes can find, or its address"
                ) from None
        time.sleep(0.5)


def _welcome(host: str, port: int, num_processes: int, deadline: float) -> None:
    """Process 0: waits for the others, then lets them all go."""
    missing = set(map(str, range(1, num_processes)))
    visitors: list[socket.socket] = []
    try:
        with _listen(port) as server:
            _find_itself(server, host, port, missing, visitors, deadline)
            _gather(server, port, missing, visitors, deadline)
        for visitor in visitors:
            visitor.sendall(_GO)
    except OSError as error:
        raise InputError(
            f"a process that had come to port {port} has gone "
            f"({error.strerror or error}); its own message says why"
        ) from None
    finally:
        for visitor in visitors:
            visitor.close()


def _find_itself(
    server: socket.socket,
    host: str,
    port: int,
    missing: set[str],
    visitors: list[socket.socket],
    deadline: float,
) -> None:
    """Connects to its own address: if that fails, no other process can arrive."""
    deadline = min(deadline, time.monotonic() + _LOST_SECONDS)
    name, reason, on_the_way = f"process 0 {secrets.token_hex()}", "", False
    missing.add(name)
    while name in missing:
        if not on_the_way:
            try:
                visitors.append(socket.create_connection((host, port), timeout=5.0))
                visitors[-1].sendall(f"{name}\n".encode())
                on_the_way, reason = True, "another program answers"
            except OSError as error:
                reason = error.strerror or error
        _receive(server, missing, visitors)
        if name in missing and time.monotonic() > deadline:
            raise InputError(
                f"--coordinator: {host}:{port} does not lead to this machine, where "
                f"process 0 is ({reason}); name the machine of process 0"
            )


def _gather(
    server: socket.socket,
    port: int,
    missing: set[str],
    visitors: list[socket.socket],
    deadline: float,
) -> None:
    """Receives all that are missing; says for whom it waits."""
    begun, told = time.monotonic(), False
    while missing:
        names = ", ".join(sorted(missing, key=int))
        if time.monotonic() > deadline:
            raise InputError(
                f"process {names} did not come to port {port}; start all "
                "with the same --coordinator and --num_processes"
            )
        if not told and time.monotonic() > begun + _QUIET_SECONDS:
            print(f"waiting at port {port} for process {names}", file=sys.stderr)
            told = True
        _receive(server, missing, visitors)


def _listen(port: int) -> socket.socket:
    try:
        return socket.create_server(("", port))
    except OSError as error:
        raise InputError(
            f"process 0 can't listen at port {port} ({error.strerror or error}); name "
            "another with --coordinator"
        ) from None


def _receive(
    server: socket.socket, missing: set[str], visitors: list[socket.socket]
) -> None:
    """Waits a moment for one more; connections that send no number are ignored."""
    server.settimeout(0.5)
    try:
        visitor, _ = server.accept()
    except TimeoutError:
        return
    visitor.settimeout(5.0)
    try:
        said = visitor.makefile("r").readline(80).strip()
    except (OSError, UnicodeDecodeError):
        said = ""
    if said in missing:
        missing.remove(said)
        visitors.append(visitor)
        return
    visitor.close()
    if said.isdigit():
        raise InputError(
            f"process {said} came twice, or is not one of --num_processes; give each "
            "its own --process_id"
        )


def _report(host: str, port: int, process_id: int, deadline: float) -> None:
    """Other processes: report their number and wait until all have."""
    begun, told, reason = time.monotonic(), False, "no answer"
    while time.monotonic() < deadline:
        try:
            with socket.create_connection((host, port), timeout=5.0) as process_0:
                process_0.sendall(f"{process_id}\n".encode())
                process_0.settimeout(max(0.1, deadline + 5 - time.monotonic()))
                answer = process_0.recv(len(_GO))
            if answer == _GO:
                return
            if answer:
                raise InputError(
                    f"another program listens at {host}:{port}; name another port with "
                    "--coordinator"
                )
            raise InputError(
                f"process 0 at {host}:{port} gave up; its own message says why"
            )
        except OSError as error:
            reason = error.strerror or error
            time.sleep(0.2)
        if not told and time.monotonic() > begun + _QUIET_SECONDS:
            print(f"waiting for process 0 at {host}:{port} ({reason})", file=sys.stderr)
            told = True
    raise InputError(
        f"process {process_id} found no process 0 at {host}:{port} ({reason}); start "
        "all with the same --coordinator and --num_processes"
    )
