import types

import pytest
import torch

from bridges import devices
from hyperface_jax import InputError


def test_auto_takes_the_cpu_where_there_is_no_gpu(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    assert devices.find_device().name == "cpu"


def test_auto_takes_cuda_before_mps(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: "a GPU")
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    monkeypatch.setattr(torch.backends, "cudnn", types.SimpleNamespace(allow_tf32=True))
    matmul = types.SimpleNamespace(matmul=types.SimpleNamespace(allow_tf32=True))
    monkeypatch.setattr(torch.backends, "cuda", matmul)
    found = devices.find_device()
    assert found.name == "cuda:0"
    assert not torch.backends.cudnn.allow_tf32
    assert not matmul.matmul.allow_tf32
    assert torch.backends.cudnn.deterministic


@pytest.mark.parametrize("name", ["gpu", "cuda:x", "tpu:0", "", "cpu:3", "mps:0"])
def test_unknown_device_is_refused(name):
    with pytest.raises(InputError, match="expected auto, cpu, cuda"):
        devices.find_device(name)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_absent_device_is_refused_with_the_remedy():
    with pytest.raises(InputError, match=r"0 CUDA devices.*--device=cpu"):
        devices.find_device("cuda:1")


def test_precision_is_that_of_the_products():
    matrix = torch.ones(4, 4)
    with devices.Device("cpu", "bfloat16").autocast():
        assert (matrix @ matrix).dtype == torch.bfloat16
    with devices.Device("cpu", "float32").autocast():
        assert (matrix @ matrix).dtype == torch.float32
