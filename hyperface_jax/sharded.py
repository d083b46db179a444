"""Many devices: rows spread over them, in one process or several.

``with use_devices(8):`` makes a mesh of one axis the ambient one. Inside it the arrays
of a packing have their rows spread over the devices; whatever works row by row is
divided by the compiler, and what compares all rows with all others
(:mod:`hyperface_jax.ring`) passes them around in a ring, so that a device holds
``rows / devices`` of everything. Outside of it nothing here does anything.

A number of rows that the devices do not divide is padded where arrays wait between
compiled functions (:class:`Rows`); inside, every function sees the true number.
"""

import contextlib
import dataclasses
import functools
import hashlib
import os
from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import AxisType, NamedSharding, PartitionSpec

from hyperface_jax import checks
from hyperface_jax.commands import InputError

AXIS = "rows"
ROWS = PartitionSpec(AXIS)
# Rows brought to every host at once, when several processes gather an array.
_ROWS_AT_ONCE = 65_536


@functools.partial(
    jax.tree_util.register_dataclass, data_fields=["padded"], meta_fields=["count"]
)
@dataclasses.dataclass(frozen=True)
class Rows:
    """An array spread over the devices by rows, between two compiled functions.

    Attributes:
      padded: ``[k · devices, ...]``, its tail zero or arbitrary.
      count: how many of the rows are real.
    """

    padded: jax.Array
    count: int


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
    checks.in_range(num_processes, "num_processes", 1)
    checks.in_range(process_id, "process_id", 0, num_processes - 1)
    host, _, port = coordinator.rpartition(":")
    if not host or not port.isdigit():
        raise InputError(f"--coordinator is {coordinator!r}, must be host:port")
    # Between processes the CPU, too, needs a library that sends; a GPU has its own.
    jax.config.update("jax_cpu_collectives_implementation", "gloo")
    try:
        jax.distributed.initialize(coordinator, num_processes, process_id)
    except (RuntimeError, ValueError) as error:
        raise InputError(
            f"process {process_id} of {num_processes} could not join {coordinator} "
            f"({str(error).splitlines()[0]}); start all processes with the same "
            "--coordinator and --num_processes"
        ) from None


def is_main_process() -> bool:
    """Whether this process is the one that writes files and speaks."""
    return jax.process_index() == 0


@contextlib.contextmanager
def use_devices(num_devices: int | None) -> Iterator[None]:
    """Makes ``num_devices`` the devices over which rows are spread.

    Args:
      num_devices: over all processes together, the same number from each. None takes
        those already in use, or else all, when there are several processes, or one.

    Raises:
      InputError: there are not as many, or the processes can't share them evenly.
    """
    processes = jax.process_count()
    alone = processes == 1 and num_devices in (None, 1)
    if alone or (num_devices is None and size() is not None):
        yield
        return
    devices = jax.devices()
    num_devices = len(devices) if num_devices is None else num_devices
    checks.in_range(num_devices, "num_devices", 1)
    if num_devices > len(devices):
        raise InputError(
            f"num_devices is {num_devices}, but there are only {len(devices)} "
            f"({devices[0].platform}); ask for at most {len(devices)}"
        )
    if num_devices % processes:
        raise InputError(
            f"num_devices is {num_devices}, which {processes} processes can't share "
            "evenly; ask for a multiple"
        )
    share = num_devices // processes
    of_process = [
        [d for d in devices if d.process_index == i] for i in range(processes)
    ]
    if min(map(len, of_process)) < share:
        raise InputError(
            f"num_devices is {num_devices}, {share} a process, but one of the "
            f"{processes} processes has only {min(map(len, of_process))}"
        )
    chosen = np.array([d for own in of_process for d in own[:share]])
    mesh = jax.sharding.Mesh(chosen, (AXIS,), axis_types=(AxisType.Auto,))
    with jax.set_mesh(mesh):
        yield


def size() -> int | None:
    """Over how many devices rows are spread, or None outside :func:`use_devices`.

    Known while tracing, so compiled functions can depend on it.
    """
    mesh = jax.sharding.get_abstract_mesh()
    if AXIS not in mesh.axis_names:
        return None
    return mesh.shape[AXIS]


def put(tree: Any) -> Any:
    """Spreads the arrays of ``tree``, NumPy's, over the devices as :class:`Rows`.

    Each device is sent its own rows alone. Numbers stay as they are. Outside
    :func:`use_devices` the arrays merely become JAX's.
    """
    if size() is None:
        return jax.tree.map(jnp.asarray, tree)
    return jax.tree.map(_put, tree)


