"""Puts the people of a run into one picture, the one README.md shows.

    python -m benchmarks.contact_sheet --run=runs/demo --output=docs/faces.png

A person a row: first the gallery face nearest to the reference embedding, then images
generated from that embedding.
"""

from absl import flags

from bridges.datasets.images import read_image
from bridges.report.contact_sheet import (
    contact_sheet,
    encode_png,
    evenly_spaced,
    rows_by_identity,
)
from bridges.report.run_folder import nearest_gallery_image, read_run_folder
from hyperface_jax import InputError, files
from hyperface_jax.commands import run_command

FLAGS = flags.FlagValues()
flags.DEFINE_string("run", "runs/demo", "the run folder", flag_values=FLAGS)
flags.DEFINE_string("output", "docs/faces.png", "the picture", flag_values=FLAGS)
flags.DEFINE_integer("identities", 5, "people shown", lower_bound=1, flag_values=FLAGS)
flags.DEFINE_integer(
    "images", 9, "generated images of each", lower_bound=1, flag_values=FLAGS
)
flags.DEFINE_integer(
    "size", 88, "side of a face in pixels", lower_bound=8, flag_values=FLAGS
)


def main() -> None:
    """Writes the sheet that the flags describe."""
    run = read_run_folder(FLAGS.run)
    if run.dataset is None:
        raise InputError(f"{FLAGS.run}: {run.notes['dataset']}")
    chosen = evenly_spaced(FLAGS.identities, len(run.dataset.identities))
    rows = []
    for identity, indices in zip(
        chosen, rows_by_identity(run.dataset, chosen, FLAGS.images), strict=True
    ):
        neighbour = nearest_gallery_image(run, run.dataset.identities[identity])
        paths = [neighbour] if neighbour is not None else []
        paths += [run.dataset.paths[i] for i in indices]
        rows.append([read_image(path) for path in paths])
    sheet = contact_sheet(rows, size=FLAGS.size, set_first_apart=True)
    files.write_bytes(FLAGS.output, encode_png(sheet))
    print(f"{FLAGS.output}: {sheet.shape[1]} x {sheet.shape[0]} pixels")


if __name__ == "__main__":
    run_command(main, FLAGS)
