"""Maps embeddings of one recogniser into the space of another.

A map is fitted on images that both embed; rendered people do, a thousand images make a
good map and three thousand are plenty. What it is worth on people it has not seen is
printed and kept in the file. Then it is applied to embedding files. Examples:

    hyperface-render --stream=gallery --num_identities=1500 --images_per_identity=2 \\
        --output=people
    hyperface-map --from=sface --to=recogniser_f --images=people --output=map.npz
    hyperface-map --map=map.npz --apply=references.npz --output=mapped.npz

A map keeps who is who, loosely; it does not keep references apart, so pack on in the
target space: hyperface-pack --initial=mapped.npz.
"""

from absl import flags

from bridges import device_flags, folder_flags
from hyperface_jax import InputError
from hyperface_jax.commands import require_flags, run_command

FLAGS = flags.FlagValues()

flags.DEFINE_string(
    "from",
    None,
    "the recogniser whose embeddings the map takes: what hyperface-embed --model takes",
    flag_values=FLAGS,
)
flags.DEFINE_string(
    "to", None, "the recogniser whose embeddings it gives", flag_values=FLAGS
)
flags.DEFINE_string(
    "images", None, "aligned faces that both are to embed", flag_values=FLAGS
)
flags.DEFINE_string(
    "from_embeddings",
    None,
    "in place of --from and --images: embeddings by the one recogniser",
    flag_values=FLAGS,
)
flags.DEFINE_string(
    "to_embeddings",
    None,
    "likewise: embeddings of the same images by the other",
    flag_values=FLAGS,
)
flags.DEFINE_string("map", None, "with --apply: a fitted map", flag_values=FLAGS)
flags.DEFINE_string("apply", None, "an embedding file to map", flag_values=FLAGS)
flags.DEFINE_string("output", None, "the .npz file to write", flag_values=FLAGS)
flags.DEFINE_bool(
    "flip", True, "embed each image together with its mirror image", flag_values=FLAGS
)
folder_flags.define(FLAGS)
device_flags.define(FLAGS, precision=False)


def main() -> None:
    """Fits a map, or applies one."""
    if FLAGS.apply or FLAGS.map:
        _apply()
    else:
        _fit()


def _fit() -> None:
    by_files = FLAGS.from_embeddings or FLAGS.to_embeddings
    if by_files:
        require_flags(FLAGS, "from_embeddings", "to_embeddings", "output")
    else:
        require_flags(FLAGS, "from", "to", "images", "output")
    from bridges.embedding_maps import mapping
    from hyperface_jax import files, load_embeddings

    if by_files:
        paths = FLAGS.from_embeddings, FLAGS.to_embeddings
        found = mapping.fit_map_of_files(
            *(load_embeddings(path) for path in paths),
            FLAGS.output,
            settings={"embeddings": [files.sha256_of(path) for path in paths]},
        )
    else:
        found = mapping.fit_map_on_images(
            FLAGS.images,
            FLAGS.output,
            source=FLAGS["from"].value,
            target=FLAGS["to"].value,
            flip=FLAGS.flip,
            **folder_flags.given(FLAGS),
            **device_flags.given(FLAGS),
        )
    print(
        f"{FLAGS.output}: {found.source['name']} to {found.target['name']}, fitted on "
        f"{found.metadata['images']:,} images of {found.metadata['people']:,} people"
    )
    for name, worth in (("ridge", found.worth), ("Procrustes", found.procrustes)):
        print(
            f"{name:10s} on {worth.people} people held out: rank-1 {worth.rank1:.3f} "
            f"(chance {worth.chance:.3f}), EER {100 * worth.eer:.2f} %, cosine "
            f"{worth.cosine:.3f}, centred {worth.centred_cosine:.3f}"
        )


def _apply() -> None:
    require_flags(FLAGS, "map", "apply", "output")
    for name in ("from", "to", "images", "from_embeddings", "to_embeddings"):
        if FLAGS[name].value:
            raise InputError(
                f"--{name} is for fitting a map; --apply takes --map alone"
            )
    from bridges.embedding_maps.mapping import apply_map

    mapped, _ = apply_map(FLAGS.map, FLAGS.apply, FLAGS.output)
    rows, columns = mapped.embeddings.shape
    print(
        f"{FLAGS.output}: {rows} embeddings of {columns} numbers, as by "
        f"{mapped.metadata['model']['name']}"
    )


def run() -> None:
    """Entry point of ``hyperface-map``."""
    run_command(main, FLAGS)


if __name__ == "__main__":
    run()
