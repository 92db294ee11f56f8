"""Device, precision and scan backend, decided once."""

from __future__ import annotations

import pytest
import torch

from mambair_cli.errors import BackendError, UsageError
from mambair_cli.kernels.scan import dispatch
from mambair_cli.restoration.device import compute, precision
from mambair_cli.restoration.device.compute import Compute, describe_device

CPU = torch.device("cpu")


def test_what_is_left_open_is_decided():
    assert Compute.resolve("cpu") == Compute(CPU, "fp32", dispatch.NUMBA)


def test_what_cannot_run_is_refused():
    with pytest.raises(BackendError, match="precision fp16 cannot be used on cpu"):
        Compute.resolve("cpu", "fp16")
    with pytest.raises(BackendError, match="unknown scan backend 'cubin'"):
        Compute.resolve("cpu", "fp32", "cubin")
    with pytest.raises(UsageError, match="unknown device 'tpu'"):
        Compute.resolve("tpu")


def test_what_the_first_device_takes_all_take(monkeypatch):
    devices = [torch.device("cuda:0"), torch.device("cuda:1")]
    monkeypatch.setattr(compute, "resolve_devices", lambda _: devices)
    monkeypatch.setattr(precision, "_cuda_has_bf16", lambda device: device == devices[0])
    with pytest.raises(BackendError, match="precision bf16 cannot be used on cuda"):
        Compute.resolve_all("cuda:0,cuda:1", "auto", "torch")
    both = Compute.resolve_all("cuda:0,cuda:1", "fp32", "torch")
    assert both == [Compute(device, "fp32", dispatch.TORCH) for device in devices]


def test_threads_are_counted():
    threads = torch.get_num_threads()
    try:
        torch.set_num_threads(1)
        assert describe_device(CPU) == "cpu (1 thread)"
        torch.set_num_threads(2)
        assert describe_device(CPU) == "cpu (2 threads)"
    finally:
        torch.set_num_threads(threads)
