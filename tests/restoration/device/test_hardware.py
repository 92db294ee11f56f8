"""Devices as stand-ins: what is said of each, and of one that does not answer."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch

from mambair_cli.restoration.device import hardware, precision
from mambair_cli.restoration.device.hardware import GIB, Device, found_devices, torch_platform

CUDA = torch.device("cuda", 0)


def install_gpu(monkeypatch, interface, properties, memory):
    """Has torch find one GPU; `memory` is (free, total)."""
    monkeypatch.setattr(interface, "is_available", lambda: True)
    monkeypatch.setattr(interface, "device_count", lambda: 1)
    monkeypatch.setattr(interface, "get_device_properties", lambda _device: properties)
    monkeypatch.setattr(interface, "mem_get_info", lambda _device: memory)


@pytest.fixture
def _hopper(monkeypatch):
    properties = SimpleNamespace(name="NVIDIA H200", major=9, minor=0)
    install_gpu(monkeypatch, torch.cuda, properties, (100 * GIB, 140 * GIB))
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _device: (9, 0))
    monkeypatch.setattr(precision, "_cuda_has_bf16", lambda _device: True)


@pytest.mark.usefixtures("_hopper")
def test_a_cuda_device_says_all_that_matters():
    device = found_devices()[CUDA]
    assert device.memory_free == 100 * GIB
    assert str(device) == (
        "NVIDIA H200, compute capability 9.0, 100.0 of 140.0 GiB free, fp32/tf32/bf16/fp16"
    )


@pytest.mark.usefixtures("_hopper")
def test_a_gpu_without_native_bf16_does_not_offer_it(monkeypatch):
    monkeypatch.setattr(precision, "_cuda_has_bf16", lambda _device: False)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _device: (7, 5))
    assert found_devices()[CUDA].precisions == ("fp32", "fp16")


def test_rocm_names_the_architecture(monkeypatch):
    properties = SimpleNamespace(
        name="AMD Instinct MI300X", major=9, minor=4, gcnArchName="gfx942:sramecc+:xnack-"
    )
    install_gpu(monkeypatch, torch.cuda, properties, (1 * GIB, 192 * GIB))
    monkeypatch.setattr(torch.version, "hip", "7.1.0")
    monkeypatch.setattr(precision, "_cuda_has_bf16", lambda _device: True)
    assert str(found_devices()[CUDA]).startswith("AMD Instinct MI300X, gfx942, 1.0 of 192.0 GiB")
    assert torch_platform().startswith("ROCm 7.1.0")


def test_xpu_devices_are_found(monkeypatch):
    install_gpu(
        monkeypatch, torch.xpu, SimpleNamespace(name="Intel Arc B580"), (11 * GIB, 12 * GIB)
    )
    device = found_devices()[torch.device("xpu", 0)]
    assert device.architecture is None
    assert str(device).startswith("Intel Arc B580, 11.0 of 12.0 GiB free, fp32")


def test_apple_gpus_are_found(monkeypatch):
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    monkeypatch.setattr(torch.mps, "recommended_max_memory", lambda: 16 * GIB)
    monkeypatch.setattr(torch.mps, "driver_allocated_memory", lambda: 4 * GIB)
    device = found_devices()[torch.device("mps")]
    assert str(device) == "Apple GPU, 12.0 of 16.0 GiB free, fp32/fp16"


@pytest.mark.usefixtures("_hopper")
def test_a_device_that_fails_is_reported_with_its_error(monkeypatch):
    def fail(_device):
        raise RuntimeError("CUDA error: all CUDA-capable devices are busy\nmore lines")

    monkeypatch.setattr(torch.cuda, "mem_get_info", fail)
    device = found_devices()[CUDA]
    assert device == Device("not usable", problem="CUDA error: all CUDA-capable devices are busy")
    assert str(device) == "not usable: CUDA error: all CUDA-capable devices are busy"


def test_the_build_of_torch_is_named(monkeypatch):
    monkeypatch.setattr(torch.version, "cuda", "13.0")
    monkeypatch.setattr(torch.version, "hip", None)
    monkeypatch.setattr(torch.backends.mps, "is_built", lambda: False)
    assert torch_platform() == "CUDA 13.0"
    monkeypatch.setattr(torch.version, "cuda", None)
    monkeypatch.setattr(torch.version, "xpu", None, raising=False)
    assert torch_platform() == "CPU"


def test_the_processor_is_named_without_the_file_of_linux(monkeypatch, tmp_path):
    monkeypatch.setattr(hardware, "CPU_INFO", tmp_path / "missing")
    monkeypatch.setattr(hardware.platform, "processor", lambda: "arm")
    assert found_devices()[torch.device("cpu")].name == "arm"
