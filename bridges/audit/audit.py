"""The audit of a set: leaks, duplicates, people who are one, images of others."""

import csv
import io
import os
import pathlib
from collections.abc import Mapping, Sequence

import numpy as np

from bridges.audit.findings import LIMITS, Audit, AuditedSet, Flagged
from bridges.audit.leaks import find_leaks
from bridges.audit.people import (
    People,
    mislabelled,
    same_people,
    separability,
)
from bridges.datasets.identity_folders import AUTO
from bridges.datasets.image_source import ImageSource, open_images
from bridges.recognisers.gallery import embed_opened
from bridges.recognisers.recogniser import Recogniser, load_recogniser
from hyperface_jax import (
    EmbeddingFile,
    InputError,
    check_model,
    checks,
    files,
    load_embeddings,
)
from hyperface_jax.artifacts import check_vacant
from hyperface_jax.commands import announce, provenance

PathLike = str | os.PathLike[str]
RECORD, FLAGGED, PAGE = "audit.json", "flagged.csv", "index.html"
# Images of one moment, or one file encoded twice; measured by the recogniser.
DUPLICATE_COSINE = 0.999
_COLUMNS = ("kind", "image", "person", "other", "cosine", "why")


def audit_set(
    audited: PathLike,
    output: PathLike,
    *,
    against: Sequence[PathLike] = (),
    model: PathLike | None = None,
    threshold: float | None = None,
    duplicate_cosine: float = DUPLICATE_COSINE,
    identity_from: str = AUTO,
    skip_unreadable: bool = False,
    device: str = "auto",
) -> Audit:
    """Audits a set and writes ``audit.json``, ``flagged.csv`` and ``index.html``.

    One recogniser judges, and another may not agree. All comparisons are exact; their
    memory does not grow with the number of pairs.

    Args:
      audited: an embedding file, or images in any format.
      output: the folder to write. Embeddings of images are kept there, so that the
        same call goes on where it was interrupted.
      against: real sets, likewise: galleries, training sets, people enrolled.
      model: the recogniser for images: what ``hyperface-embed --model`` takes.
      threshold: a cosine above which an image is a leak; None for what each real set
        says, see :mod:`bridges.audit.leaks`.
      duplicate_cosine: images at least so alike are duplicates.
      identity_from: see :func:`bridges.datasets.image_source.open_images`.
      skip_unreadable: leave out images that can't be read.
      device: what to compute on, see :func:`bridges.devices.find_device`.

    Raises:
      InputError: no such set, images without ``model``, embeddings of two recognisers,
        a real set without labels or threshold, or an output that is something else.
    """
    for name, value in (
        ("threshold", threshold),
        ("duplicate_cosine", duplicate_cosine),
    ):
        if value is not None:
            checks.in_range(value, name, -1, 1)
    output = pathlib.Path(files.path_of(output))
    places = ["audited.npz", *(f"against_{k}.npz" for k in range(len(against)))]
    if not any((output / name).exists() for name in (RECORD, *places)):
        check_vacant(output, RECORD, "audit")
    opened = [_opened(each, model, identity_from) for each in (audited, *against)]
    recogniser = None
    if not all(isinstance(each, EmbeddingFile) for _, each in opened):
        recogniser = load_recogniser(model, device=device)
    output.mkdir(parents=True, exist_ok=True)
    subject, *real = (
        _embedded(name, each, output / place, recogniser, skip_unreadable)
        for (name, each), place in zip(opened, places, strict=True)
    )
    judge = subject.file.metadata.get("model")
    for each in real:
        check_model(each.file.metadata.get("model"), judge, each.name)
    if judge is None:
        announce(
            f"{subject.name}: does not say which recogniser's embeddings these are"
        )
    found = _audit(subject, real, judge or {}, threshold, duplicate_cosine)
    _write(found, output, duplicate_cosine)
    return found


def exceeded(found: Audit, limits: Mapping[str, int | None]) -> list[str]:
    """Which limits an audit exceeds, in words.

    Args:
      found: the audit.
      limits: the most allowed of each of :data:`LIMITS`; None allows any number.
    """
    return [
        f"{found.counts[name]:,} {name.replace('_', ' ')}, {limit:,} allowed"
        for name, limit in limits.items()
        if limit is not None and found.counts[name] > limit
    ]


def _opened(
    path: PathLike, model: PathLike | None, identity_from: str
) -> tuple[str, EmbeddingFile | ImageSource]:
    """The name of a set, and its embeddings or its images."""
    path = pathlib.Path(files.path_of(path))
    if path.suffix.lower() == ".npz" and not path.is_dir():
        return os.fspath(path), load_embeddings(path)
    if not model:
        raise InputError(
            f"{path}: images, and no recogniser to judge them; give --model, sface for "
            "photographs (make photos)"
        )
    return os.fspath(path), open_images(path, identity_from=identity_from)


def _embedded(
    name: str,
    found: EmbeddingFile | ImageSource,
    place: pathlib.Path,
    recogniser: Recogniser | None,
    skip_unreadable: bool,
) -> AuditedSet:
    """A set with its embeddings, made where it holds images."""
    if isinstance(found, EmbeddingFile):
        return AuditedSet(name, found, None)
    file = embed_opened(found, recogniser, place, skip_unreadable=skip_unreadable)
    return AuditedSet(name, file, found)


