"""A word of warning where a recogniser is shown what it does not know."""

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
    weights = FOLDER / _SHIPPED / WEIGHTS
    shipped = weights.is_file() and files.sha256_of(weights)
    if recogniser.model.get("sha256") != shipped or _is_made_here(pathlib.Path(place)):
        return
    announce(
        f"{place}: not rendered here, and {_SHIPPED} knows rendered faces only: what "
        "it says of photographs means little; --model=sface knows photographs"
    )


def _is_made_here(place: pathlib.Path) -> bool:
    description = place / DESCRIPTION
    if not description.is_file():
        return False
    try:
        return read_json(description).get("kind") in _MADE_HERE
    except InputError:
        return False
