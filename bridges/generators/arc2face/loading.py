"""Arc2Face from its files: read, checked against each other, and recorded."""

import hashlib
import json
import pathlib
from typing import Any

import torch
from diffusers import AutoencoderKL, UNet2DConditionModel

from bridges.datasets.image_dataset import ImageDataset
from bridges.devices import Device
from bridges.generators.arc2face.control import Control
from bridges.generators.arc2face.files import digest_of, find_files
from bridges.generators.arc2face.generator import Arc2FaceGenerator, image_size_of
from bridges.generators.arc2face.networks import (
    load_controlnet,
    load_text_encoder,
    load_unet,
    load_vae,
)
from bridges.generators.arc2face.prompt_encoder import PromptEncoder
from bridges.generators.arc2face.sampler import build_solver
from bridges.generators.arc2face.settings import Arc2FacePaths, Arc2FaceSettings
from hyperface_jax import InputError, checks
from hyperface_jax.artifacts import read_json


def load(
    name: str,
    device: Device | None = None,
    batch_size: int = 1,
    *,
    models: str = "",
    base: str = "",
    control: str = "",
    lcm_lora: str = "",
) -> Arc2FaceGenerator:
    """Loads Arc2Face from its published files.

    Args:
      name: ``"arc2face"``.
      device: what to compute on, by default the CPU, and in which precision: other than
        in the generators made here, weights are cast to it.
      batch_size: images computed at once.
      models: see :class:`Arc2FacePaths`.
      base: likewise.
      control: likewise.
      lcm_lora: likewise.

    Raises:
      InputError: files that are missing or damaged, or don't belong together.
    """
    checks.whole_number(batch_size, "batch_size", 1)
    device = device or Device()
    found = find_files(Arc2FacePaths(models, base, control, lcm_lora))
    dtype = getattr(torch, device.precision)
    encoder = PromptEncoder(
        load_text_encoder(found["encoder_config"], found["encoder"], dtype),
        device,
        batch_size,
        str(found["encoder_config"]),
    )
    unet = load_unet(found["unet_config"], found["unet"], dtype, found.get("lcm_lora"))
    if unet.config.cross_attention_dim != encoder.size:
        raise InputError(
            f"{found['unet_config']}: cross_attention_dim is "
            f"{unet.config.cross_attention_dim}, expected {encoder.size}, the "
            f"hidden_size of {found['encoder_config']}"
        )
    checks.whole_number(
        unet.config.sample_size, f"{found['unet_config']}: sample_size", 1
    )
    vae = load_vae(found["vae_config"], found["vae"], dtype)
    if unet.config.in_channels != vae.config.latent_channels:
        raise InputError(
            f"{found['unet_config']}: in_channels is {unet.config.in_channels}, "
            f"expected {vae.config.latent_channels}, the latent_channels of "
            f"{found['vae_config']}"
        )
    checks.in_range(
        vae.config.scaling_factor,
        f"{found['vae_config']}: scaling_factor",
        0,
        open_low=True,
    )
    images = ImageDataset(control) if control else None
    controlled = (
        None if images is None else _controlled(found, unet, vae, images, device)
    )
    arcface = found["recogniser"]
    return Arc2FaceGenerator(
        unet,
        vae,
        encoder,
        _schedule(found["scheduler"], "lcm_lora" in found),
        control=controlled,
        device=device,
        batch_size=batch_size,
        has_lcm="lcm_lora" in found,
        model={"name": name, "sha256": _digest(found, images)},
        recogniser={"name": arcface.stem, "sha256": digest_of(arcface)},
        recogniser_path=str(arcface),
    )


def _schedule(path: pathlib.Path, lcm: bool) -> dict[str, Any]:
    """The noise schedule, if a solver takes it."""
    schedule = read_json(path)
    settings = Arc2FaceSettings(guidance=1, steps=4, lcm=lcm)
    try:
        build_solver(schedule, settings)
    except Exception as error:  # Whatever solvers make of numbers that are none.
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        raise InputError(f"{path}: describes no noise schedule ({reason})") from None
    return schedule


def _controlled(
    found: dict[str, pathlib.Path],
    unet: UNet2DConditionModel,
    vae: AutoencoderKL,
    images: ImageDataset,
    device: Device,
) -> Control:
    """The ControlNet, if it is one of this denoising network."""
    network = load_controlnet(
        found["controlnet_config"], found["controlnet"], unet.dtype
    )
    for name in ("cross_attention_dim", "in_channels", "block_out_channels"):
        own, theirs = network.config[name], unet.config[name]
        # Lists of a file are tuples by default.
        if json.dumps(own) != json.dumps(theirs):
            raise InputError(
                f"{found['controlnet_config']}: {name} is {own}, expected {theirs}, as "
                f"in {found['unet_config']}"
            )
    return Control(network, images, image_size_of(unet, vae), device)


def _digest(found: dict[str, pathlib.Path], images: ImageDataset | None) -> str:
    """One SHA-256 over all that images depend on: weights, shapes, noise schedule.

    Of the configurations, notes of the libraries that wrote them don't count.
    """
    parts = {} if images is None else {"control": images.fingerprint()}
    for key, path in found.items():
        if key == "recogniser":
            continue
        if path.suffix == ".json":
            entries = read_json(path)
            parts[key] = {k: v for k, v in entries.items() if not k.startswith("_")}
        else:
            parts[key] = digest_of(path)
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()
