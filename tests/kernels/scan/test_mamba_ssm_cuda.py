"""The official kernel's adapter on stand-ins: why it refuses, and what the kernel is handed."""

from __future__ import annotations

import sys
from types import ModuleType

import pytest
import torch
from scan_cases import NAMES, scan_inputs, strided, values_and_gradients

from mambair_cli.errors import BackendError
from mambair_cli.kernels.scan import dispatch, mamba_ssm_cuda, reference

CUDA = torch.device("cuda")
EXTENSION, INTERFACE = "selective_scan_cuda", "mamba_ssm.ops.selective_scan_interface"
LOADS = "import torch\n"


@pytest.fixture
def install(monkeypatch, tmp_path):
    """Installs a mamba-ssm of which each module is the given source, on a machine with CUDA."""
    for name in ("mamba_ssm", "mamba_ssm.ops", INTERFACE, EXTENSION):
        monkeypatch.delitem(sys.modules, name, raising=False)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.syspath_prepend(tmp_path)

    def write(package=None, extension=None, interface=""):
        files = {} if extension is None else {"selective_scan_cuda.py": extension}
        if package is not None:
            files["mamba_ssm/__init__.py"] = package
            files["mamba_ssm/ops/__init__.py"] = ""
            files["mamba_ssm/ops/selective_scan_interface.py"] = interface
        for name, source in files.items():
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name).write_text(source)

    yield write
    for name in ("mamba_ssm", "mamba_ssm.ops", INTERFACE, EXTENSION):
        sys.modules.pop(name, None)


@pytest.mark.parametrize("device", ["cpu", "mps", "xpu", "meta"])
def test_other_devices_are_refused_without_looking_further(device, monkeypatch):
    monkeypatch.setattr(mamba_ssm_cuda, "find_spec", None)
    reason = mamba_ssm_cuda.refuses(torch.device(device))
    assert reason == f"it runs on a CUDA device, not on {device}"


