"""Reference embeddings to an image dataset: Algorithm 3 over a generator.

It may be killed at any moment; the same call then resumes, and ends with the same
images. Several processes may share the work; whoever makes the last image finishes.
"""

import contextlib
import dataclasses
import functools
import os
from collections import Counter
from collections.abc import Iterator
from typing import Any, NamedTuple

import torch

from bridges.devices import Device, announce_device, find_device
from bridges.generation.collisions import CollisionCheck
from bridges.generation.dataset_description import describe_dataset
from bridges.generation.dataset_output import DatasetOutput
from bridges.generation.gate import words_of
from bridges.generation.generation_config import GenerationConfig
from bridges.generation.image_run import ImageRun
from bridges.generation.image_workers import ImageMaker, ImageSettings
from bridges.generation.plan import Plan
from bridges.generation.references import (
    check_references,
    digest_of_groups,
    digest_of_rows,
    read_references,
)
from bridges.generation.shards import find_shard, local_rank
from bridges.generators.generator import (
    BATCH_SIZE,
    check_recogniser,
    checked_settings,
)
from bridges.recognisers.recogniser import Recogniser, load_recogniser
from hyperface_jax import (
    EmbeddingFile,
    InputError,
)
from hyperface_jax.artifacts import HeldElsewhere, Output
from hyperface_jax.commands import announce

# How often damaged images are made again before the disk is given up.
_MENDINGS = 3


class Generation(NamedTuple):
    """What a call of :func:`generate_dataset` left.

    Attributes:
      images: how many there are now.
      planned: how many there are to be.
      complete: whether the dataset is finished. Where all images are there and it is
        not, another worker finishes it.
      report: of a finished dataset, what gate and collision check say, as in its
        description; else None.
    """

    images: int
    planned: int
    complete: bool
    report: dict[str, Any] | None


def generate_dataset(
    references: EmbeddingFile | str | os.PathLike[str],
    output: str | os.PathLike[str],
    config: GenerationConfig | None = None,
    *,
    device: str = "auto",
    precision: str = "float32",
    shard: str = "",
) -> Generation:
    """Makes ``images_per_identity`` images of every reference embedding.

    Writes an image dataset folder (see ``bridges.datasets.image_dataset``) with a copy
    of the references in ``references.npz``, or another format. Each record has
    ``identity`` (the row of the reference), ``index``, ``seed`` (of the generator's
    noise), ``reference_cosine``: the cosine between the image, embedded by the
    recogniser, and the reference it was to show, the groups of the reference by
    attribute, ``tries``: how often it was drawn, and ``flag``: empty, or why the image
    is not what it should be: ``no_face``, ``low_cosine``, ``collision``, or the latter
    behind one of the others and a comma. With a collision check there is ``redraws``:
    in how many of its rounds the image was drawn again.

    With more than one process a script that calls this has to do so under
    ``if __name__ == "__main__":``, as Python's ``multiprocessing`` needs.

    Images are bit-equal for one kind of device, precision and batch size, whatever the
    number of processes, shards and interruptions. ``dataset.json`` records these where
    they differ from the default on the CPU, and one data set is never made with
    several.

    Args:
      references: an embedding file or its content, of kind references.
      output: the dataset folder, or what the format is; resumed if incomplete.
      config: the settings.
      device: what to compute on, see :func:`bridges.devices.find_device`. Of several
        processes that torchrun or SLURM start on a machine, each takes an accelerator
        of its own where ``"auto"`` is asked for.
      precision: of matrix products and convolutions, likewise.
      shard: which part of the work this process does, see
        :func:`bridges.generation.shards.find_shard`. All are given the same output.

    Raises:
      InputError: references of another kind or of another recogniser than the
        generator's, unknown models, settings of another generator, an output that
        belongs to other settings, a shard that another process makes, or no such
        device.
    """
    config = config or GenerationConfig()
    part = find_shard(shard)
    content, name = read_references(references)
    place = find_device(_own_device(device), precision, quiet=True)
    _check_processes(config, place)
    maker = ImageMaker(_image_settings(config, place))
    generator = maker.generator
    check_recogniser(maker.recogniser.model, generator)
    check_references(content, name, generator)
    judge = None
    if config.collision_recogniser:
        where = {"device": place.name, "precision": precision}
        judge = load_recogniser(config.collision_recogniser, **where)
    plan = Plan(len(content.embeddings), config.images_per_identity)
    settings = _settings(content, config, maker)
    if judge is not None:
        settings |= {
            "collision_recogniser": judge.model["sha256"],
            "collision_threshold": config.collision_threshold,
            "collision_rounds": config.collision_rounds,
        }
    target = DatasetOutput(output, config.format, settings, plan)
    found = target.output.finished()
    if found is not None:
        return Generation(len(plan), len(plan), True, found.get("report"))
    target.begin()
    announce_device(device, place)
    models = {"generator": generator.model, "recogniser": maker.recogniser.model}
    about = {"models": models}
    if generator.licence:
        about["licence"] = generator.licence
    run = ImageRun(target.draft, content, config, maker)
    del maker, generator  # The run lets go of them where it has no use for them.
    with _own_shard(target, str(part)):
        run.make_missing(part.blocks(plan))
    # Whoever made the last image counts them all, since all others have written theirs.
    # It is counted before the output is held: who holds it for long finishes.
    images = target.draft.images_made
    if target.draft.is_open and images < len(plan):
        return Generation(images, len(plan), False, None)
    with contextlib.ExitStack() as held:
        try:
            found = held.enter_context(target.holding())
        except HeldElsewhere:
            return Generation(len(plan), len(plan), False, None)
        if found is None:
            _finish(target, run, content, judge, about)
            found = target.output.finished()
    return Generation(len(plan), len(plan), True, found.get("report"))


