"""What only a GPU can show of the engine: pytest -m gpu tests/restoration"""

from functools import cache

import pytest
import torch

from mambair_cli.networks import build_network
from mambair_cli.networks.spec import MambaIRConfig, ModelSpec
from mambair_cli.restoration import plan
from mambair_cli.restoration.device.cuda_graphs import EAGER_RUNS, graphs_of
from mambair_cli.restoration.device.precision import computing_in
from mambair_cli.restoration.device.scan_backend import set_scan_backend
from mambair_cli.restoration.memory import available as memory
from mambair_cli.restoration.memory.footprint import bytes_per_pixel, measured_footprint
from mambair_cli.restoration.restorer import RestoreOptions, restore_tensor

pytestmark = pytest.mark.gpu
CONFIG = MambaIRConfig(
    embed_dim=60, d_state=16, depths=(2,), mlp_ratio=1.2, upsampler="pixelshuffledirect", upscale=2
)
SPEC = ModelSpec("test", "sr", 2, 3)
GPU = torch.device("cuda", 0)


@pytest.fixture(autouse=True)
def no_leftovers():
    yield
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats()


def networks():
    torch.manual_seed(0)
    network = build_network(CONFIG).eval().requires_grad_(requires_grad=False)
    set_scan_backend(network, "torch")  # nothing to compile on the CPU
    on_gpu = build_network(CONFIG).eval().requires_grad_(requires_grad=False)
    on_gpu.load_state_dict(network.state_dict())
    on_gpu.to(GPU)
    set_scan_backend(on_gpu, "auto")
    return network, on_gpu


@cache
def image_and_result(*, ensemble):
    """A random image, and what a CPU makes of it: once for all precisions."""
    on_cpu, _ = networks()
    x = torch.rand(1, 3, 70, 110)
    return x, restore_tensor(on_cpu, x, SPEC, RestoreOptions(tile=48, ensemble=ensemble))


@pytest.mark.parametrize(
    ("precision", "tolerance"), [("fp32", 5e-5), ("tf32", 3e-3), ("bf16", 3e-2)]
)
@pytest.mark.parametrize("ensemble", [False, True])
def test_tiles_copied_beside_the_computation_and_replayed_are_right(
    precision, tolerance, ensemble, monkeypatch
):
    monkeypatch.setattr(plan, "RECORDED_BYTES", 2**40)  # also where it would not pay
    _, on_gpu = networks()
    x, expected = image_and_result(ensemble=ensemble)
    told = []
    options = RestoreOptions(tile=48, ensemble=ensemble, precision=precision)
    results = [
        restore_tensor(on_gpu, x, SPEC, options, on_notice=told.append)
        for _ in range(EAGER_RUNS + 2)
    ]
    assert all(notice.startswith("running") for notice in told)
    assert graphs_of(on_gpu, torch.cuda).held
    for restored in results:
        assert (restored - expected).abs().max() < tolerance
    assert (results[0] - results[-1]).abs().max() < tolerance / 10


def test_float32_is_float32_in_products_and_convolutions():
    convolution = torch.nn.Conv2d(64, 64, 3, padding=1).to(GPU)
    x = torch.rand(1, 64, 40, 50, device=GPU)
    exact = convolution.double()(x.double())
    convolution.float()
    errors = {}
    for precision in ("fp32", "tf32"):
        with computing_in(precision, GPU), torch.inference_mode():
            errors[precision] = (convolution(x).double() - exact).abs().max().item()
    assert errors["fp32"] < 1e-5 < errors["tf32"]


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_the_memory_model_promises_no_less_than_is_measured(precision):
    _, network = networks()
    peaks = {}
    for side in (128, 192, 320):
        x = torch.rand(1, 3, side, side + 32)
        restore_tensor(network, x, SPEC, RestoreOptions(tile=0, precision=precision))
        torch.cuda.reset_peak_memory_stats()
        restore_tensor(network, x, SPEC, RestoreOptions(tile=0, precision=precision))
        peaks[side * (side + 32)] = torch.cuda.max_memory_allocated()
    predicted = bytes_per_pixel(CONFIG, precision, "triton", "cuda")
    assert measured_footprint(peaks, predicted).safe


def test_short_memory_leads_to_the_same_picture(monkeypatch):
    _, network = networks()
    x, told = torch.rand(1, 3, 600, 700), []
    expected = restore_tensor(network, x, SPEC, RestoreOptions(tile=64))
    monkeypatch.setattr(memory, "available_memory", lambda _: 10**12)
    torch.cuda.empty_cache()
    total = torch.cuda.get_device_properties(GPU).total_memory
    room = torch.cuda.memory_reserved(GPU) + 300 * memory.MEBIBYTE
    torch.cuda.set_per_process_memory_fraction(room / total, GPU)
    try:
        restored = restore_tensor(network, x, SPEC, RestoreOptions(tile=64), on_notice=told.append)
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0, GPU)
    assert any(notice.startswith("memory ran out") for notice in told)
    assert (restored - expected).abs().max() < 0.1
