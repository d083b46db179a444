"""Identification measured on embedding files, written to a JSON file."""

import os
from typing import Any, NamedTuple

import numpy as np

from bridges.evaluation.identification import identification, search_people
from bridges.evaluation.templates import (
    TemplateList,
    pool_templates,
    read_template_list,
)
from hyperface_jax import InputError, checks, files, load_embeddings
from hyperface_jax.artifacts import Output, check_same_settings, read_json
from hyperface_jax.commands import provenance

PathLike = str | os.PathLike[str]
FORMAT_VERSION = 1
SPLITS = ("leave_one_out", "random")


class Faces(NamedTuple):
    """Rows of a file, of which people are known.

    Attributes:
      rows: ``[n, d]`` float32, unit rows.
      people: ``[n]`` str, names, or numbers as text.
    """

    rows: np.ndarray
    people: np.ndarray

    def of(self, which: np.ndarray) -> "Faces":
        """Some of the rows."""
        return Faces(self.rows[which], self.people[which])


def identify(
    gallery: PathLike,
    output: PathLike,
    *,
    probes: PathLike | None = None,
    split: str = "leave_one_out",
    unknown_share: float = 0.2,
    seed: int = 0,
    templates: PathLike | None = None,
    weigh_by_score: bool = True,
) -> dict[str, Any]:
    """Searches a gallery for probes and writes the figures.

    Args:
      gallery: embedding file with labels: who is enrolled.
      output: the JSON file to write.
      probes: embedding file with labels, of the same recogniser: whom to search for.
        None to take both from ``gallery``, as ``split`` says.
      split: ``"leave_one_out"``: each image is searched for among all others, once
        with and once without its person; ``"random"``: one image of each person is
        enrolled and the others are searched for, as are all of people not enrolled.
      unknown_share: of a random split, the share of people who are not enrolled.
      seed: of a random split.
      templates: a list of which images make up a template, see
        :func:`bridges.evaluation.templates.read_template_list`; None for an image each.
      weigh_by_score: weigh images by the scores of that list, where it has some.

    Returns:
      What was written: see :func:`bridges.evaluation.identification.identification`,
      and ``model``, ``num_enrolled`` (people), ``num_gallery`` (rows), ``settings`` and
      ``created_with``.

    Raises:
      InputError: rows without labels, files of two recognisers, people named in one
        file and numbered in the other, no probe of a person enrolled, a template of
        two people, or an output that belongs to other settings.
    """
    checks.one_of(split, "split", SPLITS)
    checks.in_range(unknown_share, "unknown_share", 0, 1, open_high=True)
    checks.whole_number(seed, "seed", 0)
    files.check_output(output)
    settings = _settings(gallery, probes, templates)
    if probes is None:
        settings |= {"split": split}
        if split == "random":
            settings |= {"unknown_share": unknown_share, "seed": seed}
    if templates is not None:
        settings |= {"weigh_by_score": weigh_by_score}

    def work() -> dict[str, Any]:
        listed = None if templates is None else read_template_list(templates)
        enrolled, searched, model = _read(gallery, probes, listed, weigh_by_score)
        if probes is None and split == "random":
            enrolled, searched = random_split(enrolled, unknown_share, seed)
        alone = probes is None and split == "leave_one_out"
        found = search_people(*enrolled, *searched, leave_one_out=alone)
        result = {
            "format_version": FORMAT_VERSION,
            "model": model,
            "num_enrolled": len(np.unique(enrolled.people)),
            "num_gallery": len(enrolled.rows),
            **identification(found, searched.people, leave_one_out=alone),
            "settings": settings,
            "created_with": provenance(),
        }
        files.write_json(output, result)
        return result

    return Output(output, lambda: _read_same(output, settings)).make(work)


def _settings(
    gallery: PathLike, probes: PathLike | None, templates: PathLike | None
) -> dict[str, Any]:
    """SHA-256 of the files; refuses a gallery as its own probes."""
    given = {"gallery": gallery, "probes": probes, "templates": templates}
    found = {
        name: files.sha256_of(_file(path))
        for name, path in given.items()
        if path is not None
    }
    if found.get("probes") == found["gallery"]:
        raise InputError(
            f"{probes}: is the gallery, where each image would find itself; leave "
            "--probes out"
        )
    return found


