"""The whole chain: render, embed, pack, generate, train, verify, report."""

import functools
import os
import pathlib
from collections.abc import Callable
from typing import Any, NamedTuple

from bridges.demo import stages
from bridges.demo.config import DemoConfig
from bridges.demo.recorder import Stage, StageRecorder
from bridges.faces.names import VERIFICATION_SETS
from bridges.report import write_report
from bridges.report.run_folder import read_run_folder
from hyperface_jax import InputError


class DemoResult(NamedTuple):
    """What a run came to.

    Attributes:
      report: the page.
      packing: the packing record of the references.
      metrics: recogniser to its figures; ``"packed"`` is the run's own.
      seconds: the time of all stages, see :class:`StageRecorder`.
    """

    report: pathlib.Path
    packing: dict[str, Any]
    metrics: dict[str, dict[str, Any]]
    seconds: float

    def headline(self) -> str:
        """The report's place and the main figures, in a line."""
        accuracies = ", ".join(
            f"{name} {100 * metrics['mean_accuracy']:.1f} %"
            for name, metrics in self.metrics.items()
        )
        return (
            f"{self.report}: {self.packing['num_identities']} identities, largest "
            f"cosine {self.packing['initial']['max_cosine']:.3f} -> "
            f"{self.packing['max_cosine']:.3f}; mean accuracy over "
            f"{len(VERIFICATION_SETS)} sets: {accuracies}; {self.seconds / 60:.1f} min"
        )


def run_demo(
    output: str | os.PathLike[str],
    config: DemoConfig | None = None,
    *,
    announce: Callable[[str], None] = lambda line: None,
    device: str = "auto",
    precision: str = "float32",
) -> DemoResult:
    """Runs the chain; resumes an earlier run with the same settings.

    Args:
      output: the run folder.
      config: the settings.
      announce: told a line when a stage starts.
      device: what all stages but rendering and packing compute on, see
        :func:`bridges.devices.find_device`.
      precision: likewise.

    Returns:
      The report and the headline figures.

    Raises:
      InputError: a folder of other settings, or what a stage refuses.
    """
    config = config or DemoConfig()
    folder = pathlib.Path(output)
    if folder.exists() and not folder.is_dir():
        raise InputError(f"{folder}: is a file, expected a folder to write to")
    stages.check_models(config)
    where = stages.Where(device, precision)
    planned = _stages(folder, config, where)
    recorder = StageRecorder(folder, config.record(), planned, announce)
    recorder.run()
    report = folder / "report.html"
    run = read_run_folder(folder)
    packing = run.references.metadata["packing"]
    return DemoResult(report, packing, run.metrics, recorder.seconds)


def _stages(
    folder: pathlib.Path, config: DemoConfig, where: stages.Where
) -> list[Stage]:
    images = config.num_identities * config.images_per_identity
    faces = config.gallery_identities * config.gallery_images
    sets = f"{len(VERIFICATION_SETS)} verification sets"
    rendered = f"{faces:,} faces, {sets} of {config.num_pairs} pairs"
    planned: list[tuple[str, str, Callable[..., None]]] = [
        ("render", rendered, stages.render),
        ("embed", f"{faces:,} faces by {config.recogniser}", stages.embed),
        ("pack", f"{config.num_identities} identities, far apart", stages.pack),
        ("generate", f"{images:,} images of them", stages.generate),
        ("train", f"a recogniser on these {images:,} images alone", stages.train),
        ("verify", f"that recogniser on {sets}", stages.verify),
    ]
    if config.compare:
        planned += [
            ("rendered", f"to compare, {images:,} rendered images", stages.rendered),
            ("unpacked", f"to compare, {images:,} images, not packed", stages.unpacked),
        ]
    return [
        *(
            Stage(name, what, functools.partial(work, folder, config, where))
            for name, what, work in planned
        ),
        Stage("report", "one page", functools.partial(write_report, folder)),
    ]
