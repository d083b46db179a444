"""The files of Arc2Face: which there are, from where, and whether they are here.

This module loads no torch, so that a command can tell within a second what is missing.
"""

import dataclasses
import functools
import os
import pathlib
import shlex

from bridges.generators.arc2face.file_faults import fault_of
from bridges.generators.arc2face.settings import Arc2FacePaths
from hyperface_jax import InputError, files
from hyperface_jax.artifacts import read_json

# From where each folder comes.
SOURCES = {
    "models": "FoivosPar/Arc2Face",
    "base": "stable-diffusion-v1-5/stable-diffusion-v1-5",
    "lcm_lora": "latent-consistency/lcm-lora-sdv1-5",
}
_WORTH_SAYING = 1_000_000
_DIFFUSERS = tuple(
    f"diffusion_pytorch_model.{suffix}"
    for suffix in ("safetensors", "bin", "fp16.safetensors", "fp16.bin")
)
_TRANSFORMERS = (
    "model.safetensors",
    "pytorch_model.bin",
    "model.fp16.safetensors",
    "pytorch_model.fp16.bin",
)


@dataclasses.dataclass(frozen=True)
class ModelFile:
    """A file that Arc2Face takes.

    Attributes:
      key: what the rest of this package calls it.
      folder: the field of :class:`Arc2FacePaths` whose folder it is in.
      names: paths inside of that folder, of which one is enough; the first that is
        there is used.
      published: which of them is published.
      size: about how many bytes are published: of networks, from the number of their
        weights in float32; of ``arcface.onnx`` and the LoRA it is not certain.
      use: what it is for.
      entries: what a JSON file has to hold, ``None`` for any value.
    """

    key: str
    folder: str
    names: tuple[str, ...]
    published: str
    size: int
    use: str
    entries: tuple[tuple[str, str | None], ...] = ()


