"""Small Arc2Face's in exactly the layout of the published files."""

import json
import pathlib
import shutil
from typing import Any

import numpy as np
import onnx
import torch
from diffusers import AutoencoderKL, ControlNetModel, UNet2DConditionModel
from onnx import TensorProto, helper, numpy_helper
from PIL import Image
from safetensors.torch import save_file

from bridges import load_generator
from bridges.generators.arc2face.generator import Arc2FaceGenerator

HIDDEN, LAYERS, HEADS, WIDE = 512, 2, 2, 32
ENCODER = {
    "architectures": ["CLIPTextModelWrapper"],
    "_name_or_path": "somewhere",
    "attention_dropout": 0.0,
    "bos_token_id": 0,
    "dropout": 0.0,
    "eos_token_id": 2,
    "hidden_act": "quick_gelu",
    "hidden_size": HIDDEN,
    "initializer_factor": 1.0,
    "initializer_range": 0.02,
    "intermediate_size": WIDE,
    "layer_norm_eps": 1e-05,
    "max_position_embeddings": 77,
    "model_type": "clip_text_model",
    "num_attention_heads": HEADS,
    "num_hidden_layers": LAYERS,
    "pad_token_id": 1,
    "projection_dim": HIDDEN,
    "torch_dtype": "float32",
    "transformers_version": "4.34.1",
    "vocab_size": 49408,
}
UNET = {
    "sample_size": 4,
    "block_out_channels": (8, 8),
    "layers_per_block": 1,
    "down_block_types": ("CrossAttnDownBlock2D", "DownBlock2D"),
    "up_block_types": ("UpBlock2D", "CrossAttnUpBlock2D"),
    "norm_num_groups": 4,
    "attention_head_dim": 2,
    "cross_attention_dim": HIDDEN,
}
VAE = {
    "block_out_channels": (8, 8),
    "down_block_types": ("DownEncoderBlock2D",) * 2,
    "up_block_types": ("UpDecoderBlock2D",) * 2,
    "norm_num_groups": 4,
    "latent_channels": 4,
    "sample_size": 8,
}
# As Stable Diffusion 1.5 is published with.
SCHEDULER = {
    "_class_name": "PNDMScheduler",
    "_diffusers_version": "0.6.0",
    "beta_end": 0.012,
    "beta_schedule": "scaled_linear",
    "beta_start": 0.00085,
    "num_train_timesteps": 1000,
    "set_alpha_to_one": False,
    "skip_prk_steps": True,
    "steps_offset": 1,
    "trained_betas": None,
    "clip_sample": False,
}
_OLD = {"to_q": "query", "to_k": "key", "to_v": "value", "to_out.0": "proj_attn"}


def write(folder: pathlib.Path, **unet_shape: Any) -> dict[str, str]:
    """Writes all files; returns the paths for ``load_generator``.

    Args:
      folder: of ``models`` and ``base``.
      **unet_shape: entries of the denoising network that differ from :data:`UNET`.
    """
    models, base = folder / "models", folder / "base"
    for each in (models / "encoder", models / "arc2face", base / "vae"):
        each.mkdir(parents=True)
    (base / "scheduler").mkdir()
    torch.manual_seed(0)
    torch.save(encoder_state(), models / "encoder/pytorch_model.bin")
    _write_json(models / "encoder/config.json", ENCODER)
    unet = UNet2DConditionModel(**{**UNET, **unet_shape})
    _randomise(unet)
    unet.save_pretrained(models / "arc2face")
    vae = AutoencoderKL(**VAE)
    _randomise(vae)
    # With the names of the layers of attention that its publisher's file has.
    vae.save_config(base / "vae")
    state = {_old_name(name): value for name, value in vae.state_dict().items()}
    save_file(state, base / "vae/diffusion_pytorch_model.safetensors")
    _write_json(base / "scheduler/scheduler_config.json", SCHEDULER)
    write_arcface(models / "arcface.onnx")
    return {"models": str(models), "base": str(base)}


