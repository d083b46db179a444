"""Generation by the pipeline of diffusers, an identity a call, and by this package.

Both make the same images of the same identities, with the same weights, steps and
guidance: the former as Arc2Face's own code does, which encodes one embedding, calls the
pipeline for a few images of it, and goes on to the next; the latter as
``hyperface-generate`` does, in full batches, in as many processes as there are cores.
The weights are random ones of Arc2Face's layout in small, or those of --models and
--base. Then the cost of what comes after the pixels is timed apart.

    python -m benchmarks.generation --output=benchmarks/results/generation.json

How much is gained depends on the size of the network: small ones leave a core waiting
for Python, large ones keep it busy whatever calls them. So several sizes are measured.
"""

import contextlib
import dataclasses
import json
import os
import pathlib
import statistics
import tempfile
import threading
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from absl import flags

from bridges.datasets.images import encode_jpeg
from bridges.generation.draft import Draft
from bridges.generation.face_crops import FaceCrops
from bridges.generation.image_workers import through_jpeg
from bridges.generation.plan import Plan
from bridges.generators.arc2face.settings import Arc2FaceSettings
from bridges.generators.generator import load_generator
from bridges.recognisers.recogniser import load_recogniser
from bridges.worker_processes import default_num_processes, process_pool
from hyperface_jax import files
from hyperface_jax.commands import provenance, run_command, settings_of

FLAGS = flags.FlagValues()
flags.DEFINE_integer("identities", 32, "how many", flag_values=FLAGS)
flags.DEFINE_integer("images", 4, "of each identity", flag_values=FLAGS)
flags.DEFINE_integer("steps", 25, "of the solver", flag_values=FLAGS)
flags.DEFINE_float("guidance", 3.0, "of the sampler", flag_values=FLAGS)
flags.DEFINE_integer("batch_size", 32, "images at once, of ours", flag_values=FLAGS)
flags.DEFINE_integer("repeats", 3, "timed runs, after one", flag_values=FLAGS)
flags.DEFINE_list(
    "networks",
    ["8x4", "32x8", "64x16", "128x32"],
    "the small ones: channels and side of the latents",
    flag_values=FLAGS,
)
flags.DEFINE_string("models", "", "Arc2Face's weights instead", flag_values=FLAGS)
flags.DEFINE_string("base", "", "with Stable Diffusion's", flag_values=FLAGS)
flags.DEFINE_string("output", None, "the record", flag_values=FLAGS)

Call = Callable[[], np.ndarray]


@dataclasses.dataclass(frozen=True)
class Task:
    """What is to be made.

    Attributes:
      models: folder of Arc2Face's files.
      base: folder of Stable Diffusion's.
      identities: how many.
      images: of each.
      steps: of the solver.
      guidance: of the sampler.
      batch_size: images at once, where they are made in batches.
    """

    models: str
    base: str
    identities: int
    images: int
    steps: int
    guidance: float
    batch_size: int

    def embeddings(self) -> np.ndarray:
        rows = np.random.default_rng(0).standard_normal((self.identities, 512))
        rows /= np.linalg.norm(rows, axis=1, keepdims=True)
        return rows.astype(np.float32)

    def load(self, batch_size: int) -> Any:
        paths = {"models": self.models, "base": self.base}
        return load_generator("arc2face", device="cpu", batch_size=batch_size, **paths)


def pipeline(task: Task, stack: contextlib.ExitStack) -> Call:
    """diffusers' own pipeline, called once an identity; a thread for every core."""
    del stack
    import diffusers

    generator = task.load(1)
    schedule = json.loads(
        (pathlib.Path(task.base) / "scheduler/scheduler_config.json").read_text()
    )
    plain = diffusers.StableDiffusionPipeline(
        vae=generator.vae,
        text_encoder=None,
        tokenizer=None,
        unet=generator.unet,
        scheduler=diffusers.DPMSolverMultistepScheduler.from_config(schedule),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )
    plain.set_progress_bar_config(disable=True)
    nothing = generator.unconditional[None]
    torch.set_num_threads(default_num_processes())

    def call() -> np.ndarray:
        made = []
        for identity, row in enumerate(task.embeddings()):
            prompt = torch.from_numpy(generator.encode(row[None]))
            seeds = range(identity * task.images, (identity + 1) * task.images)
            images = plain(
                prompt_embeds=prompt,
                negative_prompt_embeds=nothing,
                num_images_per_prompt=task.images,
                num_inference_steps=task.steps,
                guidance_scale=task.guidance,
                generator=[torch.Generator().manual_seed(seed) for seed in seeds],
                output_type="np",
            ).images
            made.append((255 * images).round().astype(np.uint8))
        return np.concatenate(made)

    return call


def batches(task: Task, stack: contextlib.ExitStack) -> Call:
    """This package: full batches, a process for every core."""
    rows = np.repeat(task.embeddings(), task.images, axis=0)
    size = task.batch_size
    parts = [
        (rows[i : i + size], [*range(i, min(i + size, len(rows)))])
        for i in range(0, len(rows), size)
    ]
    processes = min(default_num_processes(), len(parts))
    submit = stack.enter_context(
        process_pool(_make, processes, initializer=_load, arguments=(task,))
    )

    def call() -> np.ndarray:
        futures = [submit(part) for part in parts]
        return np.concatenate([future.result() for future in futures])

    return call


_generator: Any = None
_settings: Arc2FaceSettings | None = None


def _load(task: Task) -> None:
    global _generator, _settings
    torch.set_num_threads(1)
    _generator = task.load(task.batch_size)
    _settings = Arc2FaceSettings(task.guidance, task.steps)


