"""Weights that ship with the package, a folder with a model card each."""

import os
import pathlib

from hyperface_jax import InputError, files

FOLDER = pathlib.Path(__file__).resolve().parent
# Another name of a model, by which commands refer to it without knowing its folder.
_ALIASES = {"embedded": "latent_diffusion"}


def find(name_or_folder: str | os.PathLike[str]) -> pathlib.Path:
    """The folder of a model: one that ships, by its name, or one of the caller's.

    Args:
      name_or_folder: a name, or a path; with a separator in it (``./recogniser_f``) it
        is always taken for the caller's folder.

    Returns:
      The folder; one of the caller's need not exist.

    Raises:
      InputError: a model of that name ships, and a folder of that name is here.
    """
    name = files.path_of(name_or_folder)
    shipped, own = FOLDER / _ALIASES.get(name, name), pathlib.Path(name)
    if os.sep in name or not (shipped / "config.json").is_file():
        return own
    if own.is_dir() and not own.samefile(shipped):
        raise InputError(
            f"{name}: the name of a model that ships, and of a folder here; give "
            f"{own.resolve()} for the folder, or rename it to have the other"
        )
    return shipped
