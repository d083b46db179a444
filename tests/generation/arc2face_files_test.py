"""The files of Arc2Face: what is missing or damaged is said in a line each."""

import json
import pathlib
import shutil
import subprocess
import sys

import pytest
import torch
from safetensors.torch import load_file, save_file

from bridges.generators.arc2face.file_faults import fault_of
from bridges.generators.arc2face.files import FILES, check_files, digest_of, find_files
from bridges.generators.arc2face.settings import Arc2FacePaths
from hyperface_jax import InputError, files
from tests.generation import arc2face_files

UNET = "models/arc2face/diffusion_pytorch_model.safetensors"
ENCODER = "models/encoder/pytorch_model.bin"
ARCFACE = "models/arcface.onnx"
VAE = "base/vae/diffusion_pytorch_model.safetensors"
POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:12\nsize 12345\n"


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    folder = tmp_path_factory.mktemp("arc2face")
    arc2face_files.write(folder)
    return folder


@pytest.fixture
def folder(written, tmp_path):
    """A copy of all files, to change."""
    shutil.copytree(written, tmp_path / "all")
    return tmp_path / "all"


def paths_in(folder: pathlib.Path, **others: str) -> Arc2FacePaths:
    return Arc2FacePaths(str(folder / "models"), str(folder / "base"), **others)


def faults_in(folder: pathlib.Path) -> list[str]:
    return [state.fault for state in check_files(paths_in(folder)) if state.fault]


def test_all_is_there(folder):
    states = check_files(paths_in(folder))
    assert [state.file for state in states] == list(FILES)
    for state in states:
        assert state.fault is None
        assert state.line == (
            f"{state.path}: {state.path.stat().st_size:,} bytes, {state.file.use}"
        )
    assert find_files(paths_in(folder)) == {s.file.key: s.path for s in states}


@pytest.mark.parametrize("start", [b" <", b"<h", b"ve"])
def test_a_sound_file_may_begin_like_a_web_page(tmp_path, start):
    """Its first bytes are the length of its header."""
    path, length = tmp_path / "model.safetensors", int.from_bytes(start, "little")
    save_file({"a": torch.ones(3)}, path)
    content = path.read_bytes()
    size = int.from_bytes(content[:8], "little")
    header = content[8 : 8 + size].ljust(length)
    path.write_bytes(length.to_bytes(8, "little") + header + content[8 + size :])
    assert load_file(path)["a"].tolist() == [1, 1, 1]
    assert fault_of(path) is None


def test_a_lora_is_no_other_file(folder, tmp_path):
    (tmp_path / "README.md").write_text("# LoRA")
    paths = paths_in(folder, lcm_lora=str(tmp_path / "README.md"))
    (fault,) = [state.fault for state in check_files(paths) if state.fault]
    assert "README.md: is no .safetensors file; run hf download latent-con" in fault


def cut(path: pathlib.Path) -> None:
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])


def lengthen(path: pathlib.Path) -> None:
    path.write_bytes(path.read_bytes() + b"0")


def put(content: bytes):
    return lambda path: path.write_bytes(content)


def link_nowhere(path: pathlib.Path) -> None:
    path.unlink()
    path.symlink_to("nowhere")


def replace_by_folder(path: pathlib.Path) -> None:
    path.unlink()
    path.mkdir()


@pytest.mark.parametrize("name", [UNET, ENCODER, ARCFACE, VAE])
@pytest.mark.parametrize(
    ("damage", "fault"),
    [
        (pathlib.Path.unlink, "is missing"),
        (put(b""), "is empty"),
        (put(POINTER), "is a git-lfs pointer, not the file itself"),
        (put(b"\n<!DOCTYPE html><html>"), "is a web page, not the file itself"),
        (cut, "is cut off after "),
        (link_nowhere, "is a link that leads nowhere"),
        (replace_by_folder, "is a folder"),
    ],
)
def test_a_damaged_file_is_named_with_what_fetches_it(folder, name, damage, fault):
    damage(folder / name)
    (line,) = faults_in(folder)
    part, _, published = name.partition("/")
    source = {
        "models": "FoivosPar/Arc2Face",
        "base": "stable-diffusion-v1-5/stable-diffusion-v1-5",
    }[part]
    assert line.startswith(f"{folder / name}: {fault}") and "\n" not in line
    command = f"run hf download {source} {published} --local-dir {folder / part}"
    assert f"; {command}" in line
    # What is there is not fetched again unless asked to.
    assert line.endswith("--force-download") == (folder / name).exists()


@pytest.mark.parametrize(
    ("name", "content", "fault"),
    [
        (UNET, b"\x10" + b"\0" * 7 + b"no header at all", "is no safetensors file"),
        (UNET, b"123", "is no safetensors file"),
        (UNET, b"\xff" * 40, "is no safetensors file"),
        (ENCODER, b"some text", "is no file of torch"),
        (ARCFACE, b"none", "is no ONNX file"),
        ("base/vae/config.json", b"{", "not JSON"),
        ("base/scheduler/scheduler_config.json", b"[]", "holds list, expected an obj"),
        ("base/scheduler/scheduler_config.json", b"{}", "no entry 'beta_schedule'"),
        (
            "models/arc2face/config.json",
            b'{"_class_name": "AutoencoderKL"}',
            "describes 'AutoencoderKL', expected UNet2DConditionModel",
        ),
        (
            "models/encoder/config.json",
            b'{"model_type": "clip"}',
            "describes 'clip', expected clip_text_model",
        ),
    ],
)
def test_something_else_is_told_from_the_file(folder, name, content, fault):
    (folder / name).write_bytes(content)
    (line,) = faults_in(folder)
    assert (
        line.startswith(f"{folder / name}: ") and fault in line and "; run hf" in line
    )
    with pytest.raises(InputError) as error:
        find_files(paths_in(folder))
    assert str(error.value) == line


