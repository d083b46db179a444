"""Recognisers in files of PyTorch, as insightface, AdaFace and HyperFace have them.

Which backbone a file holds is read from the names and shapes of its tensors, and with
it what the backbone takes:

==================  ==========================================  ======  ==============
published by        file                                        pixels  backbone
==================  ==========================================  ======  ==============
insightface         ``backbone.pth``, a state dict              RGB     iresnet18 …
AdaFace, HyperFace  Lightning's ``.ckpt``, prefix ``model.``    BGR     ir_18 … ir_101
==================  ==========================================  ======  ==============

Both scale to [-1, 1] by (x - 127.5) / 127.5. Files are read with ``weights_only``:
tensors and plain values alone. What Lightning adds, settings of a training, becomes
inert stand-ins; a file that asks for anything else is refused.
"""

import contextlib
import pathlib
import pickle
import re
import warnings
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import torch

from bridges.devices import Device
from bridges.recognisers.network import NetworkRecogniser, Pixels
from bridges.recognition.architectures import ADAFACE_DEPTHS, ARCHITECTURES
from bridges.recognition.backbones import build_backbone
from hyperface_jax import InputError, files

State = dict[str, torch.Tensor]

# Packages whose objects Lightning's checkpoints carry beside the weights.
_CARRIED = {
    "argparse",
    "easydict",
    "lightning",
    "lightning_fabric",
    "omegaconf",
    "pathlib",
    "pytorch_lightning",
    "yacs",
}
_STRIDE = 16
# As many names as a line has room for.
_NAMED = 3
# Written by every version since 0.4.1; without a part in evaluation.
_COUNTER = "num_batches_tracked"


class Layout(NamedTuple):
    """How a project lays its backbones out.

    Attributes:
      first: the name of the first convolution's weights, by which it is known.
      dense: that of the last dense layer's.
      blocks: a pattern of a parameter's name, with a group a number that counts blocks.
      pixels: what its backbones take.
    """

    first: str
    dense: str
    blocks: str
    pixels: Pixels


_INSIGHTFACE = Layout(
    "conv1.weight", "fc.weight", r"layer(\d)\.(\d+)\.conv1\.weight", Pixels()
)
_ADAFACE = Layout(
    "input_layer.0.weight",
    "output_layer.3.weight",
    r"body\.(\d+)\.res_layer\.1\.weight",
    Pixels(bgr=True),
)