def _make(part: tuple[np.ndarray, list[int]]) -> np.ndarray:
    return _generator.generate(*part, _settings)


class MemoryWatch:
    """The most memory that this process and its children held together, in MB."""

    def __enter__(self) -> "MemoryWatch":
        self.most, self._over = 0.0, threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._over.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._over.wait(0.05):
            self.most = max(self.most, sum(map(_megabytes, _family(os.getpid()))))


def _family(process: int) -> list[int]:
    """A process and all that it started."""
    found = [process]
    with contextlib.suppress(OSError):
        for task in pathlib.Path(f"/proc/{process}/task").iterdir():
            for child in (task / "children").read_text().split():
                found += _family(int(child))
    return found


def _megabytes(process: int) -> float:
    """Memory that is a process's own: what several share counts in none."""
    with contextlib.suppress(OSError):
        text = pathlib.Path(f"/proc/{process}/statm").read_text().split()
        return (int(text[1]) - int(text[2])) * os.sysconf("SC_PAGE_SIZE") / 1e6
    return 0.0


def measure(task: Task, make: Callable[..., Call]) -> dict[str, Any]:
    """Seconds of a run once everything is loaded, and the most memory; the images."""
    with contextlib.ExitStack() as stack, MemoryWatch() as memory:
        call = make(task, stack)
        images, seconds = call(), []
        for _ in range(FLAGS.repeats):
            start = time.perf_counter()
            images = call()
            seconds.append(time.perf_counter() - start)
    return {
        "images_per_second": len(images) / statistics.median(seconds),
        "seconds": seconds,
        "megabytes": memory.most,
        "images": images,
    }


def compare(task: Task, name: str) -> dict[str, Any]:
    """One line of the table: both contenders, one after the other."""
    theirs, ours = measure(task, pipeline), measure(task, batches)
    difference = np.abs(theirs.pop("images").astype(int) - ours.pop("images"))
    row = {
        "network": name,
        "pipeline": theirs,
        "ours": ours,
        "ratio": ours["images_per_second"] / theirs["images_per_second"],
        "largest_difference": int(difference.max()),
        "mean_difference": float(difference.mean()),
    }
    rates = [each["images_per_second"] for each in (theirs, ours)]
    memory = [each["megabytes"] for each in (theirs, ours)]
    print(
        f"{name:24} {rates[0]:>9.2f} {rates[1]:>9.2f} {row['ratio']:>6.1f}"
        f" {memory[0]:>9.0f} {memory[1]:>8.0f} {row['largest_difference']:>6}",
        flush=True,
    )
    return row


def costs(side: int, count: int = 24) -> dict[str, float]:
    """Milliseconds of a core for an image, of each thing that follows its pixels.

    Args:
      side: of the pictures in pixels.
      count: how many are timed.
    """
    torch.set_num_threads(1)
    pictures = np.random.default_rng(0).integers(0, 256, (4, side, side, 3), np.uint8)
    crops = FaceCrops("mtcnn", 112, device="cpu")
    recogniser = load_recogniser(device="cpu")
    crop, _ = crops.crop(pictures[0])
    contents = [encode_jpeg(crop)]
    batch = np.repeat(crop[None], 16, 0)
    with tempfile.TemporaryDirectory() as folder:
        place = pathlib.Path(folder)
        draft = Draft(place, place / "work", Plan(1, count))
        with draft.writing(0) as block:
            writes = iter(range(count))

            def write() -> None:
                index = next(writes)
                block.put(index, contents[0], {"identity": 0, "index": index})

            return {
                "alignment": _each(lambda: crops.crop(pictures[1]), count),
                "jpeg": _each(lambda: through_jpeg(crop), count),
                "gate": _each(lambda: recogniser.embed(batch), 4) / len(batch),
                "writing": _each(write, count),
            }


def _each(call: Callable[[], Any], count: int) -> float:
    """Median milliseconds of a call."""
    seconds = []
    for _ in range(count):
        start = time.perf_counter()
        call()
        seconds.append(time.perf_counter() - start)
    return 1000 * statistics.median(seconds)


def main() -> None:
    """Prints the tables and writes the record."""
    asked = (FLAGS.identities, FLAGS.images, FLAGS.steps, FLAGS.guidance)
    print(f"{'':24}  pipeline      ours  ratio  MB of it  MB ours  |max|")
    rows = []
    if FLAGS.models:
        task = Task(FLAGS.models, FLAGS.base, *asked, FLAGS.batch_size)
        rows.append(compare(task, "the weights given"))
    else:
        # Only here are the files of the tests needed.
        from tests.generation import arc2face_files

        for network in FLAGS.networks:
            width, side = map(int, network.split("x"))
            shape = {"block_out_channels": (width, width), "sample_size": side}
            with tempfile.TemporaryDirectory() as folder:
                paths = arc2face_files.write(pathlib.Path(folder), **shape)
                task = Task(paths["models"], paths["base"], *asked, FLAGS.batch_size)
                rows.append(compare(task, f"{width} channels, {side} x {side}"))
    after = costs(512)
    print("ms of a core for an image of 512 pixels, random pixels without a face:")
    print("  " + ", ".join(f"{name} {value:.2f}" for name, value in after.items()))
    if FLAGS.output:
        record = {"benchmark": "generation", "rows": rows, "milliseconds_after": after}
        record["created_with"] = provenance(settings_of(FLAGS))
        files.write_json(FLAGS.output, record)


if __name__ == "__main__":
    run_command(main, FLAGS)
