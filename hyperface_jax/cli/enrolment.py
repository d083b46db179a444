"""Enrolled people of hyperface-pack: how near is too near, and what that rests on."""

import dataclasses
import math
from typing import Any

import numpy as np
from absl import flags

from hyperface_jax.analysis.calibration import calibrate_threshold
from hyperface_jax.embeddings.embedding_file import EmbeddingFile
from hyperface_jax.errors import InputError
from hyperface_jax.packing.config import PackingConfig

# Decimals of a calibrated limit: the last bits of a cosine depend on the machine, and
# processes on several must agree.
_DECIMALS = 4


def limit(
    config: PackingConfig, enrolled: EmbeddingFile | None, values: flags.FlagValues
) -> tuple[PackingConfig, dict[str, Any] | None]:
    """The settings with the limit that --enrolled_fmr asks for, if it was given.

    Args:
      config: the settings.
      enrolled: the people enrolled, or None.
      values: the parsed flags of hyperface-pack.

    Returns:
      The settings, and what the limit was found on, JSON-ready; None without the flag.

    Raises:
      InputError: enrolled rows that don't say whose they are, or too few of them.
    """
    if enrolled is None or values.enrolled_fmr is None:
        return config, None
    if enrolled.labels is None:
        raise InputError(
            f"{values.enrolled}: has no labels, without which --enrolled_fmr can't "
            "tell pairs of two people; embed a folder with one folder a person, or "
            "give --max_enrolled_cosine"
        )
    try:
        found = calibrate_threshold(
            enrolled.embeddings, enrolled.labels, values.enrolled_fmr
        )
    except InputError as error:
        raise InputError(f"{values.enrolled}: {error} (--enrolled_fmr)") from None
    # Downwards: references rather keep a little further away.
    scale = 10**_DECIMALS
    cosine = math.floor(found.threshold * scale) / scale
    return (
        dataclasses.replace(config, max_enrolled_cosine=cosine),
        {**found._asdict(), "asked": values.enrolled_fmr},
    )


def remarks(enrolled: EmbeddingFile | None, name: str) -> list[str]:
    """What a limit to the enrolled rows does not promise, in lines.

    Args:
      enrolled: the people enrolled, or None.
      name: of the file.
    """
    lines = []
    if enrolled is None:
        return lines
    labels = enrolled.labels
    if labels is not None and len(np.unique(labels)) == len(labels):
        lines.append(
            f"{name}: one row for each of {len(labels):,} people, so the limit is kept "
            "to those rows alone; other photographs of the same people can be nearer "
            "(0.386 where 0.3 was kept to means): enrol every photograph, not means"
        )
    made_with = enrolled.metadata.get("created_with") or {}
    settings = made_with.get("settings")
    if isinstance(settings, dict) and "mapped" in settings:
        lines.append(
            f"{name}: its rows were mapped from another recogniser; keeping away from "
            "those protects nobody: check the images that are generated, by a "
            "recogniser that knows photographs"
        )
    return lines


def describe_limit(found: dict[str, Any]) -> str:
    """Where the limit of a record ``enrolled`` comes from, in a phrase."""
    calibrated = found.get("calibration")
    if calibrated is None:
        return (
            "by --max_enrolled_cosine; how often strangers are nearer than that "
            "depends on the recogniser and on who they are, --enrolled_fmr asks the "
            "enrolled rows"
        )
    return (
        f"{calibrated['threshold']:.6f} rounded down, which a share of "
        f"{calibrated['false_match_rate']:.2g} of the "
        f"{calibrated['num_impostor_pairs']:,} pairs of two of "
        f"{calibrated['num_people']:,} enrolled people exceeds, as --enrolled_fmr="
        f"{calibrated['asked']:g} asks"
    )
