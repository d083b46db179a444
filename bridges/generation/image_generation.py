"""Reference embeddings to an image dataset: Algorithm 3 over a generator.

It may be killed at any moment; the same call then resumes, and ends with the same
images.
"""

import contextlib
import dataclasses
import hashlib
import itertools
import json
import os
import warnings
from typing import Any

import numpy as np

from bridges.datasets.image_dataset import ImageDatasetWriter
from bridges.devices import Device, announce_device, find_device
from bridges.generation.generation_config import GenerationConfig
from bridges.generation.identity_variation import image_seed, vary_identity
from bridges.generation.image_workers import (
    Condition,
    ImageMaker,
    ImageSettings,
    make_images,
)
from bridges.generators.generator import (
    ACCELERATOR_BATCH_SIZE,
    BATCH_SIZE,
    Generator,
    check_recogniser,
    checked_settings,
)
from bridges.worker_processes import default_num_processes
from hyperface_jax import (
    EmbeddingFile,
    InputError,
    check_embeddings,
    check_model,
    files,
    load_embeddings,
    save_embeddings,
)
from hyperface_jax.commands import progress

_WORTH_A_PROCESS = 100


def generate_dataset(
    references: EmbeddingFile | str | os.PathLike[str],
    output: str | os.PathLike[str],
    config: GenerationConfig | None = None,
    *,
    device: str = "auto",
    precision: str = "float32",
) -> None:
    """Makes ``images_per_identity`` images of every reference embedding.

    Writes an image dataset folder (see ``bridges.datasets.image_dataset``) with a copy
    of the references in ``references.npz``. Each record has ``identity`` (the row of
    the reference), ``index``, ``seed`` (of the generator's noise),
    ``reference_cosine``: the cosine between the image, embedded by the recogniser, and
    the reference it was to show, and the groups of the reference by attribute.

    With more than one process a script that calls this has to do so under
    ``if __name__ == "__main__":``, as Python's ``multiprocessing`` needs.

    Images are bit-equal for one kind of device, precision and batch size.
    ``dataset.json`` records these where they differ from the default on the CPU, and
    one data set is never made with several.

    Args:
      references: an embedding file or its content, of kind references.
      output: the dataset folder; resumed if incomplete.
      config: the settings.
      device: what to compute on, see :func:`bridges.devices.find_device`.
      precision: of matrix products and convolutions, likewise.

    Raises:
      InputError: references of another kind or of another recogniser than the
        generator's, unknown models, settings of another generator, an output that
        belongs to other settings, or no such device.
    """
    config = config or GenerationConfig()
    place = find_device(device, precision, quiet=True)
    maker = ImageMaker(_image_settings(config, place))
    generator = maker.generator
    check_recogniser(maker.recogniser.model, generator)
    content = _read_references(references, generator)
    settings = _settings(content, config, maker)
    with ImageDatasetWriter(output, settings=settings, kind="generated") as writer:
        if writer.complete:
            return
        announce_device(device, place)
        _make_missing(writer, content, config, maker)
        save_embeddings(
            writer.folder / "references.npz",
            content.embeddings,
            kind="references",
            labels=content.labels,
            names=content.names,
            groups=content.groups,
            model=generator.recogniser,
            packing=content.metadata.get("packing"),
        )
        writer.finish(
            models={"generator": generator.model, "recogniser": maker.recogniser.model},
            **({"licence": generator.licence} if generator.licence else {}),
        )


def _image_settings(config: GenerationConfig, place: Device) -> ImageSettings:
    """What the processes are told.

    Raises:
      InputError: several processes for one accelerator.
    """
    usual = ACCELERATOR_BATCH_SIZE if place.is_accelerator else BATCH_SIZE
    if place.is_accelerator and (config.num_processes or 1) > 1:
        raise InputError(
            f"num_processes is {config.num_processes}, but {place.name} is used by "
            "one process; leave it out, or compute on the cpu"
        )
    return ImageSettings(
        config.generator,
        config.recogniser,
        config.settings,
        place,
        config.batch_size or usual,
    )


