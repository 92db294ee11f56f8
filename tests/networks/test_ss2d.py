"""The choice of a scan for a whole network, and what it must not change."""

from __future__ import annotations

import copy

import pytest
import torch

from mambair_cli.errors import BackendError
from mambair_cli.kernels.block.ops import PLAIN
from mambair_cli.kernels.block.ops_cpu import FUSED
from mambair_cli.kernels.scan import dispatch
from mambair_cli.networks import MambaIRConfig, MambaIRUNetConfig, build_network
from mambair_cli.networks.layers import CAB, ResidualStateSpaceBlock
from mambair_cli.networks.ss2d import SS2D
from mambair_cli.restoration.device.scan_backend import set_scan_backend

LIGHT = MambaIRConfig(upscale=2, embed_dim=20, d_state=5, depths=(1, 1))
CONFIGS = {
    "light": LIGHT,
    "classic": MambaIRConfig(
        upscale=2, embed_dim=20, d_state=3, depths=(1,), mlp_ratio=2.0, upsampler="pixelshuffle"
    ),
    "unet": MambaIRUNetConfig(dim=4, num_blocks=(1, 1, 1, 1), num_refinement_blocks=1, d_state=3),
}


def build(config=LIGHT, scan="numba"):
    torch.manual_seed(0)
    network = build_network(config)
    for parameter in network.parameters():  # skip scales and biases of one and zero hide mistakes
        parameter.data += 0.05 * torch.randn_like(parameter)
    set_scan_backend(network, scan)
    return network


def steps_of(network):
    kinds = (SS2D, CAB, ResidualStateSpaceBlock)
    return [module.ops for module in network.modules() if isinstance(module, kinds)]


def scans_of(network):
    return [module.scan for module in network.modules() if isinstance(module, SS2D)]


def test_a_fresh_network_runs_the_definition():
    network = build_network(LIGHT)
    assert scans_of(network) == [dispatch.REFERENCE] * 2
    assert steps_of(network) == [PLAIN] * 6


def test_every_block_gets_the_scan_and_its_steps():
    network = build_network(LIGHT)
    assert set_scan_backend(network, "auto") == "numba"
    assert scans_of(network) == [dispatch.NUMBA] * 2
    assert steps_of(network) == [FUSED] * 6
    assert set_scan_backend(network, "reference") == "reference"
    assert scans_of(network) == [dispatch.REFERENCE] * 2
    assert steps_of(network) == [PLAIN] * 6


def test_a_refused_choice_changes_nothing():
    network = build()
    with pytest.raises(BackendError, match=r"^unknown scan backend 'fastest'$"):
        set_scan_backend(network, "fastest")
    assert scans_of(network) == [dispatch.NUMBA] * 2
    assert steps_of(network) == [FUSED] * 6


@pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS)
def test_gradients_of_a_whole_network_agree_with_the_definition(config, relative_rms):
    torch.manual_seed(1)
    image, upstream = torch.rand(2, 3, 8, 11), None
    results = {}
    for scan, dtype in (
        ("numba", torch.float32),
        ("torch", torch.float32),
        ("reference", torch.float64),
    ):
        network = build(config, scan).to(dtype)
        x = image.clone().to(dtype).requires_grad_()
        output = network(x)
        upstream = torch.randn_like(output) if upstream is None else upstream.to(dtype)
        names, parameters = zip(*network.named_parameters(), strict=True)
        gradients = torch.autograd.grad(output, [x, *parameters], upstream)
        results[scan] = dict(zip(("output", "input", *names), [output, *gradients], strict=True))
    for name, exact in results["reference"].items():
        for scan in ("numba", "torch"):
            assert relative_rms(results[scan][name].detach(), exact.detach()) < 1e-4, (scan, name)


