"""What the packing and search benchmarks share: fair timing, memory, records."""

import ctypes
import gc
import multiprocessing
import os
import pathlib
import re
import resource
import statistics
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from hyperface_jax import files
from hyperface_jax.commands import provenance
from hyperface_jax.neighbours import tiles

Call = Callable[[], Any]


class Timing(NamedTuple):
    """How long calls took and how much memory their process held.

    Attributes:
      first_seconds: the first call, compilation included.
      each_seconds: the calls after it, in order.
      peak_megabytes: the most memory the process held during the calls after the
        first: everything, from the interpreter to the arrays, but not what only
        compiling needed.
      idle_megabytes: what it held before anything was prepared.
      result: what the last call returned, as NumPy arrays.
    """

    first_seconds: float
    each_seconds: list[float]
    peak_megabytes: float
    idle_megabytes: float
    result: Any

    @property
    def median(self) -> float:
        """Seconds of a call that is neither lucky nor unlucky."""
        return statistics.median(self.each_seconds)

    @property
    def mean(self) -> float:
        """Seconds of a call over a long run, the slow ones included."""
        return statistics.fmean(self.each_seconds)

    @property
    def compile_seconds(self) -> float:
        """What the first call took longer."""
        return max(0.0, self.first_seconds - self.median)


def time_calls(
    make: Callable[..., Call],
    *arguments: Any,
    repeats: int,
    max_seconds: float = float("inf"),
) -> Timing:
    """Makes a call and times it until its result is there.

    Args:
      make: prepares the data, untimed, and returns what is to be called.
      *arguments: of ``make``.
      repeats: calls after the first, at least 1.
      max_seconds: no further call once those after the first took this long.
    """
    idle = _megabytes("VmRSS")
    call = make(*arguments)
    seconds: list[float] = []
    while len(seconds) < 2 or (
        len(seconds) <= repeats and sum(seconds[1:]) < max_seconds
    ):
        start = time.perf_counter()
        result = jax.block_until_ready(call())
        seconds.append(time.perf_counter() - start)
        if len(seconds) == 1:
            _forget_peak()
    result = jax.tree.map(np.array, result)
    return Timing(seconds[0], seconds[1:], _megabytes("VmHWM"), idle, result)


def time_apart(
    make: Callable[..., Call],
    *arguments: Any,
    repeats: int,
    max_seconds: float = float("inf"),
) -> Timing:
    """:func:`time_calls` in a fresh process: no other's memory, threads or caches.

    Args:
      make: a function of a module, not of a function's inside.
      *arguments: passed on.
      repeats: calls after the first.
      max_seconds: as there.
    """
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        keywords = {"repeats": repeats, "max_seconds": max_seconds}
        return pool.apply(time_calls, (make, *arguments), keywords)


def matrix_product_rate(size: int = 2048, repeats: int = 20) -> float:
    """float32 operations a second of this machine's matrix product at its best.

    What exact packing is measured against: nearly all its work is products. The best of
    the calls, since it is to say what the machine can do: no share of it is flattered.
    """
    timed = time_calls(_product, size, repeats=repeats)
    return 2 * size**3 / min(timed.each_seconds)


def _product(size: int) -> Call:
    a = np.random.default_rng(0).standard_normal((size, size), np.float32)
    a, multiply = jnp.asarray(a), jax.jit(tiles.cosines)
    return lambda: multiply(a, a)


def power_law_gallery(n: int, d: int = 512, seed: int = 0) -> np.ndarray:
    """Random rows that fill the sphere as unevenly as embeddings of faces do.

    Normal rows whose variances follow a power law with a participation ratio of 200
    (of ``0.4 d`` when ``d`` is smaller than 512), turned at random, made unit.

    Returns:
      ``[n, d]`` float32.
    """
    random = np.random.default_rng(seed)
    wanted, low, high = min(200.0, 0.4 * d), 0.0, 3.0
    rank = np.arange(1, d + 1)
    for _ in range(60):
        variances = rank ** -((low + high) / 2)
        if variances.sum() ** 2 / (variances**2).sum() > wanted:
            low = (low + high) / 2
        else:
            high = (low + high) / 2
    rows = random.standard_normal((n, d)) * np.sqrt(variances)
    rows = rows @ np.linalg.qr(random.standard_normal((d, d)))[0]
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def num_cores() -> int:
    """How many cores this process may use; every contender uses as many threads."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def device() -> str:
    """The device that JAX computes on, and how many cores there are beside it."""
    first = jax.devices()[0]
    return f"{first.platform}: {first.device_kind}, {num_cores()} CPU cores"


def report(
    name: str,
    rows: list[dict[str, Any]],
    settings: dict[str, Any],
    output: str | None,
    **more: Any,
) -> None:
    """Prints rows as a table and, with ``output``, writes them with their provenance.

    Args:
      name: of the benchmark.
      rows: one dictionary a line, all with the same keys; None is printed as a dash.
      settings: the flags.
      output: a JSON file, or None.
      **more: what else the record holds, JSON-ready.
    """
    print(f"{name} ({device()}, JAX {jax.__version__})")
    cells = [list(rows[0])] + [[_cell(value) for value in row.values()] for row in rows]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    for line in cells:
        print("  ".join(cell.rjust(w) for cell, w in zip(line, widths, strict=True)))
    if output:
        record = {"benchmark": name, "device": device(), "rows": rows, **more}
        record["created_with"] = provenance(settings)
        files.write_json(output, record)


def _cell(value: Any) -> str:
    if value is None:
        return "-"
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _forget_peak() -> None:
    """Lets Linux count the peak from what the process holds now.

    What a compiler or a first call left in the allocator's hands goes back first.
    """
    gc.collect()
    try:
        ctypes.CDLL(None).malloc_trim(0)
        pathlib.Path("/proc/self/clear_refs").write_text("5")
    except (AttributeError, OSError):
        pass  # Not Linux: the peak then includes the preparation.


def _megabytes(field: str) -> float:
    """Memory of this process by the kernel's account: ``VmRSS`` now, ``VmHWM`` peak."""
    try:
        status = pathlib.Path("/proc/self/status").read_text()
        return int(re.search(rf"{field}:\s+(\d+) kB", status)[1]) / 1024
    except (OSError, TypeError):
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
