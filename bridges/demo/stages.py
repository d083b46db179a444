"""What each stage of the demo does: one public function, its files in and out.

Packing runs as ``hyperface-pack`` in a process of its own: it is the one stage that
needs JAX, and two array libraries, each with its own pool of threads, would compete for
cores and memory.
"""

import contextlib
import pathlib
import subprocess
import sys
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from bridges.demo.child_command import SECONDS_TO_SAVE
from bridges.demo.config import DemoConfig
from bridges.evaluation.verification import verify_checkpoint
from bridges.faces.verification_sets import NAMES as VERIFICATION_SETS
from bridges.faces.verification_sets import render_verification_set
from bridges.faces.world import render_dataset
from bridges.generation.image_generation import generate_dataset
from bridges.generators.generator import (
    check_recogniser,
    checked_settings,
    load_generator,
)
from bridges.recognisers.gallery import embed_folder
from bridges.recognisers.recogniser import load_recogniser
from bridges.recognition.training import train_recogniser
from bridges.worker_processes import starting
from hyperface_jax import (
    InputError,
    files,
    interruptions,
    load_embeddings,
    save_embeddings,
)

# Windows sends Ctrl-C to a group, and shields nobody from it otherwise.
_OWN_CONSOLE_GROUP = getattr(subprocess, "CREATE_NEW_PROCESS_GROUP", 0)
COMPARE = "compare"


class Where(NamedTuple):
    """What stages that use torch compute on; see :func:`bridges.devices.find_device`.

    The settings of a run don't include it.
    """

    device: str = "auto"
    precision: str = "float32"


def check_models(config: DemoConfig) -> None:
    """Checks the models before minutes go into images that they could not use.

    Raises:
      InputError: no such model, a generator of another recogniser's embeddings, or
        settings of another generator.
    """
    recogniser = load_recogniser(config.recogniser, device="cpu")
    generator = load_generator(config.generator, device="cpu")
    check_recogniser(recogniser.model, generator)
    checked_settings(generator, config.settings)


def render(folder: pathlib.Path, config: DemoConfig, where: Where) -> None:
    """Renders the gallery and the verification sets."""
    del where  # No torch here.
    render_dataset(
        folder / "gallery",
        num_identities=config.gallery_identities,
        images_per_identity=config.gallery_images,
        image_size=config.image_size,
        seed=config.seed,
        stream="gallery",
    )
    for name in VERIFICATION_SETS:
        render_verification_set(
            name,
            folder / "verification" / name,
            num_pairs=config.num_pairs,
            image_size=config.image_size,
            seed=config.seed,
        )


def embed(folder: pathlib.Path, config: DemoConfig, where: Where) -> None:
    """Embeds the gallery."""
    embed_folder(
        folder / "gallery",
        folder / "gallery.npz",
        model=config.recogniser,
        **where._asdict(),
    )


def pack(folder: pathlib.Path, config: DemoConfig, where: Where) -> None:
    """Packs the references, in a process of its own.

    Raises:
      InputError, OSError or MemoryError: as it failed; its own line said why.
    """
    del where  # JAX chooses its own.
    command = [
        *(sys.executable, "-m", "bridges.demo.child_command", "hyperface_jax.cli.pack"),
        f"--gallery={folder / 'gallery.npz'}",
        f"--num_identities={config.num_identities}",
        f"--num_iterations={config.packing_iterations}",
        f"--regularization_weight={config.regularization_weight}",
        f"--seed={config.seed}",
        f"--output={folder / 'references.npz'}",
    ]
    run_packing(command)


