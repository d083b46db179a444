"""Datasets of the painted generator: how tests call for them, and what is in them."""

import json
import os
import pathlib
import sys

import numpy as np

from bridges import GenerationConfig, generate_dataset
from bridges.datasets.folder_listing import BESIDE_GENERATED
from bridges.generators.generator import GENERATORS, GeneratorKind
from bridges.photographs.detector import DETECTORS
from bridges.recognisers.recogniser import RECOGNISERS
from hyperface_jax import save_embeddings
from tests.generation import painted_generator
from tests.generation.painted_generator import MODEL, PaintedSettings

HERE = painted_generator.__name__


def register() -> None:
    """Makes the painted parts known in this process."""
    for name in ("PaintedGenerator", "UnalignedGenerator"):
        kind = GeneratorKind(f"{HERE}:PaintedSettings", f"{HERE}:{name}")
        GENERATORS.register(name.removesuffix("Generator").lower(), kind)
    RECOGNISERS.register("painted", f"{HERE}:load_recogniser")
    DETECTORS.register("board", f"{HERE}:load_detector")


def unit_rows(count: int, seed: int = 0) -> np.ndarray:
    rows = np.random.default_rng(seed).standard_normal((count, 64))
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def save_references(path: pathlib.Path, rows: np.ndarray, **more) -> pathlib.Path:
    save_embeddings(path, rows, kind="references", model=MODEL, **more)
    return path


def config_of(**changes) -> GenerationConfig:
    noise = changes.pop("noise", 20.0)
    wanted = {
        "generator": "painted",
        "images_per_identity": 7,
        "num_processes": 1,
        "batch_size": 8,
        "min_cosine": -1,
        "settings": PaintedSettings(noise),
    }
    return GenerationConfig(**(wanted | changes))


def generate(world: pathlib.Path, output: pathlib.Path, shard: str = "", **changes):
    """Makes a dataset of the references in a folder."""
    config = config_of(**changes)
    references = world / "references.npz"
    return generate_dataset(references, output, config, device="cpu", shard=shard)


def content_of(place: pathlib.Path) -> dict[str, bytes]:
    """Every file by name, without what says when and by which command it was made."""
    found = {}
    for path in sorted([place] if place.is_file() else place.rglob("*")):
        name = str(path.relative_to(place))
        # Digests and card tell of references, which hold when they were written.
        if not path.is_file() or path.name in BESIDE_GENERATED:
            continue
        content = path.read_bytes()
        if path.name in ("dataset.json", "conversion.json", "croissant.json"):
            description = json.loads(content)
            for when in ("created_with", "datePublished"):
                description.pop(when, None)
            content = json.dumps(description, sort_keys=True).encode()
        found[name] = content
    return found


def work(world: pathlib.Path, output: pathlib.Path, sleep: float) -> None:
    """Makes a dataset in a process that was forked, with a pause for every batch."""
    register()
    os.environ["PAINTED_SLEEP"] = str(sleep)
    generate(world, output)


def main() -> None:
    """Generates in a process of its own: references, output, shard, settings."""
    register()
    references, output, shard, changes = sys.argv[1:]
    config = config_of(**json.loads(changes))
    generate_dataset(references, output, config, device="cpu", shard=shard)
    # Two array libraries would be in each other's way.
    if {"jax", "jaxlib", "optax"} & set(sys.modules):
        raise AssertionError("JAX was loaded")


if __name__ == "__main__":
    main()
