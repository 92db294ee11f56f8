"""The U-Net pads inside to a multiple of eight and gives back what it was given."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from mambair_cli.networks import MambaIRUNetConfig, build_network
from mambair_cli.networks.layers import ResidualStateSpaceBlock
from mambair_cli.networks.padding import pad_to_multiple
from mambair_cli.restoration.device.scan_backend import set_scan_backend

TINY = MambaIRUNetConfig(dim=4, num_blocks=(1, 1, 1, 1), num_refinement_blocks=1, d_state=2)


def build(config):
    torch.manual_seed(0)
    network = build_network(config).eval()
    set_scan_backend(network, "auto")
    return network


@pytest.mark.parametrize("config", [TINY, replace(TINY, inp_channels=1, out_channels=1, bias=True)])
def test_any_height_and_width(config):
    network = build(config)
    assert (network.scale, network.channels) == (1, config.inp_channels)
    for h, w in [(1, 1), (1, 19), (19, 1), (8, 16), (9, 23)]:
        with torch.inference_mode():
            output = network(torch.rand(2, config.inp_channels, h, w))
        assert output.shape == (2, config.inp_channels, h, w)
        assert output.isfinite().all()


def test_padding_is_undone():
    network = build(TINY)
    image = torch.rand(1, 3, 9, 13)
    with torch.inference_mode():
        whole = network(pad_to_multiple(image, 8))
        assert whole.shape == (1, 3, 16, 16)
        assert torch.equal(network(image), whole[:, :, :9, :13])


def test_it_learns_what_to_add_to_the_image():
    network = build(TINY)
    torch.nn.init.zeros_(network.output.weight)
    image = torch.rand(1, 3, 5, 11)
    with torch.inference_mode():
        assert torch.equal(network(image), image)


def test_blocks_get_pixels_whose_channels_lie_together():
    network, laid_out = build(TINY), []
    for module in network.modules():
        if isinstance(module, ResidualStateSpaceBlock):
            module.register_forward_pre_hook(
                lambda _, inputs: laid_out.append(inputs[0].is_contiguous())
            )
    with torch.inference_mode():
        network(torch.rand(1, 3, 9, 13))
    assert len(laid_out) == 8
    assert all(laid_out)
