"""Measurement of a recogniser on verification sets, written to ``metrics.json``."""

import functools
import hashlib
import os
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from bridges import device_flags
from bridges.datasets.dataset_format import DESCRIPTION
from bridges.datasets.images import UnreadableImage
from bridges.datasets.verification_set import (
    VerificationSet,
    check_images,
    load_verification_set,
    pair_files,
)
from bridges.devices import Device
from bridges.evaluation.group_rates import pool_groups
from bridges.evaluation.intervals import bounds_only, decision_intervals, mean_bounds
from bridges.evaluation.people import people_of_pairs
from bridges.evaluation.scored_pairs import ScoredPairs, joined
from bridges.evaluation.verification_metrics import (
    evaluate_verification,
    fairness_of,
    measure_pairs,
    verify_pairs,
)
from bridges.recognisers.embedding import embed_source
from bridges.recognisers.recogniser import Recogniser, load_recogniser
from bridges.recognisers.rendered_faces import warn_of_photographs
from hyperface_jax import InputError, files
from hyperface_jax.artifacts import Output, check_same_settings, read_json
from hyperface_jax.commands import provenance

__all__ = ["evaluate_verification", "find_benchmarks", "verify_checkpoint"]

PathLike = str | os.PathLike[str]

FORMAT_VERSION = 1


def verify_checkpoint(
    checkpoint: PathLike,
    benchmarks: PathLike | Sequence[PathLike],
    output: PathLike,
    *,
    flip: bool = True,
    skip_unreadable: bool = False,
    device: str = "auto",
    precision: str = "float32",
) -> dict[str, Any]:
    """Measures a recogniser on verification sets and writes the figures.

    All images are decoded before the first is embedded.

    Args:
      checkpoint: a folder of ``train_recogniser``, or what else
        :func:`bridges.recognisers.recogniser.load_recogniser` takes.
      benchmarks: verification sets: folders with pairs, insightface's ``.bin`` files,
        or folders that hold some of either.
      output: the JSON file to write.
      flip: embed images together with their mirror image.
      skip_unreadable: leave out pairs of images that can't be read.
      device: what to compute on, see :func:`bridges.devices.find_device`.
      precision: of matrix products and convolutions, likewise.

    Returns:
      What was written: ``model``, ``benchmarks`` by name as
      ``evaluate_verification`` returns them, ``mean_accuracy`` and its
      ``mean_accuracy_interval``, ``groups`` and ``fairness`` over all sets (where pairs
      are labelled), ``skipped`` images by set (where there are any),
      ``settings``, ``created_with``.

    Raises:
      InputError: no recogniser or no verification set there, two sets of one name,
        unreadable images (all named), or an output that belongs to other settings.
    """
    files.check_output(output)
    recogniser = load_recogniser(checkpoint, device=device, precision=precision)
    benchmarks = Benchmarks(benchmarks, skip_unreadable=skip_unreadable)
    return benchmarks.measure(recogniser, output, flip=flip, precision=precision)


class Benchmarks:
    """Verification sets, read and decoded once for all recognisers."""

    def __init__(
        self,
        paths: PathLike | Sequence[PathLike],
        *,
        skip_unreadable: bool = False,
    ) -> None:
        """Reads the pairs and the images' bytes.

        Args:
          paths: see :func:`verify_checkpoint`.
          skip_unreadable: likewise.

        Raises:
          InputError: no verification set there, or two of one name.
        """
        self._sets = _load_sets(paths)
        self._skip_unreadable = skip_unreadable
        self._fingerprints = {each.name: _fingerprint(each) for each in self._sets}

    def measure(
        self,
        recogniser: Recogniser,
        output: PathLike,
        *,
        flip: bool = True,
        precision: str = "float32",
    ) -> dict[str, Any]:
        """Measures a recogniser and writes the figures, unless they are there.

        Args:
          recogniser: what to measure.
          output: the JSON file to write.
          flip: see :func:`verify_checkpoint`.
          precision: that the recogniser was loaded with.

        Returns:
          What :func:`verify_checkpoint` does.

        Raises:
          InputError: unreadable images, or an output that belongs to other settings.
        """
        settings = {
            "model": recogniser.model,
            "flip": flip,
            "benchmarks": self._fingerprints,
            **({"skip_unreadable": True} if self._skip_unreadable else {}),
            **device_flags.setting(precision),
        }

        def measure() -> dict[str, Any]:
            for each in self._sets:
                warn_of_photographs(recogniser, each.place)
            return _measure(recogniser, self._readable, output, settings)

        return Output(output, lambda: _read_same(output, settings)).make(measure)

    @functools.cached_property
    def _readable(self) -> list[VerificationSet]:
        return [
            check_images(each, skip_unreadable=self._skip_unreadable)
            for each in self._sets
        ]


