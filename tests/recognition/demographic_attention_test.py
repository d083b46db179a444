"""Gates by demographic group: nothing at first, blind to names, kept with the rest."""

import dataclasses
import json

import numpy as np
import pytest
import torch
from torch import nn

from bridges.datasets.image_dataset import ImageDataset
from bridges.recognisers.recogniser import load_recogniser
from bridges.recognition import checkpoint
from bridges.recognition.backbones import build_backbone
from bridges.recognition.demographic_attention import attach
from bridges.recognition.state import init_training
from bridges.recognition.steps import step_generator, train_step
from bridges.recognition.training import train_recogniser
from hyperface_jax import InputError
from tests.recognition.attributed_people import write_attributed
from tests.recognition.training_test import TINY

CONFIG = dataclasses.replace(TINY, attention="demographic", augmentation="none")
GROUPS = ("group a", "group b", "group c")
BACKBONES = ("iresnet_small", "iresnet18", "ir_18")


@pytest.fixture(scope="module")
def people(tmp_path_factory):
    folder = tmp_path_factory.mktemp("people") / "dataset"
    write_attributed(folder)
    return folder


def network_of(name="iresnet_small", groups=GROUPS):
    torch.manual_seed(0)
    network = build_backbone(name, image_size=32, embedding_size=16)
    return attach(network, groups) if groups else network


def randomise(network):
    """Some gates, and a classifier that tells something apart."""
    torch.manual_seed(1)
    attention = network.attention
    for parameter in (*attention.gates.values(), attention.weight, attention.bias):
        nn.init.normal_(parameter, 0, 0.5)
    return network


@pytest.fixture
def x():
    return torch.randn(6, 3, 32, 32, generator=torch.Generator().manual_seed(2))


