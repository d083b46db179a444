"""Brings MTCNN's weights, 2 MB: takes them from the wheel of facenet-pytorch 2.6.0.

That package (MIT) can't be installed beside a torch of today, so its wheel is
downloaded by pip, three files are read from it as tensors, checked, and kept in the
user's cache; nothing of it is run or installed. Example:

    python -m bridges.photographs.fetch_mtcnn

Without a network, give the wheel: --wheel=facenet_pytorch-2.6.0-py3-none-any.whl
"""

import hashlib
import io
import pathlib
import subprocess
import sys
import tempfile
import zipfile

from absl import flags

from hyperface_jax import InputError, files
from hyperface_jax.commands import run_command

FLAGS = flags.FlagValues()

flags.DEFINE_string(
    "wheel",
    None,
    "the wheel, where it is here already; else pip downloads it",
    flag_values=FLAGS,
)

_WHEEL = "facenet_pytorch-2.6.0-py3-none-any.whl"
_REQUIREMENT = "facenet-pytorch==2.6.0"
# Of the files in the wheel.
_SHA256 = {
    "pnet": "a2a71925e0b9996a42f63e47efc1ca19043e69558b5c523b978d611dfae49c8f",
    "rnet": "bbb937de72efc9ef83b186c49f5f558467a1d7e3453a8ece0d71a886633f6a86",
    "onet": "165bfbe42940416ccfb977545cf0e976d5bf321f67083ae2aaaa5c764280118d",
}


def main() -> None:
    """Fetches the weights, unless they are there."""
    from bridges.photographs import mtcnn_weights

    try:
        print(f"{mtcnn_weights.find()}: there already")
        return
    except InputError:
        pass
    if FLAGS.wheel:
        print(f"{fetch(pathlib.Path(files.path_of(FLAGS.wheel)))}: written")
        return
    with tempfile.TemporaryDirectory() as folder:
        print(f"{fetch(download(pathlib.Path(folder)))}: written")


def download(folder: pathlib.Path) -> pathlib.Path:
    """Has pip download the wheel.

    Raises:
      InputError: pip is not there, or can't.
    """
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps"]
    # Kept here once, it needs no copy in the cache of pip.
    command += ["--disable-pip-version-check", "--no-cache-dir"]
    command += [f"--dest={folder}", _REQUIREMENT]
    result = subprocess.run(command, capture_output=True, text=True)
    path = folder / _WHEEL
    if result.returncode or not path.is_file():
        said = (result.stderr.strip().splitlines() or ["no wheel"])[-1]
        raise InputError(
            f"pip can't download {_REQUIREMENT} ({said}); download {_WHEEL} elsewhere "
            "and give it by --wheel="
        )
    return path


def fetch(wheel: pathlib.Path) -> pathlib.Path:
    """Takes the weights from a wheel and keeps them.

    Args:
      wheel: of facenet-pytorch 2.6.0.

    Returns:
      The file written.

    Raises:
      InputError: no such wheel, or one that holds other files.
    """
    import torch
    from safetensors.torch import save

    from bridges import package_data
    from bridges.photographs import mtcnn_weights

    tensors = {}
    for name in mtcnn_weights.NETWORKS:
        content = _member(wheel, f"facenet_pytorch/data/{name}.pt")
        if hashlib.sha256(content).hexdigest() != _SHA256[name]:
            raise InputError(f"{wheel}: {name}.pt is not the file that was tested")
        state = torch.load(io.BytesIO(content), weights_only=True)
        tensors |= {f"{name}.{key}": value.contiguous() for key, value in state.items()}
    path = package_data.place_to_keep(mtcnn_weights.FILE)
    files.write_bytes(path, save(tensors))
    return mtcnn_weights.find()


def _member(wheel: pathlib.Path, name: str) -> bytes:
    try:
        with zipfile.ZipFile(wheel) as archive:
            return archive.read(name)
    except (OSError, KeyError, zipfile.BadZipFile, RuntimeError) as error:
        raise InputError(f"{wheel}: no wheel of {_REQUIREMENT} ({error})") from None


def run() -> None:
    """Entry point."""
    run_command(main, FLAGS)


if __name__ == "__main__":
    run()
