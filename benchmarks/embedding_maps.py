"""What maps between recognisers are worth, fitted and tested on rendered people.

    make photos
    python -m benchmarks.embedding_maps --output=record.json

Fitted on 1,500 people of stream gallery, two images each, which recogniser F has not
seen; tested on 60 others, eight images each: people known again by the mean of four
mapped embeddings (240 probes, so ± one point), equal error rate of all mapped with all
true embeddings, cosines. Then what separation is left: 200 references packed in the
source's space, mapped.
"""

import pathlib
import tempfile

from absl import flags

from bridges.embedding_maps.embedding_map import fit_embedding_map
from bridges.embedding_maps.mapping import largest_cosine
from bridges.embedding_maps.worth import measure_worth
from bridges.faces.world import render_dataset
from bridges.recognisers.gallery import embed_folder
from hyperface_jax import EmbeddingFile, PackingConfig, files, pack_embeddings
from hyperface_jax.commands import provenance, run_command, settings_of

FLAGS = flags.FlagValues()

flags.DEFINE_list(
    "pairs",
    ["sface:recogniser_f", "recogniser_f:sface"],
    "recognisers to map from and to, with a colon",
    flag_values=FLAGS,
)
flags.DEFINE_integer("num_people", 1500, "to fit on", 50, flag_values=FLAGS)
flags.DEFINE_string("output", None, "where the JSON record goes", flag_values=FLAGS)

_REFERENCES = 200


def measure(source: dict[str, EmbeddingFile], target: dict[str, EmbeddingFile]) -> dict:
    """Fits on the one set, tests on the other; JSON-ready."""
    fitted = fit_embedding_map(
        source["people"].embeddings,
        target["people"].embeddings,
        source["people"].labels,
        source=source["people"].metadata["model"],
        target=target["people"].metadata["model"],
    )
    test = source["others"]
    worth = measure_worth(
        fitted.linear, test.embeddings, target["others"].embeddings, test.labels
    )
    gallery = source["people"].embeddings
    packed = pack_embeddings(
        gallery[: 2 * _REFERENCES : 2],
        gallery,
        PackingConfig(num_iterations=300, regularization_weight=2.0),
    ).embeddings
    return {
        "source": fitted.source["name"],
        "target": fitted.target["name"],
        "strength": fitted.strength,
        "worth": worth._asdict(),
        "largest_cosine": [largest_cosine(packed), largest_cosine(fitted(packed))],
    }


def main() -> None:
    """Measures the pairs that the flags name."""
    pairs = [pair.split(":") for pair in FLAGS.pairs]
    rows = []
    with tempfile.TemporaryDirectory() as scratch:
        place = pathlib.Path(scratch)
        for part, stream, people, images in (
            ("people", "gallery", FLAGS.num_people, 2),
            ("others", "held_out", 60, 8),
        ):
            render_dataset(
                place / part,
                stream=stream,
                num_identities=people,
                images_per_identity=images,
                image_size=112,
            )
        embedded = {
            name: {
                part: embed_folder(
                    place / part,
                    place / f"{name}_{part}.npz",
                    model=name,
                    device="cpu",
                )
                for part in ("people", "others")
            }
            for name in sorted({name for pair in pairs for name in pair})
        }
        for source, target in pairs:
            rows.append(measure(embedded[source], embedded[target]))
            row, worth = rows[-1], rows[-1]["worth"]
            print(
                f"{source} to {target}: rank-1 of {worth['people']} "
                f"{worth['rank1']:.3f}, EER {100 * worth['eer']:.2f} %, cosine "
                f"{worth['cosine']:.3f}, centred {worth['centred_cosine']:.3f}; "
                f"largest cosine of {_REFERENCES} references "
                f"{row['largest_cosine'][0]:.3f} before, {row['largest_cosine'][1]:.3f} "
                "after"
            )
    if FLAGS.output:
        record = {"rows": rows, "created_with": provenance(settings_of(FLAGS))}
        files.write_json(FLAGS.output, record)


if __name__ == "__main__":
    run_command(main, FLAGS)
