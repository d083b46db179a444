"""Arc2Face as a generator, against diffusers' own pipeline."""

import json
import logging
import pathlib
import socket

import diffusers
import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from bridges import load_generator, load_recogniser
from bridges.generators.arc2face.settings import Arc2FaceSettings
from hyperface_jax import InputError
from tests.generation import arc2face_files
from tests.generation.arc2face_files import copied, load

FEW = Arc2FaceSettings(steps=6)
LCM = Arc2FaceSettings(steps=3, guidance=1, lcm=True)
ROWS = np.random.default_rng(6).normal(size=(3, 512)).astype(np.float32)
ROWS /= np.linalg.norm(ROWS, axis=1, keepdims=True)
SEEDS = [3, 2**62 + 5, 8]


@pytest.fixture(scope="module")
def generator(places):
    return load(places)


def pipeline_images(paths, scheduler, unet, generator, settings) -> np.ndarray:
    """What diffusers' pipeline makes of the same prompts, one call an identity."""
    vae = diffusers.AutoencoderKL.from_pretrained(
        f"{paths['base']}/vae", local_files_only=True
    )
    pipeline = diffusers.StableDiffusionPipeline(
        vae=vae,
        text_encoder=None,
        tokenizer=None,
        unet=unet,
        scheduler=scheduler,
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )
    pipeline.set_progress_bar_config(disable=True)
    images = [
        pipeline(
            prompt_embeds=torch.from_numpy(prompt)[None],
            negative_prompt_embeds=generator.unconditional[None],
            num_inference_steps=settings.steps,
            guidance_scale=settings.guidance,
            generator=torch.Generator().manual_seed(seed),
            output_type="np",
        ).images[0]
        for prompt, seed in zip(generator.encode(ROWS), SEEDS, strict=True)
    ]
    return (255 * np.stack(images)).round().astype(int)


def their_unet(paths):
    return diffusers.UNet2DConditionModel.from_pretrained(
        f"{paths['models']}/arc2face", local_files_only=True
    )


@pytest.mark.parametrize("guidance", [1.0, 3.0])
def test_images_are_those_of_the_pipeline(paths, generator, guidance):
    settings = Arc2FaceSettings(guidance=guidance, steps=6)
    images = generator.generate(ROWS, SEEDS, settings)
    assert images.shape == (3, 8, 8, 3) and images.dtype == np.uint8
    scheduler = diffusers.DPMSolverMultistepScheduler.from_config(
        arc2face_files.SCHEDULER
    )
    expected = pipeline_images(paths, scheduler, their_unet(paths), generator, settings)
    assert np.abs(images - expected).max() <= 1
    # They are images at all: neither grey nor black and white.
    assert 10 < images.std() and np.mean((images > 0) & (images < 255)) > 0.5


def test_lcm_samples_with_the_low_rank_terms(paths, with_lcm):
    unet = their_unet(paths)
    lora = load_file(paths["lcm_lora"])
    add_low_rank_terms(unet, lora)
    images = with_lcm.generate(ROWS, SEEDS, LCM)
    scheduler = diffusers.LCMScheduler.from_config(arc2face_files.SCHEDULER)
    expected = pipeline_images(paths, scheduler, unet, with_lcm, LCM)
    assert np.abs(images - expected).max() <= 1
    plain = pipeline_images(paths, scheduler, their_unet(paths), with_lcm, LCM)
    assert np.abs(images - plain).mean() > 5


def add_low_rank_terms(unet, lora) -> None:
    """Adds to what each layer gives what its LoRA makes of the same input."""

    def hook(down, up, scale):
        def added(module, inputs, output):
            if isinstance(module, torch.nn.Linear):
                return output + scale * inputs[0] @ down.T @ up.T
            x = torch.nn.functional.conv2d(
                inputs[0], down, stride=module.stride, padding=module.padding
            )
            return output + scale * torch.nn.functional.conv2d(x, up)

        return added

    for name, module in unet.named_modules():
        key = "lora_unet_" + name.replace(".", "_")
        if f"{key}.alpha" in lora:
            down, up = lora[f"{key}.lora_down.weight"], lora[f"{key}.lora_up.weight"]
            scale = float(lora[f"{key}.alpha"]) / down.shape[0]
            module.register_forward_hook(hook(down, up, scale))


def test_the_published_schedule_becomes_second_order_dpm_solver(generator):
    solver = diffusers.DPMSolverMultistepScheduler.from_config(generator._schedule)
    solver.set_timesteps(25)
    assert solver.config.algorithm_type == "dpmsolver++"
    assert solver.config.solver_order == 2
    assert solver.timesteps[:2].tolist() == [999, 959]
    assert solver.timesteps[-2:].tolist() == [80, 40]


@pytest.mark.parametrize("kind", ["generator", "with_lcm"])
def test_an_image_does_not_depend_on_what_is_made_with_it(request, kind):
    made = request.getfixturevalue(kind)
    settings = LCM if kind == "with_lcm" else FEW
    together = made.generate(ROWS, SEEDS, settings)
    for i in (2, 1, 0):
        alone = made.generate(ROWS[i : i + 1], SEEDS[i : i + 1], settings)
        assert np.array_equal(alone[0], together[i])
    again = made.generate(ROWS[[2, 0, 0]], [8, 3, 9], settings)
    assert np.array_equal(again[:2], together[[2, 0]])
    assert np.abs(again[2].astype(int) - again[1]).mean() > 5


def test_every_setting_has_an_effect(generator):
    plain = generator.generate(ROWS[:1], [1], FEW).astype(int)
    for changed in (Arc2FaceSettings(steps=7), Arc2FaceSettings(steps=6, guidance=5)):
        assert np.abs(generator.generate(ROWS[:1], [1], changed) - plain).max() > 1


