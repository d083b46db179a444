"""The description of a generated dataset as Croissant, JSON-LD for machines.

Croissant 1.0 (https://docs.mlcommons.org/croissant/docs/croissant-spec.html): every
file with its digest and, of a dataset folder, the images with what is known of each.
"""

from typing import Any

from bridges.datasets.dataset_card import ETHICS
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
_METADATA, _IMAGES = "metadata.jsonl", "image-files"
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
    licence = facts.licence or "unknown: the generator does not say"
    description = (
        f"{facts.images:,} AI-generated images of {facts.identities:,} people who do "
        "not exist, for face recognition."
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
        "conformsTo": "http://mlcommons.org/croissant/1.0",
        "name": facts.name,
        "description": description,
        "license": licence,
        "url": "https://arxiv.org/abs/2411.08470",
        "version": "1.0.0",
        "datePublished": facts.date,
        "creator": {"@type": "sc:Organization", "name": "hyperface_jax"},
        "citeAs": "Otroshi Shahreza and Marcel, HyperFace, ICLR 2025, arXiv:2411.08470",
        "keywords": ["synthetic", "AI-generated", "face recognition"],
        "rai:dataCollection": made,
        "rai:dataCollectionType": ["Software Collection"],
        "rai:dataUseCases": "training and testing of face recognition",
        "rai:dataLimitations": ETHICS,
        "distribution": _distribution(facts),
        **({"recordSet": [_records(facts)]} if _has_metadata(facts) else {}),
    }


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
    if facts.format == "folder":
        files.append(
            {
                "@type": "cr:FileSet",
                "@id": _IMAGES,
                "name": _IMAGES,
                "description": "the images, a folder an identity",
                "encodingFormat": "image/jpeg",
                "includes": "images/*/*.jpg",
            }
        )
    return files


def _type_of(name: str) -> str:
    suffix = name[name.rfind(".") :] if "." in name else ""
    return _TYPES.get(suffix, "application/octet-stream")


def _has_metadata(facts: DatasetFacts) -> bool:
    names = {file.name for file in facts.files}
    return facts.format == "folder" and _METADATA in names


def _records(facts: DatasetFacts) -> dict[str, Any]:
    """What is known of each image, a line of the metadata, with the image itself."""
    fields = dict(_FIELDS)
    if facts.settings.get("collision_recogniser"):
        text = "how often the image was drawn again since it collided with another"
        fields["redraws"] = ("sc:Integer", text)
    for attribute in facts.groups:
        if attribute not in fields:
            fields[attribute] = ("sc:Text", "group of the reference")
    name = {
        "@type": "cr:Field",
        "@id": "images/name",
        "name": "name",
        "description": "name of the file, by which image and metadata are joined",
        "dataType": "sc:Text",
        "source": {
            "fileObject": {"@id": _METADATA},
            "extract": {"column": "file_name"},
            "transform": {"regex": "^images/[0-9]+/(.*)$"},
        },
        "references": {
            "fileSet": {"@id": _IMAGES},
            "extract": {"fileProperty": "filename"},
        },
    }
    image = {
        "@type": "cr:Field",
        "@id": "images/image",
        "name": "image",
        "description": "the image",
        "dataType": "sc:ImageObject",
        "source": {
            "fileSet": {"@id": _IMAGES},
            "extract": {"fileProperty": "content"},
        },
    }
    return {
        "@type": "cr:RecordSet",
        "@id": "images",
        "name": "images",
        "description": "a record an image",
        "key": {"@id": "images/name"},
        "field": [name, image, *(_field(key, *of) for key, of in fields.items())],
    }


def _field(name: str, kind: str, description: str) -> dict[str, Any]:
    return {
        "@type": "cr:Field",
        "@id": f"images/{name}",
        "name": name,
        "description": description,
        "dataType": kind,
        "source": {
            "fileObject": {"@id": _METADATA},
            "extract": {"column": name},
        },
    }
