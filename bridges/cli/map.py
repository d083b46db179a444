"""Maps embeddings of one recogniser into the space of another.

Fit a map once, on images that both embed, two of each of 1,000 people or so:

    hyperface-render --output=people --stream=gallery --num_identities=1500
        --images_per_identity=2
    hyperface-map --from=sface --to=recogniser_f --images=people --output=map.npz

or on two embedding files of the same images (--from_embeddings, --to_embeddings). Then
apply it:

    hyperface-map --map=map.npz --apply=gallery_sface.npz --output=mapped.npz

The result is an embedding file of the target recogniser, for hyperface-pack and
hyperface-generate. Separation does not survive a map: pack mapped references on. And
keeping away from mapped photographs protects nobody: check images with hyperface-audit.
"""

from absl import flags

from bridges import device_flags, folder_flags
from hyperface_jax import InputError
from hyperface_jax.commands import announce, require_flags, run_command

FLAGS = flags.FlagValues()

flags.DEFINE_string(
    "from",
    None,
    "fit: the recogniser whose embeddings are to be mapped, what hyperface-embed "
    "--model takes",
    flag_values=FLAGS,
)
flags.DEFINE_string(
    "to", None, "fit: the recogniser to whose space, likewise", flag_values=FLAGS
)
flags.DEFINE_string(
    "images", None, "fit: folder of face images that both embed", flag_values=FLAGS
)
flags.DEFINE_string(
    "from_embeddings",
    None,
    "fit, instead of --from, --to and --images: an embedding file of the recogniser "
    "whose embeddings are to be mapped",
    flag_values=FLAGS,
)
flags.DEFINE_string(
    "to_embeddings",
    None,
    "fit: an embedding file of the other recogniser, of the same images by their names",
    flag_values=FLAGS,
)
flags.DEFINE_string("map", None, "apply: the map to apply", flag_values=FLAGS)
flags.DEFINE_string("apply", None, "apply: embedding file to map", flag_values=FLAGS)
flags.DEFINE_string(
    "output",
    None,
    "the .npz file to write: a map or, with --apply, mapped embeddings",
    flag_values=FLAGS,
)
flags.DEFINE_bool(
    "flip",
    True,
    "fit: embed each image together with its mirror image",
    flag_values=FLAGS,
)
flags.DEFINE_integer("seed", 0, "fit: of the folds of people", flag_values=FLAGS)
folder_flags.define(FLAGS)
device_flags.define(FLAGS)

_FORMS = {
    "images": ("from", "to", "images"),
    "files": ("from_embeddings", "to_embeddings"),
    "apply": ("map", "apply"),
}


def main() -> None:
    """Fits or applies a map, whichever the flags ask for."""
    form = _form()
    require_flags(FLAGS, *_FORMS[form], "output")
    if form == "apply":
        from bridges.embedding_maps.applying import (
            apply_embedding_map,
            describe_applied,
        )

        applied = apply_embedding_map(FLAGS.map, FLAGS.apply, FLAGS.output)
        print("\n".join(describe_applied(applied, FLAGS.output)))
        return
    from bridges.embedding_maps import fitting
    from bridges.embedding_maps.embedding_map import describe

    if form == "images":
        fitted = fitting.fit_map_of_images(
            FLAGS.images,
            FLAGS.output,
            from_model=FLAGS["from"].value,
            to_model=FLAGS.to,
            flip=FLAGS.flip,
            seed=FLAGS.seed,
            **folder_flags.given(FLAGS),
            **device_flags.given(FLAGS),
        )
    else:
        fitted = fitting.fit_map_of_files(
            FLAGS.from_embeddings, FLAGS.to_embeddings, FLAGS.output, seed=FLAGS.seed
        )
    first, *rest = describe(fitted)
    print("\n".join([f"{FLAGS.output}: {first}", *rest]))
    announce(
        "a map makes a loose likeness of a person from a photograph: map faces of "
        "people who agreed to it"
    )


def _form() -> str:
    """Which of the command's forms the flags are of: a key of ``_FORMS``."""
    given = [
        form
        for form, names in _FORMS.items()
        if any(FLAGS[name].value for name in names)
    ]
    if len(given) > 1:
        first, second = (
            next(name for name in _FORMS[form] if FLAGS[name].value)
            for form in given[:2]
        )
        raise InputError(
            f"--{first} and --{second} are of two forms of this command; give the "
            "flags of one, see --help"
        )
    return given[0] if given else "images"


def run() -> None:
    """Entry point of ``hyperface-map``."""
    run_command(main, FLAGS)


if __name__ == "__main__":
    run()