def test_a_copy_is_independent_and_computes_the_same():
    network = build().eval()
    twin = copy.deepcopy(network)
    image = torch.rand(1, 3, 5, 9)
    with torch.inference_mode():
        expected = network(image)
        assert torch.equal(twin(image), expected)
    for parameter in twin.parameters():
        parameter.data.zero_()
    with torch.inference_mode():
        assert torch.equal(network(image), expected)


@pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS)
def test_a_state_dict_restores_the_network(config):
    network, other = build(config).eval(), build_network(config).eval()
    other.load_state_dict(network.state_dict(), strict=True)
    set_scan_backend(other, "numba")
    image = torch.rand(1, 3, 5, 9)
    with torch.inference_mode():
        assert torch.equal(other(image), network(image))


def test_steps_and_decays_start_as_mamba_does():
    torch.manual_seed(0)
    module = SS2D(d_model=20, d_state=5, expand=1.5)
    steps = torch.nn.functional.softplus(module.dt_projs_bias.detach())
    assert 0.000999 < float(steps.min()) < 0.002
    assert 0.05 < float(steps.max()) < 0.1001
    assert torch.allclose(torch.exp(module.A_logs), torch.arange(1.0, 6.0).expand(120, 5))
    assert module.rank == 2
    assert bool((module.Ds == 1).all())


@pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS)
def test_vectorised_pytorch_runs_a_whole_network_with_plain_steps(config):
    network = build(config, "torch").eval()
    assert set(map(id, steps_of(network))) == {id(PLAIN)}
    image = torch.rand(1, 3, 9, 13)
    with torch.inference_mode():
        output = network(image)
        set_scan_backend(network, "reference")
        assert torch.allclose(output, network(image), rtol=0, atol=1e-5)


@pytest.mark.parametrize("scan", ["numba", "torch", "reference"])
def test_autocast_to_half_precision_stays_close(scan):
    network = build(scan=scan).eval()
    image = torch.rand(1, 3, 6, 9)
    with torch.inference_mode():
        exact = network(image)
        with torch.autocast("cpu", torch.bfloat16):
            half = network(image)
    assert float((half.float() - exact).abs().max()) < 0.05 * float(exact.abs().max())


def optimiser_step(network):
    for parameter in network.parameters():
        parameter.grad = torch.ones_like(parameter)
    torch.optim.Adam(network.parameters(), lr=0.01).step()


def fused_optimiser_step(network):
    for parameter in network.parameters():
        parameter.grad = torch.ones_like(parameter)
    torch.optim.Adam(network.parameters(), lr=0.01, fused=True).step()


def other_weights(network):
    state = network.state_dict()
    network.load_state_dict({key: value + 0.1 for key, value in state.items()})


def moving_average(network):
    parameters = list(network.parameters())
    with torch.no_grad():
        torch._foreach_lerp_(parameters, [torch.ones(())] * len(parameters), 0.1)


def raw_data(network):
    for parameter in network.parameters():
        parameter.data.mul_(1.1)


def assert_weights_are_used(network, change):
    image = torch.rand(1, 3, 5, 9)
    with torch.inference_mode():
        before = network(image)
    change(network)
    with torch.inference_mode():
        after = network(image)
    set_scan_backend(network, "reference")
    with torch.inference_mode():
        expected = network(image)
    assert not torch.allclose(after, before, atol=1e-3)
    assert torch.allclose(after, expected, atol=1e-5)


@pytest.mark.parametrize(
    "change", [optimiser_step, fused_optimiser_step, other_weights, moving_average, raw_data]
)
def test_weights_that_change_after_a_run_are_used(change):
    assert_weights_are_used(build().eval(), change)


@pytest.mark.parametrize("change", [other_weights, moving_average])
def test_frozen_weights_that_change_after_a_run_are_used(change):
    assert_weights_are_used(build().eval().requires_grad_(False), change)


def test_a_network_made_in_inference_mode_runs_and_may_change():
    with torch.inference_mode():
        network = build().eval()
        assert_weights_are_used(network, other_weights)
