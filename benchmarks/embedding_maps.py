"""What maps between two recognisers are worth, on rendered people nobody was fitted on.

    make photos
    python -m benchmarks.embedding_maps --folder=/tmp/maps

Renders 1,500 people × 2 images of the stream gallery and 60 × 8 of held_out, embeds
them with both recognisers (what is in --folder already is used again) and fits maps in
both directions. Each is measured on the 60: enrolled is the mean of the mapped rows of
a person's first four images, probes are the true rows of the other four, 240 in all.

- ridge: hyperface-map's, which chooses what it is fitted to:
- to other images of the person, or to the same image;
- procrustes: the best rotation;
- shuffled: ridge with the people of one side shuffled, the control.

Then how many people it takes, and what is left in the target space of the separation of
200 references packed in the other; with --photographs (.venv/bin/pip install
openpeople) also the equal error rates among those of benchmarks.photo_recognition.
"""

import pathlib
from typing import Any

import numpy as np
from absl import flags

from benchmarks import photo_recognition
from bridges.embedding_maps import held_out
from bridges.embedding_maps.affine_map import AffineMap
from bridges.embedding_maps.applying import largest_cosine
from bridges.embedding_maps.procrustes import fit_procrustes
from bridges.embedding_maps.ridge import Fold, fit_ridge
from bridges.evaluation.error_rates import equal_error_rate
from bridges.faces.world import render_dataset
from bridges.photographs.detector import load_detector
from bridges.recognisers.embedding import embed_images
from bridges.recognisers.gallery import embed_folder
from bridges.recognisers.recogniser import load_recogniser
from hyperface_jax import (
    EmbeddingFile,
    PackingConfig,
    files,
    pack_embeddings,
)
from hyperface_jax.commands import provenance, require_flags, run_command

FLAGS = flags.FlagValues()

flags.DEFINE_list(
    "recognisers",
    ["sface", "recogniser_f"],
    "two, what hyperface-embed --model takes, with a comma",
    flag_values=FLAGS,
)
flags.DEFINE_string(
    "folder", None, "where images and embeddings are kept", flag_values=FLAGS
)
flags.DEFINE_integer("people", 1500, "rendered to fit on", flag_values=FLAGS)
flags.DEFINE_integer("held_out", 60, "rendered to measure on", flag_values=FLAGS)
flags.DEFINE_integer("references", 200, "packed, then mapped", flag_values=FLAGS)
flags.DEFINE_bool(
    "photographs",
    False,
    "also map photographs of ten AI-made people",
    flag_values=FLAGS,
)
flags.DEFINE_string(
    "output", None, "where the JSON record goes, if anywhere", flag_values=FLAGS
)

# Of those to fit on: how many people the curve is measured at.
_SHARES = (1 / 30, 1 / 15, 1 / 5, 1 / 3, 2 / 3)
_IMAGES, _HELD_OUT_IMAGES = 2, 8


def embedded(folder: pathlib.Path) -> dict[str, dict[str, EmbeddingFile]]:
    """The embeddings of both sets of people, by recogniser and stream."""
    for stream, people, images in (
        ("gallery", FLAGS.people, _IMAGES),
        ("held_out", FLAGS.held_out, _HELD_OUT_IMAGES),
    ):
        render_dataset(
            folder / stream,
            num_identities=people,
            images_per_identity=images,
            stream=stream,
        )
    return {
        name: {
            stream: embed_folder(
                folder / stream,
                folder / f"{stream}_{pathlib.Path(name).name}.npz",
                model=name,
                device="cpu",
            )
            for stream in ("gallery", "held_out")
        }
        for name in FLAGS.recognisers
    }


def folds_of(a: np.ndarray, b: np.ndarray, people: np.ndarray) -> list[Fold]:
    """What the fits take: sums over five folds of people."""
    return held_out.fold_sums(a, b, people, held_out.split_people(people, 0))


def to_one_target(folds: list[Fold], target: str) -> list[Fold]:
    """The same, where nothing but one of the two targets can be fitted to."""
    return [Fold(*[getattr(fold, target)] * 2) for fold in folds]


def measure(
    found: AffineMap, source: EmbeddingFile, target: EmbeddingFile
) -> dict[str, float]:
    """Rank-1, EER and cosines on people of eight images each, by the protocol above."""
    mapped, true = found(source.embeddings), target.embeddings
    return scores(mapped, true, found.to_mean, source.labels)


