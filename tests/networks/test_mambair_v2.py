"""MambaIRv2: any size, classes that are certain or drawn, windows and what a shift puts apart."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch.nn import functional

from mambair_cli.kernels.block import attention
from mambair_cli.kernels.block.attention import relative_positions
from mambair_cli.networks import MambaIRv2Config, build_network
from mambair_cli.networks.padding import mirror_to_multiple
from mambair_cli.networks.window_attention import WindowAttention
from mambair_cli.restoration.device.scan_backend import set_scan_backend

LIGHT = MambaIRv2Config(
    upscale=2, embed_dim=12, d_state=3, depths=(2, 1), num_heads=(2, 3), window_size=4,
    inner_rank=5, num_tokens=7, mlp_ratio=1.0,
)  # fmt: skip
FULL = replace(LIGHT, light=False, mlp_ratio=2.0, upsampler="pixelshuffle", upscale=3)
VARIETIES = {
    "light": LIGHT,
    "full": FULL,
    "gray": replace(LIGHT, in_chans=1, upscale=1, upsampler=""),
    "nearest": replace(FULL, upscale=4, upsampler="nearest+conv", resi_connection="3conv"),
}


def build(config):
    torch.manual_seed(0)
    network = build_network(config).eval()
    set_scan_backend(network, "auto")
    return network


@pytest.mark.parametrize("variety", VARIETIES)
def test_any_height_and_width(variety):
    config = VARIETIES[variety]
    network = build(config)
    for h, w in [(1, 1), (1, 5), (9, 2), (4, 8), (11, 6)]:
        with torch.inference_mode():
            output = network(torch.rand(2, config.in_chans, h, w))
        assert output.shape == (2, config.in_chans, h * config.upscale, w * config.upscale)
        assert output.isfinite().all()


def test_images_of_a_batch_do_not_mix():
    network = build(LIGHT)
    images = torch.rand(3, 3, 6, 9)
    with torch.inference_mode():
        together = network(images)
        apart = torch.cat([network(image[None]) for image in images])
    assert torch.allclose(together, apart, atol=1e-6)


def test_the_same_image_gives_the_same_result_unless_classes_are_drawn():
    network, image = build(LIGHT), torch.rand(1, 3, 8, 11)
    with torch.inference_mode():
        assert torch.equal(network(image), network(image))
        network.sample_classes(sampled=True)
        assert not torch.equal(network(image), network(image))
        network.sample_classes(sampled=False)
        assert torch.equal(network(image), network(image))


@pytest.mark.parametrize("config", [LIGHT, FULL], ids=["light", "full"])
def test_in_training_every_parameter_learns(config):
    network = build(config).train()
    for scan in ("numba", "torch"):
        set_scan_backend(network, scan)
        network.zero_grad()
        network(torch.rand(2, 3, 6, 9)).square().mean().backward()
        for name, parameter in network.named_parameters():
            assert parameter.grad is not None, name
            assert parameter.grad.isfinite().all(), name
            assert parameter.grad.any(), name


def test_a_class_that_no_pixel_has_changes_nothing():
    network, image = build(LIGHT), torch.rand(1, 3, 8, 11)
    assm = network.layers[0].residual_group.layers[0].assm
    with torch.inference_mode():
        assm.route[2].bias[3] = -1e4
        before = network(image)
        assm.embeddingB.weight[3] += 1
        assert torch.equal(network(image), before)
        assm.embeddingB.weight += 1
        assert not torch.equal(network(image), before)


def test_the_image_is_mirrored_with_its_edge_as_often_as_needed():
    row = torch.arange(3.0).view(1, 1, 1, 3)
    assert mirror_to_multiple(row, 8)[0, 0].tolist() == [[0, 1, 2, 2, 1, 0, 0, 1]] * 8
    whole = torch.rand(1, 2, 4, 8)
    assert mirror_to_multiple(whole, 4) is whole


def attention_by_definition(module, qkv):
    """Every pixel with every other, those of another window or region left out."""
    _, h, w, _ = qkv.shape
    windows = module.windows
    side, shift, heads = windows.side, windows.shift, windows.heads
    rows, columns = torch.meshgrid(torch.arange(h), torch.arange(w), indexing="ij")
    # Where a pixel lies after the shift; pixels that came round are a region of their own.
    row, column = ((axis - shift) % size for axis, size in ((rows, h), (columns, w)))
    around = 2 * (rows < shift).int() + (columns < shift).int()
    window = row // side * w + column // side
    row, column, window, around = (each.flatten() for each in (row, column, window, around))
    q, k, v = qkv[0].flatten(0, 1).view(h * w, 3, heads, -1).permute(1, 2, 0, 3)
    scores = q @ k.mT / q.shape[-1] ** 0.5
    down, right = (axis[:, None] - axis + side - 1 for axis in (row, column))
    together = (window[:, None] == window) & (around[:, None] == around)
    position = (down * (2 * side - 1) + right)[together]
    bias = torch.full_like(scores, -torch.inf)
    bias[:, together] = module.relative_position_bias_table[position].T
    attended = functional.softmax(scores + bias, dim=-1) @ v
    return module.proj(attended.permute(1, 0, 2).reshape(1, h, w, -1))


@pytest.mark.parametrize("size", [(4, 4), (4, 12), (12, 8)], ids=str)
@pytest.mark.parametrize("shift", [0, 2, 1])
def test_pixels_attend_to_the_neighbours_in_their_window(size, shift):
    torch.manual_seed(1)
    module = WindowAttention(6, window=4, heads=2, shift=shift)
    torch.nn.init.normal_(module.relative_position_bias_table)
    qkv = torch.randn(1, *size, 18)
    assert torch.allclose(module(qkv), attention_by_definition(module, qkv), atol=1e-5)


def test_relative_positions_count_rows_then_columns():
    # The positions of a window of side 2: itself is row 1, column 1 of three by three.
    assert relative_positions(2).tolist() == [
        [4, 3, 1, 0],
        [5, 4, 2, 1],
        [7, 6, 4, 3],
        [8, 7, 5, 4],
    ]


def test_it_can_be_exported_with_the_plain_steps():
    network, image = build(LIGHT), torch.rand(1, 3, 6, 9)
    set_scan_backend(network, "torch")
    with torch.no_grad():
        expected = network(image)
        program = torch.export.export(network, (image,))
        assert torch.allclose(program.module()(image), expected, atol=1e-5)


@pytest.mark.parametrize("shift", [0, 2])
@pytest.mark.parametrize(("channels", "heads", "filled"), [(6, 2, 8), (34, 2, 24), (16, 2, 8)])
def test_heads_filled_up_for_a_gpu_attend_as_before(channels, heads, filled, shift, monkeypatch):
    torch.manual_seed(0)
    module = WindowAttention(channels, 4, heads, shift)
    x, attended = torch.randn(2, 8, 12, 3 * channels), []
    fused = functional.scaled_dot_product_attention

    def noted(*windows, **how):
        attended.append(windows[0].shape[-1])
        # Or a GPU's fused attention does not take them.
        assert all(tensor.stride(-1) == 1 for tensor in windows)
        return fused(*windows, **how)

    monkeypatch.setattr(functional, "scaled_dot_product_attention", noted)
    with torch.inference_mode():
        expected = module(x)
        assert set(attended) == {channels // heads}
        attended.clear()
        monkeypatch.setattr(attention, "_fills_up", lambda _: True)
        torch.testing.assert_close(module(x), expected)
    assert set(attended) == {attention.head_channels(channels, heads)} == {filled}


def test_triton_s_kernels_restore_as_the_definition(monkeypatch):
    pytest.importorskip("triton")
    monkeypatch.setattr(attention, "_fills_up", lambda _: True)
    results = []
    for config in (LIGHT, replace(FULL, depths=(1,), num_heads=(2,))):
        network = build(replace(config, convffn_kernel_size=5)).requires_grad_(False)
        for scan in ("reference", "triton"):
            set_scan_backend(network, scan)
            with torch.inference_mode():
                results.append(network(torch.linspace(0, 1, 3 * 4 * 7).view(1, 3, 4, 7)))
        torch.testing.assert_close(*results[-2:], rtol=1e-4, atol=1e-5)
