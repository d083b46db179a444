"""What an exported recogniser is to take and to give; loads no torch."""

import dataclasses

from bridges.settings_checks import check_settings

INPUTS = ("scaled", "pixels")
# Those that torch's exporter and onnxruntime both know, and that PReLU is in.
OPSETS = (11, 20)
_RANGES = {"opset": OPSETS}
CHOICES = {"input": INPUTS}


@dataclasses.dataclass(frozen=True)
class ExportConfig:
    """How a recogniser is exported.

    Attributes:
      opset: version of ONNX's operators, 11 to 20.
      input: ``"scaled"``, RGB in [-1, 1] as insightface publishes its files; or
        ``"pixels"``, RGB from 0 to 255, which the file scales itself.
      normalise: give unit rows. Otherwise the features, whose length says how sure
        the network is of a face.
      flip: add the features of the mirror image, as verification protocols do; takes
        twice as long.
      licence: a note for whoever is given the file.
    """

    opset: int = 17
    input: str = "scaled"
    normalise: bool = True
    flip: bool = True
    licence: str = ""

    def __post_init__(self) -> None:
        check_settings(self, _RANGES, CHOICES)
