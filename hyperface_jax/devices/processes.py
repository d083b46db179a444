"""A run of several processes: joining, agreeing on decisions, one of them printing.

Each process holds some of the devices over which :mod:`hyperface_jax.devices.sharded`
spreads rows, and all run the same program. What they do next must not differ, or they
would wait for each other forever: whatever may differ between them, such as the time
or the content of a disk, is exchanged first. With one process everything here is
immediate.
"""

import contextlib
import hashlib
import os
from collections.abc import Iterator

import jax
import numpy as np
from jax.sharding import NamedSharding

from hyperface_jax import checks
from hyperface_jax.devices import rendezvous, sharded
from hyperface_jax.errors import InputError

# Time limit of processes that have just met; JAX aborts the program after it.
_SECONDS = 60


def connect(
    coordinator: str, num_processes: int | None, process_id: int | None
) -> None:
    """Joins the processes of a run; before anything else touches a device.

    Args:
      coordinator: ``host:port`` of process 0, the same for all.
      num_processes: how many processes there are.
      process_id: which of them this is, from 0.

    Raises:
      InputError: an impossible combination, or the others did not answer.
    """
    if num_processes is None or process_id is None:
        raise InputError(
            "--coordinator needs --num_processes and --process_id; pass all three"
        )
    checks.whole_number(num_processes, "num_processes", 1)
    checks.whole_number(process_id, "process_id", 0, num_processes - 1)
    host, _, port = coordinator.rpartition(":")
    if not host or not port.isdecimal() or not 0 < int(port) < 65536:
        raise InputError(
            f"--coordinator is {coordinator!r}, must be host:port, the port from 1 to "
            "65535"
        )
    rendezvous.meet(host, int(port), num_processes, process_id)
    # CPUs need a library for collectives between processes; GPUs bring their own.
    jax.config.update("jax_cpu_collectives_implementation", "gloo")
    _connect_directly(host)
    try:
        jax.distributed.initialize(
            coordinator, num_processes, process_id, initialization_timeout=_SECONDS
        )
    except (RuntimeError, ValueError) as error:
        raise InputError(
            f"process {process_id} of {num_processes} could not join {coordinator} "
            f"({str(error).splitlines()[0]}); start all processes with the same "
            "--coordinator and --num_processes"
        ) from None


def _connect_directly(host: str) -> None:
    """Keeps the processes of a run from talking to each other through a proxy.

    The library that connects them, gRPC, sends whatever it can through the proxy of the
    environment, where the others are not, waits for minutes and aborts the program. It
    looks for exceptions in the first of two variables that is set.
    """
    exceptions = os.environ.get("no_grpc_proxy") or os.environ.get("no_proxy") or ""
    # JAX warns of the problem solved here.
    jax.config.update("jax_check_proxy_envs", False)
    os.environ["no_grpc_proxy"] = ",".join(filter(None, [exceptions, host]))


def is_main_process() -> bool:
    """Whether this process is the one that writes files and prints."""
    return jax.process_index() == 0


def of_every_process(value: float) -> np.ndarray:
    """The value that each process has of a number, ``[processes]`` float32.

    All processes must call it together. Whatever decides what to do next and may
    differ between them, such as the time, goes through here.
    """
    processes = jax.process_count()
    if processes == 1:
        return np.asarray([value], np.float32)
    mesh = jax.sharding.get_mesh()
    own = np.full(1, value, np.float32)
    each = jax.make_array_from_callback(
        (mesh.size,), NamedSharding(mesh, sharded.ROWS), lambda index: own
    )
    values = np.asarray(sharded.replicated_piece(each, 0, mesh.size))
    return values.reshape(processes, -1)[:, 0]


def agree(value: float) -> float:
    """The value that process 0 has, exact to float32; with one process, ``value``."""
    return value if jax.process_count() == 1 else float(of_every_process(value)[0])


def check_same(what: str, *content: np.ndarray | bytes | None) -> None:
    """Checks that every process was given the same ``content``.

    Raises:
      InputError: in every process, if not.
    """
    if jax.process_count() == 1:
        return
    digest = hashlib.sha256()
    for part in content:
        if isinstance(part, np.ndarray):
            digest.update(str(part.shape).encode())
            part = np.ascontiguousarray(part).data
        digest.update(part or b"")
    # A float32 holds 24 bits exactly.
    found = of_every_process(int.from_bytes(digest.digest()[:3], "big"))
    if len(np.unique(found)) > 1:
        raise InputError(
            f"the processes were given different {what}; give each the same files"
        )


def check_shared(path: str | os.PathLike[str], iteration: int) -> None:
    """Checks that every process read the same checkpoint, or none.

    Raises:
      InputError: in every process, if not.
    """
    found = of_every_process(iteration)
    if len(np.unique(found)) > 1:
        raise InputError(
            f"{os.fspath(path)}: some processes find another checkpoint or none; put "
            "the output in a folder that all machines share"
        )


@contextlib.contextmanager
def together() -> Iterator[None]:
    """Stops all processes where one refuses its input or can't read or write a file.

    Raises:
      InputError: in every process, if any raised it or an OSError inside; that one
        raises its own.
    """
    refusal = None
    try:
        yield
    except (InputError, OSError) as error:
        refusal = error
    refused = np.flatnonzero(of_every_process(refusal is not None))
    if refusal is not None:
        raise refusal
    if len(refused):
        raise InputError(f"process {refused[0]} stopped; see its message")


@contextlib.contextmanager
def only_main_speaks() -> Iterator[None]:
    """Keeps all but process 0 from printing, and from showing progress."""
    if is_main_process():
        yield
        return
    with (
        open(os.devnull, "w", encoding="utf-8") as nowhere,
        contextlib.redirect_stdout(nowhere),
        contextlib.redirect_stderr(nowhere),
    ):
        yield