def _finish(
    target: DatasetOutput,
    run: ImageRun,
    content: EmbeddingFile,
    judge: Recogniser | None,
    about: dict[str, Any],
) -> None:
    """Checks what all have made, and puts it into its final form."""
    config = run.config
    _mend(run)
    report: dict[str, Any] = {}
    if judge is not None:
        check = CollisionCheck(
            run,
            judge,
            threshold=config.collision_threshold,
            rounds=config.collision_rounds,
        )
        check.resolve()
        _mend(run)
        check.flag()
        report["collisions"] = check.report
    report = _counts(target) | report
    describe = functools.partial(
        describe_dataset, target, content, about=about, report=report
    )
    target.finish({**about, "report": report}, describe)


def _mend(run: ImageRun) -> None:
    """Reads every image back, and makes those again that are not as they were."""
    draft = run.draft
    blocks = range(draft.plan.num_blocks)
    for _ in range(_MENDINGS):
        damaged = [row for block in blocks for row in draft.damaged(block)]
        if not damaged:
            return
        announce(
            f"{draft.images}: {len(damaged)} images are not as they were written; they "
            "are made again"
        )
        run.mend(damaged)
    raise OSError(f"{draft.images}: the disk does not return what was written to it")


def _counts(target: DatasetOutput) -> dict[str, Any]:
    """What the gate did, over all images."""
    tries, flags = 0, Counter()
    for _, entry in target.draft.all_entries():
        tries += entry.record["tries"]
        flags.update(words_of(entry.record["flag"]))
    return {"tries": tries, "flagged": dict(sorted(flags.items()))}


@contextlib.contextmanager
def _own_shard(target: DatasetOutput, shard: str) -> Iterator[None]:
    """Holds a shard, so that no second process is given the same."""
    path = target.draft.work / f"shard-{shard.replace('/', '-of-')}"
    with contextlib.ExitStack() as held:
        try:
            held.enter_context(Output(path, lambda: None).writing())
        except HeldElsewhere:
            raise InputError(
                f"{target.path}: another process makes shard {shard} of it; give each "
                "its own --shard=i/n, or wait"
            ) from None
        yield


def _own_device(device: str) -> str:
    """The accelerator of this process, where several were started on one machine."""
    rank = local_rank()
    if device == "auto" and rank is not None and torch.cuda.device_count() > 1:
        return f"cuda:{rank % torch.cuda.device_count()}"
    return device


def _check_processes(config: GenerationConfig, place: Device) -> None:
    """Raises InputError at several processes for one accelerator."""
    if place.is_accelerator and (config.num_processes or 1) > 1:
        raise InputError(
            f"num_processes is {config.num_processes}, but {place.name} is used by "
            "one process; leave it out, or compute on the cpu"
        )


def _image_settings(config: GenerationConfig, place: Device) -> ImageSettings:
    """What the processes are told."""
    return ImageSettings(
        generator=config.generator,
        recogniser=config.recogniser,
        settings=config.settings,
        device=place,
        batch_size=config.batch_size,
        paths=config.paths,
        detector=config.detector,
        image_size=config.image_size,
    )


def _settings(
    content: EmbeddingFile, config: GenerationConfig, maker: ImageMaker
) -> dict[str, Any]:
    """All that the images depend on: contents by digest rather than by file name.

    The settings of the generator stand among the others, as they did when there was one
    kind alone.
    """
    generator, batch_size = maker.generator, maker.settings.batch_size
    return {
        "references": digest_of_rows(content.embeddings),
        "identities": len(content.embeddings),
        "images_per_identity": config.images_per_identity,
        "image_size": maker.image_size,
        "generator": generator.model["sha256"],
        "recogniser": maker.recogniser.model["sha256"],
        "beta": config.beta,
        "min_cosine": config.min_cosine,
        "tries": config.tries,
        **({"detector": maker.crops.detector.model["sha256"]} if maker.crops else {}),
        **dataclasses.asdict(checked_settings(generator, config.settings)),
        "sampler": generator.version,
        "seed": config.seed,
        **maker.settings.device.record(),
        **({} if batch_size == BATCH_SIZE else {"batch_size": batch_size}),
        **({"groups": digest_of_groups(content.groups)} if content.groups else {}),
    }