def run_packing(command: Sequence[str]) -> None:
    """Runs a command that ends when its standard input does.

    Raises:
      InputError, OSError or MemoryError: as it failed; its own line said why.
      KeyboardInterrupt: it was interrupted.
    """
    # It gets none of the signals that a terminal or a scheduler sends to all processes.
    # This one does; it ends the child by closing the pipe, and says so in one line.
    with contextlib.ExitStack() as held:
        with starting(set()):
            child = subprocess.Popen(
                command, stdin=subprocess.PIPE, creationflags=_OWN_CONSOLE_GROUP
            )
            held.callback(_end, child)
        code = child.wait()
    if code == interruptions.EXIT_CODE:
        raise KeyboardInterrupt
    if code < 0:
        raise MemoryError(f"packing was ended from outside, by signal {-code}")
    if code == 1:
        raise OSError("packing failed; see the line above")
    if code:
        raise InputError(f"packing failed with exit code {code}; see the line above")


def _end(child: subprocess.Popen) -> None:
    """Lets a child command save what it has, and waits for that."""
    child.stdin.close()
    try:
        child.wait(SECONDS_TO_SAVE)
    except subprocess.TimeoutExpired:
        child.kill()
        child.wait()


def generate(folder: pathlib.Path, config: DemoConfig, where: Where) -> None:
    """Generates the dataset of ``folder / "references.npz"``."""
    generate_dataset(
        folder / "references.npz",
        folder / "dataset",
        config.generation(),
        **where._asdict(),
    )


def train(folder: pathlib.Path, config: DemoConfig, where: Where) -> None:
    """Trains a recogniser from scratch on ``folder / "dataset"``."""
    train_recogniser(
        folder / "dataset",
        folder / "checkpoint",
        config.training(),
        **where._asdict(),
    )


def verify(
    folder: pathlib.Path,
    config: DemoConfig,
    where: Where,
    *,
    sets: pathlib.Path | None = None,
) -> None:
    """Measures ``folder / "checkpoint"`` on verification sets.

    Args:
      folder: with the checkpoint; ``metrics.json`` is written beside it.
      config: the settings of the run.
      where: what is computed on.
      sets: the folder of verification sets; by default the one in ``folder``.
    """
    del config
    benchmarks = sets or folder / "verification"
    verify_checkpoint(
        folder / "checkpoint",
        benchmarks,
        folder / "metrics.json",
        **where._asdict(),
    )


def rendered(folder: pathlib.Path, config: DemoConfig, where: Where) -> None:
    """Trains and measures the same on equally many rendered images of other people."""

    def prepare(inner: pathlib.Path) -> None:
        render_dataset(
            inner / "dataset",
            num_identities=config.num_identities,
            images_per_identity=config.images_per_identity,
            image_size=config.image_size,
            seed=config.seed,
            stream="held_out",
        )

    _compare(folder, "rendered", config, where, prepare)


def unpacked(folder: pathlib.Path, config: DemoConfig, where: Where) -> None:
    """Trains and measures the same on images of the references before packing."""

    def prepare(inner: pathlib.Path) -> None:
        _save_unpacked(folder, inner / "references.npz")
        generate(inner, config, where)

    _compare(folder, "unpacked", config, where, prepare)


def _compare(
    folder: pathlib.Path,
    name: str,
    config: DemoConfig,
    where: Where,
    prepare: Callable[[pathlib.Path], None],
) -> None:
    inner = folder / COMPARE / name
    files.remove_partials(inner)
    prepare(inner)
    train(inner, config, where)
    verify(inner, config, where, sets=folder / "verification")


def _save_unpacked(folder: pathlib.Path, output: pathlib.Path) -> None:
    """Writes the gallery rows the references started at, as references."""
    if output.exists():
        return
    gallery = load_embeddings(folder / "gallery.npz")
    references = load_embeddings(folder / "references.npz")
    row_of = {name: row for row, name in enumerate(gallery.names)}
    if not set(references.names) <= set(row_of):
        raise InputError(
            f"{folder}: some references started at no gallery face, so there is no "
            "unpacked set to compare with; render a gallery of more people"
        )
    rows = np.array([row_of[name] for name in references.names])
    save_embeddings(
        output,
        gallery.embeddings[rows],
        kind="references",
        labels=np.arange(len(rows)),
        names=references.names,
        model=gallery.metadata["model"],
    )
