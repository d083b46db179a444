"""How good a generator is: whom its images show, how varied and how fast.

    python -m benchmarks.generation_quality --held_out=held --output=quality
    python -m benchmarks.generation_quality --held_out=held --output=quality \\
      --references=references.npz --judge

Identities the generator never saw are taken from a rendered dataset; its recogniser's
mean embedding of each is the reference, and the generated images are compared with
the rendered ones. The guidance whose images of a person are as alike as rendered ones
is marked. Packed references are tried at hyperface-generate's default. Written are
``quality.json`` and a contact sheet whose first column is rendered.
"""

import pathlib
import time
from typing import Any

import numpy as np
import torch
from absl import flags
from PIL import Image

from bridges.datasets.image_dataset import ImageDataset
from bridges.evaluation.error_rates import equal_error_rate
from bridges.generation.generation_config import GenerationConfig
from bridges.generation.identity_variation import image_seed, vary_identity
from bridges.generation.image_workers import (
    Condition,
    ImageSettings,
    decode_jpeg,
    make_images,
)
from bridges.generators.generator import BATCH_SIZE
from bridges.generators.latent_diffusion.autoencoder import psnr
from bridges.generators.latent_diffusion.generator import LatentDiffusionGenerator, load
from bridges.generators.latent_diffusion.settings import LatentDiffusionSettings
from bridges.pixels import to_pixels, to_unit_range
from bridges.recognisers.embedding import embed_images
from bridges.recognisers.recogniser import Recogniser, load_recogniser
from bridges.worker_processes import default_num_processes
from hyperface_jax import InputError, check_model, files, load_embeddings
from hyperface_jax.commands import progress, provenance, require_flags, run_command

FLAGS = flags.FlagValues()

_DEFAULT = GenerationConfig()
_SAMPLING = LatentDiffusionSettings()
_IMAGES_OF_PACKED = 2
flags.DEFINE_string(
    "held_out", None, "rendered dataset of identities never seen", flag_values=FLAGS
)
flags.DEFINE_string("references", None, "packed references to try", flag_values=FLAGS)
flags.DEFINE_string("output", None, "folder for the results", flag_values=FLAGS)
flags.DEFINE_string(
    "generator", _DEFAULT.generator, "as for hyperface-generate", flag_values=FLAGS
)
flags.DEFINE_string(
    "recogniser", _DEFAULT.recogniser, "name or folder", flag_values=FLAGS
)
flags.DEFINE_list("guidance", ["4", "4.5", "5"], "to compare", flag_values=FLAGS)
flags.DEFINE_integer("steps", _SAMPLING.steps, "solver steps", flag_values=FLAGS)
flags.DEFINE_float("beta", _DEFAULT.beta, "of Algorithm 3", flag_values=FLAGS)
flags.DEFINE_integer("identities", 60, "how many to make", flag_values=FLAGS)
flags.DEFINE_integer(
    "first_identity", 0, "the first of them in the dataset", flag_values=FLAGS
)
flags.DEFINE_integer("images", 8, "of each identity", flag_values=FLAGS)
flags.DEFINE_integer("num_references", 300, "packed ones to try", flag_values=FLAGS)
flags.DEFINE_integer("num_processes", None, "default all cores", flag_values=FLAGS)
flags.DEFINE_bool("judge", False, "ask dlib too, if installed", flag_values=FLAGS)


