"""Sections of the report: a run folder in, HTML out.

Each section says in a line what is missing when its part of the run is not there.
"""

import html
from collections.abc import Sequence
from typing import Any

import numpy as np

from bridges.report import elements, packing_figures, plots
from bridges.report.accuracy import accuracy_section, model_name
from bridges.report.contact_sheet import face_element, rows_by_identity, spread
from bridges.report.run_folder import (
    OWN,
    RunFolder,
    is_synthetic,
    nearest_gallery_image,
)

_GALLERY_FACES = 48
_IDENTITIES = 8
_IMAGES_PER_IDENTITY = 8
# Two full rows, or one; fewer identities get none.
_STRIPS = (20, 10)


def header(run: RunFolder) -> str:
    """The title, one sentence, and a strip of faces."""
    strip = ""
    identities = 0 if run.dataset is None else len(run.dataset.identities)
    faces_shown = next((n for n in _STRIPS if n <= identities), 0)
    if faces_shown:
        chosen = spread(faces_shown, identities)
        firsts = [int(np.argmax(run.dataset.labels == i)) for i in chosen]
        faces = "".join(
            face_element(run.dataset.paths[i], "a generated face") for i in firsts
        )
        strip = f'<div class="strip" aria-hidden="true">{faces}</div>'
    return (
        f"<header>{strip}<p class='kicker'>hyperface_jax · run "
        f"{html.escape(run.folder.resolve().name)}</p>"
        f"<h1>{html.escape(_headline(run))}</h1></header>"
    )


def chain(run: RunFolder) -> str:
    """The chain in numbers: one card a stage."""
    cards = [
        elements.card("Gallery", *_gallery_card(run)),
        elements.card("Packing", *_packing_card(run)),
        elements.card("Generation", *_generation_card(run)),
        elements.card("Training", *_training_card(run)),
        elements.card("Verification", *_verification_card(run)),
    ]
    return elements.section(
        "chain",
        "The chain in numbers",
        "Each stage hands one file to the next.",
        f'<ol class="chain">{"".join(cards)}</ol>',
    )


def packing(run: RunFolder) -> str:
    """Convergence, and nearest cosines before and after with the bound."""
    title = "How far apart the identities are"
    if run.references is None:
        return _absent("packing", title, run, "references")
    figures = packing_figures.figures_of(run)
    if not figures:
        return elements.section(
            "packing",
            title,
            "",
            elements.note(
                "references.npz carries no packing record: it was not packed here."
            ),
        )
    blocks = "".join(
        f"<figure>{svg}<figcaption>{html.escape(caption)}</figcaption></figure>"
        for svg, caption in figures
    )
    return elements.section(
        "packing",
        title,
        "Packing pushes every reference away from its nearest neighbour on the "
        "recogniser's hypersphere and keeps it near the gallery, where faces are.",
        f'<div class="figures">{blocks}</div>'
        f"{elements.facts(packing_figures.facts_of(run.references))}",
    )


def gallery(run: RunFolder) -> str:
    """A contact sheet of gallery images."""
    title = "Gallery"
    if run.gallery_images is None:
        return _absent("gallery", title, run, "gallery_images")
    chosen = spread(_GALLERY_FACES, len(run.gallery_images))
    faces = "".join(
        face_element(run.gallery_images.paths[i], "a gallery face") for i in chosen
    )
    return elements.section(
        "gallery",
        title,
        f"{len(chosen)} of {elements.count(len(run.gallery_images), 'face')} that show "
        "the packing where faces live on the hypersphere.",
        f'<div class="sheet">{faces}</div>',
    )