def test_a_machine_without_cuda_is_refused(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert mamba_ssm_cuda.refuses(CUDA) == "torch finds no CUDA device"


@pytest.mark.usefixtures("install")
def test_a_missing_package_is_named_with_its_command(monkeypatch):
    monkeypatch.setattr(mamba_ssm_cuda, "find_spec", lambda _: None)
    assert mamba_ssm_cuda.refuses(CUDA) == (
        "mamba-ssm is not installed (pip install 'mambair[cuda]')"
    )
    with pytest.raises(BackendError) as caught:
        dispatch.select("mamba-ssm", CUDA)
    assert caught.value.message.startswith("scan backend 'mamba-ssm' cannot run here: mamba-ssm is")


def test_a_package_without_its_kernel_is_not_imported(install):
    install(package="raise AssertionError('imported in vain')")
    assert mamba_ssm_cuda.refuses(CUDA) == (
        "mamba-ssm was installed without its kernel selective_scan_cuda (with nvcc: "
        "MAMBA_KEEP_CUDA_BUILD=TRUE pip install --no-build-isolation --no-cache-dir mamba-ssm)"
    )


@pytest.mark.parametrize(
    ("error", "text"),
    [
        ("ImportError", "/lib/selective_scan_cuda.so: undefined symbol: _ZN3c104cuda9SetDeviceEi"),
        ("OSError", "libcudart.so.12: cannot open shared object file: No such file or directory"),
    ],
)
def test_a_kernel_built_for_another_torch_is_to_be_built_again(install, error, text):
    install("raise AssertionError('imported in vain')", f"raise {error}({text!r})")
    assert mamba_ssm_cuda.refuses(CUDA) == (
        f"selective_scan_cuda cannot be imported: {text} (build it for torch {torch.__version__}: "
        "MAMBA_KEEP_CUDA_BUILD=TRUE pip install --no-build-isolation --no-cache-dir mamba-ssm "
        "--force-reinstall --no-deps)"
    )


@pytest.mark.parametrize(
    ("error", "text"),
    [
        ("ImportError", "cannot import name 'GreedySearchDecoderOnlyOutput' from 'transformers'"),
        ("ModuleNotFoundError", "No module named 'causal_conv1d'"),
        ("RuntimeError", "Failed to import transformers.generation.utils\nand more lines"),
        ("AttributeError", "module 'triton' has no attribute 'jit'"),
    ],
)
def test_what_stops_the_package_itself_is_said(install, error, text):
    install(f"raise {error}({text!r})", LOADS)
    first = text.splitlines()[0]
    assert mamba_ssm_cuda.refuses(CUDA) == (
        f"mamba_ssm.ops.selective_scan_interface cannot be imported: {first}"
    )


def test_a_whole_package_is_accepted(install):
    install("", LOADS)
    assert mamba_ssm_cuda.refuses(CUDA) is None
    assert dispatch.select("mamba-ssm", CUDA) is dispatch.MAMBA_SSM


def official(u, delta, A, B, C, D=None, z=None, delta_bias=None, delta_softplus=False):
    """What the kernel demands of its arguments, then the definition."""
    b, kd, length = u.shape
    k, n = B.shape[1], A.shape[1]
    for tensor in (u, delta, A, B, C, D, delta_bias):
        assert tensor.dtype == torch.float32
        assert tensor.stride(-1) == 1 or tensor.shape[-1] == 1
    assert delta.is_contiguous()
    assert delta.shape == u.shape
    assert A.shape == (kd, n)
    assert B.shape == C.shape == (b, k, n, length)
    assert k in (1, 4)
    assert D.shape == delta_bias.shape == (kd,)
    assert z is None
    assert delta_softplus is True
    assert not torch.is_autocast_enabled("cpu")
    return reference.selective_scan(u, delta, A, B, C, D, delta_bias)


@pytest.fixture
def scan(monkeypatch):
    interface = ModuleType(INTERFACE)
    interface.selective_scan_fn = official
    monkeypatch.setitem(sys.modules, "mamba_ssm", ModuleType("mamba_ssm"))
    monkeypatch.setitem(sys.modules, "mamba_ssm.ops", ModuleType("mamba_ssm.ops"))
    monkeypatch.setitem(sys.modules, INTERFACE, interface)
    return dispatch.MAMBA_SSM.run


# b, h, w, d, n, r
SHAPES = [
    (1, 1, 1, 1, 1, 1),
    (2, 5, 7, 3, 6, 4),
    (1, 1, 17, 33, 10, 1),
    (3, 7, 2, 3, 16, 4),
    (2, 1, 17, 5, 8, 3, 1),
]


@pytest.mark.parametrize("arrange", [list, strided], ids=["contiguous", "strided"])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_values_and_gradients_agree_with_the_definition(scan, shape, arrange, relative_rms):
    inputs = arrange(scan_inputs(*shape))
    upstream = torch.randn(inputs[0].shape, generator=torch.Generator().manual_seed(1))
    actual = values_and_gradients(scan, inputs, upstream)
    expected = values_and_gradients(
        reference.selective_scan_2d, [tensor.double() for tensor in inputs], upstream
    )
    for name, own, exact in zip(("y", *NAMES), actual, expected, strict=True):
        assert relative_rms(own, exact) < 1e-5, name


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64])
def test_any_precision_is_computed_in_float32(scan, dtype):
    inputs = [tensor.to(dtype) for tensor in scan_inputs(1, 5, 7, 3, 6, 4)]
    leaves = [tensor.clone().requires_grad_() for tensor in inputs]
    with torch.autocast("cpu", torch.bfloat16):
        y = scan(*leaves)
    assert y.dtype == torch.float32
    assert torch.equal(y, scan(*(tensor.float() for tensor in inputs)))
    y.sum().backward()
    assert all(leaf.grad.dtype == dtype for leaf in leaves)
