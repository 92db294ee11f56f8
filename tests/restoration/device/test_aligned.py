"""Aligned rows change no result, and everything that multiplies matrices has them."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

from mambair_cli.kernels.block import ops_gpu
from mambair_cli.networks import (
    MambaIRConfig,
    MambaIRUNetConfig,
    MambaIRv2Config,
    build_network,
)
from mambair_cli.restoration.device import aligned
from mambair_cli.restoration.device.half_weights import frozen_state, with_half_weights
from mambair_cli.restoration.device.scan_backend import set_scan_backend

CONFIGS = {
    "light": MambaIRConfig(upscale=2, embed_dim=44, d_state=2, depths=(1,)),
    "classic": MambaIRConfig(
        upscale=3, embed_dim=52, d_state=2, depths=(1,), upsampler="pixelshuffle"
    ),
    "unet": MambaIRUNetConfig(dim=18, num_blocks=(1, 1, 1, 1), num_refinement_blocks=1, d_state=2),
    "v2": MambaIRv2Config(
        embed_dim=42, d_state=2, depths=(2,), num_heads=(2,), window_size=4, num_tokens=4
    ),
}
X = torch.rand(2, 3, 8, 12, generator=torch.Generator().manual_seed(0))


class Matrices(TorchDispatchMode):
    """Notes the channels of every convolution, and how far rows of products' weights are apart."""

    def __init__(self):
        super().__init__()
        self.channels, self.rows = set(), set()

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        if func is torch.ops.aten.convolution.default and args[8] == 1:
            self.channels |= set(args[1].shape[:2])
            assert args[1].is_contiguous(memory_format=torch.channels_last)
        if func in (torch.ops.aten.mm.default, torch.ops.aten.addmm.default):
            self.rows.add(args[-1].stride(-1))
        return func(*args, **(kwargs or {}))


def run(name, monkeypatch, *, rows_aligned):
    torch.manual_seed(0)
    network = build_network(CONFIGS[name]).eval().requires_grad_(requires_grad=False)
    set_scan_backend(network, "torch")
    monkeypatch.setattr(aligned, "on", lambda _: rows_aligned)
    twin = with_half_weights(network, torch.bfloat16, frozen_state(network))
    with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16), Matrices() as seen:
        return twin(X), seen, network


@pytest.mark.parametrize("name", CONFIGS)
def test_results_are_those_without(name, monkeypatch):
    expected, _, _ = run(name, monkeypatch, rows_aligned=False)
    restored, seen, network = run(name, monkeypatch, rows_aligned=True)
    assert (restored - expected).abs().max() < 0.02 * expected.abs().max()
    assert all(side % 8 == 0 or side < aligned.FEWEST for side in seen.channels)
    # The network itself is as it was.
    assert not any(isinstance(module, aligned.AlignedLinear) for module in network.modules())


def test_a_product_reads_aligned_rows_and_gives_as_many_channels_as_before():
    torch.manual_seed(0)
    linear = nn.Linear(20, 18)
    expected = linear(X[:, 0, :, :1] + torch.arange(20.0))
    aligned.align(linear)
    assert linear.weight.shape == (18, 20)
    assert linear.weight.stride() == (24, 1)
    found = linear(X[:, 0, :, :1] + torch.arange(20.0))
    torch.testing.assert_close(found, expected)
    assert found.stride(-2) == 24


def test_few_channels_and_depthwise_filters_are_left_alone():
    image, local = nn.Conv2d(3, 20, 3), nn.Conv2d(20, 20, 3, groups=20)
    for module in (image, local):
        aligned.align(module)
    assert image.whole.shape == (24, 3, 3, 3)
    assert type(local) is nn.Conv2d


def test_only_nvidia_s_gpus_get_them(monkeypatch):
    assert not aligned.on(torch.device("cpu"))
    assert not aligned.on(torch.device("xpu"))
    assert aligned.on(torch.device("cuda", 0))
    monkeypatch.setattr(torch.version, "hip", "7.1")
    assert not aligned.on(torch.device("cuda", 0))


@pytest.mark.parametrize(("c", "stride"), [(180, 184), (60, 64), (64, 64)])
def test_a_norm_that_products_read_leaves_room_between_its_rows(c, stride, kernel_device):
    x, norm = torch.randn(1, 2, 3, c).to(kernel_device), nn.LayerNorm(c).to(kernel_device)
    with torch.inference_mode(), torch.autocast(kernel_device.type, torch.bfloat16):
        normed = ops_gpu.norm(x, norm)
    assert normed.shape == x.shape
    assert normed.stride(-2) == stride
    torch.testing.assert_close(normed.float(), norm(x), atol=0.02, rtol=0.01)