def encoder_state(prefix: str = "text_model.") -> dict[str, torch.Tensor]:
    """Random weights with the names of transformers 4.

    The rows of the token table overlap in memory, so that its file is small.
    """
    draw = torch.Generator().manual_seed(1)

    def normal(*shape: int, scale: float = 0.1) -> torch.Tensor:
        return scale * torch.randn(shape, generator=draw)

    vocabulary = ENCODER["vocab_size"]
    state = {
        "embeddings.token_embedding.weight": normal(
            vocabulary + HIDDEN, scale=1
        ).as_strided((vocabulary, HIDDEN), (1, 1)),
        "embeddings.position_embedding.weight": normal(77, HIDDEN),
        "embeddings.position_ids": torch.arange(77)[None],
        "final_layer_norm.weight": 1 + normal(HIDDEN),
        "final_layer_norm.bias": normal(HIDDEN),
    }
    for i in range(LAYERS):
        layer = f"encoder.layers.{i}."
        for name in ("q_proj", "k_proj", "v_proj", "out_proj"):
            state[f"{layer}self_attn.{name}.weight"] = normal(HIDDEN, HIDDEN)
            state[f"{layer}self_attn.{name}.bias"] = normal(HIDDEN)
        for name in ("layer_norm1", "layer_norm2"):
            state[f"{layer}{name}.weight"] = 1 + normal(HIDDEN)
            state[f"{layer}{name}.bias"] = normal(HIDDEN)
        state[f"{layer}mlp.fc1.weight"] = normal(WIDE, HIDDEN)
        state[f"{layer}mlp.fc1.bias"] = normal(WIDE)
        state[f"{layer}mlp.fc2.weight"] = normal(HIDDEN, WIDE)
        state[f"{layer}mlp.fc2.bias"] = normal(HIDDEN)
    return {prefix + name: value for name, value in state.items()}


def write_lora(folder: pathlib.Path) -> str:
    """Writes a LoRA for the denoising network; returns its path."""
    path = folder / "lora.safetensors"
    save_file(_lora_of(UNet2DConditionModel(**UNET)), path)
    return str(path)


def load(paths: dict[str, str]) -> Arc2FaceGenerator:
    """Loads them, to make two images at once."""
    return load_generator("arc2face", device="cpu", batch_size=2, **paths)


def copied(paths: dict[str, str], folder: pathlib.Path) -> dict[str, str]:
    """A copy of all folders, to change."""
    for name in paths:
        shutil.copytree(paths[name], folder / name)
    return {name: str(folder / name) for name in paths}


def write_control(folder: pathlib.Path, count: int = 3) -> str:
    """Writes a ControlNet beside the others, and images for it; returns their path."""
    network = ControlNetModel.from_unet(
        UNet2DConditionModel(**UNET), conditioning_embedding_out_channels=(4, 8)
    )
    _randomise(network)
    network.save_pretrained(folder / "models/controlnet")
    (folder / "control").mkdir()
    pixels = np.random.default_rng(7).integers(0, 256, (count, 8, 8, 3), np.uint8)
    for i, image in enumerate(pixels):
        Image.fromarray(image).save(folder / f"control/{i}.png")
    return str(folder / "control")


def _lora_of(unet: torch.nn.Module, rank: int = 2) -> dict[str, torch.Tensor]:
    """A random LoRA of every linear and convolutional layer, as kohya writes one."""
    draw = torch.Generator().manual_seed(2)
    state = {}
    for name, module in unet.named_modules():
        if isinstance(module, torch.nn.Linear | torch.nn.Conv2d):
            out, *rest = module.weight.shape
            key = "lora_unet_" + name.replace(".", "_")
            one = [1] * (len(rest) - 1)
            down = torch.randn((rank, *rest), generator=draw)
            up = torch.randn((out, rank, *one), generator=draw)
            state[f"{key}.lora_down.weight"] = 0.1 * down
            state[f"{key}.lora_up.weight"] = 0.1 * up
            state[f"{key}.alpha"] = torch.tensor(rank / 2)
    return state


def write_arcface(path: pathlib.Path) -> None:
    """A recogniser of 112 pixels and 512 numbers: coarse pixels times a matrix."""
    matrix = np.random.default_rng(3).normal(size=(3 * 7 * 7, 512)).astype(np.float32)
    nodes = [
        helper.make_node(
            "AveragePool", ["x"], ["p"], kernel_shape=[16, 16], strides=[16, 16]
        ),
        helper.make_node("Flatten", ["p"], ["f"]),
        helper.make_node("Gemm", ["f", "w"], ["y"]),
    ]
    graph = helper.make_graph(
        nodes,
        "graph",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 3, 112, 112])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(matrix, "w")],
    )
    opset = [helper.make_opsetid("", 17)]
    onnx.save(helper.make_model(graph, opset_imports=opset, ir_version=9), path)


def _randomise(network: torch.nn.Module) -> None:
    """Weights as large as those of a trained network: new ones hardly do anything."""
    draw = torch.Generator().manual_seed(4)
    for parameter in network.parameters():
        scale = 0.15 if parameter.ndim > 1 else 0.1
        parameter.data += scale * torch.randn(parameter.shape, generator=draw)


def _old_name(name: str) -> str:
    if ".attentions." in name:
        for new, old in _OLD.items():
            name = name.replace(f".{new}.", f".{old}.")
    return name


def _write_json(path: pathlib.Path, value: dict) -> None:
    path.write_text(json.dumps(value))