def _in(folder: str, names: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(f"{folder}/{name}" for name in names)


FILES = (
    ModelFile(
        "unet_config",
        "models",
        ("arc2face/config.json",),
        "arc2face/config.json",
        1_800,
        "shape of the denoising network",
        (("_class_name", "UNet2DConditionModel"),),
    ),
    ModelFile(
        "unet",
        "models",
        _in("arc2face", _DIFFUSERS),
        "arc2face/diffusion_pytorch_model.safetensors",
        3_440_000_000,
        "the denoising network",
    ),
    ModelFile(
        "encoder_config",
        "models",
        ("encoder/config.json",),
        "encoder/config.json",
        600,
        "shape of the text encoder",
        (("model_type", "clip_text_model"),),
    ),
    ModelFile(
        "encoder",
        "models",
        _in("encoder", _TRANSFORMERS),
        "encoder/pytorch_model.bin",
        492_000_000,
        "the text encoder, trained anew to take an embedding for a word",
    ),
    ModelFile(
        "recogniser",
        "models",
        ("arcface.onnx", "antelopev2/arcface.onnx"),
        "arcface.onnx",
        261_000_000,
        "the recogniser whose embeddings Arc2Face takes; no other's will do",
    ),
    ModelFile(
        "vae_config",
        "base",
        ("vae/config.json",),
        "vae/config.json",
        600,
        "shape of the autoencoder",
        (("_class_name", "AutoencoderKL"),),
    ),
    ModelFile(
        "vae",
        "base",
        _in("vae", _DIFFUSERS),
        "vae/diffusion_pytorch_model.safetensors",
        335_000_000,
        "the autoencoder, whose decoder makes pixels",
    ),
    ModelFile(
        "scheduler",
        "base",
        ("scheduler/scheduler_config.json",),
        "scheduler/scheduler_config.json",
        300,
        "the noise schedule",
        (("beta_schedule", None), ("num_train_timesteps", None)),
    ),
)
CONTROLNET = (
    ModelFile(
        "controlnet_config",
        "models",
        ("controlnet/config.json",),
        "controlnet/config.json",
        1_300,
        "shape of the ControlNet",
        (("_class_name", "ControlNetModel"),),
    ),
    ModelFile(
        "controlnet",
        "models",
        _in("controlnet", _DIFFUSERS),
        "controlnet/diffusion_pytorch_model.safetensors",
        1_445_000_000,
        "the ControlNet, which turns faces as an image says",
    ),
)
LCM_LORA = ModelFile(
    "lcm_lora",
    "lcm_lora",
    ("pytorch_lora_weights.safetensors",),
    "pytorch_lora_weights.safetensors",
    135_000_000,
    "changes of the denoising network for few steps",
)


@dataclasses.dataclass(frozen=True)
class FileState:
    """Whether one file can be used.

    Attributes:
      file: which.
      path: where it is, or should be; None where its folder is not there.
      fault: what is wrong with it and how to mend that; None where nothing shows.
    """

    file: ModelFile
    path: pathlib.Path | None
    fault: str | None

    @property
    def line(self) -> str:
        """The state in a line."""
        if self.fault is not None:
            return self.fault
        return f"{self.path}: {self.path.stat().st_size:,} bytes, {self.file.use}"


def check_files(paths: Arc2FacePaths) -> list[FileState]:
    """Looks whether all files are there and whole, without reading them whole.

    Found are files that are missing, empty, cut off, git-lfs pointers or web pages in
    their place, and configurations of something else. That their weights are those
    published is not; the digest of a generator tells.

    Args:
      paths: where they are.

    Returns:
      The state of each file, in the order of :data:`FILES`, or one state for a folder
      that is not there; then the LCM-LoRA. The ControlNet is among those of its folder.
      Both are there only where they were asked for.
    """
    wanted = list(FILES)
    if paths.control:
        wanted += CONTROLNET
    if paths.lcm_lora:
        wanted.append(LCM_LORA)
    states = []
    for field in dict.fromkeys(file.folder for file in wanted):
        folder = getattr(paths, field)
        inside = [file for file in wanted if file.folder == field]
        absent = _absent(folder, inside)
        if absent is not None:
            states.append(FileState(inside[0], None, absent))
        else:
            states += [_state(file, pathlib.Path(folder)) for file in inside]
    return states


def find_files(paths: Arc2FacePaths) -> dict[str, pathlib.Path]:
    """The path of each file by its key.

    Raises:
      InputError: a file that can't be used; see :func:`check_files`.
    """
    states = check_files(paths)
    faults = [state.fault for state in states if state.fault]
    if faults:
        others = f" (and {len(faults) - 1} more like this)" if faults[1:] else ""
        raise InputError(faults[0] + others)
    return {state.file.key: state.path for state in states}


def digest_of(path: pathlib.Path) -> str:
    """The SHA-256 of a file, read once in a process unless it changes."""
    state = path.stat()
    return _digest(path.resolve(), state.st_size, state.st_mtime_ns)


@functools.lru_cache(maxsize=64)
def _digest(path: pathlib.Path, size: int, changed: int) -> str:
    del size, changed  # Part of the key: a file that changes has another.
    return files.sha256_of(path)


def _absent(folder: str, inside: list[ModelFile]) -> str | None:
    """What to do about a folder that is not there, or None."""
    place, field = pathlib.Path(folder), inside[0].folder
    # Of a LoRA the file itself can be given, by whatever name.
    if folder and (place.is_dir() or (inside == [LCM_LORA] and place.suffix)):
        return None
    command = _download(inside, folder or field)
    if not folder:
        return (
            f"{field}: not given{_about(inside)}; run {command}, then give "
            f"--{field}={field}"
        )
    what = "is no folder" if place.exists() else "no such folder"
    return f"{place}: {what}{_about(inside)}; run {command}"


def _state(file: ModelFile, place: pathlib.Path) -> FileState:
    """The state of one file in its folder, or of a file that was given itself."""
    folder = place if place.is_dir() else place.parent
    candidates = [place / name for name in file.names] if folder == place else [place]
    path = next((p for p in candidates if os.path.lexists(p)), None)
    if path is None:
        path = place / file.published if folder == place else place
    fault = fault_of(path)
    if fault is None and file.entries:
        fault = _wrong_entry(path, file)
    suffixes = sorted({pathlib.PurePath(name).suffix for name in file.names})
    if fault is None and path.suffix not in suffixes:
        fault = f"is no {' or '.join(suffixes)} file"
    if fault is not None:
        command = _download([file], str(folder))
        if path.exists():
            # It is not fetched again without being told to.
            fault = f"{path}: {fault}; run {command} --force-download"
        else:
            fault = f"{path}: {fault}{_about([file])}; run {command}"
    return FileState(file, path, fault)


def _wrong_entry(path: pathlib.Path, file: ModelFile) -> str | None:
    """What a JSON file lacks."""
    try:
        found = read_json(path)
    except InputError as error:
        return str(error).removeprefix(f"{path}: ")
    for name, value in file.entries:
        if name not in found:
            return f"has no entry {name!r}, so describes something else"
        if value is not None and found[name] != value:
            return f"describes {found[name]!r}, expected {value}"
    return None


def _download(wanted: list[ModelFile], folder: str) -> str:
    """The command that fetches files into their folder."""
    names = [file.published for file in wanted]
    source = SOURCES[wanted[0].folder]
    return shlex.join(["hf", "download", source, *names, "--local-dir", folder])


def _about(wanted: list[ModelFile]) -> str:
    """How much there is to fetch, in words; nothing of small files."""
    size = sum(file.size for file in wanted)
    if size < _WORTH_SAYING:
        return ""
    return f" (about {size / 1e6:,.0f} MB)"
