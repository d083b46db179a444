"""Recognisers on the disk: embedding, features, refusals."""

import json
import pathlib

import numpy as np
import pytest
import torch
from PIL import Image

from bridges.devices import Device
from bridges.recognisers.iresnet import load_checkpoint
from bridges.recognisers.recogniser import load_recogniser
from bridges.recognition.backbones import build_backbone
from bridges.recognition.checkpoint import save_network
from hyperface_jax import InputError, files

CONFIG = {"backbone": "iresnet_small", "image_size": 32, "embedding_size": 16}


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> pathlib.Path:
    """A recogniser with random weights and running statistics of random images."""
    folder = tmp_path_factory.mktemp("recogniser") / "tiny"
    torch.manual_seed(0)
    network = build_backbone("iresnet_small", image_size=32, embedding_size=16)
    with torch.no_grad():
        for _ in range(20):
            network(torch.rand(32, 3, 32, 32) * 2 - 1)
    save_network(folder, network, CONFIG)
    return folder


@pytest.fixture
def images() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (7, 32, 32, 3), np.uint8)


class TestEmbed:
    def test_is_the_normalised_sum_of_image_and_mirror(self, folder, images):
        recogniser = load_recogniser(folder)
        x = torch.from_numpy(images).permute(0, 3, 1, 2).double() / 127.5 - 1
        with torch.no_grad():
            raw = [recogniser.network(t.float()).double() for t in (x, x.flip(3))]
        both = raw[0] + raw[1]
        expected = (both / both.square().sum(1, keepdim=True).sqrt()).numpy()
        embeddings = recogniser.embed(images)
        assert embeddings.dtype == np.float32
        np.testing.assert_allclose(embeddings, expected, atol=2e-5)
        alone = (raw[0] / raw[0].square().sum(1, keepdim=True).sqrt()).numpy()
        np.testing.assert_allclose(
            recogniser.embed(images, flip=False), alone, atol=2e-5
        )

    def test_mirror_images_have_one_embedding(self, folder, images):
        recogniser = load_recogniser(folder)
        mirrored = images[:, :, ::-1]
        np.testing.assert_allclose(
            recogniser.embed(mirrored), recogniser.embed(images), atol=1e-5
        )

    def test_batches_change_nothing(self, folder, images):
        recogniser = load_recogniser(folder)
        np.testing.assert_allclose(
            recogniser.embed(images, batch_size=2), recogniser.embed(images), atol=1e-5
        )
        norms = np.linalg.norm(recogniser.embed(images), axis=1)
        np.testing.assert_allclose(norms, 1, atol=1e-6)
        assert recogniser.embed(images[:0]).shape == (0, 16)

    def test_smaller_numbers_change_little(self, folder, images):
        precise = load_recogniser(folder, device="cpu").embed(images)
        rough = load_recogniser(folder, device="cpu", precision="bfloat16")
        found = rough.embed(images)
        assert found.dtype == np.float32
        np.testing.assert_allclose(np.linalg.norm(found, axis=1), 1, atol=1e-6)
        cosines = (found * precise).sum(1)
        assert 0.99 < cosines.min() < 1 - 1e-6

    def test_all_is_computed_on_the_device(self, folder, images, monkeypatch):
        """The meta device stands for one that this machine lacks."""
        fetched = []

        def cpu(tensor: torch.Tensor) -> torch.Tensor:
            fetched.append(tensor.device.type)
            return torch.zeros(tensor.shape)

        monkeypatch.setattr(torch.Tensor, "cpu", cpu)
        recogniser = load_checkpoint(folder, Device("meta"))
        assert recogniser.embed(images, batch_size=4).shape == (7, 16)
        assert fetched == ["meta", "meta"]

    @pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
    def test_a_gpu_embeds_as_the_cpu_does(self, folder, images):
        expected = load_recogniser(folder, device="cpu").embed(images)
        found = load_recogniser(folder, device="cuda").embed(images)
        np.testing.assert_allclose(found, expected, atol=1e-4)

    def test_other_sizes_are_resampled_as_pillow_does(self, folder):
        rng = np.random.default_rng(1)
        coarse = rng.integers(0, 256, (4, 6, 6, 3), np.uint8)
        large = [
            Image.fromarray(image).resize((56, 56), Image.Resampling.BICUBIC)
            for image in coarse
        ]
        small = [
            np.asarray(image.resize((32, 32), Image.Resampling.BICUBIC))
            for image in large
        ]
        recogniser = load_recogniser(folder)
        cosines = np.sum(
            recogniser.embed(np.stack([np.asarray(image) for image in large]))
            * recogniser.embed(np.stack(small)),
            axis=1,
        )
        assert cosines.min() > 0.999

    @pytest.mark.parametrize(
        "shape_and_dtype",
        [((2, 32, 32, 3), float), ((2, 3, 32, 32), np.uint8), ((32, 32, 3), np.uint8)],
    )
    def test_bad_images_are_refused(self, folder, shape_and_dtype):
        with pytest.raises(InputError, match="expected uint8"):
            load_recogniser(folder).embed(np.zeros(*shape_and_dtype))
        with pytest.raises(InputError, match="square"):
            load_recogniser(folder).embed(np.zeros((2, 32, 24, 3), np.uint8))


