"""Templates: one embedding of several images of a person, in the manner of IJB.

The images of a medium, such as the frames of one video, are averaged first, so that a
long video weighs no more than a photograph; the media are added, and the sum gets unit
length (Whitelam et al., IARPA Janus Benchmark-B, CVPR Workshops 2017).
"""

import csv
import math
import os
import pathlib
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from hyperface_jax import InputError, files

_COLUMNS = ("name", "template", "medium")


class TemplateList(NamedTuple):
    """Which images make up a template.

    Attributes:
      template: its name, by the image's.
      medium: what the image was taken from, by the image's name.
      score: of the detector, by the image's name; empty where the list has none.
    """

    template: dict[str, str]
    medium: dict[str, str]
    score: dict[str, float]


def pool_templates(
    rows: np.ndarray,
    template: Sequence[str] | np.ndarray,
    medium: Sequence[str] | np.ndarray,
    *,
    scores: np.ndarray | None = None,
    mirrored: np.ndarray | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """One unit row a template.

    Args:
      rows: ``[n, d]`` embeddings; of any length, which then weighs in.
      template: ``[n]`` names of templates.
      medium: ``[n]`` names of media; one name in two templates is two media.
      scores: ``[n]`` of the detector, to weigh each image by; None to weigh all alike.
      mirrored: ``[n, d]`` embeddings of the mirror images, added before all else.

    Returns:
      ``[t, d]`` float32 and ``[t]`` the names, in rising order.

    Raises:
      InputError: shapes that disagree, scores that are negative or not finite, or a
        template whose images cancel out.
    """
    rows = np.asarray(rows, np.float64)
    for name, other in (("template", template), ("medium", medium), ("scores", scores)):
        if other is not None and np.shape(other) != rows.shape[:1]:
            raise InputError(f"{name} must have an entry for each of {len(rows)} rows")
    if mirrored is not None:
        if np.shape(mirrored) != rows.shape:
            raise InputError(
                f"mirrored {np.shape(mirrored)} must have the shape {rows.shape} of "
                "the embeddings"
            )
        rows = rows + mirrored
    if scores is not None:
        scores = np.asarray(scores, np.float64)
        if not np.isfinite(scores).all() or (scores < 0).any():
            raise InputError("scores must be finite and at least 0")
        rows = rows * scores[:, None]
    names, owner = np.unique(template, return_inverse=True)
    _, kind = np.unique(medium, return_inverse=True)
    media, place = np.unique(owner * (kind.max() + 1) + kind, return_inverse=True)
    means = np.zeros((len(media), rows.shape[1]))
    np.add.at(means, place, rows)
    means /= np.bincount(place)[:, None]
    sums = np.zeros((len(names), rows.shape[1]))
    np.add.at(sums, media // (kind.max() + 1), means)
    lengths = np.linalg.norm(sums, axis=1)
    empty = np.flatnonzero(~(lengths > 1e-12))
    if len(empty):
        raise InputError(f"template {names[empty[0]]}: its images add up to nothing")
    return (sums / lengths[:, None]).astype(np.float32), names


def read_template_list(path: str | os.PathLike[str]) -> TemplateList:
    """Reads which images make up a template.

    Args:
      path: a CSV file with the columns name, template, medium and, optionally, score;
        or IJB's ``…_face_tid_mid.txt``: name, template and medium, with blanks between.

    Raises:
      InputError: no such file, a missing column, a line that is not of this form, or a
        name twice.
    """
    path = pathlib.Path(files.path_of(path))
    if not path.is_file():
        what = "is a folder" if path.is_dir() else "no such file"
        raise InputError(f"{path}: {what}, expected a list of templates")
    # Names of files need not be UTF-8.
    text = path.read_text(encoding="utf-8-sig", errors="surrogateescape")
    lines = text.splitlines()
    if lines and "," in lines[0]:
        try:
            head, *rows = csv.reader(lines)
        except csv.Error as error:
            raise InputError(f"{path}: not a CSV file ({error})") from None
        missing = [name for name in _COLUMNS if name not in head]
        if missing:
            raise InputError(
                f"{path}: no column {missing[0]!r}; the first line must be "
                "name,template,medium and, optionally, score"
            )
    else:
        head, rows = list(_COLUMNS), [line.split() for line in lines]
    first = 1 + len(lines) - len(rows)
    numbered = list(enumerate(rows, start=first))
    return _of_lines(path, head, [(i, row) for i, row in numbered if row])


def _of_lines(
    path: pathlib.Path, head: list[str], rows: list[tuple[int, list[str]]]
) -> TemplateList:
    found = TemplateList({}, {}, {})
    for number, values in rows:
        if len(values) != len(head):
            raise InputError(f"{path}: line {number} is not {','.join(head)}")
        row = dict(zip(head, values, strict=True))
        name = row["name"]
        if name in found.template:
            raise InputError(f"{path}: line {number} names {name} again")
        found.template[name], found.medium[name] = row["template"], row["medium"]
        if "score" in row:
            found.score[name] = _score(path, number, row["score"])
    if not found.template:
        raise InputError(f"{path}: no image in it, expected a list of templates")
    return found


def _score(path: pathlib.Path, number: int, text: str) -> float:
    try:
        score = float(text)
    except ValueError:
        score = math.nan
    if not 0 <= score < math.inf:
        raise InputError(
            f"{path}: line {number} has score {text!r}, expected a number of 0 or more"
        )
    return score
