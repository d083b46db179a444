"""Runs the whole chain, from rendered faces to a report to look at.

Renders a gallery of synthetic faces, embeds it, packs identities on the recogniser's
hypersphere, generates images of each, trains a recogniser on them from scratch,
verifies it on five sets and writes report.html. Interrupted, the same command goes on
where it stopped.

Example:
  hyperface-demo --output=runs/demo
  hyperface-demo --output=runs/demo --compare
"""

import dataclasses

from absl import flags

from bridges.demo.chain import run_demo
from bridges.demo.config import DemoConfig
from hyperface_jax import InputError
from hyperface_jax.commands import run_command

FLAGS = flags.FlagValues()

_DEFINE = {
    bool: flags.DEFINE_bool,
    float: flags.DEFINE_float,
    int: flags.DEFINE_integer,
    str: flags.DEFINE_string,
}
_HELP = {
    "gallery_identities": "people rendered for the gallery",
    "gallery_images": "gallery images of each",
    "num_identities": "identities to pack",
    "images_per_identity": "images generated of each identity",
    "num_pairs": "pairs in each of the five verification sets, a multiple of 20",
    "image_size": "side of rendered images in pixels",
    "packing_iterations": "iterations of the packing",
    "regularization_weight": "how strongly identities are held near gallery faces",
    "guidance": "how closely generated images follow their identity",
    "steps": "denoising steps per generated image",
    "epochs": "passes of the training over the images",
    "batch_size": "images per training step",
    "recogniser": "recogniser whose hypersphere is packed: a name or a folder",
    "generator": "image generator: a name or a folder",
    "compare": "also train on rendered faces and on references that were not packed, "
    "equally many images each; about twice the time more",
    "seed": "of everything random",
}

flags.DEFINE_string("output", None, "the run folder", flag_values=FLAGS)
for _field in dataclasses.fields(DemoConfig):
    _DEFINE[_field.type](
        _field.name, _field.default, _HELP[_field.name], flag_values=FLAGS
    )


def main() -> None:
    if not FLAGS.output:
        raise InputError(
            "--output is missing: name a folder for the run, runs/demo say"
        )
    names = [field.name for field in dataclasses.fields(DemoConfig)]
    config = DemoConfig(**{name: FLAGS[name].value for name in names})
    result = run_demo(FLAGS.output, config, announce=_announce)
    print(result.headline())


def _announce(line: str) -> None:
    print(line, flush=True)


def run() -> None:
    run_command(main, FLAGS)


if __name__ == "__main__":
    run()