def _audit(
    subject: AuditedSet,
    real: Sequence[AuditedSet],
    judge: Mapping[str, str],
    threshold: float | None,
    duplicate_cosine: float,
) -> Audit:
    rows = subject.file.embeddings
    labels, leaks, flagged = subject.file.labels, [], []
    who = _people_names(subject)
    for each in real:
        found = find_leaks(
            rows,
            each.file.embeddings,
            each.file.labels,
            name=each.name,
            threshold=threshold,
        )
        leaks.append(found)
        names = _people_names(each)
        for row, at, cosine, centre in zip(
            found.rows, found.nearest, found.cosines, found.to_centre, strict=True
        ):
            other = f"{each.name}: {each.image(at)}"
            what = f"the centre of {names[at]}" if centre else "an image"
            limit = found.centre_threshold if centre else found.threshold
            why = f"nearer to {what} than {limit:.4f}, {found.origin}"
            flagged.append(
                Flagged("leak", subject.image(row), who[row], other, float(cosine), why)
            )
    flagged += _duplicates(subject, who, duplicate_cosine)
    apart, spread = None, {}
    if labels is not None and len(np.unique(labels)) > 1:
        people = People.of(rows, labels)
        first = np.unique(people.who, return_index=True)[1]
        for i, j, cosine in same_people(people):
            flagged.append(
                Flagged(
                    "same_people",
                    "",
                    who[first[i]],
                    who[first[j]],
                    cosine,
                    "as alike as images of one person usually are",
                )
            )
        for row, other, cosine, own in mislabelled(people):
            flagged.append(
                Flagged(
                    "mislabelled",
                    subject.image(row),
                    who[row],
                    who[first[other]],
                    cosine,
                    f"mean cosine {own:.3f} with its own person's images",
                )
            )
        apart = separability(people)
        spread = _spread(people)
    kinds = [each.kind for each in flagged]
    names = {"leaks": "leak", "duplicates": "duplicate"}
    counts = {name: kinds.count(names.get(name, name)) for name in LIMITS}
    groups = _groups(subject.file, labels)
    return Audit(subject, real, judge, leaks, flagged, counts, apart, spread, groups)


def _people_names(each: AuditedSet) -> list[str]:
    """Who is on each image, by name where the images or the file have names."""
    file, images = each.file, each.images
    if file.labels is None:
        return [""] * len(file.embeddings)
    if images is not None and file.names is not None:
        who = {
            record["file_name"]: str(images.identities[label])
            for record, label in zip(images.records, images.labels, strict=True)
        }
        return [who[name] for name in file.names.tolist()]
    if file.identities is not None:
        return [str(file.identities[label]) for label in file.labels]
    return [str(label) for label in file.labels]


def _duplicates(
    subject: AuditedSet, who: Sequence[str], duplicate_cosine: float
) -> list[Flagged]:
    """All pairs of images that are as good as equal."""
    # Loads JAX, which embedding does without.
    from hyperface_jax import EmbeddingIndex

    index = EmbeddingIndex(subject.file.embeddings)
    pairs, cosines = index.duplicates(duplicate_cosine)
    return [
        Flagged(
            "duplicate",
            subject.image(second),
            who[second],
            subject.image(first),
            float(cosines[row]),
            "of another person" if who[first] != who[second] else "of the same person",
        )
        for row in np.argsort(-cosines, kind="stable")
        for first, second in [pairs[row].tolist()]
    ]


def _spread(people: People) -> dict[str, float]:
    cosines = (people.rows * people.centres[people.who]).sum(1)
    angles = np.degrees(np.arccos(np.clip(cosines, -1, 1)))
    mean = np.bincount(people.who, angles) / people.counts
    mean = mean[people.counts > 1]
    if not len(mean):
        return {}
    return {f"{q:g}": float(np.quantile(mean, q)) for q in (0, 0.25, 0.5, 0.75, 1)}


def _groups(
    file: EmbeddingFile, labels: np.ndarray | None
) -> dict[str, dict[str, dict[str, float]]]:
    found: dict[str, dict[str, dict[str, float]]] = {}
    for attribute, words in (file.groups or {}).items():
        found[attribute] = {}
        for word in np.unique(words):
            rows = np.flatnonzero(words == word)
            each = {"images": len(rows)}
            if labels is not None:
                people = People.of(file.embeddings[rows], labels[rows])
                count = len(people.counts)
                each["people"] = count
                if count > 1:
                    centres = people.centres
                    total = (centres.sum(0) ** 2).sum() - (centres**2).sum()
                    each["mean_cosine"] = float(total / (count * (count - 1)))
            found[attribute][str(word)] = each
    return found


def _write(found: Audit, output: pathlib.Path, duplicate_cosine: float) -> None:
    # Drawing loads matplotlib and Jinja2, which checking flags does without.
    from bridges.audit.page import write_audit_page

    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(_COLUMNS)
    writer.writerows(
        (*each[:4], f"{each.cosine:.6f}", each.why) for each in found.flagged
    )
    files.write_text(output / FLAGGED, text.getvalue())
    write_audit_page(found, output / PAGE)
    record = {
        "set": found.audited.name,
        "images": len(found.audited.file.embeddings),
        "judge": dict(found.judge),
        "counts": dict(found.counts),
        "duplicate_cosine": duplicate_cosine,
        "leaks": [
            {
                "against": each.name,
                "count": len(each.rows),
                "threshold": each.threshold,
                "centre_threshold": each.centre_threshold,
                "origin": each.origin,
                "compared": each.compared,
                "nearest_cosine": each.quantiles,
                "nearest_cosine_of_real_to_others": each.real_quantiles,
            }
            for each in found.leaks
        ],
        "separability": found.separability and found.separability._asdict(),
        "spread_degrees": dict(found.spread),
        "groups": found.groups,
        "flagged": [each._asdict() for each in found.flagged],
        "created_with": provenance(),
    }
    files.write_json(output / RECORD, record)
