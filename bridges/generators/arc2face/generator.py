"""Arc2Face as a generator: ArcFace embeddings in, faces of 512 pixels out.

Papantoniou et al. 2024, "Arc2Face: A Foundation Model for ID-Consistent Human Faces"
(arXiv:2403.11641). The weights are its authors'; see
:mod:`bridges.generators.arc2face.files`.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from diffusers import AutoencoderKL, UNet2DConditionModel

from bridges.devices import Device, single_threaded
from bridges.generators.arc2face.control import Control, nothing_added
from bridges.generators.arc2face.prompt_encoder import (
    EMBEDDING_SIZE,
    PROMPT_LENGTH,
    PromptEncoder,
)
from bridges.generators.arc2face.sampler import SAMPLER_VERSION, sample_latents
from bridges.generators.arc2face.settings import Arc2FaceSettings
from bridges.generators.generator import (
    checked_embeddings,
    checked_seeds,
    checked_settings,
)
from bridges.pixels import to_pixels
from hyperface_jax import InputError

LICENCE = (
    "Made by Arc2Face, whose code is under the MIT licence and whose weights come with "
    "the terms of their model card (FoivosPar/Arc2Face): they were trained on "
    "WebFace42M, FFHQ and CelebA-HQ, photographs of real people for research. They "
    "build on Stable Diffusion 1.5, CreativeML OpenRAIL-M, whose restrictions of use "
    "pass on. For research only."
)


class Arc2FaceGenerator:
    """A :class:`bridges.generators.generator.Generator`.

    Attributes:
      unet: the denoising network.
      vae: the autoencoder.
      device: what it computes on.
      batch_size: images computed at once.
      control: the ControlNet and its images, or None.
      has_lcm: whether the weights are those of a latent consistency model.
      model: ``{"name", "sha256"}`` of this generator.
      recogniser: ``{"name", "sha256"}`` of ``arcface.onnx``.
      default_recogniser: the path of ``arcface.onnx``.
      image_size: height and width of an image in pixels.
      unconditional: ``[77, d]``, the prompt of the empty sentence, which guidance leads
        away from; on the device.
    """

    aligned = False
    licence = LICENCE
    version = SAMPLER_VERSION
    settings_type = Arc2FaceSettings
    embedding_size = EMBEDDING_SIZE

    def __init__(
        self,
        unet: UNet2DConditionModel,
        vae: AutoencoderKL,
        encoder: PromptEncoder,
        schedule: dict[str, Any],
        *,
        control: Control | None,
        device: Device,
        batch_size: int,
        has_lcm: bool,
        model: dict[str, str],
        recogniser: dict[str, str],
        recogniser_path: str,
    ) -> None:
        """Moves the networks to a device.

        :func:`bridges.generators.arc2face.loading.load` reads them from files.

        Args:
          unet: in the type that it computes in, as the others.
          vae: its decoder is used.
          encoder: makes prompts.
          schedule: the published ``scheduler_config.json``.
          control: see the attributes.
          device: see the attributes.
          batch_size: see the attributes.
          has_lcm: see the attributes.
          model: see the attributes.
          recogniser: see the attributes.
          recogniser_path: see ``default_recogniser``.
        """
        self.device = device
        self.unet = unet.to(device.torch)
        self.vae = vae.to(device.torch)
        self.control = control
        self.batch_size = batch_size
        self.has_lcm = has_lcm
        self.model = model
        self.recogniser = recogniser
        self.default_recogniser = recogniser_path
        self.image_size = image_size_of(unet, vae)
        self._schedule = schedule
        self._encoder: PromptEncoder | None = encoder
        self._prompt_size = encoder.size
        with single_threaded():
            self.unconditional = encoder.encode_nothing()

    def generate(
        self,
        embeddings: np.ndarray,
        seeds: Sequence[int] | np.ndarray,
        settings: Arc2FaceSettings | None = None,
    ) -> np.ndarray:
        """Makes an image for each embedding.

        An image is a function of its embedding, its seed and the settings; what else is
        in the call does not matter. It is bit-equal on one kind of processor for one
        batch size; another may round differently.

        Args:
          embeddings: ``[n, 512]`` unit rows of ``arcface.onnx``.
          seeds: ``[n]`` integers in [0, 2⁶³), one ``torch.Generator`` each.
          settings: guidance, steps and solver.

        Returns:
          ``[n, s, s, 3]`` uint8 RGB.

        Raises:
          InputError: embeddings that are no unit rows of the right length, a seed for
            each is missing, settings of another generator or for other weights, or the
            encoder was released.
        """
        embeddings = checked_embeddings(self, embeddings)
        settings = checked_settings(self, settings)
        seeds = checked_seeds(seeds, len(embeddings))
        distinct, which = np.unique(embeddings, axis=0, return_inverse=True)
        prompts = self._encode(distinct)
        return self._generate(prompts, which.reshape(-1), seeds, settings)

    def encode(self, embeddings: np.ndarray) -> np.ndarray:
        """The prompts of embeddings, for :meth:`generate_from_prompts`.

        Args:
          embeddings: ``[n, 512]`` unit rows of ``arcface.onnx``.

        Returns:
          ``[n, 77, d]`` float32, of the precision that the generator computes in.

        Raises:
          InputError: embeddings that are no unit rows of the right length, or the
            encoder was released.
        """
        prompts = self._encode(checked_embeddings(self, embeddings))
        return prompts.float().numpy()

    def generate_from_prompts(
        self,
        prompts: np.ndarray,
        seeds: Sequence[int] | np.ndarray,
        settings: Arc2FaceSettings | None = None,
    ) -> np.ndarray:
        """Makes an image for each prompt; otherwise as :meth:`generate`.

        Args:
          prompts: ``[n, 77, d]`` as :meth:`encode` returns them.
          seeds: ``[n]`` integers in [0, 2⁶³).
          settings: guidance, steps and solver.

        Returns:
          ``[n, s, s, 3]`` uint8 RGB.

        Raises:
          InputError: prompts of another shape, or as for :meth:`generate`.
        """
        prompts = np.asarray(prompts)
        shape = (PROMPT_LENGTH, self._prompt_size)
        if prompts.ndim != 3 or prompts.shape[1:] != shape or not len(prompts):
            raise InputError(
                f"prompts have shape {prompts.shape}, expected (n, {shape[0]}, "
                f"{shape[1]})"
            )
        settings = checked_settings(self, settings)
        seeds = checked_seeds(seeds, len(prompts))
        rows = torch.from_numpy(np.array(prompts, np.float32))
        rows = rows.to(self.unconditional.dtype)
        return self._generate(rows, np.arange(len(rows)), seeds, settings)

    def release_encoder(self) -> None:
        """Frees the memory of the text encoder, half a gigabyte in float32.

        From then on only :meth:`generate_from_prompts` makes images.
        """
        self._encoder = None

    def check_settings(self, settings: Arc2FaceSettings) -> None:
        """Raises InputError unless the settings are for these weights."""
        if settings.lcm and not self.has_lcm:
            raise InputError(
                "lcm takes a LoRA; give --lcm_lora, a file or folder of "
                "latent-consistency/lcm-lora-sdv1-5"
            )
        if self.has_lcm and not settings.lcm:
            raise InputError(
                "lcm_lora was given, with which the weights sample with lcm only; give "
                "--lcm --steps=4 --guidance=1, or leave --lcm_lora out"
            )

    def _encode(self, embeddings: np.ndarray) -> torch.Tensor:
        if self._encoder is None:
            raise InputError(
                f"generator {self.model['name']}: its text encoder was released; load "
                "it again, or call generate_from_prompts"
            )
        with single_threaded():
            return self._encoder.encode(embeddings)

    @torch.no_grad()
    def _generate(
        self,
        prompts: torch.Tensor,
        which: np.ndarray,
        seeds: Sequence[int],
        settings: Arc2FaceSettings,
    ) -> np.ndarray:
        """An image for each seed, of the prompt, on the CPU, that ``which`` says."""
        images = []
        with single_threaded():
            for start in range(0, len(seeds), self.batch_size):
                batch = slice(start, start + self.batch_size)
                images.append(
                    self._generate_batch(prompts[which[batch]], seeds[batch], settings)
                )
        return np.concatenate(images)

    def _generate_batch(
        self,
        prompts: torch.Tensor,
        seeds: Sequence[int],
        settings: Arc2FaceSettings,
    ) -> np.ndarray:
        """The images of at most ``batch_size`` prompts, computed with others of seed 0
        where there are fewer: rounding depends on the shape of a batch."""
        missing = self.batch_size - len(prompts)
        prompts = torch.cat([prompts, prompts[:1].expand(missing, -1, -1)])
        # On the CPU for every device: only there is a seed the same noise everywhere.
        filled = [*seeds, *[0] * missing]
        sources = [torch.Generator().manual_seed(seed) for seed in filled]
        config = self.unet.config
        shape = (config.in_channels, config.sample_size, config.sample_size)
        noise = torch.stack([torch.randn(shape, generator=s) for s in sources])
        latents = sample_latents(
            self.unet,
            self._schedule,
            prompts.to(self.device.torch),
            self.unconditional,
            noise.to(self.device.torch),
            sources,
            settings,
            self.control.residuals(filled) if self.control else nothing_added,
        )
        return np.concatenate(
            [self._decode(row[None]) for row in latents[: len(seeds)]]
        )

    def _decode(self, latents: torch.Tensor) -> np.ndarray:
        """The pixels of one image: decoding takes more memory than all of sampling."""
        scaled = (latents / self.vae.config.scaling_factor).to(self.vae.dtype)
        return to_pixels(self.vae.decode(scaled, return_dict=False)[0])


def image_size_of(unet: UNet2DConditionModel, vae: AutoencoderKL) -> int:
    """The side of an image in pixels."""
    return unet.config.sample_size * 2 ** (len(vae.config.block_out_channels) - 1)
