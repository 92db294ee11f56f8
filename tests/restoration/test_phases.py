"""A network that is shown every second and every fourth pixel as well."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn

from mambair_cli.imaging.image import Band, ImageHeader, RestorableImage
from mambair_cli.networks import build_network
from mambair_cli.networks.spec import MambaIRConfig, ModelSpec
from mambair_cli.pixels.traces import LUMA
from mambair_cli.restoration import engine, plan
from mambair_cli.restoration.device.cuda_graphs import EAGER_RUNS
from mambair_cli.restoration.phases import SHARES, InPhases
from mambair_cli.restoration.plan import RestoreOptions
from mambair_cli.restoration.restorer import restore_image, restore_tensor
from mambair_cli.restoration.streaming import restore_bands

CONFIG = MambaIRConfig(upscale=1, embed_dim=8, depths=(1,), d_state=2, upsampler="")
SPEC = ModelSpec("stub", "denoise-real", 1, 3)


@pytest.fixture
def network():
    torch.manual_seed(0)
    made = build_network(CONFIG).eval().requires_grad_(requires_grad=False)
    for parameter in made.parameters():
        parameter.add_(0.05 * torch.randn_like(parameter))
    return made


class Convolution(nn.Module):
    """A network without kernels of its own."""

    config = CONFIG

    def __init__(self):
        super().__init__()
        generator = torch.Generator().manual_seed(0)
        kernel = torch.rand(3, 3, 3, 3, generator=generator) / 9
        self.kernel = nn.Parameter(kernel, requires_grad=False)

    def forward(self, x):
        return torch.sin(3 * nn.functional.conv2d(x, self.kernel, padding=1))


def luma_of(x):
    return (x * torch.from_numpy(LUMA).view(1, 3, 1, 1)).sum(1, keepdim=True)


def every(network, x, stride):
    """Restore each of the pictures of every n-th pixel on its own."""
    answer = torch.empty_like(x)
    for y in range(stride):
        for left in range(stride):
            answer[:, :, y::stride, left::stride] = network(x[:, :, y::stride, left::stride])
    return answer


def test_luma_and_colours_are_of_the_phases_that_they_should_be_of(network):
    x = torch.rand(2, 3, 24, 36)
    answers = {stride: every(network, x, stride) for stride in (1, 2, 4)}
    lumas = {stride: luma_of(answer) for stride, answer in answers.items()}
    colours = {stride: answers[stride] - lumas[stride] for stride in answers}
    expected = 0.5 * lumas[1] + 0.5 * lumas[2] + 0.75 * colours[2] + 0.25 * colours[4]
    restored = InPhases(network)(x)
    assert torch.allclose(restored, expected, atol=1e-5)
    assert (restored - answers[1]).abs().max() > 1e-3


def test_nothing_is_lost_or_added():
    assert [sum(shares) for shares in zip(*SHARES.values(), strict=True)] == [1, 1]


@pytest.mark.parametrize("size", [(24, 36), (23, 37), (9, 14), (17, 8)])
def test_what_a_network_does_not_change_stays(size):
    class Nothing(nn.Module):
        config = CONFIG

        def __init__(self):
            super().__init__()
            self.weight = nn.Parameter(torch.zeros(1))

        def forward(self, x):
            return x

    x = torch.rand(1, 3, *size)
    assert torch.allclose(InPhases(Nothing())(x), x, atol=1e-6)


def test_memory_is_planned_as_for_the_network(network):
    phases = InPhases(network)
    assert phases.config is network.config
    assert not phases.training
    assert {id(p) for p in phases.parameters()} == {id(p) for p in network.parameters()}


def test_tiles_cover_an_image(network):
    x = torch.rand(1, 3, 90, 70)
    phases = InPhases(network)
    whole = restore_tensor(phases, x, SPEC, RestoreOptions(tile=0, precision="fp32"))
    tiles = restore_tensor(phases, x, SPEC, RestoreOptions(tile=48, overlap=16, precision="fp32"))
    assert (whole - tiles).abs().mean() < 0.01


def test_an_image_in_bands_is_what_it_is_as_a_whole(network):
    pixels = (torch.rand(90, 52, 3) * 255).to(torch.uint8).numpy()
    options = RestoreOptions(tile=48, overlap=16, precision="fp32")
    reader = SimpleNamespace(
        header=ImageHeader(52, 90, 3, pixels.dtype, has_alpha=False),
        span=None,
        read=lambda start, stop: Band(pixels[start:stop]),
    )
    _, bands = restore_bands(InPhases(network), reader, SPEC, options)
    whole = restore_image(InPhases(network), RestorableImage(pixels), SPEC, options).pixels
    assert np.array_equal(np.concatenate([band.pixels for band in bands]), whole)


def test_a_gpu_records_it_and_gives_what_a_cpu_does(gpu, monkeypatch):
    monkeypatch.setattr(plan, "RECORDED_BYTES", 2**40)
    monkeypatch.setattr(plan, "RECORDED_SHARE", 1)
    phases = InPhases(Convolution())
    x, options = torch.rand(1, 3, 50, 100), RestoreOptions(tile=32, overlap=8, precision="fp32")
    for _ in range(EAGER_RUNS + 2):
        restored = restore_tensor(phases, x, SPEC, options)
    assert gpu.replays
    monkeypatch.setattr(engine, "COPYING", ())
    assert torch.allclose(restored, restore_tensor(phases, x, SPEC, options), atol=1e-5)


def test_a_gray_image_stays_gray(network):
    pixels = (torch.rand(40, 52, 1) * 255).to(torch.uint8).numpy()
    options = RestoreOptions(tile=0, precision="fp32")
    restored = restore_image(InPhases(network), RestorableImage(pixels), SPEC, options)
    assert restored.pixels.shape == pixels.shape
