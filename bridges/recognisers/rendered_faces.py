"""A word of warning where a recogniser is shown what it does not know."""

import functools
import pathlib

from bridges.datasets.dataset_format import DESCRIPTION
from bridges.pretrained import FOLDER, WEIGHTS
from bridges.recognisers.recogniser import Recogniser
from hyperface_jax import InputError, files
from hyperface_jax.artifacts import read_json
from hyperface_jax.commands import announce

# What the commands here write into dataset.json.
_MADE_HERE = ("rendered", "generated")
_SHIPPED = "recogniser_f"


def warn_of_photographs(recogniser: Recogniser, place: str) -> None:
    """Says that recogniser F knows no photographs, if it may be about to see some.

    Args:
      recogniser: what is to embed.
      place: the folder or file of images; one that was rendered or generated here is
        passed over in silence.
    """
    known = recogniser.model["name"] != _SHIPPED or _is_made_here(pathlib.Path(place))
    if known or recogniser.model["sha256"] != _shipped_sha256():
        return
    announce(
        f"{place}: not rendered here, and {_SHIPPED} knows rendered faces only: what "
        "it says of photographs means little; --model=sface knows photographs"
    )


@functools.cache
def _shipped_sha256() -> str | None:
    weights = FOLDER / _SHIPPED / WEIGHTS
    return files.sha256_of(weights) if weights.is_file() else None


def _is_made_here(place: pathlib.Path) -> bool:
    description = place / DESCRIPTION
    if not description.is_file():
        return False
    try:
        return read_json(description).get("kind") in _MADE_HERE
    except InputError:
        return False
