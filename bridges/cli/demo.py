"""Runs the whole chain, from rendered faces to a report to look at.

Renders a gallery of synthetic faces, embeds it, packs identities on the recogniser's
hypersphere, generates images of each, trains a recogniser on them from scratch,
verifies it on five sets and writes report.html. After an interruption the same command
resumes.

Example:
  hyperface-demo --output=runs/demo
  hyperface-demo --output=runs/demo --compare
"""

import dataclasses

from absl import flags

from bridges import device_flags
from bridges.config_flags import config_from_flags, define_config_flags
from bridges.demo.config import DemoConfig
from bridges.generators import settings_flags
from hyperface_jax.commands import require_flags, run_command

FLAGS = flags.FlagValues()

_HELP = {
    "gallery_identities": "people rendered for the gallery",
    "gallery_images": "gallery images of each",
    "num_identities": "identities to pack",
    "images_per_identity": "images generated of each identity",
    "num_pairs": "pairs in each of the five verification sets, a multiple of 20, at "
    "least 40",
    "image_size": "side of rendered images in pixels",
    "packing_iterations": "iterations of the packing",
    "regularization_weight": "how strongly identities are held near gallery faces",
    "epochs": "passes of the training over the images",
    "batch_size": "images per training step",
    "recogniser": "recogniser whose hypersphere is packed: a name or a folder",
    "generator": "image generator: a name or a folder",
    "compare": "also train on rendered faces and on references that were not packed, "
    "equally many images each; takes about three times as long",
    "seed": "of everything random",
}

flags.DEFINE_string(
    "output", None, "the folder of the run, runs/demo say", flag_values=FLAGS
)
define_config_flags(DemoConfig(), _HELP, FLAGS)
_OPTIONS = settings_flags.define(FLAGS)
device_flags.define(FLAGS)


def main() -> None:
    """Runs the chain with the settings that the flags give."""
    require_flags(FLAGS, "output")
    settings, paths = _OPTIONS.given(FLAGS.generator, FLAGS)
    config = dataclasses.replace(
        config_from_flags(DemoConfig(), FLAGS), settings=settings, paths=paths
    )
    from bridges.demo.chain import run_demo

    result = run_demo(
        FLAGS.output, config, announce=_announce, **device_flags.given(FLAGS)
    )
    print(result.headline())


def _announce(line: str) -> None:
    print(line, flush=True)


def run() -> None:
    """Entry point of ``hyperface-demo``."""
    run_command(main, FLAGS)


if __name__ == "__main__":
    run()
