"""What Arc2Face refuses: files that don't belong together, settings for others."""

import json

import diffusers
import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from bridges import load_generator
from bridges.generators.arc2face.settings import Arc2FaceSettings
from bridges.generators.generator import checked_settings
from hyperface_jax import InputError
from tests.generation import arc2face_files
from tests.generation.arc2face_files import copied, load

FEW = Arc2FaceSettings(steps=6)
LCM = Arc2FaceSettings(steps=3, guidance=1, lcm=True)
ROWS, SEEDS = np.eye(3, 512, dtype=np.float32), [3, 4, 5]


@pytest.fixture(scope="module")
def generator(places):
    return load(places)


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ({"guidance": 0.5}, "guidance is 0.5, must be at least 1"),
        ({"steps": 0}, "steps is 0, must be at least 1"),
        ({"lcm": 1}, "lcm is 1, must be a bool"),
        ({"lcm": True}, "got 25 and 3; give --steps=4 --guidance=1"),
        ({"lcm": True, "steps": 4}, "got 4 and 3; give --steps=4 --guidance=1"),
    ],
)
def test_settings_out_of_range_are_refused(values, reason):
    with pytest.raises(InputError, match=reason):
        Arc2FaceSettings(**values)


def test_lcm_and_its_lora_go_together(generator, with_lcm):
    with pytest.raises(InputError, match="sample with lcm only; give --lcm --steps=4"):
        checked_settings(with_lcm, None)  # What is called before anything is written.
    with pytest.raises(InputError, match="lcm takes a LoRA; give --lcm_lora"):
        generator.generate(ROWS, SEEDS, LCM)
    with pytest.raises(InputError, match="sample with lcm only; give --lcm --steps=4"):
        with_lcm.generate(ROWS, SEEDS, FEW)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"lora_unet_other.alpha": torch.ones(())}, "of lora_unet_other there are"),
        ({"lora_te_x.alpha": torch.ones(())}, "of lora_te_x there are lora_te_x.alpha"),
        (
            {"lora_unet_conv_in.lora_up.weight": torch.zeros(8, 3, 1, 1)},
            r"lora_unet_conv_in is \(8, 3, 1, 1\)",
        ),
        ({"lora_unet_conv_in.alpha": torch.ones(2)}, "of lora_unet_conv_in there are"),
    ],
)
def test_a_lora_of_something_else_is_refused(paths, places, tmp_path, change, reason):
    path = tmp_path / "pytorch_lora_weights.safetensors"
    save_file({**load_file(paths["lcm_lora"]), **change}, path)
    with pytest.raises(InputError, match=reason) as error:
        load({**places, "lcm_lora": str(tmp_path)})
    assert str(error.value).startswith(str(path))


def test_a_lora_of_a_layer_that_is_not_there_is_refused(paths, places, tmp_path):
    state = load_file(paths["lcm_lora"])
    renamed = {
        k.replace("lora_unet_conv_in", "lora_unet_c"): v for k, v in state.items()
    }
    save_file(renamed, tmp_path / "other.safetensors")
    with pytest.raises(InputError, match="changes lora_unet_c, which the network does"):
        load({**places, "lcm_lora": str(tmp_path / "other.safetensors")})


def test_a_lora_without_tensors_is_refused(places, tmp_path):
    save_file({}, tmp_path / "empty.safetensors")
    with pytest.raises(InputError, match="holds no tensors, expected a LoRA"):
        load({**places, "lcm_lora": str(tmp_path / "empty.safetensors")})


def test_networks_that_do_not_belong_together_are_refused(places, tmp_path):
    copy = copied(places, tmp_path)
    unet = diffusers.UNet2DConditionModel(
        **{**arc2face_files.UNET, "cross_attention_dim": 32}
    )
    unet.save_pretrained(tmp_path / "models/arc2face")
    with pytest.raises(InputError, match="cross_attention_dim is 32, expected 512"):
        load(copy)
    unet = diffusers.UNet2DConditionModel(**{**arc2face_files.UNET, "in_channels": 8})
    unet.save_pretrained(tmp_path / "models/arc2face")
    with pytest.raises(InputError, match="in_channels is 8, expected 4"):
        load(copy)
    config = tmp_path / "models/arc2face/config.json"
    config.write_text(
        json.dumps({**json.loads(config.read_text()), "norm_num_groups": 5})
    )
    with pytest.raises(InputError, match=r"config\.json: describes no network that"):
        load(copy)


@pytest.mark.parametrize(
    ("name", "entry", "value", "reason"),
    [
        (
            "models/arc2face/config.json",
            "sample_size",
            [4, 4],
            "must be a whole number",
        ),
        ("base/vae/config.json", "scaling_factor", "1", "must be a number"),
        (
            "base/scheduler/scheduler_config.json",
            "beta_schedule",
            "other",
            "describes no noise schedule (other is not implemented",
        ),
    ],
)
def test_configurations_that_can_not_be_used_are_refused(
    places, tmp_path, name, entry, value, reason
):
    copy = copied(places, tmp_path)
    content = json.loads((tmp_path / name).read_text())
    (tmp_path / name).write_text(json.dumps({**content, entry: value}))
    with pytest.raises(InputError) as error:
        load(copy)
    assert str(error.value).startswith(f"{tmp_path / name}: ")
    assert reason in str(error.value)


def test_a_missing_file_is_named_with_what_fetches_it(places, tmp_path):
    copy = copied(places, tmp_path)
    (tmp_path / "models/arcface.onnx").unlink()
    with pytest.raises(InputError) as error:
        load(copy)
    models = tmp_path / "models"
    assert str(error.value) == (
        f"{models}/arcface.onnx: is missing (about 261 MB); run hf download "
        f"FoivosPar/Arc2Face arcface.onnx --local-dir {models}"
    )


def test_paths_that_a_generator_does_not_take_are_refused(places):
    with pytest.raises(InputError, match="no path 'model'; it takes models, base, con"):
        load_generator("arc2face", model="x")
    with pytest.raises(
        InputError, match="latent_diffusion takes no path 'base'; it ta"
    ):
        load_generator("latent_diffusion", base="x")
    with pytest.raises(InputError, match=r"^models: not given \(about 4,193 MB\); run"):
        load_generator("arc2face", device="cpu", base="", models="")
