"""The card of a generated dataset: a README.md that Hugging Face's hub reads.

Above it stands YAML as the hub's documentation of dataset cards has it
(https://huggingface.co/docs/hub/datasets-cards). Values are written as JSON, which is
YAML as well but for rare characters, so that no name can break out of its line.
"""

import html
import json
from collections.abc import Iterable, Mapping
from typing import Any

from bridges.datasets.dataset_facts import CHECKSUMS, DatasetFacts

# The hub's words for sizes: up to how many examples.
_SIZES = (
    (10**3, "n<1K"),
    (10**4, "1K<n<10K"),
    (10**5, "10K<n<100K"),
    (10**6, "100K<n<1M"),
    (10**7, "1M<n<10M"),
    (10**8, "10M<n<100M"),
    (10**9, "100M<n<1B"),
)
# What the library datasets loads of each format that it can load without being told.
_LOADED = {
    "folder": ["images/**", "metadata.jsonl"],
    "imagefolder": ["**/*.jpg", "metadata.jsonl"],
    "webdataset": ["*.tar"],
}
UNKNOWN_LICENCE = (
    "unknown: the generator does not say what it was trained on or how its images may "
    "be used. Ask whoever made it."
)
# What would be a link, a picture or code in Markdown, or end the cell of a table.
_MARKUP = str.maketrans({mark: f"&#{ord(mark)};" for mark in "[]`*|"})
CITATION = """@inproceedings{shahreza2025hyperface,
  title     = {{HyperFace}: Generating Synthetic Face Recognition Datasets by \
Exploring Face Embedding Hypersphere},
  author    = {Otroshi Shahreza, Hatef and Marcel, S{\\'e}bastien},
  booktitle = {International Conference on Learning Representations (ICLR)},
  year      = {2025}
}"""
USES = """training and testing of face recognisers, and research on them: on bias, on \
privacy, on synthetic data. Not for recognising people without their consent."""
ETHICS = """Every image is AI-generated. Nobody sat for any of them, and nobody is \
meant by them. A generator that was trained on photographs can still reproduce people \
who were in these: compare the set with real people before you publish it or train on \
it (`hyperface-audit --against=…`). Groups are those of the references; how well the \
images show them was not measured unless it is said here. Do not pass the images off \
as real people, do not use a recogniser trained on them to watch people, and mind the \
law where you are."""


