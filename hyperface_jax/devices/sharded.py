"""Many devices: rows spread over them, in one process or several.

``with use_devices(8):`` makes a mesh of one axis the ambient one. Inside it the arrays
of a packing have their rows spread over the devices; whatever works row by row is
divided by the compiler, and what compares all rows with all others
(:mod:`hyperface_jax.neighbours.ring`) passes them around in a ring, so that a device
holds ``rows / devices`` of everything. Outside of it nothing here does anything.

A number of rows that the devices do not divide is padded where arrays wait between
compiled functions (:class:`Rows`); inside, every function sees the true number.
"""

import contextlib
import dataclasses
import functools
from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import AxisType, NamedSharding, PartitionSpec

from hyperface_jax import checks
from hyperface_jax.errors import InputError

AXIS = "rows"
ROWS = PartitionSpec(AXIS)
# Rows gathered at once by all hosts of several processes.
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
    alone = processes == 1 and num_devices in (None, 1) and size() is None
    if alone or (num_devices is None and size() is not None):
        yield
        return
    devices = jax.devices()
    num_devices = len(devices) if num_devices is None else num_devices
    checks.whole_number(num_devices, "num_devices", 1)
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

    Static while tracing, so compiled functions can depend on it.
    """
    mesh = jax.sharding.get_abstract_mesh()
    if AXIS not in mesh.axis_names:
        return None
    return mesh.shape[AXIS]


def put(tree: Any) -> Any:
    """Spreads the arrays of ``tree``, NumPy's, over the devices as :class:`Rows`.

    Each device is sent its own rows only. Scalars stay as they are. Outside
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

    compiled = jax.jit(on_rows, donate_argnums=donate_argnums)
    if jax.process_count() == 1:
        return compiled
    # Arrays local to one process must be passed as NumPy's.
    return lambda *arguments: compiled(*jax.tree.map(_as_global, arguments))


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


def from_host(function: Callable) -> Callable:
    """Lets ``function`` work on the devices in use, from NumPy arrays to NumPy arrays.

    All processes must call it together, with the same arrays.
    """

    def on_host(*arrays: Any) -> Any:
        return to_host(jit(function)(*put(arrays)))

    return on_host


def pad(x: jax.Array, multiple: int) -> jax.Array:
    """Appends zero rows to ``x`` until ``multiple`` divides their number."""
    missing = -len(x) % multiple
    return jnp.pad(x, [(0, missing)] + [(0, 0)] * (x.ndim - 1))


def _as_global(leaf: Any) -> Any:
    local = isinstance(leaf, jax.Array) and leaf.is_fully_addressable
    return np.asarray(leaf) if local else leaf


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
    # In pieces, since no device could hold all rows.
    whole = np.zeros((leaf.count, *leaf.padded.shape[1:]), leaf.padded.dtype)
    step = min(_ROWS_AT_ONCE, len(leaf.padded))
    for start in range(0, leaf.count, step):
        first = min(start, len(leaf.padded) - step)
        piece = np.asarray(replicated_piece(leaf.padded, first, step))
        whole[first : first + step] = piece[: leaf.count - first]
    return whole


@functools.partial(jax.jit, static_argnums=2)
def replicated_piece(x: jax.Array, first: int, count: int) -> jax.Array:
    """``count`` rows of ``x`` from ``first`` on, whole on every device."""
    piece = jax.lax.dynamic_slice_in_dim(x, first, count)
    return jax.lax.with_sharding_constraint(piece, PartitionSpec())
