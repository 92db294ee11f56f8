"""Which number format is chosen or refused, and what computes in it."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from mambair_cli.errors import BackendError, UsageError
from mambair_cli.restoration.device import precision
from mambair_cli.restoration.device.precision import computing_in, resolve_precision

CPU = torch.device("cpu")
CUDA = torch.device("cuda")


def set_cpu(monkeypatch, **capabilities):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: capabilities, raising=False)


@pytest.mark.parametrize("requested", ["auto", "fp32"])
def test_a_cpu_runs_in_fp32_unless_asked(monkeypatch, requested):
    set_cpu(monkeypatch, avx512_bf16=True)
    assert resolve_precision(requested, CPU) == "fp32"


@pytest.mark.parametrize("capability", ["avx512_bf16", "amx_bf16", "bf16"])
def test_a_cpu_with_bf16_runs_in_it_when_asked(monkeypatch, capability):
    set_cpu(monkeypatch, **{capability: True})
    assert resolve_precision("bf16", CPU) == "bf16"


def test_a_cpu_without_bf16_refuses_it(monkeypatch):
    set_cpu(monkeypatch, avx2=True, avx512_bf16=False)
    with pytest.raises(BackendError, match=r"^precision bf16 cannot be used on cpu: this CPU has"):
        resolve_precision("bf16", CPU)


def test_fp16_is_refused_on_a_cpu():
    with pytest.raises(BackendError, match=r"^precision fp16 cannot be used on cpu: ") as caught:
        resolve_precision("fp16", CPU)
    assert caught.value.hint == "use --precision auto or --precision fp32"


@pytest.mark.parametrize(("native", "chosen"), [(True, "bf16"), (False, "fp32")])
def test_auto_on_a_gpu_is_bf16_where_native(monkeypatch, native, chosen):
    monkeypatch.setattr(precision, "_cuda_has_bf16", lambda _: native)
    assert resolve_precision("auto", CUDA) == chosen
    assert resolve_precision("fp16", CUDA) == "fp16"


def test_a_gpu_that_only_emulates_bf16_refuses_it(monkeypatch):
    monkeypatch.setattr(precision, "_cuda_has_bf16", lambda _: False)
    with pytest.raises(BackendError, match="this GPU only emulates it"):
        resolve_precision("bf16", CUDA)


def test_tf32_runs_on_nvidia_gpus_since_ampere(monkeypatch):
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _: (8, 0))
    assert resolve_precision("tf32", CUDA) == "tf32"


def test_an_older_gpu_refuses_tf32(monkeypatch):
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _: (7, 5))
    reason = "it needs compute capability 8.0, this GPU has 7.5"
    with pytest.raises(BackendError, match=f"^precision tf32 cannot be used on cuda: {reason}$"):
        resolve_precision("tf32", CUDA)


@pytest.mark.parametrize("device", ["cpu", "mps", "xpu"])
def test_other_devices_refuse_tf32(device):
    with pytest.raises(BackendError, match=r"only NVIDIA GPUs multiply in it$") as caught:
        resolve_precision("tf32", torch.device(device))
    assert caught.value.hint == "use --precision auto or --precision fp32"


def test_an_amd_gpu_refuses_tf32(monkeypatch):
    monkeypatch.setattr(torch.version, "hip", "6.3")
    with pytest.raises(BackendError, match=r"only NVIDIA GPUs multiply in it$"):
        resolve_precision("tf32", CUDA)


def test_an_apple_gpu_runs_in_fp32_or_fp16():
    mps = torch.device("mps")
    assert resolve_precision("auto", mps) == "fp32"
    assert resolve_precision("fp16", mps) == "fp16"
    with pytest.raises(BackendError, match="Apple GPUs are run in fp32 or fp16"):
        resolve_precision("bf16", mps)


def test_an_unknown_precision_is_a_usage_error():
    with pytest.raises(UsageError, match=r"^unknown precision 'half'$") as caught:
        resolve_precision("half", CPU)
    assert caught.value.hint == "choose one of: auto, fp32, tf32, bf16, fp16"


def test_matrix_products_run_in_the_chosen_format():
    layer = nn.Linear(4, 4)
    x = torch.rand(2, 4)
    with computing_in("fp32", CPU):
        assert layer(x).dtype == torch.float32
    with computing_in("bf16", CPU):
        assert layer(x).dtype == torch.bfloat16
    assert layer(x).dtype == torch.float32
    assert layer.weight.dtype == torch.float32