def random_split(faces: Faces, unknown_share: float, seed: int) -> tuple[Faces, Faces]:
    """One image of each enrolled person, and all other images to search for.

    Args:
      faces: at least two people.
      unknown_share: the share of people who are not enrolled, rounded.
      seed: of the choice.

    Raises:
      InputError: nobody would be enrolled.
    """
    random = np.random.default_rng(seed)
    names, who = np.unique(faces.people, return_inverse=True)
    unknown = np.zeros(len(names), bool)
    count = round(unknown_share * len(names))
    unknown[random.permutation(len(names))[:count]] = True
    if unknown.all():
        raise InputError(
            f"unknown_share {unknown_share} of {len(names)} people leaves nobody to "
            "enrol; give a smaller one"
        )
    order = random.permutation(len(who))
    _, first = np.unique(who[order], return_index=True)
    enrolled = np.zeros(len(who), bool)
    enrolled[order[first]] = True
    enrolled &= ~unknown[who]
    return faces.of(enrolled), faces.of(~enrolled)


def _read(
    gallery: PathLike,
    probes: PathLike | None,
    listed: TemplateList | None,
    weigh_by_score: bool,
) -> tuple[Faces, Faces, dict[str, Any] | None]:
    """The gallery, the probes (the gallery, where none are given), the recogniser."""
    enrolled, named, model = _faces(gallery, listed, weigh_by_score)
    if probes is None:
        return enrolled, enrolled, model
    searched, also, _ = _faces(probes, listed, weigh_by_score, model)
    _check_names(named, also, gallery, probes)
    checks.same_dimension(enrolled.rows, searched.rows, "gallery and probes")
    return enrolled, searched, model


def _faces(
    path: PathLike,
    listed: TemplateList | None,
    weigh_by_score: bool,
    model: dict[str, Any] | None = None,
) -> tuple[Faces, bool, dict[str, Any] | None]:
    """Rows or templates, whether people have names, and the recogniser."""
    file = load_embeddings(path, model=model)
    if file.labels is None:
        raise InputError(
            f"{path}: has no labels, so nothing says who is who; embed a folder with a "
            "folder a person"
        )
    named = file.identities is not None
    people = file.identities[file.labels] if named else file.labels.astype(str)
    faces = Faces(file.embeddings, np.asarray(people))
    if listed is not None:
        faces = _templates(path, faces, file.names, listed, weigh_by_score)
    return faces, named, file.metadata.get("model")


def _templates(
    path: PathLike,
    faces: Faces,
    names: np.ndarray | None,
    listed: TemplateList,
    weigh_by_score: bool,
) -> Faces:
    if names is None:
        raise InputError(f"{path}: has no names to look up in the list of templates")
    missing = [name for name in names.tolist() if name not in listed.template]
    if missing:
        raise InputError(
            f"{path}: {len(missing)} of {len(names)} images are not in the list of "
            f"templates, {missing[0]} first"
        )
    template = np.array([listed.template[name] for name in names.tolist()])
    medium = [listed.medium[name] for name in names.tolist()]
    scores = None
    if listed.score and weigh_by_score:
        scores = np.array([listed.score[name] for name in names.tolist()])
    rows, order = pool_templates(faces.rows, template, medium, scores=scores)
    _, first, owner = np.unique(template, return_index=True, return_inverse=True)
    people = faces.people[first]
    apart = np.flatnonzero(people[owner] != faces.people)
    if len(apart):
        raise InputError(
            f"{path}: template {order[owner[apart[0]]]} has images of "
            f"{people[owner[apart[0]]]} and of {faces.people[apart[0]]}"
        )
    return Faces(rows, people)


def _check_names(named: bool, also: bool, gallery: PathLike, probes: PathLike) -> None:
    if named != also:
        one, other = (gallery, probes) if named else (probes, gallery)
        raise InputError(
            f"{one} names people and {other} numbers them, so nobody is in both; embed "
            "both from folders of one kind"
        )


def _file(path: PathLike) -> str:
    name = files.path_of(path)
    if not os.path.isfile(name):
        what = "is a folder" if os.path.isdir(name) else "no such file"
        raise InputError(f"{name}: {what}; hyperface-embed makes embedding files")
    return name


def _read_same(output: PathLike, settings: dict[str, Any]) -> dict[str, Any] | None:
    """The figures already there, or None; refuses those of other settings."""
    if not files.was_written(output):
        return None
    found = read_json(output)
    if "closed_set" not in found or not isinstance(found.get("settings"), dict):
        raise InputError(
            f"{output}: exists and holds no identification; give another file"
        )
    check_same_settings(output, found["settings"], settings)
    return found
