"""How fast the factory of image datasets is by itself, and what memory it takes.

A plan of a million images goes through ``generate_dataset`` with a generator and a
recogniser that compute next to nothing, so that what is timed is all the rest: plan,
conditions, JPEG, gate, processes, files, journals, reading everything back, metadata.
Memory is that of the process that does it, at a hundredth of the images and at the end.

    python -m benchmarks.generation_factory --images=1000000 --output=runs/factory
"""

import dataclasses
import pathlib
import shutil
import threading
import time

import numpy as np
from absl import flags

from bridges.generation.generation_config import GenerationConfig
from bridges.generators.generator import GENERATORS, GeneratorKind
from bridges.recognisers.recogniser import RECOGNISERS
from hyperface_jax import files, save_embeddings
from hyperface_jax.commands import provenance, require_flags, run_command

FLAGS = flags.FlagValues()
flags.DEFINE_integer("images", 1_000_000, "planned images", flag_values=FLAGS)
flags.DEFINE_integer("images_per_identity", 64, "of each", flag_values=FLAGS)
flags.DEFINE_integer("num_processes", 2, "worker processes", flag_values=FLAGS)
flags.DEFINE_string("format", "folder", "of the dataset", flag_values=FLAGS)
flags.DEFINE_string("output", None, "folder for dataset and record", flag_values=FLAGS)

SIDE = 64
_SIZE = 512
_MODEL = {"name": "mosaic", "sha256": "0" * 64}


@dataclasses.dataclass(frozen=True)
class NoSettings:
    """A mosaic has none."""


class Mosaic:
    """Paints an embedding as a mosaic, tinted by the seed."""

    model, licence, version = {"name": "mosaic", "sha256": "1" * 64}, None, 1
    recogniser, default_recogniser = _MODEL, "mosaic"
    embedding_size, image_size, aligned, settings_type = _SIZE, SIDE, True, NoSettings

    def __init__(self, name_or_path, device, batch_size):
        pass

    def generate(self, embeddings, seeds, settings=None):
        levels = np.clip(128 + 900 * np.asarray(embeddings), 0, 255).astype(np.uint8)
        tiles = levels.reshape(-1, 16, 32)
        grey = np.repeat(np.repeat(tiles, SIDE // 16, 1), SIDE // 32, 2)
        tint = np.asarray(seeds, np.uint64).astype(np.uint8)[:, None, None] // 8
        return np.stack([grey, grey, grey // 2 + tint], -1)


class MosaicRecogniser:
    """Reads a mosaic again."""

    image_size, embedding_size, model = SIDE, _SIZE, _MODEL

    def embed(self, images, *, flip=True):
        corners = images[:, :: SIDE // 16, :: SIDE // 32, 0]
        rows = corners.reshape(-1, _SIZE).astype(np.float32) - 128
        norms = np.linalg.norm(rows, axis=1, keepdims=True)
        # Batches are filled up with black images.
        return np.where(norms > 0, rows / np.maximum(norms, 1e-9), 1 / _SIZE**0.5)


def load_recogniser(place, device) -> MosaicRecogniser:
    return MosaicRecogniser()


def megabytes(key: str) -> float:
    """Memory of this process: VmRSS now, VmHWM at most."""
    status = pathlib.Path("/proc/self/status").read_text()
    line = next(line for line in status.splitlines() if line.startswith(key))
    return int(line.split()[1]) / 1024


class Watch(threading.Thread):
    """Notes the memory once a hundredth of the images is there, and the most of it."""

    def __init__(self, blocks: pathlib.Path, wanted: int) -> None:
        super().__init__(daemon=True)
        self._blocks, self._wanted = blocks, wanted
        self.early: float | None = None
        self.most = 0.0

    def run(self) -> None:
        while True:
            time.sleep(0.5)
            self.most = max(self.most, megabytes("VmRSS"))
            if self.early is None and self._blocks.exists():
                if len(list(self._blocks.glob("*.jsonl"))) >= self._wanted:
                    self.early = megabytes("VmRSS")


def main() -> None:
    """Makes the dataset, prints and records the figures, and removes it."""
    require_flags(FLAGS, "output")
    here = "benchmarks.generation_factory"
    GENERATORS.register("mosaic", GeneratorKind(f"{here}:NoSettings", f"{here}:Mosaic"))
    RECOGNISERS.register("mosaic", f"{here}:load_recogniser")
    from bridges.generation.image_generation import generate_dataset
    from bridges.generation.plan import Plan

    output = pathlib.Path(FLAGS.output)
    identities = -(-FLAGS.images // FLAGS.images_per_identity)
    rows = np.random.default_rng(0).standard_normal((identities, _SIZE))
    rows = (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)
    save_embeddings(output / "references.npz", rows, kind="references", model=_MODEL)
    del rows
    config = GenerationConfig(
        generator="mosaic",
        images_per_identity=FLAGS.images_per_identity,
        num_processes=FLAGS.num_processes,
        format=FLAGS.format,
    )
    plan = Plan(identities, FLAGS.images_per_identity)
    blocks = output / "dataset" / ".generation" / "blocks"
    watch = Watch(blocks, max(1, plan.num_blocks // 100))
    watch.start()
    start = time.perf_counter()
    generate_dataset(
        output / "references.npz", output / "dataset", config, device="cpu"
    )
    seconds = time.perf_counter() - start
    record = {
        "benchmark": "generation_factory",
        "format": FLAGS.format,
        "images": len(plan),
        "num_processes": FLAGS.num_processes,
        "seconds": seconds,
        "images_per_second": len(plan) / seconds,
        "megabytes_at_a_hundredth": watch.early,
        "megabytes_at_most": watch.most,
        "created_with": provenance(),
    }
    files.write_json(output / "generation_factory.json", record)
    print(
        f"{len(plan):,} images in {seconds:,.0f} s, {len(plan) / seconds:,.0f} a "
        f"second; {watch.early or 0:.0f} MB at a hundredth, {watch.most:.0f} MB at most"
    )
    shutil.rmtree(output / "dataset")


if __name__ == "__main__":
    run_command(main, FLAGS)