def measure(embeddings: np.ndarray, references: np.ndarray) -> dict[str, float]:
    """Figures of images embedded by some recogniser, the same number an identity.

    Args:
      embeddings: ``[k · m, d]`` unit rows, by identity.
      references: ``[k, d]`` unit rows.

    Returns:
      ``rank1``: how often the own reference is the nearest; ``own_cosine``,
      ``impostor_cosine``: with the own and the others' references; ``intra_cosine``:
      between images of one identity; ``eer``: of all pairs of images.
    """
    labels = np.repeat(np.arange(len(references)), len(embeddings) // len(references))
    cosines = embeddings @ references.T
    own = cosines[np.arange(len(labels)), labels]
    others = (cosines.sum() - own.sum()) / max(1, cosines.size - len(own))
    first, second = np.triu_indices(len(labels), 1)
    scores = (embeddings @ embeddings.T)[first, second]
    same = labels[first] == labels[second]
    return {
        "rank1": float(np.mean(cosines.argmax(1) == labels)),
        "own_cosine": float(own.mean()),
        "impostor_cosine": float(others),
        "intra_cosine": float(scores[same].mean()),
        "eer": equal_error_rate(scores, same),
    }


def judge_error_rate(images: np.ndarray, name: str) -> float:
    """Equal error rate of all pairs by Euclidean distance of the judge's embeddings."""
    judge = load_recogniser("dlib", device="cpu")
    shown = progress(images, description=f"judging {name}", unit="image")
    rows = np.concatenate([judge.descriptors(image[None]) for image in shown])
    each = _IMAGES_OF_PACKED if name == "packed" else FLAGS.images
    labels = np.arange(len(images)) // each
    first, second = np.triu_indices(len(labels), 1)
    distances = np.linalg.norm(rows[first] - rows[second], axis=1)
    return equal_error_rate(-distances, labels[first] == labels[second])


def generate(
    references: np.ndarray, images: int, guidance: float
) -> tuple[np.ndarray, float | None]:
    """Makes ``images`` of each reference as hyperface-generate does.

    Returns:
      ``[k · m, s, s, 3]`` uint8, and images a second once every process has started;
      None when half of the images or more are made by then.
    """
    conditions = [
        Condition(
            vary_identity(row, beta=FLAGS.beta, dataset_seed=0, identity=i, index=k),
            row,
            image_seed(0, i, k),
        )
        for i, row in enumerate(references)
        for k in range(images)
    ]
    processes = FLAGS.num_processes or default_num_processes()
    sampling = LatentDiffusionSettings(guidance, FLAGS.steps)
    settings = ImageSettings(FLAGS.generator, FLAGS.recogniser, sampling)
    made, times = [], []
    for image in make_images(conditions, settings, processes):
        made.append(decode_jpeg(image.content))
        times.append(time.perf_counter())
    begun = 2 * processes * BATCH_SIZE
    rate = None
    if len(times) >= 2 * begun:
        rate = (len(times) - begun) / (times[-1] - times[begun - 1])
    return np.stack(made), rate


def measure_autoencoder(
    generator: LatentDiffusionGenerator, recogniser: Recogniser, images: np.ndarray
) -> tuple[dict[str, float], np.ndarray]:
    """How much the latents keep of ``images``: in dB, and of who is in them.

    Returns:
      The figures, and the images that the latents decode to.
    """
    autoencoder = generator.network.autoencoder
    pixels = to_unit_range(torch.from_numpy(images).permute(0, 3, 1, 2))
    with torch.no_grad():
        decoded = torch.cat(
            [autoencoder.decode(autoencoder.encode(part)) for part in pixels.split(64)]
        )
    restored = to_pixels(decoded)
    first, second = (embed_images(recogniser, x) for x in (images, restored))
    figures = {
        "psnr": psnr(decoded, pixels).mean().item(),
        "identity_cosine": float((first * second).sum(1).mean()),
    }
    return figures, restored


def save_contact_sheet(
    path: pathlib.Path, rendered: np.ndarray, made: np.ndarray, images: int
) -> None:
    """A row an identity: a rendered image, then generated ones, twice as large."""
    rows = [
        np.concatenate([rendered[start], *made[start : start + images]], axis=1)
        for start in range(0, min(len(made), 12 * images), images)
    ]
    sheet = Image.fromarray(np.concatenate(rows))
    size = (2 * sheet.width, 2 * sheet.height)
    with files.atomic_path(path) as temporary:
        sheet.resize(size, Image.Resampling.LANCZOS).save(temporary)


def load_held_out(recogniser: Recogniser, size: int) -> tuple[np.ndarray, np.ndarray]:
    """Images of the identities asked for, and the mean embedding of each.

    Raises:
      InputError: fewer identities or images than asked for.
    """
    dataset = ImageDataset(FLAGS.held_out)
    chosen = []
    for identity in range(
        FLAGS.first_identity, FLAGS.first_identity + FLAGS.identities
    ):
        rows = np.flatnonzero(dataset.labels == identity)[: FLAGS.images]
        if len(rows) < FLAGS.images:
            raise InputError(
                f"{FLAGS.held_out}: has {len(rows)} images of identity {identity}, "
                f"needed are {FLAGS.images} of {FLAGS.identities} identities from "
                f"{FLAGS.first_identity} on"
            )
        chosen.extend(rows)
    images = dataset.load(size, chosen)
    rows = embed_images(recogniser, images)
    embeddings = rows.reshape(FLAGS.identities, FLAGS.images, -1)
    means = embeddings.mean(1)
    return images, means / np.linalg.norm(means, axis=1, keepdims=True)


def measure_references(
    recogniser: Recogniser, generator: LatentDiffusionGenerator
) -> tuple[dict[str, Any], np.ndarray]:
    """Figures and images of packed references."""
    content = load_embeddings(FLAGS.references, model=generator.recogniser)
    rows = content.embeddings[: FLAGS.num_references]
    made, _ = generate(rows, _IMAGES_OF_PACKED, _SAMPLING.guidance)
    cosines = rows @ rows.T
    np.fill_diagonal(cosines, -1)
    figures = {
        "references": len(rows),
        "max_cosine": float(cosines.max()),
        "guidance": _SAMPLING.guidance,
        **measure(embed_images(recogniser, made), rows),
    }
    return figures, made


def compare_guidances(
    means: np.ndarray, recogniser: Recogniser
) -> tuple[list[dict[str, float]], list[np.ndarray]]:
    """Figures and images for each guidance asked for."""
    figures, sheets = [], []
    for guidance in (float(text) for text in FLAGS.guidance):
        made, rate = generate(means, FLAGS.images, guidance)
        row = {"guidance": guidance, **measure(embed_images(recogniser, made), means)}
        row["images_per_second"] = rate
        print_row(f"guidance {guidance:g}", row)
        figures.append(row)
        sheets.append(made)
    return figures, sheets


def print_row(name: str, row: dict[str, float]) -> None:
    """One line of the table."""
    columns = ("rank1", "own_cosine", "impostor_cosine", "intra_cosine", "eer")
    values = " ".join(f"{row[column]:>8.4f}" for column in columns)
    rate = row.get("images_per_second")
    shown = f"{'-':>9}" if rate is None else f"{rate:>9.1f}"
    print(f"{name:14} {values} {shown}", flush=True)


def main() -> None:
    """Measures, prints a table, writes the record and the contact sheet."""
    require_flags(FLAGS, "held_out", "output")
    generator = load(FLAGS.generator)
    recogniser = load_recogniser(FLAGS.recogniser, device="cpu")
    check_model(recogniser.model, generator.recogniser, "recogniser")
    rendered, means = load_held_out(recogniser, generator.image_size)
    print(f"{'':14}    rank1      own impostor    intra      eer  images/s")
    record: dict[str, Any] = {"benchmark": "generation_quality"}
    record["rendered"] = measure(embed_images(recogniser, rendered), means)
    print_row("rendered", record["rendered"])
    record["autoencoder"], restored = measure_autoencoder(
        generator, recogniser, rendered
    )
    rows, made = compare_guidances(means, recogniser)
    target = record["rendered"]["intra_cosine"]
    best = int(np.argmin([abs(row["intra_cosine"] - target) for row in rows]))
    record |= {"generated": rows, "matched_guidance": rows[best]["guidance"]}
    judged = {"rendered": rendered, "autoencoder": restored} | {
        f"guidance {row['guidance']:g}": images
        for row, images in zip(rows, made, strict=True)
    }
    if FLAGS.references:
        record["packed"], judged["packed"] = measure_references(recogniser, generator)
        print_row("packed", record["packed"])
    if FLAGS.judge:
        record["judge_eer"] = {
            name: judge_error_rate(images, name) for name, images in judged.items()
        }
        print("eer by dlib", record["judge_eer"])
    print("autoencoder", record["autoencoder"])
    output = pathlib.Path(FLAGS.output)
    models = {"generator": generator.model, "recogniser": recogniser.model}
    record |= {"models": models, "created_with": provenance()}
    files.write_json(output / "quality.json", record)
    save_contact_sheet(output / "sheet.png", rendered, made[best], FLAGS.images)


if __name__ == "__main__":
    run_command(main, FLAGS)
