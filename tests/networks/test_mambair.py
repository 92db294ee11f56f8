"""MambaIR at any size and scale, and the published networks by name and shape."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from published_networks import FULL_SIZE, config_of

from mambair_cli.networks import MambaIRConfig, build_network
from mambair_cli.restoration.device.scan_backend import set_scan_backend

LIGHT = MambaIRConfig(upscale=2, embed_dim=12, d_state=3, depths=(1, 1))
CLASSIC = replace(LIGHT, upsampler="pixelshuffle", mlp_ratio=2.0, depths=(1,))
RESTORE = replace(LIGHT, upscale=1, upsampler="")
VARIETIES = {
    "light": LIGHT,
    "light x1": replace(LIGHT, upscale=1),
    "light x3": replace(LIGHT, upscale=3),
    "light x4": replace(LIGHT, upscale=4),
    "light x8": replace(LIGHT, upscale=8),
    "light gray": replace(LIGHT, in_chans=1),
    "classic": CLASSIC,
    "classic x1": replace(CLASSIC, upscale=1),
    "classic x3": replace(CLASSIC, upscale=3),
    "classic x4": replace(CLASSIC, upscale=4),
    "classic x8": replace(CLASSIC, upscale=8),
    "classic 3conv": replace(CLASSIC, resi_connection="3conv", img_range=255.0),
    "restore": RESTORE,
    "restore gray": replace(RESTORE, in_chans=1, resi_connection="3conv"),
    "narrow": replace(LIGHT, embed_dim=5, mlp_ratio=1.0),
}
SIZES = [(1, 1), (1, 19), (19, 1), (2, 3), (7, 11)]


def build(config):
    torch.manual_seed(0)
    network = build_network(config).eval()
    set_scan_backend(network, "auto")
    return network


@pytest.mark.parametrize("variety", VARIETIES)
def test_any_height_and_width(variety):
    config = VARIETIES[variety]
    network = build(config)
    assert (network.scale, network.channels) == (config.upscale, config.in_chans)
    for h, w in SIZES:
        with torch.inference_mode():
            output = network(torch.rand(2, config.in_chans, h, w))
        assert output.shape == (2, config.in_chans, h * config.upscale, w * config.upscale)
        assert output.dtype == torch.float32
        assert output.isfinite().all()


@pytest.mark.parametrize("variety", ["light", "classic 3conv", "restore"])
def test_images_of_a_batch_do_not_mix(variety):
    network = build(VARIETIES[variety])
    images = torch.rand(3, 3, 6, 9)
    with torch.inference_mode():
        together = network(images)
        apart = torch.cat([network(image[None]) for image in images])
    assert torch.allclose(together, apart, atol=1e-6)


@pytest.mark.parametrize("img_range", [1.0, 255.0])
@pytest.mark.parametrize("channels", [1, 3])
def test_restoration_learns_what_to_add_to_the_image(channels, img_range):
    network = build(replace(RESTORE, in_chans=channels, img_range=img_range))
    torch.nn.init.zeros_(network.conv_last.weight)
    torch.nn.init.zeros_(network.conv_last.bias)
    image = torch.rand(1, channels, 5, 8)
    with torch.inference_mode():
        assert torch.allclose(network(image), image, atol=1e-6)


@pytest.mark.parametrize(("channels", "mean"), [(3, [0.4488, 0.4371, 0.4040]), (1, [0.0])])
def test_a_silent_network_gives_the_mean_colour(channels, mean):
    network = build(replace(LIGHT, in_chans=channels, img_range=255.0))
    torch.nn.init.zeros_(network.upsample[0].weight)
    torch.nn.init.zeros_(network.upsample[0].bias)
    with torch.inference_mode():
        output = network(torch.rand(1, channels, 3, 4))
    assert torch.allclose(output, torch.tensor(mean).view(1, -1, 1, 1).expand_as(output))


def test_channels_last_images_give_the_same_output():
    network = build(LIGHT)
    image = torch.rand(1, 3, 6, 9)
    with torch.inference_mode():
        expected = network(image)
        assert torch.equal(network(image.contiguous(memory_format=torch.channels_last)), expected)


@pytest.mark.parametrize("name", FULL_SIZE)
def test_published_networks_have_the_same_tensors(name):
    entry = FULL_SIZE[name]
    with torch.device("meta"):
        network = build_network(config_of(entry))
    shapes = {key: list(tensor.shape) for key, tensor in network.state_dict().items()}
    made = {"relative_position_index_SA"}
    assert shapes == {key: shape for key, shape in entry["tensors"].items() if key not in made}
    assert sum(parameter.numel() for parameter in network.parameters()) == entry["parameters"]
