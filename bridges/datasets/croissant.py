"""The description of a generated dataset as Croissant, JSON-LD for machines.

Croissant 1.0 (https://docs.mlcommons.org/croissant/docs/croissant-spec.html): every
file with its digest. Of the formats that its readers can open there are records too:

- a dataset folder: ``images``, each with all that is known of it;
- an imagefolder: ``images``, and ``records`` of the same names;
- WebDataset: ``images``, and ``identities`` of the same keys.

The latter two are apart since readers join by the names of files without their folders,
and neither join files of archives.
"""

import re
from collections.abc import Iterator
from typing import Any

from bridges.datasets.dataset_card import CITATION, ETHICS, UNKNOWN_LICENCE, USES
from bridges.datasets.dataset_facts import DatasetFacts

_TERMS = (
    "citeAs column dataType equivalentProperty examples extract field fileProperty "
    "fileObject fileSet format includes isLiveDataset jsonPath key md5 parentField "
    "path recordSet references regex repeated replace samplingRate separator source "
    "subField transform"
).split()
# Terms whose values are words of the vocabulary, or JSON.
_TYPED = {"dataType": "@vocab", "examples": "@json"}
_TYPES = {
    ".jsonl": "application/jsonlines",
    ".json": "application/json",
    ".csv": "text/csv",
    ".tar": "application/x-tar",
    ".txt": "text/plain",
    ".lst": "text/tab-separated-values",
    ".idx": "text/tab-separated-values",
}
_METADATA, _IMAGES, _LABELS = "metadata.jsonl", "image-files", "label-files"
# Where the images are, of formats that have a file for each.
_INCLUDES = {
    "folder": "images/*/*.jpg",
    "imagefolder": "*/*.jpg",
    "stylegan": "*/*.jpg",
    "webdataset": "*.jpg",
}
_CONFORMS_TO = [
    "http://mlcommons.org/croissant/1.0",
    "http://mlcommons.org/croissant/RAI/1.0",
]
_NAME = "name of the file"
_FIELDS = {
    "identity": ("sc:Integer", "who is on the image"),
    "index": ("sc:Integer", "number of the image within its identity"),
    "seed": ("sc:Integer", "seed of the noise that the image was made from"),
    "reference_cosine": (
        "sc:Float",
        "cosine between the embedding of the image and its reference",
    ),
    "tries": ("sc:Integer", "how often the image was drawn"),
    "flag": ("sc:Text", "empty, or why the image is not what it should be"),
}


def croissant(facts: DatasetFacts) -> dict[str, Any]:
    """The content of ``croissant.json``."""
    description = (
        f"{facts.images:,} AI-generated images of {facts.identities:,} synthetic "
        "identities, for face recognition. As far as is known they show nobody."
    )
    made = (
        "Drawn by the generator "
        f"{facts.models.get('generator', {}).get('name', 'unknown')} from reference "
        "embeddings spread over the hypersphere of the recogniser "
        f"{facts.models.get('recogniser', {}).get('name', 'unknown')} (HyperFace)."
    )
    return {
        "@context": _context(),
        "@type": "sc:Dataset",
        "conformsTo": _CONFORMS_TO,
        "name": facts.name,
        "description": description,
        "license": facts.licence or UNKNOWN_LICENCE,
        "url": "https://arxiv.org/abs/2411.08470",
        "version": "1.0.0",
        "datePublished": facts.date,
        "creator": {"@type": "sc:Organization", "name": "hyperface_jax"},
        "citeAs": CITATION,
        "keywords": ["synthetic", "AI-generated", "face recognition"],
        "rai:dataCollection": made,
        "rai:dataCollectionType": ["Software Collection"],
        "rai:dataUseCases": USES,
        "rai:dataLimitations": ETHICS,
        **_sensitive(facts),
        "distribution": _distribution(facts),
        **({"recordSet": sets} if (sets := _record_sets(facts)) else {}),
    }


def _sensitive(facts: DatasetFacts) -> dict[str, str]:
    """What the records say of whom they seem to show."""
    if not facts.groups:
        return {}
    named = ", ".join(facts.groups)
    text = f"Groups of the references, which are of nobody as far as is known: {named}."
    return {"rai:personalSensitiveInformation": text}


def _context() -> dict[str, Any]:
    """The context that Croissant 1.0 prescribes."""
    terms: dict[str, Any] = {term: f"cr:{term}" for term in _TERMS}
    terms |= {
        term: {"@id": f"cr:{term}", "@type": kind} for term, kind in _TYPED.items()
    }
    return {
        "@language": "en",
        "@vocab": "https://schema.org/",
        "cr": "http://mlcommons.org/croissant/",
        "rai": "http://mlcommons.org/croissant/RAI/",
        "sc": "https://schema.org/",
        "dct": "http://purl.org/dc/terms/",
        "conformsTo": "dct:conformsTo",
        "data": {"@id": "cr:data", "@type": "@json"},
        **terms,
    }


