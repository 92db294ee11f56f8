"""Which devices are found, and what is said of those that are not."""

from __future__ import annotations

import pytest
import torch

from mambair_cli.errors import BackendError, UsageError
from mambair_cli.restoration.device.devices import resolve_device, resolve_devices

CPU = torch.device("cpu")
CUDA = torch.device("cuda")


@pytest.fixture
def no_gpu(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.xpu, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)


@pytest.fixture
def two_gpus(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)


@pytest.fixture
def an_xpu(no_gpu, monkeypatch):  # noqa: ARG001
    monkeypatch.setattr(torch.xpu, "is_available", lambda: True)
    monkeypatch.setattr(torch.xpu, "device_count", lambda: 1)


@pytest.mark.usefixtures("no_gpu")
def test_auto_device_is_the_cpu_without_a_gpu():
    assert resolve_device("auto") == CPU


@pytest.mark.usefixtures("two_gpus")
def test_auto_device_prefers_a_gpu():
    assert resolve_device("auto") == CUDA
    assert resolve_device("cuda:1") == torch.device("cuda:1")


@pytest.mark.usefixtures("no_gpu")
@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("cuda", "torch finds no CUDA device"),
        ("cuda:1", "torch finds no CUDA device"),
        ("mps", "torch finds no Apple GPU"),
        ("xpu", "torch finds no XPU device"),
    ],
)
def test_a_missing_device_is_an_error(name, reason):
    with pytest.raises(
        BackendError, match=f"^device '{name}' is not available: {reason}$"
    ) as caught:
        resolve_device(name)
    assert "--device cpu" in caught.value.hint


@pytest.mark.usefixtures("two_gpus")
def test_a_missing_gpu_number_is_an_error():
    with pytest.raises(BackendError, match="there are 2 CUDA devices, counted from 0"):
        resolve_device("cuda:2")


@pytest.mark.usefixtures("an_xpu")
def test_an_xpu_is_found():
    assert resolve_device("auto") == torch.device("xpu")
    assert resolve_device("xpu:0") == torch.device("xpu:0")
    with pytest.raises(BackendError, match="there are 1 XPU devices, counted from 0"):
        resolve_device("xpu:1")


@pytest.mark.parametrize("name", ["gpu", "cuda:", "cuda:x", "cuda:-1", "", "xla"])
def test_an_unknown_device_is_a_usage_error(name):
    with pytest.raises(UsageError, match=f"^unknown device {name!r}$") as caught:
        resolve_device(name)
    assert caught.value.hint == "choose one of: auto, cpu, cuda, cuda:N, mps, xpu, xpu:N"


@pytest.mark.usefixtures("two_gpus")
def test_several_devices_are_found_in_their_order():
    assert resolve_devices("cuda:1, cuda:0") == [torch.device("cuda:1"), torch.device("cuda:0")]
    assert resolve_devices("cuda") == [CUDA]
    assert resolve_devices("cpu") == [CPU]


@pytest.mark.usefixtures("an_xpu", "two_gpus")
@pytest.mark.parametrize(
    ("names", "message"),
    [
        ("cuda:0,cuda:0", "device 'cuda:0' is given twice in 'cuda:0,cuda:0'"),
        ("cuda:1,cuda:01", "device 'cuda:1' is given twice in 'cuda:1,cuda:01'"),
        ("cuda:0,xpu:0", "devices 'cuda:0,xpu:0' are of several kinds"),
        ("cuda:0,cpu", "'cpu' in devices 'cuda:0,cpu' has no number"),
        ("cuda,cuda:1", "'cuda' in devices 'cuda,cuda:1' has no number"),
        ("auto,cuda:1", "'auto' in devices 'auto,cuda:1' has no number"),
        ("cuda:0,", "unknown device ''"),
        ("cuda:0;cuda:1", "unknown device 'cuda:0;cuda:1'"),
    ],
)
def test_lists_of_devices_that_make_no_sense_are_refused(names, message):
    with pytest.raises(UsageError, match=f"^{message}$") as caught:
        resolve_devices(names)
    assert caught.value.hint


@pytest.mark.usefixtures("two_gpus")
def test_each_of_several_devices_must_be_there():
    with pytest.raises(BackendError, match=r"^device 'cuda:2' is not available: there are 2 CUDA"):
        resolve_devices("cuda:0,cuda:2")
