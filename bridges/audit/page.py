"""The page of an audit: what is wrong, beside whom, and who says so."""

import pathlib
from collections.abc import Sequence

import numpy as np

from bridges.audit.findings import Audit, AuditedSet
from bridges.audit.leaks import QUANTILES, Leaks
from bridges.datasets.image_source import ImageSource
from bridges.datasets.images import UnreadableImage, decode_bytes, quiet_decoders
from bridges.report.elements import Captioned, Header, Picture, Section, Table
from bridges.report.pictures import pixels_picture
from bridges.report.rendering import check_page, write_page

_SIDE = 112
# Of each kind, on the page; flagged.csv has all.
_MOST_SHOWN = 60
_TITLES = {
    "leak": "Leaks: images that may show a real person",
    "duplicate": "Duplicates",
    "same_people": "People who may be one",
    "mislabelled": "Images that may be another person's",
}


def write_audit_page(found: Audit, output: pathlib.Path) -> None:
    """Writes the page.

    Args:
      found: the audit.
      output: the file.

    Raises:
      InputError: it exists and is no page of ours.
    """
    check_page(output)
    total = sum(found.counts.values())
    headline = f"{total:,} to look at" if total else "Nothing to look at"
    judge = found.judge.get("name", "a recogniser that is not known")
    facts = [
        ("set", found.audited.name),
        ("images", f"{len(found.audited.file.embeddings):,}"),
        ("judged by", f"{judge}; another recogniser may not agree"),
        *((name.replace("_", " "), f"{n:,}") for name, n in found.counts.items()),
    ]
    if found.separability is not None:
        apart = found.separability
        interval = ""
        if apart.eer_interval:
            low, high = (100 * each for each in apart.eer_interval)
            interval = f" ({low:.2f} to {high:.2f}, 95 % over people)"
        facts += [
            ("equal error rate", f"{100 * apart.eer:.2f} %{interval}"),
            ("d′", f"{apart.d_prime:.2f}"),
            ("genuine cosine", f"{apart.genuine[0]:.3f} ± {apart.genuine[1]:.3f}"),
            ("impostor cosine", f"{apart.impostor[0]:.3f} ± {apart.impostor[1]:.3f}"),
        ]
    if found.spread:
        facts.append(
            ("angle to a person's centre", f"median {found.spread['0.5']:.1f}°")
        )
    parts = [Section("audit", "What was found", content=facts, template="facts")]
    if found.leaks:
        parts.append(_distances(found.leaks))
    pictures = _Pictures([found.audited, *found.real])
    for kind, title in _TITLES.items():
        parts.append(_flagged(found, kind, title, pictures))
    for attribute, words in found.groups.items():
        parts.append(_group(attribute, words))
    write_page(output, Header("audit", headline), parts)


class _Pictures:
    """Pictures of images by their set's name and their own."""

    def __init__(self, sets: Sequence[AuditedSet]) -> None:
        self._sources: dict[str, tuple[ImageSource, dict[str, int]]] = {}
        for each in sets:
            if each.images is not None:
                place = {
                    record["file_name"]: i
                    for i, record in enumerate(each.images.records)
                }
                self._sources[each.name] = each.images, place

    def of(self, place: str, name: str) -> list[Picture]:
        """The picture, or none where the images are not at hand."""
        source, rows = self._sources.get(place, (None, {}))
        if source is None or name not in rows:
            return []
        try:
            with quiet_decoders():
                pixels = decode_bytes(source.read(rows[name]), _SIDE, name)
        except UnreadableImage:
            return []
        return [pixels_picture(np.asarray(pixels), name)]


def _distances(leaks: Sequence[Leaks]) -> Section:
    rows = []
    for each in leaks:
        compared = f"{each.compared['queries']:,} among {each.compared['candidates']:,}"
        for what, values in (
            (f"this set's images, {compared}", each.quantiles),
            (f"its own to other people, {compared}", each.real_quantiles),
        ):
            if values:
                cells = [f"{values[f'{q:g}']:.3f}" for q in QUANTILES]
                rows.append([f"{each.name}: {what}", *cells, f"{each.threshold:.4f}"])
    head = [
        "nearest cosine",
        "median",
        "90 %",
        "99 %",
        "99.9 %",
        "largest",
        "leak above",
    ]
    lead = (
        "How near images come to a real one. A maximum grows with the number compared, "
        "so both rows of a real set have as many."
    )
    table = Table("details", head, rows)
    return Section("distances", "Beside the real set", lead, table, "", "table")


def _flagged(found: Audit, kind: str, title: str, pictures: _Pictures) -> Section:
    some = [each for each in found.flagged if each.kind == kind]
    if not some:
        return Section(kind, title, note="None.")
    shown = []
    for each in some[:_MOST_SHOWN]:
        place, _, other = each.other.rpartition(": ")
        both = [
            *pictures.of(found.audited.name, each.image),
            *pictures.of(place or found.audited.name, other),
        ]
        name = each.image or each.person
        text = f"{each.other}, cosine {each.cosine:.3f}; {each.why}"
        shown.append(Captioned(both, name, text))
    lead = f"{len(some):,} in all."
    if len(some) > len(shown):
        lead = f"The first {len(shown)} of {len(some):,}; flagged.csv has all."
    return Section(kind, title, lead, shown, "", "captioned")


def _group(attribute: str, words: dict) -> Section:
    rows = [
        [
            word,
            f"{each['images']:,}",
            f"{each['people']:,}" if "people" in each else "–",
            f"{each['mean_cosine']:.3f}" if "mean_cosine" in each else "–",
        ]
        for word, each in words.items()
    ]
    table = Table(
        "groups", [attribute, "images", "people", "mean cosine of two people"], rows
    )
    return Section(f"group_{attribute}", f"By {attribute}", "", table, "", "table")