def scores(
    mapped: np.ndarray, true: np.ndarray, mean: np.ndarray, labels: np.ndarray
) -> dict[str, float]:
    """The same of rows mapped already."""
    names, person = np.unique(labels, return_inverse=True)
    place = np.arange(len(labels)) % _HELD_OUT_IMAGES
    enrolled, probes = place < _HELD_OUT_IMAGES // 2, place >= _HELD_OUT_IMAGES // 2
    centres = np.zeros((len(names), true.shape[1]))
    np.add.at(centres, person[enrolled], mapped[enrolled])
    centres /= np.linalg.norm(centres, axis=1, keepdims=True)
    hits = (true[probes] @ centres.T).argmax(axis=1) == person[probes]
    cosines = mapped[enrolled] @ true[probes].T
    same = person[enrolled][:, None] == person[probes]
    a, b = mapped - mean, true - mean
    lengths = np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1)
    return {
        "rank1": float(hits.mean()),
        "equal_error_rate": equal_error_rate(cosines.ravel(), same.ravel()),
        "cosine": float(np.sum(mapped * true, axis=1).mean()),
        "centred_cosine": float((np.sum(a * b, axis=1) / lengths).mean()),
    }


def direction(
    source: dict[str, EmbeddingFile], target: dict[str, EmbeddingFile]
) -> tuple[AffineMap, dict[str, dict[str, Any]]]:
    """The map of one direction, and what it and its rivals are worth."""
    a, b, people = (
        source["gallery"].embeddings,
        target["gallery"].embeddings,
        source["gallery"].labels,
    )
    folds = folds_of(a, b, people)
    shuffled = np.random.default_rng(0).permutation(people.max() + 1)
    of_another = np.argsort(shuffled[people], kind="stable")
    ridge = fit_ridge(folds)
    maps = {
        "ridge": ridge.map,
        "to other images": fit_ridge(to_one_target(folds, "others")).map,
        "to the same image": fit_ridge(to_one_target(folds, "same")).map,
        "procrustes": fit_procrustes(folds),
        "shuffled": fit_ridge(folds_of(a, b[of_another], people)).map,
    }
    tests = source["held_out"], target["held_out"]
    found = {name: measure(each, *tests) for name, each in maps.items()}
    found["ridge"] |= {"strength": ridge.strength, "fitted_to": ridge.fitted_to}
    true = target["held_out"]
    found["target alone"] = scores(
        true.embeddings, true.embeddings, ridge.map.to_mean, true.labels
    )
    for share in _SHARES:
        count = round(share * (people.max() + 1))
        if count < held_out.NUM_FOLDS:
            continue
        some = people < count
        fewer = fit_ridge(folds_of(a[some], b[some], people[some]))
        found[f"ridge, {count} people"] = {
            **measure(fewer.map, *tests),
            "fitted_to": fewer.fitted_to,
        }
    return ridge.map, found


def separation(found: AffineMap, gallery: EmbeddingFile) -> dict[str, float]:
    """The largest cosine of packed references, before and after they are mapped."""
    rows = gallery.embeddings[:: len(gallery.embeddings) // FLAGS.references]
    packed = pack_embeddings(
        rows[: FLAGS.references],
        gallery.embeddings,
        PackingConfig(regularization_weight=2.0, num_iterations=300),
    ).embeddings
    return {
        "references": len(packed),
        "packed": largest_cosine(packed),
        "mapped": largest_cosine(found(packed)),
    }


def of_photographs(maps: dict[tuple[str, str], AffineMap]) -> dict[str, float]:
    """Equal error rates among photographs: of each recogniser, and of each map."""
    faces = photo_recognition.aligned(
        photo_recognition.pictures(), load_detector(device="cpu")
    )
    rows = {
        name: embed_images(load_recogniser(name, device="cpu"), faces.crops)
        for name in FLAGS.recognisers
    }
    rows |= {
        f"{source} -> {target}": found(rows[source])
        for (source, target), found in maps.items()
    }
    return {
        name: equal_error_rate(*photo_recognition.pairs(each, faces))
        for name, each in rows.items()
    }


def main() -> None:
    """Measures both directions between the two recognisers that the flags name."""
    require_flags(FLAGS, "folder")
    files_of = embedded(pathlib.Path(FLAGS.folder))
    first, second = FLAGS.recognisers
    record: dict[str, Any] = {}
    maps = {}
    for source, target in ((first, second), (second, first)):
        found, rows = direction(files_of[source], files_of[target])
        maps[source, target] = found
        apart = separation(found, files_of[source]["gallery"])
        record[f"{source} -> {target}"] = {"maps": rows, "separation": apart}
        print(f"{source} -> {target}")
        for name, row in rows.items():
            print(
                f"  {name:22s} rank-1 {row['rank1']:.3f}  EER "
                f"{row['equal_error_rate']:6.2%}  cosine {row['cosine']:.3f} "
                f"(centred {row['centred_cosine']:.3f}) {row.get('fitted_to', '')}"
            )
        print(
            "  largest cosine of {references} references: packed {packed:.3f}, mapped "
            "{mapped:.3f}".format(**apart)
        )
    record = {"directions": record}
    if FLAGS.photographs:
        record["photographs"] = of_photographs(maps)
        for name, rate in record["photographs"].items():
            print(f"photographs: EER {rate:6.2%} of {name}")
    if FLAGS.output:
        settings = {name: FLAGS[name].value for name in ("people", "held_out")}
        record["created_with"] = provenance(settings)
        files.write_json(FLAGS.output, record)


if __name__ == "__main__":
    run_command(main, FLAGS)
