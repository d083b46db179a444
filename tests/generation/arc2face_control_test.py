"""Arc2Face's ControlNet, against diffusers' own pipeline."""

import pathlib

import diffusers
import numpy as np
import pytest
import torch
from PIL import Image

from bridges import load_generator
from bridges.generators.arc2face.files import check_files
from bridges.generators.arc2face.settings import Arc2FacePaths, Arc2FaceSettings
from hyperface_jax import InputError
from tests.generation import arc2face_files

FEW = Arc2FaceSettings(steps=4)
ROWS = np.eye(4, 512, dtype=np.float32)
SEEDS = [3, 4, 5, 6]


@pytest.fixture
def paths(tmp_path):
    paths = arc2face_files.write(tmp_path)
    return {**paths, "control": arc2face_files.write_control(tmp_path)}


def load(paths):
    return load_generator("arc2face", device="cpu", batch_size=3, **paths)


@pytest.mark.parametrize("guidance", [1.0, 3.0])
def test_images_are_those_of_the_pipeline(paths, guidance):
    settings = Arc2FaceSettings(guidance, steps=4)
    generator = load(paths)
    parts = {
        name: kind.from_pretrained(f"{folder}/{name}", local_files_only=True)
        for name, kind, folder in (
            ("arc2face", diffusers.UNet2DConditionModel, paths["models"]),
            ("controlnet", diffusers.ControlNetModel, paths["models"]),
            ("vae", diffusers.AutoencoderKL, paths["base"]),
        )
    }
    pipeline = diffusers.StableDiffusionControlNetPipeline(
        vae=parts["vae"],
        text_encoder=None,
        tokenizer=None,
        unet=parts["arc2face"],
        controlnet=parts["controlnet"],
        scheduler=diffusers.DPMSolverMultistepScheduler.from_config(
            arc2face_files.SCHEDULER
        ),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )
    pipeline.set_progress_bar_config(disable=True)
    chosen = [generator.control.choose(seed) for seed in SEEDS]
    assert len(set(chosen)) > 1 and set(chosen) <= {0, 1, 2}
    expected = [
        pipeline(
            image=Image.open(f"{paths['control']}/{index}.png"),
            prompt_embeds=torch.from_numpy(prompt)[None],
            negative_prompt_embeds=generator.unconditional[None],
            num_inference_steps=settings.steps,
            guidance_scale=guidance,
            generator=torch.Generator().manual_seed(seed),
            output_type="np",
        ).images[0]
        for index, prompt, seed in zip(
            chosen, generator.encode(ROWS), SEEDS, strict=True
        )
    ]
    images = generator.generate(ROWS, SEEDS, settings)
    assert np.abs(images - np.rint(255 * np.stack(expected))).max() <= 1


def test_a_seed_has_one_image_whatever_is_made_with_it(paths):
    generator = load(paths)
    together = generator.generate(ROWS, SEEDS, FEW)
    alone = generator.generate(ROWS[3:], SEEDS[3:], FEW)
    assert np.array_equal(alone[0], together[3])


def test_the_images_count_in_the_digest(paths):
    with_them = load(paths)
    first = pathlib.Path(paths["control"]) / "0.png"
    Image.fromarray(np.zeros((20, 20, 3), np.uint8)).save(first)
    changed = load(paths)
    without = load({name: paths[name] for name in ("models", "base")})
    digests = {g.model["sha256"] for g in (with_them, changed, without)}
    assert len(digests) == 3 and without.control is None
    # Of another size, it is resampled.
    changed.generate(ROWS, SEEDS, FEW)


def test_what_is_missing_or_of_something_else_is_said(paths):
    folder = pathlib.Path(paths["models"]) / "controlnet"
    assert not [s for s in check_files(Arc2FacePaths(**paths)) if s.fault]
    with pytest.raises(InputError, match="no_such_folder: "):
        load({**paths, "control": "no_such_folder"})
    other = diffusers.ControlNetModel.from_unet(
        diffusers.UNet2DConditionModel(
            **{**arc2face_files.UNET, "cross_attention_dim": 32}
        )
    )
    other.save_pretrained(folder)
    with pytest.raises(InputError, match="cross_attention_dim is 32, expected 512, as"):
        load(paths)
    (folder / "config.json").unlink()
    with pytest.raises(InputError) as error:
        load(paths)
    assert str(error.value) == (
        f"{folder}/config.json: is missing; run hf download FoivosPar/Arc2Face "
        f"controlnet/config.json --local-dir {paths['models']}"
    )
