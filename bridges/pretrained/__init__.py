"""Weights that ship with the package, a folder with a model card each."""

import pathlib

FOLDER = pathlib.Path(__file__).resolve().parent
