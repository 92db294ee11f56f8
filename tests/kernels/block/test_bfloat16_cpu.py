"""What CPU kernels read and store where autocast computes in bfloat16."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from mambair_cli.kernels.block.ops import PLAIN
from mambair_cli.kernels.block.ops_cpu import FUSED

C = 21


def step(name, ops, x, y, norm, conv):
    """What one of the steps makes of a float32 and a bfloat16 tensor."""
    if name == "norm":
        return ops.norm(x, norm)
    if name == "norm_gate":
        return ops.norm_gate(x, y, norm)
    if name == "depthwise":
        return ops.depthwise(y, conv, "silu")
    if name == "gated_residual":
        return ops.gated_residual(x, y, norm.weight, y[:, 0, 0].float())
    kept, normed = ops.residual_norm(x, y, norm.weight, norm)
    return normed if name == "residual_norm" else kept


STEPS = ("norm", "norm_gate", "depthwise", "residual_norm")
KEPT = ("residual", "gated_residual")


def inputs():
    """A float32 and a bfloat16 tensor, a norm, a convolution."""
    torch.manual_seed(4)
    x, y = torch.randn(2, 6, 7, C), torch.randn(2, 6, 7, C).bfloat16()
    norm, conv = nn.LayerNorm(C), nn.Conv2d(C, C, 3, padding=1, groups=C)
    nn.init.normal_(norm.weight)
    return x, y, norm.requires_grad_(False), conv.requires_grad_(False)


def exact(name):
    x, y, norm, conv = inputs()
    return step(name, PLAIN, x, y.float(), norm, conv)


@pytest.mark.parametrize("name", STEPS)
def test_what_products_read_next_is_bfloat16_rounded_once(name):
    with torch.autocast("cpu", torch.bfloat16):
        result = step(name, FUSED, *inputs())
    assert result.dtype == torch.bfloat16
    torch.testing.assert_close(result.float(), exact(name), rtol=2**-8, atol=1e-5)


@pytest.mark.parametrize("name", KEPT)
def test_the_residual_stream_stays_float32(name):
    with torch.autocast("cpu", torch.bfloat16):
        result = step(name, FUSED, *inputs())
    assert result.dtype == torch.float32
    torch.testing.assert_close(result, exact(name), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("name", STEPS)
def test_without_autocast_and_for_gradients_everything_is_float32(name):
    x, y, norm, conv = inputs()
    assert step(name, FUSED, x, y, norm, conv).dtype == torch.float32
    with torch.autocast("cpu", torch.bfloat16):
        y = y.float().requires_grad_()
        recorded = step(name, FUSED, x.requires_grad_(), y, norm, conv)
    assert recorded.dtype == torch.float32
    recorded.sum().backward()


def test_planes_of_a_scan_are_added_by_the_gate():
    x, y, norm, _ = inputs()
    planes = torch.stack([x, x.flip(2)])
    expected = FUSED.norm_gate(planes.sum(0), y.float(), norm)
    assert torch.equal(FUSED.norm_gate(planes, y.float(), norm), expected)