def test_cut_off_files_say_how_long_they_should_be(folder):
    size = (folder / UNET).stat().st_size
    cut(folder / UNET)
    (line,) = faults_in(folder)
    assert f"is cut off after {size // 2:,} of {size:,} bytes" in line
    shutil.copy(folder / VAE, folder / UNET)
    lengthen(folder / UNET)
    (line,) = faults_in(folder)
    assert "is longer than its header says" in line


def test_every_length_of_a_cut_is_noticed(folder):
    for name, path in ((n, folder / n) for n in (UNET, ENCODER, ARCFACE)):
        content = path.read_bytes()
        unnoticed = 0
        for length in range(0, len(content), len(content) // 41):
            path.write_bytes(content[:length])
            unnoticed += not faults_in(folder)
        path.write_bytes(content)
        assert unnoticed == 0, name


def test_other_names_of_the_files_are_taken(folder):
    moves = {
        ARCFACE: "models/antelopev2/arcface.onnx",
        UNET: "models/arc2face/diffusion_pytorch_model.fp16.safetensors",
        ENCODER: "models/encoder/pytorch_model.fp16.bin",
    }
    for name, other in moves.items():
        (folder / other).parent.mkdir(exist_ok=True)
        (folder / name).rename(folder / other)
    assert not faults_in(folder)
    found = find_files(paths_in(folder)).values()
    assert {folder / other for other in moves.values()} <= set(found)
    # Torch's files from before they were archives, too.
    path = folder / "models/encoder/pytorch_model.fp16.bin"
    torch.save({"a": torch.ones(2)}, path, _use_new_zipfile_serialization=False)
    assert not faults_in(folder)


def test_a_folder_that_is_not_there_is_one_line():
    lines = [state.line for state in check_files(Arc2FacePaths(base="no/base"))]
    assert lines == [
        "models: not given (about 4,193 MB); run hf download "
        "FoivosPar/Arc2Face arc2face/config.json "
        "arc2face/diffusion_pytorch_model.safetensors encoder/config.json "
        "encoder/pytorch_model.bin arcface.onnx --local-dir models, then give "
        "--models=models",
        "no/base: no such folder (about 335 MB); run hf download "
        "stable-diffusion-v1-5/stable-diffusion-v1-5 vae/config.json "
        "vae/diffusion_pytorch_model.safetensors scheduler/scheduler_config.json "
        "--local-dir no/base",
    ]
    with pytest.raises(InputError, match=r"--models=models \(and 1 more like this\)"):
        find_files(Arc2FacePaths())


def test_the_lora_is_looked_for_in_its_folder_or_as_a_file(folder):
    def last(place) -> str:
        return check_files(paths_in(folder, lcm_lora=str(place)))[-1].line

    lora = folder / "lora"
    assert last(lora).startswith(f"{lora}: no such folder (about 135 MB); run hf downl")
    lora.mkdir()
    inside = lora / "pytorch_lora_weights.safetensors"
    assert last(lora).startswith(f"{inside}: is missing (about 135 MB); run hf downloa")
    shutil.copy(folder / VAE, inside)
    assert last(lora).startswith(f"{inside}: ") and "few steps" in last(lora)
    other = lora / "other.safetensors"
    assert last(other).startswith(
        f"{other}: is missing (about 135 MB); run hf download "
    )
    inside.rename(other)
    assert last(other).startswith(f"{other}: ") and "few steps" in last(other)


def test_names_with_spaces_are_quoted_in_the_command(tmp_path):
    place = tmp_path / "my models"
    line = check_files(Arc2FacePaths(models=str(place)))[0].line
    assert line.endswith(f"--local-dir '{place}'")


def test_digests_follow_a_file_that_changes(tmp_path, monkeypatch):
    path = tmp_path / "a.bin"
    path.write_bytes(b"1")
    first = digest_of(path)
    assert first == files.sha256_of(path)
    with monkeypatch.context() as patch:
        patch.setattr(files, "sha256_of", lambda path: pytest.fail("read again"))
        assert digest_of(path) == first
    path.write_bytes(b"22")
    assert digest_of(path) == files.sha256_of(path) != first


def test_looking_loads_no_torch_and_reads_no_weights(folder):
    """A sparse file of the size of the published one takes no time."""
    header = json.dumps(
        {"a": {"dtype": "F32", "shape": [1], "data_offsets": [0, 3_440_000_000]}}
    ).encode()
    with (folder / UNET).open("wb") as file:
        file.write(len(header).to_bytes(8, "little") + header)
        file.truncate(8 + len(header) + 3_440_000_000)
    program = (
        "import sys\n"
        "from bridges.generators.arc2face.files import check_files\n"
        "from bridges.generators.arc2face.settings import Arc2FacePaths\n"
        f"paths = Arc2FacePaths({str(folder / 'models')!r}, {str(folder / 'base')!r})\n"
        "print(sum(state.fault is None for state in check_files(paths)))\n"
        "print({'torch', 'diffusers', 'onnx', 'onnxruntime'} & set(sys.modules))\n"
    )
    result = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert result.stdout.splitlines() == [str(len(FILES)), "set()"]
