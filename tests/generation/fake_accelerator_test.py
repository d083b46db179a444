"""Generation and trainings on a fake accelerator: no operation mixes devices.

Its tensors have a device and a shape and no numbers (torch's ``FakeTensorMode``), and
an operation with tensors of several devices is an error, as it would be on a GPU.
Covered are placement, shapes and dtypes of one sampling, of one decoding and of one
step of each training, with backward pass, clipping, optimiser and moving average. Not
covered are numbers, autocast, LCM, pinned memory, NCCL, the copy to NumPy, the latent
cache and real kernels.

The fake device is there for a whole process, so the checks run in one of their own.
"""

import json
import os
import subprocess
import sys
import traceback
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from torch._subclasses.fake_tensor import DataDependentOutputException, FakeTensorMode
from torch.utils import backend_registration
from transformers import CLIPTextConfig, CLIPTextModel

from bridges.devices import Device
from bridges.generators.arc2face import sampler as arc2face_sampler
from bridges.generators.arc2face.prompt_encoder import PromptEncoder
from bridges.generators.arc2face.settings import Arc2FaceSettings
from bridges.generators.latent_diffusion import (
    autoencoder_losses,
    diffusion_steps,
    sampler,
)
from bridges.generators.latent_diffusion.autoencoder import FaceAutoencoder
from bridges.generators.latent_diffusion.autoencoder_steps import (
    AutoencoderSteps,
    standardise,
)
from bridges.generators.latent_diffusion.denoiser import IdentityDenoiser
from bridges.generators.latent_diffusion.diffusion_steps import DiffusionSteps
from bridges.generators.latent_diffusion.generator import (
    GeneratorNetwork,
    LatentDiffusionGenerator,
)
from bridges.generators.latent_diffusion.latent_cache import LatentCache
from bridges.generators.latent_diffusion.settings import LatentDiffusionSettings
from bridges.generators.latent_diffusion.training_config import (
    AutoencoderTrainingConfig,
    DiffusionTrainingConfig,
)
from bridges.generators.latent_diffusion.training_images import TrainingImages
from bridges.recognisers.iresnet import IResNetRecogniser
from bridges.recognition.backbones import build_backbone
from bridges.training.data_parallel import Workers
from tests.generation import arc2face_files, tiny_models

PLACE = Device("fake:0")
PIXELS = torch.zeros(12, 3, 16, 16, dtype=torch.uint8)
ARC2FACE = Arc2FaceSettings(steps=3)
LABELS = torch.arange(4).repeat_interleave(3)
IMAGES = TrainingImages(PIXELS, LABELS, PIXELS, LABELS)


def placed(module: torch.nn.Module) -> torch.nn.Module:
    """The module on the fake device, without weights."""
    return module.to_empty(device=PLACE.torch)


def assert_placed(*tensors: torch.Tensor) -> None:
    assert {tensor.device for tensor in tensors} == {PLACE.torch}


def build_generator() -> LatentDiffusionGenerator:
    network = GeneratorNetwork(tiny_models.AUTOENCODER, tiny_models.DENOISER)
    record = {"name": "tiny", "sha256": ""}
    # What depends on numbers is computed where there are some.
    solver = sampler.build_solver(3)
    sampler.build_solver = lambda steps: solver
    return LatentDiffusionGenerator(network, model=record, recogniser=record)


def check_mixed_devices_are_noticed(generator: LatentDiffusionGenerator) -> None:
    network = placed(generator.network)
    with pytest.raises(RuntimeError, match="same device"):
        network.autoencoder.decode(torch.zeros(2, 4, 2, 2))


def check_sampling(generator: LatentDiffusionGenerator) -> None:
    placed(generator.network)
    generator.device = PLACE
    images = generator.decode_noise(
        torch.zeros(128, tiny_models.EMBEDDING_SIZE),
        torch.zeros(128, 4, 2, 2),
        LatentDiffusionSettings(steps=3),
    )
    assert_placed(images)
    assert images.shape == (128, 3, 16, 16) and images.dtype == torch.float32


def build_autoencoder() -> tuple[FaceAutoencoder, IResNetRecogniser]:
    backbone = build_backbone(
        "iresnet_small", image_size=32, embedding_size=tiny_models.EMBEDDING_SIZE
    )
    judge = IResNetRecogniser(backbone, image_size=32, embedding_size=32, model={})
    autoencoder_losses.load_recogniser = lambda name, **where: judge
    return FaceAutoencoder(tiny_models.AUTOENCODER), judge


