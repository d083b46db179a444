"""Sections of the report: a run folder in, plain data for the templates out.

A section whose part of the run is missing says so in a line.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from bridges.datasets.image_dataset import ImageDataset
from bridges.report import packing_figures, wording
from bridges.report.accuracy import accuracy_section, model_name
from bridges.report.contact_sheet import evenly_spaced, rows_by_identity
from bridges.report.elements import (
    Card,
    Facts,
    Header,
    Identity,
    Picture,
    Plot,
    Section,
    Table,
)
from bridges.report.pictures import face_picture
from bridges.report.run_folder import (
    OWN,
    RunFolder,
    is_synthetic,
    nearest_gallery_image,
)

_GALLERY_FACES = 48
_IDENTITIES = 8
_IMAGES_PER_IDENTITY = 8
# Two full rows of faces, or one; with fewer identities there is no strip.
_STRIPS = (20, 10)


class Packing(NamedTuple):
    """The packing: plots, and its figures before and after."""

    plots: Sequence[Plot]
    facts: Facts


class Settings(NamedTuple):
    """What made the run: its stages, then settings, hardware and versions."""

    stages: Table | None
    facts: Facts


def header(run: RunFolder) -> Header:
    """The name of the run, one sentence, and a strip of faces."""
    faces = []
    identities = 0 if run.dataset is None else len(run.dataset.identities)
    faces_shown = next((n for n in _STRIPS if n <= identities), 0)
    if faces_shown:
        chosen = evenly_spaced(faces_shown, identities)
        firsts = [int(np.argmax(run.dataset.labels == i)) for i in chosen]
        faces = [face_picture(run.dataset.paths[i], "a generated face") for i in firsts]
    return Header(f"run {run.folder.resolve().name}", _headline(run), faces)


def chain(run: RunFolder) -> Section:
    """The chain in numbers: one card per stage."""
    cards = [
        Card("Gallery", *_gallery_card(run)),
        Card("Packing", *_packing_card(run)),
        Card("Generation", *_generation_card(run)),
        Card("Training", *_training_card(run)),
        Card("Verification", *_verification_card(run)),
    ]
    lead = "Each stage hands one file to the next."
    return Section("chain", "The chain in numbers", lead, cards)


def packing(run: RunFolder) -> Section:
    """Convergence, and nearest cosines before and after with the bound."""
    title = "How far apart the identities are"
    if run.references is None:
        return _absent("packing", title, run, "references")
    plots = packing_figures.plots_of(run)
    if not plots:
        note = "references.npz carries no packing record: it was not packed here."
        return Section("packing", title, note=note)
    return Section(
        "packing",
        title,
        "Packing pushes every reference away from its nearest neighbour on the "
        "recogniser's hypersphere and keeps it near the gallery, where faces are.",
        Packing(plots, packing_figures.facts_of(run.references)),
    )


def gallery(run: RunFolder) -> Section:
    """A contact sheet of gallery images."""
    title = "Gallery"
    images = run.gallery_images
    if images is None:
        return _absent("gallery", title, run, "gallery_images")
    chosen = evenly_spaced(_GALLERY_FACES, len(images))
    return Section(
        "gallery",
        title,
        f"{len(chosen)} of {wording.count(len(images), 'face')} that show "
        "the packing where faces live on the hypersphere.",
        [face_picture(images.paths[i], "a gallery face") for i in chosen],
    )


def generated(run: RunFolder) -> Section:
    """A contact sheet of generated images, an identity a row."""
    title = "Generated identities"
    dataset = run.dataset
    if dataset is None:
        return _absent("generated", title, run, "dataset")
    chosen = evenly_spaced(_IDENTITIES, len(dataset.identities))
    rows = rows_by_identity(dataset, chosen, _IMAGES_PER_IDENTITY)
    identities = []
    for identity, indices in zip(chosen, rows, strict=True):
        name = dataset.identities[identity]
        faces = [
            face_picture(dataset.paths[i], f"identity {name}, image {k}")
            for k, i in enumerate(indices)
        ]
        identities.append(
            Identity(
                name,
                _mean_cosine(dataset, indices),
                _nearest_gallery_face(run, name),
                faces,
            )
        )
    lead = "Each row is one identity: one row of references.npz, by its number."
    if any(identity.neighbour for identity in identities):
        lead += (
            " The framed face is the gallery face nearest to that reference; the "
            "cosine is that of its images to the reference, in the mean."
        )
    return Section("generated", title, lead, identities)


def accuracy(run: RunFolder) -> Section:
    """Accuracy per verification set and recogniser."""
    if not run.metrics:
        return _absent("accuracy", "What a recogniser learns from it", run, "metrics")
    return accuracy_section(run.metrics, trained_here=run.trained_here)


def settings(run: RunFolder) -> Section:
    """What made the run: stages with times and settings, versions, hardware."""
    title = "Settings and hardware"
    record = run.stages or _any_provenance(run)
    if record is None:
        return _absent("settings", title, run, "stages")
    rows = [
        (stage["name"], wording.duration(stage.get("seconds")), stage.get("what", ""))
        for stage in record.get("stages", [])
    ]
    hardware = record.get("hardware", {})
    facts = [
        *record.get("settings", {}).items(),
        ("processor", hardware.get("processor")),
        ("cores", hardware.get("cores")),
        ("system", hardware.get("system")),
        ("made", wording.moment(record.get("time"))),
        ("version", record.get("hyperface_jax")),
        ("commit", wording.short_commit(record.get("commit"))),
        ("Python", record.get("python")),
        *record.get("packages", {}).items(),
    ]
    stages = Table("stages", ("stage", "time", "what"), rows) if rows else None
    return Section("settings", title, content=Settings(stages, facts))


def _headline(run: RunFolder) -> str:
    if run.dataset is None:
        return "A synthetic face-recognition training set, in the making"
    identities = wording.count(len(run.dataset.identities), "identity")
    images = wording.count(len(run.dataset), "image")
    unseen = " no camera has seen" if is_synthetic(run.dataset) else ""
    made = f"{identities}{unseen}, {images}"
    if not run.metrics:
        return made
    percent = 100 * run.metrics[OWN]["mean_accuracy"]
    if not run.trained_here:
        return f"{made}; {model_name(run.metrics[OWN])}: {percent:.1f} %"
    return f"{made}, and a recogniser trained on them alone: {percent:.1f} %"


def _gallery_card(run: RunFolder) -> tuple[str, str]:
    if run.gallery is None:
        return "–", "no gallery.npz"
    n, d = run.gallery.embeddings.shape
    model = (run.gallery.metadata.get("model") or {}).get("name", "a recogniser")
    return f"{n:,}", f"face embeddings of {model}, {d} dimensions"


def _packing_card(run: RunFolder) -> tuple[str, str]:
    if run.references is None:
        return "–", "no references.npz"
    figures = packing_figures.summary(run.references)
    return f"{len(run.references.embeddings):,}", f"references; {figures}"


def _generation_card(run: RunFolder) -> tuple[str, str]:
    if run.dataset is None:
        return "–", "no finished dataset"
    each = len(run.dataset) / len(run.dataset.identities)
    return f"{len(run.dataset):,}", f"images, {each:g} of each identity"


def _training_card(run: RunFolder) -> tuple[str, str]:
    history = (run.training or {}).get("history") or []
    if not history:
        return "–", "no finished checkpoint"
    seconds = wording.duration(run.training.get("seconds"))
    epochs = "epoch" if len(history) == 1 else "epochs"
    return f"{len(history)}", f"{epochs} from scratch in {seconds}"


def _verification_card(run: RunFolder) -> tuple[str, str]:
    if not run.metrics:
        return "–", "no metrics.json"
    sets = run.metrics[OWN]["benchmarks"]
    return (
        f"{100 * run.metrics[OWN]['mean_accuracy']:.1f} %",
        f"mean accuracy over {wording.count(len(sets), 'set')}",
    )


def _nearest_gallery_face(run: RunFolder, row: Any) -> Picture | None:
    """The gallery face nearest to reference ``row``; None if unknown."""
    path = nearest_gallery_image(run, row)
    if path is None:
        return None
    return face_picture(path, f"the gallery face nearest to reference {row}")


def _mean_cosine(dataset: ImageDataset, indices: Sequence[int]) -> str | None:
    cosines = [
        dataset.records[i]["reference_cosine"]
        for i in indices
        if "reference_cosine" in dataset.records[i]
    ]
    return wording.number(float(np.mean(cosines)), 2) if cosines else None


def _any_provenance(run: RunFolder) -> dict[str, Any] | None:
    for part in (run.references, run.gallery):
        if part is not None and "created_with" in part.metadata:
            return part.metadata["created_with"]
    return None


def _absent(name: str, title: str, run: RunFolder, part: str) -> Section:
    reason = run.notes.get(part, "it was not made")
    return Section(name, title, note=f"Nothing to show: {reason}.")