def _distribution(facts: DatasetFacts) -> list[dict[str, Any]]:
    files = [
        {
            "@type": "cr:FileObject",
            "@id": file.name,
            "name": file.name,
            "contentUrl": file.name,
            "contentSize": f"{file.size} B",
            "encodingFormat": _type_of(file.name),
            "sha256": file.sha256,
        }
        for file in facts.files
    ]
    return files + _file_sets(facts)


def _file_sets(facts: DatasetFacts) -> list[dict[str, Any]]:
    """The images, and what lies beside each in archives."""
    if facts.format not in _INCLUDES:
        return []
    includes = _INCLUDES[facts.format]
    images = _file_set(_IMAGES, "the images", "image/jpeg", includes)
    if facts.format != "webdataset":
        return [images]
    archives = [{"@id": f.name} for f in facts.files if f.name.endswith(".tar")]
    labels = _file_set(_LABELS, "who is on each image", "text/plain", "*.cls")
    return [{**each, "containedIn": archives} for each in (images, labels)]


def _file_set(name: str, description: str, kind: str, includes: str) -> dict[str, Any]:
    return {
        "@type": "cr:FileSet",
        "@id": name,
        "name": name,
        "description": description,
        "encodingFormat": kind,
        "includes": includes,
    }


def _type_of(name: str) -> str:
    suffix = name[name.rfind(".") :] if "." in name else ""
    return _TYPES.get(suffix, "application/octet-stream")


def _record_sets(facts: DatasetFacts) -> list[dict[str, Any]]:
    if facts.format == "folder":
        # Names of images are different, whatever folders they are in.
        name = _of_column("images/name", "sc:Text", _NAME, "file_name")
        # Readers look for it once more in what they found.
        name["source"]["transform"] = {"regex": "^(?:images/[0-9]+/)?(.*)$"}
        name["references"] = _property(_IMAGES, "filename")
        known = _known(facts, "images")
        return [_record_set("images", [name, _image(), *known], key="images/name")]
    if facts.format == "imagefolder":
        found = _of_file("images/name", "sc:Text", _NAME, _IMAGES, "fullpath", "^(.*)$")
        name = _of_column("records/name", "sc:Text", _NAME, "file_name")
        return [
            _record_set("images", [found, _image()], key="images/name"),
            _record_set("records", [name, *_known(facts, "records")]),
        ]
    if facts.format == "webdataset":
        key = ("sc:Text", "key of the sample")
        name = _of_file("images/name", *key, _IMAGES, "filename", r"^(.*)\.jpg$")
        same = _of_file("identities/name", *key, _LABELS, "filename", r"^(.*)\.cls$")
        identity = _field("identities/identity", *_FIELDS["identity"])
        identity["source"] = _property(_LABELS, "content")
        return [
            _record_set("images", [name, _image()], key="images/name"),
            _record_set("identities", [same, identity]),
        ]
    return []


def _record_set(
    name: str, fields: list[dict[str, Any]], key: str | None = None
) -> dict[str, Any]:
    return {
        "@type": "cr:RecordSet",
        "@id": name,
        "name": name,
        "description": "a record an image",
        **({"key": {"@id": key}} if key else {}),
        "field": fields,
    }


def _known(facts: DatasetFacts, where: str) -> Iterator[dict[str, Any]]:
    """What the metadata say of each image, beside its name."""
    fields = dict(_FIELDS)
    if facts.settings.get("collision_recogniser"):
        text = "how often the image was drawn again since it collided with another"
        fields["redraws"] = ("sc:Integer", text)
    for attribute in facts.groups:
        fields.setdefault(attribute, ("sc:Text", "group of the reference"))
    taken = {"name", "image"}
    for column, of in fields.items():
        # Readers refuse spaces in what names a field, and warn of most other marks.
        word = re.sub(r"[^\w.-]", "_", column, flags=re.ASCII)
        while word in taken:
            word += "_"
        taken.add(word)
        yield {**_of_column(f"{where}/{word}", *of, column=column), "name": column}


def _image() -> dict[str, Any]:
    field = _field("images/image", "sc:ImageObject", "the image")
    return {**field, "source": _property(_IMAGES, "content")}


def _of_column(field: str, kind: str, text: str, column: str) -> dict[str, Any]:
    source = {"fileObject": {"@id": _METADATA}, "extract": {"column": column}}
    return {**_field(field, kind, text), "source": source}


def _of_file(
    field: str, kind: str, text: str, files: str, what: str, pattern: str
) -> dict[str, Any]:
    source = {**_property(files, what), "transform": {"regex": pattern}}
    return {**_field(field, kind, text), "source": source}


def _property(files: str, what: str) -> dict[str, Any]:
    return {"fileSet": {"@id": files}, "extract": {"fileProperty": what}}


def _field(name: str, kind: str, description: str) -> dict[str, Any]:
    return {
        "@type": "cr:Field",
        "@id": name,
        "name": name.partition("/")[2],
        "description": description,
        "dataType": kind,
    }
