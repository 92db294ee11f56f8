import pytest
import torch
from torch import nn

from mambair_cli.errors import BackendError, UsageError
from mambair_cli.restoration.device import precision
from mambair_cli.restoration.device.precision import (
    computing_in,
    resolve_device,
    resolve_devices,
    resolve_precision,
)

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


def set_cpu(monkeypatch, **capabilities):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: capabilities, raising=False)


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
