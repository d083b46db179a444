"""Sections of the report: a run folder in, HTML out.

Each section says in a line what is missing when its part of the run is not there.
"""

import html
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from bridges.report import packing_figures, plots
from bridges.report.contact_sheet import face_element, rows_by_identity, spread
from bridges.report.run_folder import OWN, RunFolder

_GALLERY_FACES = 48
_IDENTITIES = 8
_IMAGES_PER_IDENTITY = 8
_HERO_FACES = 20
# The five verification sets, as the field writes the ones they are modelled on.
_SET_NAMES = {
    "mixed": "Mixed",
    "cross_age": "Cross-age",
    "cross_pose": "Cross-pose",
    "frontal_profile": "Frontal–profile",
    "age_gap_30": "Age gap 30",
}
_RECOGNISER_NAMES = {
    OWN: "Packed",
    "rendered": "Rendered faces",
    "unpacked": "Unpacked",
}


def header(run: RunFolder) -> str:
    """The title, one sentence, and a strip of faces."""
    strip = ""
    if run.dataset is not None:
        chosen = spread(_HERO_FACES, len(run.dataset.identities))
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
        _card("Gallery", *_gallery_card(run)),
        _card("Packing", *_packing_card(run)),
        _card("Generation", *_generation_card(run)),
        _card("Training", *_training_card(run)),
        _card("Verification", *_verification_card(run)),
    ]
    return _section(
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
        return _section(
            "packing",
            title,
            "",
            _note("references.npz carries no packing record: it was not packed here."),
        )
    blocks = "".join(
        f"<figure>{svg}<figcaption>{html.escape(caption)}</figcaption></figure>"
        for svg, caption in figures
    )
    return _section(
        "packing",
        title,
        "Packing pushes every reference away from its nearest neighbour on the "
        "recogniser's hypersphere and keeps it near the gallery, where faces are.",
        f'<div class="figures">{blocks}</div>',
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
    return _section(
        "gallery",
        title,
        f"{len(chosen)} of {_count(len(run.gallery_images), 'face')} that show the "
        "packing where faces live on the hypersphere.",
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
    for identity, indices in zip(chosen, rows, strict=True):
        name = dataset.identities[identity]
        faces = "".join(
            face_element(dataset.paths[i], f"identity {name}, image {k}")
            for k, i in enumerate(indices)
        )
        neighbour = _nearest_gallery_face(run, name)
        caption = f"<b>{html.escape(str(name))}</b>{_cosine_of(dataset, indices)}"
        blocks.append(
            f'<div class="identity"><div class="who">{caption}</div>{neighbour}'
            f'<div class="faces">{faces}</div></div>'
        )
    has_neighbours = any("neighbour" in block for block in blocks)
    lead = "Each row is one identity: one row of references.npz, by its number."
    if has_neighbours:
        lead += " The framed face is the gallery face nearest to that reference."
    return _section(
        "generated", title, lead, f'<div class="identities">{"".join(blocks)}</div>'
    )


def accuracy(run: RunFolder) -> str:
    """Accuracy per verification set and recogniser, as a plot and a table."""
    title = "What a recogniser learns from it"
    if not run.metrics:
        return _absent("accuracy", title, run, "metrics")
    names = list(run.metrics[OWN]["sets"])
    labels = [_SET_NAMES.get(name, name) for name in names]
    accuracies = {
        _RECOGNISER_NAMES.get(who, who): [_accuracy(metrics, name) for name in names]
        for who, metrics in run.metrics.items()
        if set(names) <= set(metrics["sets"])
    }
    svg = plots.plot_accuracies(labels, accuracies)
    lead = "Trained from scratch on the generated images alone"
    if len(accuracies) > 1:
        lead += ", beside recognisers trained the same way on equally many other images"
    return _section(
        "accuracy",
        title,
        f"{lead}; accuracy over 10 folds on identities none of them has seen.",
        f'<div class="split"><figure>{svg}</figure>'
        f"{_accuracy_table(labels, accuracies)}</div>"
        f"{_details_table(run.metrics[OWN], names, labels)}",
    )


def settings(run: RunFolder) -> str:
    """What made the run: stages with times and settings, versions, hardware."""
    title = "Settings and hardware"
    record = run.stages or _any_provenance(run)
    if record is None:
        return _absent("settings", title, run, "stages")
    rows = [
        (
            stage["name"],
            _duration(stage.get("seconds")),
            _settings_text(stage.get("settings", {})),
        )
        for stage in record.get("stages", [])
    ]
    body = _table(("stage", "time", "settings"), rows, "stages") if rows else ""
    hardware = record.get("hardware", {})
    facts = {
        "processor": hardware.get("processor"),
        "cores": hardware.get("cores"),
        "system": hardware.get("system"),
        "made": record.get("time"),
        "version": record.get("hyperface_jax"),
        "commit": record.get("commit"),
        "Python": record.get("python"),
        **record.get("packages", {}),
    }
    items = "".join(
        f"<div><dt>{html.escape(str(key))}</dt><dd>{html.escape(str(value))}</dd></div>"
        for key, value in facts.items()
        if value is not None
    )
    return _section("settings", title, "", f"{body}<dl>{items}</dl>")


def mean_accuracy(metrics: Mapping[str, Any]) -> float:
    """The mean over the sets of the 10-fold accuracy, in [0, 1]."""
    return float(np.mean([_accuracy(metrics, name)[0] for name in metrics["sets"]]))


def _headline(run: RunFolder) -> str:
    if run.dataset is None:
        return "A synthetic face-recognition training set, in the making"
    made = (
        f"{_count(len(run.dataset.identities), 'identity')} no camera has seen, "
        f"{_count(len(run.dataset), 'image')}"
    )
    if not run.metrics:
        return made
    percent = 100 * mean_accuracy(run.metrics[OWN])
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
    seconds = _duration(run.training.get("seconds"))
    return f"{len(history)}", f"epochs from scratch in {seconds}"


def _verification_card(run: RunFolder) -> tuple[str, str]:
    if not run.metrics:
        return "–", "no metrics.json"
    sets = run.metrics[OWN]["sets"]
    return (
        f"{100 * mean_accuracy(run.metrics[OWN]):.1f} %",
        f"mean accuracy over {_count(len(sets), 'set')}",
    )


def _card(name: str, figure: str, text: str) -> str:
    return (
        f"<li><span class='name'>{html.escape(name)}</span>"
        f"<span class='figure'>{html.escape(figure)}</span>"
        f"<span class='text'>{html.escape(text)}</span></li>"
    )


def _nearest_gallery_face(run: RunFolder, row: Any) -> str:
    """The gallery face nearest to reference ``row``, framed; empty when unknown."""
    if run.gallery is None or run.references is None or run.gallery.names is None:
        return ""
    if not isinstance(row, int) or row >= len(run.references.embeddings):
        return ""
    if run.gallery.embeddings.shape[1] != run.references.embeddings.shape[1]:
        return ""
    cosines = run.gallery.embeddings @ run.references.embeddings[row]
    nearest = int(np.argmax(cosines))
    path = run.folder / "gallery" / str(run.gallery.names[nearest])
    if not path.is_file():
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
    return f"<small>cosine {np.mean(cosines):.2f}</small>"


def _accuracy(metrics: Mapping[str, Any], name: str) -> tuple[float, float]:
    measured = metrics["sets"][name]
    return measured["accuracy"]["mean"], measured["accuracy"]["std"]


def _accuracy_table(
    labels: Sequence[str], accuracies: Mapping[str, Sequence[tuple[float, float]]]
) -> str:
    rows = [
        (label, *(f"{100 * m:.1f} ± {100 * s:.1f}" for m, s in per_set))
        for label, *per_set in zip(labels, *accuracies.values(), strict=True)
    ]
    means = (
        f"{100 * np.mean([mean for mean, _ in per_set]):.1f}"
        for per_set in accuracies.values()
    )
    rows.append(("Mean", *means))
    return _table(("accuracy in %", *accuracies), rows, "accuracy")


def _details_table(
    metrics: Mapping[str, Any], names: Sequence[str], labels: Sequence[str]
) -> str:
    rows = []
    for name, label in zip(names, labels, strict=True):
        measured = metrics["sets"][name]
        rates = measured.get("tar_at_far", {})
        rows.append(
            (
                label,
                f"{measured.get('pairs', 0):,}",
                _percent(measured.get("eer")),
                f"{measured['auc']:.4f}" if "auc" in measured else "–",
                *(_percent(rates.get(far)) for far in ("1e-2", "1e-3", "1e-4")),
            )
        )
    head = ("set", "pairs", "EER", "AUC", *(f"TAR at FAR {f}" for f in _FARS))
    return _table(head, rows, "details")


_FARS = ("1 %", "0.1 %", "0.01 %")


def _percent(value: float | None) -> str:
    return "–" if value is None else f"{100 * value:.1f} %"


def _any_provenance(run: RunFolder) -> dict[str, Any] | None:
    for metadata in (run.references, run.gallery):
        if metadata is not None and "created_with" in metadata.metadata:
            return metadata.metadata["created_with"]
    return None


def _settings_text(values: Mapping[str, Any]) -> str:
    return ", ".join(f"{key} {value}" for key, value in values.items())


def _duration(seconds: float | None) -> str:
    if seconds is None:
        return "–"
    if seconds < 60:
        return f"{seconds:.0f} s"
    return f"{int(seconds // 60)} min {int(seconds % 60):02d} s"


def _count(number: int, noun: str) -> str:
    plural = noun[:-1] + "ies" if noun.endswith("y") else noun + "s"
    return f"{number:,} {noun if number == 1 else plural}"


def _table(head: Sequence[str], rows: Sequence[Sequence[str]], kind: str) -> str:
    titles = "".join(f"<th scope='col'>{html.escape(title)}</th>" for title in head)
    lines = "".join(
        f"<tr><th scope='row'>{html.escape(row[0])}</th>"
        + "".join(f"<td>{html.escape(cell)}</td>" for cell in row[1:])
        + "</tr>"
        for row in rows
    )
    return (
        f"<div class='table {kind}'><table><thead><tr>{titles}</tr></thead>"
        f"<tbody>{lines}</tbody></table></div>"
    )


def _section(name: str, title: str, lead: str, body: str) -> str:
    lead = f"<p class='lead'>{html.escape(lead)}</p>" if lead else ""
    return f"<section id='{name}'><h2>{html.escape(title)}</h2>{lead}{body}</section>"


def _absent(name: str, title: str, run: RunFolder, part: str) -> str:
    reason = run.notes.get(part, "it was not made")
    return _section(name, title, "", _note(f"Nothing to show: {reason}."))


def _note(text: str) -> str:
    return f"<p class='note'>{html.escape(text)}</p>"
