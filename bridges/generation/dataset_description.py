"""What stands beside generated images: references, digests, card and Croissant."""

import datetime
import json
import os
import pathlib
from collections.abc import Iterator
from typing import Any

from bridges.datasets.croissant import croissant
from bridges.datasets.dataset_card import card_text, facts_of_groups
from bridges.datasets.dataset_facts import (
    CARD,
    CHECKSUMS,
    CROISSANT,
    DatasetFacts,
    FileFact,
    checksum_lines,
    fact_of,
)
from bridges.datasets.dataset_format import METADATA
from bridges.datasets.folder_listing import CONVERSION, REFERENCES, image_suffixes
from bridges.generation.dataset_output import FOLDER, DatasetOutput
from hyperface_jax import EmbeddingFile, files, save_embeddings
from hyperface_jax.commands import provenance


def describe_dataset(
    target: DatasetOutput,
    content: EmbeddingFile,
    folder: pathlib.Path,
    *,
    about: dict[str, Any],
    report: dict[str, Any],
) -> dict[str, str]:
    """Writes what is large, and returns the rest.

    Args:
      target: the dataset, all of whose images are there.
      content: the references.
      folder: where its files are; of a format of a single file there are none yet.
      about: its ``models`` and, where it is known, ``licence``.
      report: what gate and collision check did.

    Returns:
      The texts of the other files, by name.
    """
    found: list[FileFact] = []
    if folder == target.path:
        _save_references(folder / REFERENCES, content, about)
        found = _files(target, folder)
    facts = DatasetFacts(
        # The name of a folder need not be text, a card has to be.
        name=os.fsencode(target.path.resolve().name).decode("utf-8", "replace"),
        format=target.format,
        identities=target.draft.plan.identities,
        images=len(target.draft.plan),
        image_size=target.settings["image_size"],
        date=datetime.datetime.now(datetime.UTC).date().isoformat(),
        models=about["models"],
        settings=target.settings,
        licence=about.get("licence"),
        groups=facts_of_groups(content.groups),
        packing=content.metadata.get("packing"),
        report=report,
        files=found,
        created_with=provenance(),
    )
    texts = {CARD: card_text(facts)}
    if found:
        texts[CROISSANT] = json.dumps(croissant(facts), indent=2) + "\n"
    return texts


def _files(target: DatasetOutput, folder: pathlib.Path) -> list[FileFact]:
    """Writes the digests of all files; returns the facts of all but the images."""
    if target.format == FOLDER:
        found = [fact_of(folder / name, folder) for name in (METADATA, REFERENCES)]
        images = (
            (entry.record["file_name"], entry.sha256)
            for _, entry in target.draft.all_entries()
        )
    else:
        found, images = _others(folder)
    rest = ((file.name, file.sha256) for file in found)
    lines = checksum_lines(each for some in (images, rest) for each in some)
    files.write_lines(folder / CHECKSUMS, lines)
    return [*found, fact_of(folder / CHECKSUMS, folder)]


def _others(
    folder: pathlib.Path,
) -> tuple[list[FileFact], Iterator[tuple[str, str]]]:
    """The files of another format, and the images where it has a file for each."""
    # Those that are written after the digests, some perhaps by a run that was stopped.
    later = {CARD, CROISSANT, CHECKSUMS, CONVERSION}
    paths = sorted(
        path
        for path in folder.rglob("*")
        if path.is_file()
        and path.name not in later
        and not any(part.startswith(".") for part in path.relative_to(folder).parts)
    )
    images = [path for path in paths if path.suffix.lower() in image_suffixes()]
    digests = (
        (path.relative_to(folder).as_posix(), files.sha256_of(path)) for path in images
    )
    kept = set(paths) - set(images)
    return [fact_of(path, folder) for path in sorted(kept)], digests


def _save_references(
    path: pathlib.Path, content: EmbeddingFile, about: dict[str, Any]
) -> None:
    save_embeddings(
        path,
        content.embeddings,
        kind="references",
        labels=content.labels,
        # Not the names: they are of gallery images, perhaps of photographs of people,
        # and what stands here may be published.
        groups=content.groups,
        model=about["models"]["recogniser"],
        packing=content.metadata.get("packing"),
    )
