"""Channel attention, local convolution, upsampling."""

from __future__ import annotations

import pytest
import torch

from mambair_cli.networks.frame import Upsample
from mambair_cli.networks.layers import CAB, ChannelAttention


def test_attention_gates_by_the_mean_over_pixels():
    torch.manual_seed(0)
    attention = ChannelAttention(60)
    features = torch.randn(2, 5, 7, 60)
    published = attention.attention(features.permute(0, 3, 1, 2))
    assert torch.allclose(attention(features), published[:, :, 0, 0], atol=1e-6)


@pytest.mark.parametrize("light", [True, False])
def test_local_convolution_and_its_gate_are_the_published_sequence(light):
    torch.manual_seed(0)
    block = CAB(30, light=light)
    features = torch.randn(2, 5, 7, 30)
    x = features.permute(0, 3, 1, 2)
    for layer in block.cab[:-1]:
        x = layer(x)
    expected = x * block.cab[-1].attention(x)
    local, gate = block(features)
    found = (local * gate[:, None, None, :]).permute(0, 3, 1, 2)
    assert torch.allclose(found, expected, atol=1e-5)


@pytest.mark.parametrize(("scale", "layers"), [(1, 0), (2, 2), (3, 2), (4, 4), (8, 6)])
def test_upsampling_reaches_its_scale(scale, layers):
    upsample = Upsample(scale, 4)
    assert len(upsample) == layers
    assert upsample(torch.rand(1, 4, 3, 5)).shape == (1, 4, 3 * scale, 5 * scale)