def test_prompts_can_be_kept_and_the_encoder_released(places):
    made = load_generator("arc2face", device="cpu", **places)
    assert made.batch_size == 1
    expected = made.generate(ROWS[:2], SEEDS[:2], FEW)
    prompts = made.encode(ROWS[:2])
    made.release_encoder()
    found = made.generate_from_prompts(prompts, SEEDS[:2], FEW)
    assert np.array_equal(found, expected)
    with pytest.raises(InputError, match="text encoder was released; load it again"):
        made.generate(ROWS[:2], SEEDS[:2], FEW)
    with pytest.raises(InputError, match=r"prompts have shape \(2, 76, 512\)"):
        made.generate_from_prompts(prompts[:, 1:], SEEDS[:2], FEW)
    with pytest.raises(InputError, match="1 seeds for 2"):
        made.generate_from_prompts(prompts, SEEDS[:1], FEW)


def test_equal_embeddings_are_encoded_once(generator, monkeypatch):
    counts = []
    encode = generator._encoder.encode
    monkeypatch.setattr(
        generator._encoder,
        "encode",
        lambda rows: counts.append(len(rows)) or encode(rows),
    )
    generator.generate(ROWS[[0, 1, 0, 0]], [1, 2, 3, 4], Arc2FaceSettings(steps=1))
    assert counts == [2]


def test_what_it_says_of_itself(generator, places):
    arcface = load_recogniser(generator.default_recogniser, device="cpu")
    assert generator.recogniser == arcface.model
    assert arcface.embedding_size == generator.embedding_size == 512
    assert (generator.image_size, generator.aligned, generator.version) == (8, False, 1)
    assert "OpenRAIL" in generator.licence
    assert generator.model["name"] == "arc2face"


def test_the_digest_is_of_all_that_images_depend_on(
    generator, with_lcm, places, tmp_path
):
    digests = {generator.model["sha256"], with_lcm.model["sha256"]}
    copy = copied(places, tmp_path)
    assert load(copy).model == generator.model
    note = pathlib.Path(copy["base"]) / "scheduler/scheduler_config.json"
    note.write_text(json.dumps({**arc2face_files.SCHEDULER, "_diffusers_version": "9"}))
    assert load(copy).model == generator.model
    note.write_text(json.dumps({**arc2face_files.SCHEDULER, "beta_end": 0.013}))
    digests.add(load(copy).model["sha256"])
    for path, change in (
        ("models/arc2face", "conv_in.bias"),
        ("base/vae", "decoder.conv_in.bias"),
    ):
        file = tmp_path / path / "diffusion_pytorch_model.safetensors"
        state = load_file(file)
        save_file({**state, change: state[change] + 1}, file)
        digests.add(load(copy).model["sha256"])
    assert len(digests) == 5


def attends_in(precision: str) -> bool:
    """Whether torch can: told to compute as an older processor does, it can't."""
    x = torch.zeros(1, 1, 64, 64, dtype=getattr(torch, precision))
    try:
        torch.nn.functional.scaled_dot_product_attention(x, x, x)
    except RuntimeError:
        return False
    return True


@pytest.mark.parametrize("precision", ["bfloat16", "float16"])
def test_weights_are_cast_to_a_smaller_precision(generator, places, precision):
    if not attends_in(precision):
        pytest.skip(f"this torch has no attention in {precision} here")
    made = load_generator("arc2face", device="cpu", precision=precision, **places)
    dtype = getattr(torch, precision)
    assert {p.dtype for p in made.unet.parameters()} == {dtype}
    assert {p.dtype for p in made.vae.parameters()} == {dtype}
    images = made.generate(ROWS, SEEDS, FEW).astype(int)
    expected = generator.generate(ROWS, SEEDS, FEW)
    assert 0 < np.abs(images - expected).mean() < 8


def test_weights_in_a_file_of_torch_are_read(generator, places, tmp_path):
    copy = copied(places, tmp_path)
    folder = tmp_path / "models/arc2face"
    file = folder / "diffusion_pytorch_model.safetensors"
    torch.save(load_file(file), folder / "diffusion_pytorch_model.bin")
    file.unlink()
    images = load(copy).generate(ROWS[:2], SEEDS[:2], FEW)
    assert np.array_equal(images, generator.generate(ROWS[:2], SEEDS[:2], FEW))


def test_nothing_is_fetched_or_said(places, tmp_path, monkeypatch, capfd, recwarn):
    copy = copied(places, tmp_path)
    # What a later version of the libraries may add, and they remark on.
    for name, kind in (
        ("base/scheduler/scheduler_config.json", "DPMSolverMultistepScheduler"),
        ("models/arc2face/config.json", "UNet2DConditionModel"),
    ):
        entries = json.loads((tmp_path / name).read_text())
        later = {**entries, "_class_name": kind, "later": 1}
        (tmp_path / name).write_text(json.dumps(later))
    said = []
    handler = logging.Handler()
    handler.emit = lambda record: said.append(record.getMessage())
    for name in ("connect", "connect_ex"):
        monkeypatch.setattr(socket.socket, name, lambda *a: pytest.fail("connects"))
    monkeypatch.setattr(socket, "getaddrinfo", lambda *a: pytest.fail("looks up"))
    loggers = [logging.getLogger(name) for name in ("diffusers", "transformers")]
    for logger in loggers:
        logger.addHandler(handler)
    try:
        load(copy).generate(ROWS[:1], [1], Arc2FaceSettings(steps=2))
    finally:
        for logger in loggers:
            logger.removeHandler(handler)
    assert (said, list(recwarn), *capfd.readouterr()) == ([], [], "", "")