def _make_missing(
    writer: ImageDatasetWriter,
    content: EmbeddingFile,
    config: GenerationConfig,
    maker: ImageMaker,
) -> None:
    """Makes the images that ``writer`` does not have yet."""
    done, references = writer.done, content.embeddings
    wanted = itertools.product(
        range(len(references)), range(config.images_per_identity)
    )
    missing = [key for key in wanted if key not in done]
    num_processes = config.num_processes or _num_processes(len(missing))
    made = make_images(
        (_condition(references, config, *key) for key in missing),
        maker.settings,
        1 if maker.settings.device.is_accelerator else num_processes,
        maker=maker,
    )
    bar = progress(
        description="generating",
        total=len(done) + len(missing),
        unit="image",
        initial=len(done),
    )
    with contextlib.closing(made), bar:
        for (identity, index), (image, cosine) in zip(missing, made, strict=True):
            record = {
                **{name: str(of[identity]) for name, of in content.groups.items()},
                "identity": identity,
                "index": index,
                "seed": image_seed(config.seed, identity, index),
                "reference_cosine": cosine,
            }
            writer.write(image, record)
            bar.update()


def _num_processes(num_images: int) -> int:
    """One process per core, but none whose start would take longer than its work."""
    return min(default_num_processes(), max(1, num_images // _WORTH_A_PROCESS))


def _condition(
    references: np.ndarray, config: GenerationConfig, identity: int, index: int
) -> Condition:
    """What image ``index`` of an identity is made from."""
    varied = vary_identity(
        references[identity],
        beta=config.beta,
        dataset_seed=config.seed,
        identity=identity,
        index=index,
    )
    seed = image_seed(config.seed, identity, index)
    return Condition(varied, references[identity], seed)


def _read_references(
    references: EmbeddingFile | str | os.PathLike[str], generator: Generator
) -> EmbeddingFile:
    """The checked references."""
    if isinstance(references, EmbeddingFile):
        name, content = "references", references
        check_embeddings(content.embeddings, name)
    else:
        name = files.path_of(references)
        content = load_embeddings(name)
    kind = content.metadata.get("kind")
    if kind not in (None, "references"):
        raise InputError(
            f"{name}: holds {kind}, expected references; pack a gallery first, with "
            "hyperface-pack"
        )
    model = content.metadata.get("model")
    check_model(model, generator.recogniser, name)
    dimensions = content.embeddings.shape[1]
    if dimensions != generator.embedding_size:
        raise InputError(
            f"{name}: embeddings have {dimensions} entries, generator "
            f"{generator.model['name']} takes {generator.embedding_size}; embed the "
            f"gallery with {generator.recogniser['name']} and pack it again"
        )
    if not model:
        warnings.warn(
            f"{name}: doesn't say which recogniser made it; its rows are taken for "
            f"embeddings of {generator.recogniser['name']}, of any other they give "
            "images of nobody in particular",
            stacklevel=3,
        )
    return content


def _settings(
    content: EmbeddingFile, config: GenerationConfig, maker: ImageMaker
) -> dict[str, Any]:
    """All that the images depend on: contents by digest rather than by file name.

    The settings of the generator stand among the others, as they did when there was one
    kind alone.
    """
    generator, batch_size = maker.generator, maker.settings.batch_size
    embeddings = np.ascontiguousarray(content.embeddings, np.float32)
    return {
        "references": hashlib.sha256(embeddings.tobytes()).hexdigest(),
        "identities": len(embeddings),
        "images_per_identity": config.images_per_identity,
        "image_size": generator.image_size,
        "generator": generator.model["sha256"],
        "recogniser": maker.recogniser.model["sha256"],
        "beta": config.beta,
        **dataclasses.asdict(checked_settings(generator, config.settings)),
        "sampler": generator.version,
        "seed": config.seed,
        **maker.settings.device.record(),
        **({} if batch_size == BATCH_SIZE else {"batch_size": batch_size}),
        **({"groups": _digest_of_groups(content.groups)} if content.groups else {}),
    }


def _digest_of_groups(groups: dict[str, np.ndarray]) -> str:
    values = {name: of.tolist() for name, of in groups.items()}
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()