def card_text(facts: DatasetFacts) -> str:
    """The text of ``README.md``."""
    parts = [
        _front_matter(facts),
        f"# {_plain(facts.name)}",
        f"{facts.images:,} images of {facts.identities:,} synthetic identities, "
        f"{facts.image_size} × {facts.image_size} pixels, for face recognition. "
        "**All images are AI-generated**; as far as is known they show nobody.",
        _groups(facts),
        "## How it was made",
        _method(facts),
        _packing(facts),
        _report(facts),
        "## Models and licences",
        _models(facts),
        "## Files",
        _files(facts),
        "## Loading",
        _loading(facts),
        "## Intended use",
        USES[0].upper() + USES[1:],
        "## Limits and ethics",
        ETHICS,
        "## Citing",
        f"```bibtex\n{CITATION}\n```",
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def size_category(images: int) -> str:
    """The hub's word for a number of examples."""
    return next((word for most, word in _SIZES if images < most), "n>1B")


def _front_matter(facts: DatasetFacts) -> str:
    entries: dict[str, Any] = {
        "pretty_name": facts.name,
        "license": "other",
        "license_name": "inherited-from-the-generator" if facts.licence else "unknown",
        "license_details": facts.licence or UNKNOWN_LICENCE,
        "task_categories": ["image-classification", "image-feature-extraction"],
        "tags": ["synthetic", "ai-generated", "face-recognition", "hyperface"],
        "annotations_creators": ["machine-generated"],
        "size_categories": [size_category(facts.images)],
    }
    if facts.format in _LOADED:
        files = [{"split": "train", "path": _LOADED[facts.format]}]
        entries["configs"] = [{"config_name": "default", "data_files": files}]
    else:
        # The hub would show the tables beside the images as if they were the dataset.
        entries["viewer"] = False
    lines = [f"{key}: {_yaml(value)}" for key, value in entries.items()]
    return "\n".join(["---", *lines, "---"])


def _yaml(value: Any) -> str:
    """JSON, but that YAML reads no pair of surrogates, and no separator in a text."""
    text = json.dumps(value, ensure_ascii=False)
    return "".join(c if c.isprintable() else f"\\U{ord(c):08x}" for c in text)


def _groups(facts: DatasetFacts) -> str:
    rows = [
        (attribute, value, f"{count:,}")
        for attribute, counts in facts.groups.items()
        for value, count in counts.items()
    ]
    return _table(("attribute", "group", "identities"), rows) if rows else ""


def _method(facts: DatasetFacts) -> str:
    settings = {
        key: value
        for key, value in facts.settings.items()
        if isinstance(value, int | float | str) and not _is_digest(value)
    }
    text = (
        f"By hyperface_jax{_version(facts)}, which follows "
        "[HyperFace](https://arxiv.org/abs/2411.08470): reference embeddings were "
        "spread over the hypersphere of a face recogniser while kept near faces, "
        "and each was turned a little, `(x + βv)/‖x + βv‖`, for every image that a "
        "generator drew of it (HyperFace, ICLR 2025, Algorithm 3). Each record has the "
        "seed of its image."
    )
    rows = [(key, _number(value)) for key, value in sorted(settings.items())]
    return f"{text}\n\n{_table(('setting', 'value'), rows)}"


def _version(facts: DatasetFacts) -> str:
    version, commit = (facts.created_with.get(k) for k in ("hyperface_jax", "commit"))
    named = f" {_plain(version)}" if version else ""
    return f"{named} (commit {_plain(commit)})" if commit else named


def _packing(facts: DatasetFacts) -> str:
    packing = facts.packing or {}
    names = {
        "method": "solver",
        "iterations": "iterations",
        "regularization_weight": "weight of the gallery, α",
        "max_cosine": "largest cosine between two references",
        "bound": "lower bound of that, for as many references anywhere",
        "mean_gallery_cosine": "mean cosine to the nearest gallery face",
    }
    rows = [
        (text, _number(packing[key])) for key, text in names.items() if key in packing
    ]
    return _table(("references", ""), rows) if rows else ""


def _report(facts: DatasetFacts) -> str:
    report, lines = facts.report, []
    if "tries" in report:
        lines.append(f"{report['tries']:,} images were drawn for {facts.images:,}.")
    if "flagged" in report:
        flagged = report["flagged"].items()
        counts = ", ".join(f"{count:,} {_plain(flag)}" for flag, count in flagged)
        lines.append(
            "Flagged in their records, since they are not what they should be: "
            f"{counts}."
            if counts
            else "No image is flagged."
        )
    found = report.get("collisions")
    if found:
        lines.append(
            f"Compared with all images of other identities by "
            f"{_plain(found['recogniser']['name'])} at a cosine of "
            f"{found['threshold']:g}: {found['images_before']:,} images of "
            f"{found['identities_before']:,} identities collided, "
            f"{found['images_after']:,} of {found['identities_after']:,} still did "
            f"after {found['redrawn']:,} were drawn again."
        )
    else:
        lines.append("Images of different identities were not compared.")
    return " ".join(lines)


def _models(facts: DatasetFacts) -> str:
    rows = [
        (role, model.get("name", "?"), model.get("sha256", "?"))
        for role, model in facts.models.items()
    ]
    licence = _plain(facts.licence or UNKNOWN_LICENCE)
    return f"{_table(('', 'model', 'SHA-256'), rows)}\n\n**Inherited**: {licence}"


def _files(facts: DatasetFacts) -> str:
    rows = [(f.name, f"{f.size:,}", f.sha256) for f in facts.files]
    table = _table(("file", "bytes", "SHA-256"), rows) if rows else ""
    checks = f"`sha256sum -c {CHECKSUMS}` checks the images and the data files."
    named = any(file.name == CHECKSUMS for file in facts.files)
    return "\n\n".join(part for part in (table, checks if named else "") if part)


def _loading(facts: DatasetFacts) -> str:
    code = 'from bridges import open_images\nimages = open_images("path/of/it")'
    if facts.format in _LOADED:
        code = (
            "from datasets import load_dataset\n"
            'dataset = load_dataset("path/of/it", split="train")'
        )
    if facts.format == "hugging_face":
        code = (
            "from datasets import load_from_disk\n"
            'dataset = load_from_disk("path/of/it")'
        )
    return f"```python\n{code}\n```\n\n`hyperface-train --dataset=…` takes it as it is."


def _table(head: Iterable[str], rows: Iterable[Iterable[Any]]) -> str:
    head = list(head)
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(map(_plain, line))} |" for line in lines)


def _plain(text: Any) -> str:
    """Text that stays on its line and in its cell, and is no markup."""
    return html.escape(" ".join(str(text).split()), quote=False).translate(_MARKUP)


def _number(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _is_digest(value: Any) -> bool:
    return isinstance(value, str) and len(value) == 64


def facts_of_groups(groups: Mapping[str, Any]) -> dict[str, dict[str, int]]:
    """How many identities there are by value, by attribute.

    Args:
      groups: by attribute, the value of each identity.
    """
    found: dict[str, dict[str, int]] = {}
    for attribute, values in groups.items():
        counts = found[attribute] = {}
        for value in sorted(map(str, values)):
            counts[value] = counts.get(value, 0) + 1
    return found
