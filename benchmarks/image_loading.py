"""How fast a training gets its images, by format, and how much memory that takes.

    python -m benchmarks.image_loading --images=20000
    python -m benchmarks.image_loading --images=500000 --image_size=32 --formats=jpeg

Makes a set of noise with fake labels in each format, and reads a whole epoch of it in
random order, batch by batch, as a training does that keeps nothing in memory. Memory is
the resident memory of this process after a tenth of the epoch and at its end, and the
largest sum over its workers.
"""

import contextlib
import io
import os
import pathlib
import re
import time

import numpy as np
from absl import flags
from PIL import Image

from bridges.datasets.conversion import convert_images
from bridges.datasets.formats.writer import FORMATS
from bridges.datasets.image_dataset import ImageDatasetWriter
from bridges.datasets.image_source import open_images
from bridges.recognition.image_batches import ImageBatches
from bridges.recognition.image_order import ImageOrder
from hyperface_jax import files
from hyperface_jax.commands import progress, provenance, run_command

FLAGS = flags.FlagValues()
flags.DEFINE_integer("images", 20000, "how many", flag_values=FLAGS)
flags.DEFINE_integer("image_size", 112, "side in pixels", flag_values=FLAGS)
flags.DEFINE_integer("batch_size", 128, "images a batch", flag_values=FLAGS)
flags.DEFINE_integer("num_processes", None, "that decode", flag_values=FLAGS)
flags.DEFINE_list(
    "formats",
    ["jpeg", "png", "recordio", "webdataset", "lmdb", "zip"],
    "folders of files, or a format of hyperface-convert",
    flag_values=FLAGS,
)
flags.DEFINE_string("work", "runs/image_loading", "for the sets", flag_values=FLAGS)
flags.DEFINE_string("output", None, "where the record goes", flag_values=FLAGS)

_IMAGES_EACH = 50
# Different images, repeated: making noise would take longer than reading it.
_DIFFERENT = 500


def make_set(folder: pathlib.Path, count: int, size: int, kind: str) -> None:
    """Writes a data set of files, unless it is there."""
    random = np.random.default_rng(0)
    encoded = []
    for _ in range(min(count, _DIFFERENT)):
        # Smooth noise compresses about as faces do.
        small = random.integers(0, 256, (size // 4, size // 4, 3), np.uint8)
        image = Image.fromarray(small).resize((size, size), Image.Resampling.BICUBIC)
        content = io.BytesIO()
        image.save(content, kind.upper(), **({"quality": 95} if kind == "jpeg" else {}))
        encoded.append(content.getvalue())
    settings = {"count": count, "size": size, "kind": kind}
    with ImageDatasetWriter(folder, settings=settings, kind="noise") as writer:
        if writer.complete:
            return
        for i in progress(range(count), description=f"writing {kind}", unit="image"):
            identity, index = divmod(i, _IMAGES_EACH)
            if (identity, index) not in writer.done:
                record = {"identity": identity, "index": index, "seed": 0}
                writer.write(encoded[i % len(encoded)], record)
        writer.finish()


def read_epoch(place: pathlib.Path) -> dict:
    """Reads every image once, in random order."""
    start = time.perf_counter()
    source = open_images(place)
    opening = time.perf_counter() - start
    order = ImageOrder([len(source)], seed=0)
    images = ImageBatches(
        [source], FLAGS.image_size, cache_mb=0, num_processes=FLAGS.num_processes
    )
    steps = len(source) // FLAGS.batch_size
    orders = (order.batch(step, FLAGS.batch_size) for step in range(steps))
    first, workers, begun = 0.0, 0.0, None
    with contextlib.closing(images.batches(orders)) as batches:
        for step, _ in enumerate(batches):
            # Starting the processes is not part of the rate.
            begun = begun or time.perf_counter()
            if step == steps // 10:
                first = resident(os.getpid())
            if step % 100 == 0 or step == steps - 1:
                workers = max(workers, sum(map(resident, children())))
        seconds = time.perf_counter() - begun
        last = resident(os.getpid())
    return {
        "images": len(source),
        "opening_seconds": opening,
        "images_per_second": (steps - 1) * FLAGS.batch_size / seconds,
        "megabytes_first": first,
        "megabytes_last": last,
        "megabytes_of_workers": workers,
    }


def resident(process: int) -> float:
    """Resident memory of a process in MB; 0 where it has ended."""
    with contextlib.suppress(OSError):
        status = pathlib.Path(f"/proc/{process}/status").read_text()
        if found := re.search(r"VmRSS:\s+(\d+) kB", status):
            return int(found[1]) / 1e3
    return 0.0


def children() -> list[int]:
    """The processes that this one has started."""
    with contextlib.suppress(OSError):
        me = os.getpid()
        text = pathlib.Path(f"/proc/{me}/task/{me}/children").read_text()
        return [int(number) for number in text.split()]
    return []


def main() -> None:
    """Makes and reads the set in each format, and prints a table."""
    work = pathlib.Path(FLAGS.work)
    rows = []
    header = f"{'format':12} {'images/s':>9} {'MB at 10 %':>11} {'MB at end':>10}"
    print(f"{header} {'of workers':>10} {'seconds to open':>16}")
    for kind in FLAGS.formats:
        files_kind = kind if kind in ("jpeg", "png") else "jpeg"
        place = work / files_kind
        make_set(place, FLAGS.images, FLAGS.image_size, files_kind)
        if kind != files_kind:
            place = work / (f"{kind}.zip" if FORMATS[kind].is_file else kind)
            convert_images(work / files_kind, place, format=kind)
        row = {"format": kind, **read_epoch(place)}
        rows.append(row)
        print(
            f"{kind:12} {row['images_per_second']:>9.0f} "
            f"{row['megabytes_first']:>11.0f} {row['megabytes_last']:>10.0f} "
            f"{row['megabytes_of_workers']:>10.0f} {row['opening_seconds']:>16.1f}",
            flush=True,
        )
    if FLAGS.output:
        settings = {
            "images": FLAGS.images,
            "image_size": FLAGS.image_size,
            "batch_size": FLAGS.batch_size,
            "num_processes": FLAGS.num_processes,
        }
        record = {"benchmark": "image_loading", "rows": rows}
        files.write_json(FLAGS.output, {**record, "created_with": provenance(settings)})


if __name__ == "__main__":
    run_command(main, FLAGS)
