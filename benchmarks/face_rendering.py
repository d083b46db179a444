"""Milliseconds an image of the face renderer, on one core.

    python -m benchmarks.face_rendering

Compiling (once, then cached on disk) is timed apart: it is the first call.
"""

import statistics
import time

from absl import app, flags

from bridges.faces.world import FaceWorld, Photograph
from hyperface_jax import files
from hyperface_jax.commands import provenance

_SIZES = flags.DEFINE_multi_integer("image_size", [64, 112, 224], "pixels, repeatable")
_IMAGES = flags.DEFINE_integer("images", 60, "how many to time at each size")
_OUTPUT = flags.DEFINE_string("output", None, "where the JSON record goes, if anywhere")


def main(argv: list[str]) -> None:
    """Times the renderer and prints a table."""
    del argv
    world, rows = FaceWorld(seed=1), []
    print(f"{'pixels':>7} {'first call s':>13} {'median ms':>10} {'worst ms':>9}")
    for size in _SIZES.value:
        start = time.perf_counter()
        world.photograph(Photograph(0, 0), size)
        first = time.perf_counter() - start
        times = []
        for k in range(_IMAGES.value):
            start = time.perf_counter()
            world.photograph(Photograph(k // 8, k % 8), size)
            times.append(1e3 * (time.perf_counter() - start))
        row = {
            "image_size": size,
            "first_call_seconds": first,
            "median_milliseconds": statistics.median(times),
            "worst_milliseconds": max(times),
        }
        rows.append(row)
        print(
            f"{size:>7} {first:>13.2f} {row['median_milliseconds']:>10.1f} "
            f"{row['worst_milliseconds']:>9.1f}"
        )
    if _OUTPUT.value:
        record = {
            "benchmark": "face_rendering",
            "rows": rows,
            "created_with": provenance(),
        }
        files.write_json(_OUTPUT.value, record)


if __name__ == "__main__":
    app.run(main)