class _Inert:
    """Stands for an object of a package that is not needed; does nothing."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        del args, kwargs

    def __setstate__(self, state: Any) -> None:
        del state


def load_torch_file(path: pathlib.Path, device: Device) -> NetworkRecogniser:
    """Loads a file of weights; a loader of :data:`RECOGNISERS`.

    Raises:
      InputError: no such file, one that holds more than tensors and plain values, no
        backbone that is known here, or one with tensors missing, unexpected, of other
        shapes, or of no numbers.
    """
    state = _backbone_of(_read(path), path)
    _check_numbers(state, path)
    layout = next((one for one in (_INSIGHTFACE, _ADAFACE) if one.first in state), None)
    if layout is None or layout.dense not in state:
        some = ", ".join(list(state)[:_NAMED])
        raise InputError(
            f"{path}: no backbone of insightface or AdaFace ({len(state)} tensors: "
            f"{some}, …)"
        )
    name = _architecture(state, layout, path)
    image_size, embedding_size = _sizes(state, layout, path)
    try:
        with torch.device("meta"):
            network = build_backbone(
                name, image_size=image_size, embedding_size=embedding_size
            )
    except InputError as error:
        raise InputError(f"{path}: {error}") from None
    _check_tensors(state, network.state_dict(), name, path)
    network.to_empty(device="cpu")
    network.load_state_dict(
        {**_counters(network), **{key: value.float() for key, value in state.items()}}
    )
    return NetworkRecogniser(
        network,
        image_size=image_size,
        embedding_size=embedding_size,
        model={"name": path.stem, "sha256": files.sha256_of(path)},
        pixels=layout.pixels,
        device=device,
    )


def _read(path: pathlib.Path) -> Mapping[str, Any]:
    """What a file holds; runs nothing of it."""
    if not path.is_file():
        raise InputError(f"{path}: no such file")
    try:
        with _stand_ins(path), warnings.catch_warnings():
            # Of versions and types that only a damaged file has.
            warnings.simplefilter("ignore")
            found = torch.load(path, map_location="cpu", weights_only=True)
    except (InputError, MemoryError, PermissionError):
        raise
    except pickle.UnpicklingError:
        raise InputError(
            f"{path}: holds more than tensors and plain values, and is not read; save "
            "its state_dict() alone"
        ) from None
    except Exception as error:  # Whatever a damaged archive or pickle leads to.
        reason = " ".join(str(error).split())[:150] or type(error).__name__
        raise InputError(f"{path}: damaged, or no file of PyTorch ({reason})") from None
    if not isinstance(found, Mapping):
        raise InputError(f"{path}: holds a {type(found).__name__}, expected tensors")
    return found


@contextlib.contextmanager
def _stand_ins(path: pathlib.Path) -> Iterator[None]:
    """Reads objects of the packages in ``_CARRIED`` as inert ones meanwhile."""
    try:
        unknown = torch.serialization.get_unsafe_globals_in_checkpoint(path)
    except (MemoryError, PermissionError):
        raise
    except Exception:  # An older format, or damaged; reading it tells.
        unknown = []
    if refused := [name for name in unknown if name.split(".")[0] not in _CARRIED]:
        raise InputError(
            f"{path}: asks for {', '.join(sorted(refused)[:_NAMED])}, which could run "
            "anything, and is not read; save its state_dict() alone"
        )
    stand_ins = [(type(name, (_Inert,), {}), name) for name in unknown]
    with torch.serialization.safe_globals(stand_ins):
        yield


def _backbone_of(found: Mapping[str, Any], path: pathlib.Path) -> State:
    """The tensors of the backbone, by the names that they have there."""
    found = found.get("state_dict", found)
    if not isinstance(found, Mapping):
        raise InputError(f"{path}: its state_dict is no dictionary")
    state = {
        str(name).removeprefix("module."): value
        for name, value in found.items()
        if isinstance(value, torch.Tensor)
    }
    inside = {
        name.removeprefix("model."): value
        for name, value in state.items()
        if name.startswith("model.")
    }
    return inside or state


def _architecture(state: State, layout: Layout, path: pathlib.Path) -> str:
    """The name of the backbone, from the number of its blocks."""
    matches = [re.fullmatch(layout.blocks, name) for name in state]
    blocks = [match.groups() for match in matches if match]
    if layout is _ADAFACE:
        found: Any = len(blocks)
        known = {sum(depths): name for name, depths in ADAFACE_DEPTHS.items()}
    else:
        stages = [int(stage) for stage, _ in blocks]
        found = tuple(stages.count(stage) for stage in (1, 2, 3, 4))
        known = {
            shape.depths: name
            for name, shape in ARCHITECTURES.items()
            if not shape.light
        }
    if found not in known:
        raise InputError(
            f"{path}: a backbone of {found} blocks, expected one of "
            f"{', '.join(known.values())}"
        )
    return known[found]


def _sizes(state: State, layout: Layout, path: pathlib.Path) -> tuple[int, int]:
    """The side of the image and the length of an embedding, from the dense layer."""
    dense = state[layout.dense]
    side = round((dense.shape[-1] / 512) ** 0.5) if dense.ndim == 2 else 0
    if not side or dense.shape[1] != 512 * side**2:
        raise InputError(
            f"{path}: {layout.dense} is {tuple(dense.shape)}, expected [d, 512 × side²]"
        )
    return side * _STRIDE, dense.shape[0]


def _check_numbers(state: State, path: pathlib.Path) -> None:
    """Refuses tensors that are no weights, or larger than what the file holds of them.

    One number can be said to fill any shape, and loading it would take the memory.
    """
    plain = (torch.float64, torch.float32, torch.float16, torch.bfloat16)
    for name, value in state.items():
        counter = name.endswith(_COUNTER) and value.dtype == torch.int64
        if value.layout != torch.strided or value.is_meta or value.is_quantized:
            raise InputError(f"{path}: {name} is no plain tensor; save plain ones")
        if value.dtype not in plain and not counter:
            raise InputError(f"{path}: {name} is of {value.dtype}, expected floats")
        if value.numel() * value.element_size() > value.untyped_storage().nbytes():
            raise InputError(
                f"{path}: {name} is {tuple(value.shape)}, and fewer numbers are stored"
            )


def _check_tensors(state: State, wanted: State, name: str, path: pathlib.Path) -> None:
    """Refuses tensors that are missing, too many, or of another shape."""
    expected = {key for key in wanted if not key.endswith(_COUNTER)}
    both = expected & state.keys()
    faults = {
        "missing": expected - state.keys(),
        "unexpected": state.keys() - wanted.keys(),
        "of another shape": {k for k in both if state[k].shape != wanted[k].shape},
    }
    told = [
        f"{len(keys)} {fault} ({', '.join(sorted(keys)[:_NAMED])}"
        f"{', …' if len(keys) > _NAMED else ''})"
        for fault, keys in faults.items()
        if keys
    ]
    if told:
        raise InputError(f"{path}: not the tensors of {name}: {'; '.join(told)}")


def _counters(network: torch.nn.Module) -> State:
    """Zeros for the counters, which old files lack."""
    return {
        key: torch.zeros((), dtype=torch.long)
        for key in network.state_dict()
        if key.endswith(_COUNTER)
    }