class TestNetwork:
    @pytest.mark.parametrize("name", BACKBONES)
    def test_fresh_gates_are_the_plain_network_bit_for_bit(self, name, x):
        plain, attentive = network_of(name, None).eval(), network_of(name).eval()
        with torch.no_grad():
            assert torch.equal(plain(x), attentive(x))
            nn.init.normal_(attentive.attention.weight)  # whatever the groups are
            assert torch.equal(plain(x), attentive(x))

    @pytest.mark.parametrize("name", BACKBONES)
    def test_equal_gates_do_not_ask_for_the_group(self, name, x):
        network = network_of(name).eval()
        for parameter in network.attention.gates.values():
            nn.init.normal_(parameter[:1])
            parameter.data[:] = parameter.data[:1]
        with torch.no_grad():
            one = network(x)
            nn.init.normal_(network.attention.weight)
            two = network(x)
        torch.testing.assert_close(one, two, rtol=1e-4, atol=1e-5)
        assert not torch.allclose(one, network_of(name, None).eval()(x))

    def test_gates_are_the_formula_written_again(self, x):
        """In NumPy: the mean of 2 sigmoid(a) over the classifier's probabilities."""
        network = randomise(network_of()).eval()
        attention = network.attention
        seen = {}
        for stage in (2, 3, 4):
            getattr(network, f"layer{stage}").register_forward_hook(
                lambda _, given, out, stage=stage: seen.update({stage: out})
            )
        with torch.no_grad():
            maps = network.feature_maps(x)
        read = seen[2].numpy()
        n, c, side, _ = read.shape
        fields = read.reshape(n, c, 4, side // 4, 4, side // 4).mean((3, 5))
        fields = fields.reshape(n, -1) / np.sqrt(1 + attention.norm.eps)
        logits = fields @ attention.weight.detach().numpy().T
        logits += attention.bias.detach().numpy()
        weights = np.exp(logits - logits.max(1, keepdims=True))
        weights /= weights.sum(1, keepdims=True)
        assert weights.max() > 0.5  # it prefers some
        for stage, made in ((3, maps[-2]), (4, maps[-1])):
            a = attention.gates[str(stage)].detach().numpy()
            gate = weights @ (2 / (1 + np.exp(-a)))
            expected = seen[stage].numpy() * gate[:, :, None, None]
            np.testing.assert_allclose(made.numpy(), expected, rtol=2e-4, atol=1e-4)

    @pytest.mark.parametrize("name", BACKBONES)
    def test_permuted_groups_are_permuted_gates_and_the_same_outputs(self, name, x):
        network = randomise(network_of(name)).eval()
        order = [2, 0, 1]
        other = network_of(name, [GROUPS[i] for i in order]).eval()
        state = network.state_dict()
        permuted = {
            key: value[order]
            if key.startswith("attention.") and len(value.shape) and len(value) == 3
            else value
            for key, value in state.items()
        }
        assert sum(not torch.equal(permuted[k], state[k]) for k in state) == 4
        other.load_state_dict(permuted)
        with torch.no_grad():
            one, two = network(x), other(x)
        torch.testing.assert_close(one, two, rtol=1e-4, atol=1e-5)

    def test_identity_loss_does_not_bend_the_classifier_nor_groups_the_features(
        self, x
    ):
        network = randomise(network_of())
        network(x).square().sum().backward()
        attention = network.attention
        assert attention.weight.grad is None and attention.bias.grad is None
        assert all(gate.grad.any() for gate in attention.gates.values())
        network.zero_grad()
        attention.logits.square().sum().backward()
        assert attention.weight.grad.any() and network.conv1.weight.grad is None

    def test_exported_to_onnx_it_computes_the_same(self, x, tmp_path):
        reference = pytest.importorskip("onnx.reference")
        network = randomise(network_of()).eval()
        torch.onnx.export(
            network, (x[:2],), tmp_path / "n.onnx", dynamo=False, opset_version=17
        )
        ran = reference.ReferenceEvaluator(str(tmp_path / "n.onnx"))
        (out,) = ran.run(None, {ran.input_names[0]: x[:2].numpy()})
        expected = network(x[:2]).detach().numpy()
        np.testing.assert_allclose(out, expected, rtol=1e-3, atol=1e-4)


def trained_steps(folder, names, steps=4):
    """A few steps on people whose groups are called ``names``."""
    source = ImageDataset(folder)
    for record in source.records:
        record["group"] = names[record["group"]]
    state = init_training(CONFIG, [source])
    rng = np.random.default_rng(0)
    for step in range(steps):
        rows = rng.permutation(48)[:16]
        images = torch.from_numpy(rng.integers(0, 256, (16, 3, 32, 32), np.uint8))
        out = train_step(
            state,
            images,
            {n: torch.from_numpy(t.targets[rows]) for n, t in state.tasks.items()},
            CONFIG,
            progress=0.2,
            generator=step_generator(0, step),
        )
    return state, out


class TestTraining:
    def test_renamed_groups_are_trained_to_permuted_gates(self, people):
        same = dict(zip(GROUPS, GROUPS, strict=True))
        renamed = dict(zip(GROUPS, ("z", "x", "y"), strict=True))  # b, c, a in order
        one, _ = trained_steps(people, same)
        two, _ = trained_steps(people, renamed)
        assert two.backbone.attention.groups == ("x", "y", "z")
        first, second = one.backbone.attention, two.backbone.attention
        for key, gate in first.gates.items():
            assert gate.abs().max() > 1e-4 and gate.std(0).max() > 0
            torch.testing.assert_close(
                gate[[1, 2, 0]], second.gates[key], rtol=1e-2, atol=1e-5
            )
        torch.testing.assert_close(
            first.weight[[1, 2, 0]], second.weight, rtol=1e-2, atol=1e-5
        )

    def test_fresh_weights_and_first_loss_are_those_of_the_plain_network(self, people):
        source = ImageDataset(people)
        plain = init_training(dataclasses.replace(CONFIG, attention="none"), [source])
        attentive = init_training(CONFIG, [source])
        for name, parameter in plain.parameters().items():
            assert torch.equal(parameter, attentive.parameters()[name]), name
        more = {*attentive.parameters()} - {*plain.parameters()}
        assert more == {
            f"backbone.attention.{name}"
            for name in ("weight", "bias", "gates.3", "gates.4")
        }

    def test_it_is_saved_read_and_used(self, people, tmp_path):
        config = dataclasses.replace(CONFIG, epochs=8.0)
        record = train_recogniser(people, tmp_path / "c", config, num_threads=1)
        assert record["settings"]["attention"] == "demographic"
        assert "attention_groups" not in record["settings"]  # the default
        first, last = record["history"][0], record["history"][-1]
        assert last["attention.accuracy"] > max(first["attention.accuracy"], 0.6)
        described = json.loads((tmp_path / "c" / "config.json").read_text())
        assert described["attention"] == {"kind": "demographic", "groups": [*GROUPS]}
        assert described["format_version"] == 2
        network = checkpoint.load_network(tmp_path / "c")
        assert network.attention.groups == GROUPS
        assert network.attention.gates["4"].abs().max() > 0
        images = np.zeros((2, 32, 32, 3), np.uint8)
        rows = load_recogniser(tmp_path / "c").embed(images)
        np.testing.assert_allclose(np.linalg.norm(rows, axis=1), 1, rtol=1e-5)

    def test_images_without_a_group_are_trained_on_too(self, tmp_path, capsys):
        write_attributed(tmp_path / "people", missing=True)
        config = dataclasses.replace(CONFIG, epochs=1.0)
        record = train_recogniser(tmp_path / "people", tmp_path / "c", config)
        assert record["history"][0]["attention.loss"] > 0
        assert "12 of 48 images have no group" in capsys.readouterr().err

    def test_a_field_that_groups_nothing_is_refused(self, people, tmp_path):
        config = dataclasses.replace(CONFIG, attention_groups="tribe")
        with pytest.raises(
            InputError, match="word for tribe, which the task attention"
        ):
            train_recogniser(people, tmp_path / "c", config)
        assert not (tmp_path / "c").exists()

    @pytest.mark.parametrize(
        "described", ["demographic", {"kind": "x"}, {"kind": "demographic"}]
    )
    def test_attention_that_is_not_known_is_refused(self, described, tmp_path):
        shape = {"backbone": "iresnet_small", "image_size": 32, "embedding_size": 16}
        network = network_of(groups=None)
        checkpoint.save_network(tmp_path, network, {**shape, "attention": described})
        with pytest.raises(InputError, match=r"config\.json: attention is"):
            checkpoint.load_network(tmp_path)