def _measure(
    recogniser: Recogniser,
    sets: Sequence[VerificationSet],
    output: PathLike,
    settings: dict[str, Any],
) -> dict[str, Any]:
    """Measures and writes; returns what :func:`verify_checkpoint` does."""
    skipped = {each.name: each.skipped for each in sets if each.skipped}
    flip = settings["flip"]
    both = {each.name: _evaluate(recogniser, each, flip) for each in sets}
    results = {name: result for name, (result, _) in both.items()}
    accuracies = [each["accuracy"] for each in results.values()]
    bounds = [each["intervals"]["accuracy"] for each in results.values()]
    metrics = {
        "format_version": FORMAT_VERSION,
        "model": recogniser.model,
        "benchmarks": results,
        "mean_accuracy": float(np.mean(accuracies)),
        "mean_accuracy_interval": list(mean_bounds(accuracies, bounds)),
        **_of_groups(results, [pairs for _, pairs in both.values()]),
        **({"skipped": skipped} if skipped else {}),
        "settings": settings,
        "created_with": {**provenance(), **_device_of(recogniser)},
    }
    files.write_json(output, metrics)
    return metrics


def _of_groups(
    results: Mapping[str, dict[str, Any]], pairs: Sequence[ScoredPairs]
) -> dict[str, Any]:
    """``groups`` and, where there are any, ``fairness`` over all sets together."""
    groups = pool_groups(results.values())
    labelled = [each for each in pairs if each.group is not None]
    if not labelled:
        return {"groups": groups}
    together = joined(labelled)
    for name, found in groups.items():
        some = together.of(together.group == name)
        found["intervals"] = bounds_only(
            decision_intervals(some.accepted, some.same, some.people)
        )
    return {"groups": groups, "fairness": fairness_of(together)}


def _load_sets(paths: PathLike | Sequence[PathLike]) -> list[VerificationSet]:
    """Reads the verification sets that :func:`find_benchmarks` finds.

    Raises:
      InputError: as it and :func:`load_verification_set`; or two sets of one name.
    """
    sets: dict[str, VerificationSet] = {}
    for path in find_benchmarks(paths):
        found = load_verification_set(path)
        other = sets.setdefault(found.name, found)
        if other is not found:
            raise InputError(
                f"{other.place} and {found.place}: two verification sets of one name, "
                "which figures are reported by; rename one of them"
            )
    return list(sets.values())


def find_benchmarks(folders: PathLike | Sequence[PathLike]) -> list[pathlib.Path]:
    """The verification sets among ``folders`` and directly inside them.

    Args:
      folders: as :func:`bridges.datasets.verification_set.load_verification_set` takes
        them, or folders of such folders.

    Raises:
      InputError: none given, no such folder, or one whose rendering is incomplete.
    """
    if isinstance(folders, str | os.PathLike):
        folders = [folders]
    result = []
    for folder in map(pathlib.Path, map(files.path_of, folders or ())):
        if not folder.is_dir() and not pair_files(folder):
            what = "a file; unpack it" if folder.exists() else "no such folder"
            raise InputError(f"{folder}: not a verification set, {what}")
        if pair_files(folder):
            result.append(folder)
            continue
        below = sorted(path for path in folder.iterdir() if path.is_dir())
        inside = [path for path in below if pair_files(path)]
        if not inside:
            result.append(folder)
            continue
        for path in sorted(folder.glob(f"*/{DESCRIPTION}")):
            # The pairs are written last.
            if path.parent not in inside:
                raise InputError(
                    f"{path.parent}: an image dataset without pairs; finish it with "
                    "hyperface-render, or move it elsewhere"
                )
        result += inside
    if not result:
        raise InputError("no verification sets given")
    return result


def _evaluate(
    recogniser: Recogniser, benchmark: VerificationSet, flip: bool
) -> tuple[dict[str, Any], ScoredPairs]:
    embeddings = embed_source(
        recogniser,
        benchmark.images,
        flip=flip,
        description=f"verifying on {benchmark.name}",
    )
    first, second = benchmark.pairs.T
    about = benchmark.same, benchmark.fold
    named = benchmark.person is not None
    images = benchmark.person[benchmark.pairs] if named else benchmark.pairs
    result, pairs = measure_pairs(
        verify_pairs(
            embeddings[first], embeddings[second], about[0], fold_ids=about[1]
        ),
        *about,
        benchmark.group,
        people_of_pairs(images, benchmark.same),
    )
    result["intervals"]["people_from"] = "names" if named else "genuine pairs"
    return result, pairs


def _device_of(recogniser: Recogniser) -> dict[str, str]:
    """What the recogniser computed on, if it says so; nothing for the CPU's float32."""
    device = getattr(recogniser, "device", None)
    return device.record() if isinstance(device, Device) else {}


def _fingerprint(benchmark: VerificationSet) -> str:
    """SHA-256 that changes with the pairs and with the images' bytes."""
    digest = hashlib.sha256()
    for path in benchmark.listed_in:
        digest.update(path.read_bytes())
    for i in range(len(benchmark.images)):
        try:
            content = hashlib.sha256(benchmark.images.read(i)).hexdigest()
        except UnreadableImage:
            content = "unreadable"
        digest.update(content.encode())
    return digest.hexdigest()


def _read_same(output: PathLike, settings: dict[str, Any]) -> dict[str, Any] | None:
    """The metrics already there, or None; refuses those of other settings."""
    if not files.was_written(output):
        return None
    found = read_json(output)
    if not isinstance(found.get("settings"), dict):
        raise InputError(
            f"{output}: exists and holds no metrics of ours; give another file"
        )
    check_same_settings(output, found["settings"], settings)
    return found