def check_autoencoder(
    built: tuple[FaceAutoencoder, IResNetRecogniser], phase: str
) -> None:
    model = placed(built[0])
    placed(built[1].network)
    steps = AutoencoderSteps(
        Workers(0, 1, device=PLACE),
        IMAGES,
        AutoencoderTrainingConfig(phase=phase),
        model,
        autoencoder_losses.feature_distance("", PLACE),
    )
    losses = steps.update(0.5, 1)
    assert ("kl" in losses) == (phase == "full")
    trained = model.decoder_parameters()
    assert_placed(*losses.values(), *trained, *(weight.grad for weight in trained))
    # All of the evaluation but for the number that it comes to.
    with pytest.raises(DataDependentOutputException):
        steps.evaluate()
    standardise(model, PIXELS, PLACE)


def build_denoiser() -> IdentityDenoiser:
    index = diffusion_steps.index_identities(LABELS)
    diffusion_steps.index_identities = lambda labels: index
    return IdentityDenoiser(tiny_models.DENOISER)


def check_denoiser(built: IdentityDenoiser) -> None:
    rows = torch.zeros(12, tiny_models.EMBEDDING_SIZE)
    latents = torch.zeros(2, 12, 4, 2, 2, dtype=torch.float16)
    cache = LatentCache(latents, rows, LABELS, latents[0], rows, LABELS, {}, {})
    denoiser = placed(built)
    config = DiffusionTrainingConfig(batch_size=8)
    steps = DiffusionSteps(Workers(0, 1, device=PLACE), cache, config, denoiser)
    loss = steps.update(0.5, 1)["loss"]
    assert_placed(loss, *denoiser.parameters(), *steps.average.parameters())
    assert_placed(*(parameter.grad for parameter in denoiser.parameters()))
    with pytest.raises(DataDependentOutputException):
        steps.evaluate()


def build_arc2face() -> tuple[UNet2DConditionModel, AutoencoderKL, PromptEncoder]:
    # What depends on numbers is computed where there are some.
    solver = arc2face_sampler.build_solver(arc2face_files.SCHEDULER, ARC2FACE)
    arc2face_sampler.build_solver = lambda *arguments: solver
    with torch.device("meta"):
        text_encoder = CLIPTextModel(CLIPTextConfig(**arc2face_files.ENCODER)).half()
        unet = UNet2DConditionModel(**arc2face_files.UNET).half()
        vae = AutoencoderKL(**arc2face_files.VAE).half()
    encoder = PromptEncoder(text_encoder, Device("meta"), 2, "")
    return unet, vae, encoder


def check_arc2face(
    built: tuple[UNet2DConditionModel, AutoencoderKL, PromptEncoder],
) -> None:
    unet, vae, encoder = placed(built[0]), placed(built[1]), built[2]
    placed(encoder._network)
    encoder._place = PLACE.torch
    prompts = encoder.encode(np.zeros((2, 512))).to(PLACE.torch)
    nothing = encoder.encode_nothing()
    assert_placed(nothing)
    assert prompts.shape == (2, 77, 512) and prompts.dtype == torch.float16
    sources = [torch.Generator().manual_seed(seed) for seed in range(2)]
    noise = torch.zeros(2, 4, 4, 4, device=PLACE.torch)
    latents = arc2face_sampler.sample_latents(
        unet, arc2face_files.SCHEDULER, prompts, nothing, noise, sources, ARC2FACE
    )
    assert_placed(latents)
    assert latents.shape == (2, 4, 4, 4) and latents.dtype == torch.float32
    assert_placed(vae.decode(latents.half()).sample)


# What is built where tensors are real, and what is checked where they are not.
CHECKS: dict[str, tuple[Callable[[], Any], Callable[[Any], None]]] = {
    "mixed devices are noticed": (build_generator, check_mixed_devices_are_noticed),
    "sampling and decoding": (build_generator, check_sampling),
    "autoencoder": (build_autoencoder, lambda built: check_autoencoder(built, "full")),
    "decoder": (build_autoencoder, lambda built: check_autoencoder(built, "decoder")),
    "denoiser": (build_denoiser, check_denoiser),
    "Arc2Face": (build_arc2face, check_arc2face),
}


def main() -> None:
    """Runs the checks; prints what went wrong by name, as JSON."""
    backend_registration._setup_privateuseone_for_python_backend("fake")
    outcome = {}
    for name, (build, check) in CHECKS.items():
        outcome[name] = None
        try:
            built = build()
            with FakeTensorMode(allow_non_fake_inputs=True):
                check(built)
        except BaseException:
            outcome[name] = traceback.format_exc()
    print(json.dumps(outcome))


@pytest.fixture(scope="module")
def outcome(root):
    program = "from tests.generation import fake_accelerator_test as t; t.main()"
    result = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        cwd=root,
        env={**os.environ, "PYTHONPATH": str(root)},
    )
    assert result.returncode == 0, result.stderr
    return json.loads(result.stdout.splitlines()[-1])


@pytest.mark.parametrize("name", CHECKS)
def test_on_a_fake_accelerator(outcome, name):
    assert outcome[name] is None, outcome[name]