def generated(run: RunFolder) -> str:
    """A contact sheet of generated images, an identity a row."""
    title = "Generated identities"
    if run.dataset is None:
        return _absent("generated", title, run, "dataset")
    dataset = run.dataset
    chosen = spread(_IDENTITIES, len(dataset.identities))
    rows = rows_by_identity(dataset, chosen, _IMAGES_PER_IDENTITY)
    blocks = []
    has_neighbours = False
    for identity, indices in zip(chosen, rows, strict=True):
        name = dataset.identities[identity]
        faces = "".join(
            face_element(dataset.paths[i], f"identity {name}, image {k}")
            for k, i in enumerate(indices)
        )
        neighbour = _nearest_gallery_face(run, name)
        has_neighbours |= bool(neighbour)
        caption = f"<b>{html.escape(str(name))}</b>{_cosine_of(dataset, indices)}"
        blocks.append(
            f'<div class="identity"><div class="who">{caption}</div>{neighbour}'
            f'<div class="faces">{faces}</div></div>'
        )
    lead = "Each row is one identity: one row of references.npz, by its number."
    if has_neighbours:
        lead += (
            " The framed face is the gallery face nearest to that reference; the "
            "cosine is that of its images to the reference, in the mean."
        )
    return elements.section(
        "generated", title, lead, f'<div class="identities">{"".join(blocks)}</div>'
    )


def accuracy(run: RunFolder) -> str:
    """Accuracy per verification set and recogniser."""
    if not run.metrics:
        return _absent("accuracy", "What a recogniser learns from it", run, "metrics")
    return accuracy_section(run.metrics, trained_here=run.trained_here)


def settings(run: RunFolder) -> str:
    """What made the run: stages with times and settings, versions, hardware."""
    title = "Settings and hardware"
    record = run.stages or _any_provenance(run)
    if record is None:
        return _absent("settings", title, run, "stages")
    rows = [
        (
            stage["name"],
            elements.duration(stage.get("seconds")),
            stage.get("what", ""),
        )
        for stage in record.get("stages", [])
    ]
    body = elements.table(("stage", "time", "what"), rows, "stages") if rows else ""
    hardware = record.get("hardware", {})
    facts = [
        *record.get("settings", {}).items(),
        ("processor", hardware.get("processor")),
        ("cores", hardware.get("cores")),
        ("system", hardware.get("system")),
        ("made", elements.moment(record.get("time"))),
        ("version", record.get("hyperface_jax")),
        ("commit", elements.short_commit(record.get("commit"))),
        ("Python", record.get("python")),
        *record.get("packages", {}).items(),
    ]
    return elements.section("settings", title, "", body + elements.facts(facts))


def _headline(run: RunFolder) -> str:
    if run.dataset is None:
        return "A synthetic face-recognition training set, in the making"
    identities = elements.count(len(run.dataset.identities), "identity")
    images = elements.count(len(run.dataset), "image")
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
    seconds = elements.duration(run.training.get("seconds"))
    epochs = "epoch" if len(history) == 1 else "epochs"
    return f"{len(history)}", f"{epochs} from scratch in {seconds}"


def _verification_card(run: RunFolder) -> tuple[str, str]:
    if not run.metrics:
        return "–", "no metrics.json"
    sets = run.metrics[OWN]["benchmarks"]
    return (
        f"{100 * run.metrics[OWN]['mean_accuracy']:.1f} %",
        f"mean accuracy over {elements.count(len(sets), 'set')}",
    )


def _nearest_gallery_face(run: RunFolder, row: Any) -> str:
    """The gallery face nearest to reference ``row``, framed; empty when unknown."""
    path = nearest_gallery_image(run, row)
    if path is None:
        return ""
    face = face_element(path, f"the gallery face nearest to reference {row}")
    return f'<div class="neighbour">{face}</div>'


def _cosine_of(dataset: Any, indices: Sequence[int]) -> str:
    cosines = [
        dataset.records[i]["reference_cosine"]
        for i in indices
        if "reference_cosine" in dataset.records[i]
    ]
    if not cosines:
        return ""
    return f"<small>cosine {plots.number(float(np.mean(cosines)), 2)}</small>"


def _any_provenance(run: RunFolder) -> dict[str, Any] | None:
    for metadata in (run.references, run.gallery):
        if metadata is not None and "created_with" in metadata.metadata:
            return metadata.metadata["created_with"]
    return None


def _absent(name: str, title: str, run: RunFolder, part: str) -> str:
    reason = run.notes.get(part, "it was not made")
    return elements.section(
        name, title, "", elements.note(f"Nothing to show: {reason}.")
    )
