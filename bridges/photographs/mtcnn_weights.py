"""Where MTCNN's weights are kept: one safetensors file in the user's cache."""

import pathlib

from bridges import package_data

NETWORKS = ("pnet", "rnet", "onet")
FILE = "mtcnn.safetensors"
# Of the file that fetch_mtcnn writes, the same on every machine.
SHA256 = "45209c89a01a216d7ae9baf3fa8e506dfb0e8ff1269007ce26e28338a9148cd3"
REMEDY = "make photos, or python -m bridges.photographs.fetch_mtcnn"


def find() -> pathlib.Path:
    """The file of weights.

    Raises:
      InputError: it is not there, or not the one that was tested.
    """
    return package_data.find_kept(FILE, SHA256, REMEDY)