class TestFeatures:
    def test_gradient_reaches_the_image_and_not_the_weights(self, folder):
        recogniser = load_recogniser(folder)
        x = (torch.rand(2, 3, 32, 32) * 2 - 1).requires_grad_()
        maps = recogniser.features(x)
        assert [m.shape[-1] for m in maps] == [16, 8, 4, 2]
        sum(m.square().mean() for m in maps).backward()
        assert x.grad.abs().sum() > 0
        assert all(p.grad is None for p in recogniser.network.parameters())

    def test_running_statistics_stand_still(self, folder):
        recogniser = load_recogniser(folder)
        before = recogniser.network.bn1.running_mean.clone()
        recogniser.features(torch.rand(4, 3, 32, 32))
        assert torch.equal(recogniser.network.bn1.running_mean, before)
        assert not recogniser.network.training


class TestLoad:
    def test_model_is_named_and_hashed(self, folder):
        recogniser = load_recogniser(folder)
        expected = files.sha256_of(folder / "model.safetensors")
        assert recogniser.model == {"name": "tiny", "sha256": expected}
        assert recogniser.image_size == 32 and recogniser.embedding_size == 16

    def test_half_precision_weights_give_nearly_the_same(
        self, folder, images, tmp_path
    ):
        network = load_recogniser(folder).network.half()
        save_network(tmp_path / "half", network, CONFIG)
        one, two = load_recogniser(folder), load_recogniser(tmp_path / "half")
        size = (tmp_path / "half" / "model.safetensors").stat().st_size
        assert size < 0.55 * (folder / "model.safetensors").stat().st_size
        cosines = np.sum(one.embed(images) * two.embed(images), axis=1)
        assert cosines.min() > 0.9999

    def test_missing_and_unfinished_are_told_apart(self, tmp_path):
        with pytest.raises(InputError, match="no recogniser there"):
            load_recogniser(tmp_path)
        (tmp_path / "training.json").write_text("{}")
        with pytest.raises(InputError, match="training is unfinished"):
            load_recogniser(tmp_path)

    @pytest.mark.parametrize(
        ("change", "reason"),
        [
            ({"backbone": "vgg"}, "backbone is 'vgg'"),
            (
                {"embedding_size": 32},
                r"weights of another network.*fc\.bias",
            ),
            ({"format_version": 9}, "format version 9"),
            ({"image_size": None}, "no entry 'image_size'"),
            ({"image_size": "32"}, "image_size is '32', expected a whole number"),
            ({"format_version": "new"}, "format_version is 'new', expected"),
        ],
    )
    def test_bad_configuration_is_named(self, folder, tmp_path, change, reason):
        config = {**json.loads((folder / "config.json").read_text()), **change}
        config = {key: value for key, value in config.items() if value is not None}
        (tmp_path / "config.json").write_text(json.dumps(config))
        weights = (folder / "model.safetensors").read_bytes()
        (tmp_path / "model.safetensors").write_bytes(weights)
        with pytest.raises(InputError, match=reason):
            load_recogniser(tmp_path)

    def test_damaged_files_are_named(self, folder, tmp_path):
        for name in ("config.json", "model.safetensors"):
            (tmp_path / name).write_bytes((folder / name).read_bytes())
        (tmp_path / "model.safetensors").write_bytes(b"\0" * 100)
        with pytest.raises(InputError, match=r"model\.safetensors: damaged"):
            load_recogniser(tmp_path)
        (tmp_path / "config.json").write_text("{")
        with pytest.raises(InputError, match=r"config\.json: not JSON"):
            load_recogniser(tmp_path)