def jit(function: Callable, *, donate_argnums: tuple[int, ...] = ()) -> Callable:
    """Compiles ``function`` to work on :class:`Rows`; it sees plain arrays.

    Outside :func:`use_devices` this is ``function`` itself.

    Args:
      function: from trees of arrays to a tree of arrays. Results that are not scalars
        are spread over the devices by their first axis.
      donate_argnums: arguments given away, their memory used for the results.
    """
    if size() is None:
        return function

    def on_rows(*arguments: Any) -> Any:
        found = function(*jax.tree.map(_open, arguments, is_leaf=_is_rows))
        return jax.tree.map(_close, found)

    return jax.jit(on_rows, donate_argnums=donate_argnums)


def logical(tree: Any) -> Any:
    """The shapes and types of ``tree`` as compiled functions see them."""

    def of(leaf: Any) -> jax.ShapeDtypeStruct:
        if _is_rows(leaf):
            shape = (leaf.count, *leaf.padded.shape[1:])
            return jax.ShapeDtypeStruct(shape, leaf.padded.dtype)
        return jax.ShapeDtypeStruct(jnp.shape(leaf), jnp.result_type(leaf))

    return jax.tree.map(of, tree, is_leaf=_is_rows)


def to_host(tree: Any) -> Any:
    """Brings the arrays of ``tree`` to this host, whole, as NumPy's.

    All processes must call it together: each receives everything.
    """
    return jax.tree.map(_to_host, tree, is_leaf=_is_rows)


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
        (mesh.size,), NamedSharding(mesh, ROWS), lambda index: own
    )
    values = np.asarray(_piece(each, 0, mesh.size))
    return values.reshape(processes, -1)[:, 0]


def agree(value: float) -> float:
    """The value that process 0 has, exact to float32; with one process, ``value``."""
    return value if jax.process_count() == 1 else float(of_every_process(value)[0])


def check_same(what: str, *arrays: np.ndarray | None) -> None:
    """Checks that every process was given the same arrays.

    Raises:
      InputError: in every process, if not.
    """
    if jax.process_count() == 1:
        return
    digest = hashlib.sha256()
    for array in arrays:
        if array is not None:
            digest.update(np.ascontiguousarray(array).data)
    # 24 bits are what a float32 holds.
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


def pad(x: jax.Array, multiple: int) -> jax.Array:
    """Appends zero rows to ``x`` until ``multiple`` divides their number."""
    missing = -len(x) % multiple
    return jnp.pad(x, [(0, missing)] + [(0, 0)] * (x.ndim - 1))


def _is_rows(leaf: Any) -> bool:
    return isinstance(leaf, Rows)


def _put(array: Any) -> Any:
    array = np.asarray(array)
    if array.size == 0 or array.ndim == 0:
        return array
    count, mesh = len(array), jax.sharding.get_mesh()
    shape = (count + -count % mesh.size, *array.shape[1:])

    def shard(index: tuple[slice, ...]) -> np.ndarray:
        first, last, _ = index[0].indices(shape[0])
        own = array[first:last]
        missing = last - first - len(own)
        return np.pad(own, [(0, missing)] + [(0, 0)] * (array.ndim - 1))

    padded = jax.make_array_from_callback(shape, NamedSharding(mesh, ROWS), shard)
    return Rows(padded, count)


def _open(leaf: Any) -> Any:
    if not _is_rows(leaf):
        return leaf
    return jax.lax.with_sharding_constraint(leaf.padded[: leaf.count], ROWS)


def _close(leaf: Any) -> Any:
    if jnp.size(leaf) == 0 or jnp.ndim(leaf) == 0:
        return leaf
    padded = jax.lax.with_sharding_constraint(pad(leaf, size()), ROWS)
    return Rows(padded, len(leaf))


def _to_host(leaf: Any) -> np.ndarray:
    if not _is_rows(leaf):
        return np.asarray(leaf)
    if leaf.padded.is_fully_addressable:
        return np.asarray(leaf.padded)[: leaf.count]
    # A piece at a time: no device could hold everything.
    whole = np.zeros((leaf.count, *leaf.padded.shape[1:]), leaf.padded.dtype)
    step = min(_ROWS_AT_ONCE, len(leaf.padded))
    for start in range(0, leaf.count, step):
        first = min(start, len(leaf.padded) - step)
        piece = np.asarray(_piece(leaf.padded, first, step))
        whole[first : first + step] = piece[: leaf.count - first]
    return whole


@functools.partial(jax.jit, static_argnums=2)
def _piece(x: jax.Array, first: int, count: int) -> jax.Array:
    """Some rows, on every device."""
    piece = jax.lax.dynamic_slice_in_dim(x, first, count)
    return jax.lax.with_sharding_constraint(piece, PartitionSpec())
