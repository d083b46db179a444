"""Recognisers in ONNX files, as insightface and Arc2Face publish theirs.

What such a file takes is a convention, not written in it: an aligned face of 112 x 112
pixels (or the size that the file gives), RGB, (x - 127.5) / 127.5. Where a subtraction
and a multiplication are among its first nodes, as insightface looks for them, they are
that scaling, and the file takes 0 to 255; a division serves for the multiplication,
which insightface does not look for and would scale twice.
"""

import os
import pathlib
from typing import Any

import numpy as np

from bridges.devices import Device
from bridges.onnx_network import REMEDY, read_graph
from bridges.recognisers import sface
from bridges.recognisers.embedding import BATCH_SIZE, embed_batches, unit_sums
from bridges.recognisers.recogniser import Recogniser
from hyperface_jax import InputError, files

SUFFIX = ".onnx"
# Among so many first nodes insightface looks for the scaling (model_zoo/arcface_onnx).
_FIRST_NODES = 8
_SUBTRACTIONS = ("Sub", "_minusscalar0")
_MULTIPLICATIONS = ("Mul", "_mulscalar0", "Div", "_divscalar0")
_USUAL_SIZE = 112


class OnnxRecogniser:
    """A network run by onnxruntime.

    Attributes:
      image_size: the side ``s`` of its input in pixels.
      embedding_size: ``d``.
      model: ``{"name", "sha256"}``.
      scales_itself: whether it takes 0 to 255 rather than [-1, 1].
    """

    def __init__(self, path: pathlib.Path, sha256: str, device: Device) -> None:
        """Opens a file.

        Args:
          path: of the file.
          sha256: of its content.
          device: what to compute on.

        Raises:
          InputError: no such file, not ONNX, or no recogniser of faces.
        """
        # Looks for weights in other files too, before onnxruntime would read them.
        self.scales_itself = _scales_itself(path)
        self._session = open_session(path, device)
        inputs, outputs = self._session.get_inputs(), self._session.get_outputs()
        if len(inputs) != 1 or len(outputs) != 1:
            raise InputError(
                f"{path}: {len(inputs)} inputs and {len(outputs)} outputs, expected "
                "one of each: a recogniser"
            )
        (self._input,) = inputs
        batch, channels, height, width = _four(self._input.shape, path)
        if channels not in (3, None) or height != width:
            raise InputError(
                f"{path}: takes {self._input.shape}, expected [n, 3, size, size]"
            )
        self.image_size = height or _USUAL_SIZE
        # Files that were exported for so many images at a time run with no others.
        self._batch = batch
        self.embedding_size = self._probe(path)
        self.model = {"name": path.stem, "sha256": sha256}

    def embed(self, images: np.ndarray, *, flip: bool = True) -> np.ndarray:
        """Embeds images.

        Args:
          images: ``[n, h, h, 3]`` uint8 RGB; resampled when of another size.
          flip: add the outputs of the image and its mirror image before normalising.

        Returns:
          ``[n, d]`` float32, unit rows.

        Raises:
          InputError: another shape or dtype.
        """
        return embed_batches(
            unit_sums(self._run, flip=flip),
            images,
            image_size=self.image_size,
            embedding_size=self.embedding_size,
            batch_size=BATCH_SIZE,
        )

    def _run(self, images: np.ndarray) -> np.ndarray:
        x = images.transpose(0, 3, 1, 2).astype(np.float32)
        if not self.scales_itself:
            x = (x - 127.5) / 127.5
        step = self._batch or len(x)
        rows = []
        for start in range(0, len(x), step):
            part = x[start : start + step]
            missing = step - len(part)
            padded = np.pad(part, ((0, missing), (0, 0), (0, 0), (0, 0)))
            (out,) = self._session.run(None, {self._input.name: padded})
            rows.append(np.asarray(out, np.float32)[: len(part)])
        return np.concatenate(rows)

    def _probe(self, path: pathlib.Path) -> int:
        """The length of an embedding, by embedding an image of grey."""
        size = self.image_size
        try:
            out = self._run(np.full((1, size, size, 3), 127, np.uint8))
        except Exception as error:  # What onnxruntime raises has no common class.
            raise InputError(f"{path}: does not run ({_line(error)})") from None
        if out.ndim != 2 or out.shape[1] < 2:
            raise InputError(
                f"{path}: gives {out.shape} for an image, expected [1, d]: no "
                "recogniser"
            )
        if not np.isfinite(out).all():
            raise InputError(
                f"{path}: gives no finite numbers for an image; the file is damaged"
            )
        return out.shape[1]


def load_onnx(path: pathlib.Path, device: Device) -> Recogniser:
    """Loads an ONNX file; a loader of :data:`RECOGNISERS`.

    SFace's file, which takes other pixels than ArcFace's, is known by its content.

    Raises:
      InputError: no such file, not ONNX, or no recogniser of faces.
    """
    if not path.is_file():
        raise InputError(f"{path}: no such file")
    sha256 = files.sha256_of(path)
    if sha256 == sface.SFACE.sha256:
        return sface.of_file(path, device)
    return OnnxRecogniser(path, sha256, device)


def open_session(path: pathlib.Path, device: Device) -> Any:
    """Opens a file in onnxruntime.

    Raises:
      InputError: onnxruntime is not installed, or does not read the file.
    """
    # It reports its use to Microsoft otherwise, and leaves a number in the home folder,
    # from its import on (its Privacy.md).
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
    try:
        import onnxruntime
    except ModuleNotFoundError:
        raise InputError(f"{path}: takes onnxruntime; run {REMEDY}") from None
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    # Without the GPU build of onnxruntime the second provider serves.
    wanted = ["CPUExecutionProvider"]
    if device.torch.type == "cuda":
        wanted.insert(0, "CUDAExecutionProvider")
    available = onnxruntime.get_available_providers()
    try:
        return onnxruntime.InferenceSession(
            path.read_bytes(), options, [name for name in wanted if name in available]
        )
    except OSError:
        raise
    except Exception as error:  # What onnxruntime raises has no common class.
        raise InputError(
            f"{path}: no network that onnxruntime reads ({_line(error)})"
        ) from None


def _scales_itself(path: pathlib.Path) -> bool:
    nodes = read_graph(path).node[:_FIRST_NODES]
    names = [(node.op_type, node.name) for node in nodes]

    def among(kinds: tuple[str, ...]) -> bool:
        return any(kind in kinds or name.startswith(kinds) for kind, name in names)

    return among(_SUBTRACTIONS) and among(_MULTIPLICATIONS)


def _four(shape: list[Any], path: pathlib.Path) -> list[int | None]:
    """The sizes of an input, None where they are free."""
    if len(shape) != 4:
        raise InputError(f"{path}: takes {shape}, expected [n, 3, size, size]")
    return [size if isinstance(size, int) and size > 0 else None for size in shape]


def _line(error: Exception) -> str:
    return " ".join(str(error).split())[:200]
