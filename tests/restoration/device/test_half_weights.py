import copy
import gc
import weakref

import pytest
import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

from mambair_cli.networks import build_network
from mambair_cli.networks.spec import MambaIRConfig, MambaIRUNetConfig, MambaIRv2Config
from mambair_cli.restoration.device.half_weights import frozen_state, with_half_weights
from mambair_cli.restoration.device.scan_backend import set_scan_backend

X = torch.rand(1, 3, 12, 17, generator=torch.Generator().manual_seed(0))


@pytest.fixture
def network():
    torch.manual_seed(0)
    config = MambaIRConfig(upscale=2, embed_dim=16, d_state=2, depths=(1,))
    return build_network(config).eval().requires_grad_(requires_grad=False)


class Casts(TorchDispatchMode):
    """Notes the shapes of everything that is cast."""

    def __init__(self):
        super().__init__()
        self.shapes = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        result = func(*args, **(kwargs or {}))
        if func.overloadpacket in (torch.ops.aten.to, torch.ops.aten._to_copy):
            self.shapes.append(tuple(result.shape))
        return result


def run(network, dtype=torch.bfloat16):
    compute = with_half_weights(network, dtype, frozen_state(network))
    with torch.inference_mode(), torch.autocast("cpu", dtype):
        return compute(X)


def expected(network):
    with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16):
        return network(X)


def test_a_unet_has_the_same_results_too():
    torch.manual_seed(0)
    config = MambaIRUNetConfig(dim=8, num_blocks=(1, 1, 1, 1), num_refinement_blocks=1)
    network = build_network(config).eval().requires_grad_(requires_grad=False)
    assert torch.equal(run(network), expected(network))


def test_classes_that_are_drawn_from_now_on_are_no_longer_those_that_were_certain():
    torch.manual_seed(0)
    config = MambaIRv2Config(
        embed_dim=12, d_state=2, depths=(1,), num_heads=(2,), window_size=4, num_tokens=8
    )
    network = build_network(config).eval().requires_grad_(requires_grad=False)
    certain, state = run(network), frozen_state(network)
    network.sample_classes(sampled=True)
    assert frozen_state(network) != state
    assert not torch.equal(run(network), certain)
    network.sample_classes(sampled=False)
    assert torch.equal(run(network), certain)


@pytest.mark.parametrize("scan", ["numba", "torch", "reference"])
def test_results_are_those_of_autocast_bit_for_bit(network, scan):
    set_scan_backend(network, scan)
    assert torch.equal(run(network), expected(network))


def copies_of(network):
    """Parameters of the network that a run uses in place of its own."""
    twin = with_half_weights(network, torch.bfloat16, frozen_state(network))
    return {
        name: parameter
        for (name, own), parameter in zip(
            network.named_parameters(), twin.parameters(), strict=True
        )
        if parameter is not own
    }


def test_no_matrix_is_cast_again(network):
    matrices = {tuple(weight.shape) for weight in copies_of(network).values() if weight.dim() > 1}
    with Casts() as plain:
        expected(network)
    with Casts() as ours:
        run(network)
    assert matrices & set(plain.shapes)
    assert not matrices & set(ours.shapes)


def test_matrices_are_copied_and_nothing_that_makes_the_state(network):
    before = {name: weight.clone() for name, weight in network.named_parameters()}
    copies = copies_of(network)
    assert {copy.dtype for copy in copies.values()} == {torch.bfloat16}
    assert {name.rsplit(".", 1)[-1] for name in copies} == {"weight", "bias", "x_proj_weight"}
    assert not any(".attention." in name for name in copies)
    attention = "layers.0.residual_group.blocks.0.self_attention."
    assert {name.removeprefix(attention) for name in copies if name.startswith(attention)} == {
        "in_proj.weight",
        "out_proj.weight",
        "x_proj_weight",
    }
    for name, weight in network.named_parameters():
        assert torch.equal(weight, before[name])


def test_copies_are_made_once_for_each_format(network):
    state = frozen_state(network)
    half, other = (with_half_weights(network, t, state) for t in (torch.bfloat16, torch.float16))
    assert half is not other
    assert with_half_weights(network, torch.bfloat16, frozen_state(network)) is half
    assert with_half_weights(network, torch.float16, frozen_state(network)) is other


def change_in_place(network):
    network.conv_first.weight.mul_(1.5)


def load(network):
    network.load_state_dict({k: v * 1.5 for k, v in network.state_dict().items()})


def replace(network):
    network.conv_first.weight = nn.Parameter(network.conv_first.weight * 1.5, requires_grad=False)


@pytest.mark.parametrize("change", [change_in_place, load, replace])
def test_changed_weights_are_used(network, change):
    before = run(network)
    change(network)
    after = run(network)
    assert not torch.equal(before, after)
    assert torch.equal(after, expected(network))


def test_weights_that_can_change_unnoticed_are_not_copied(network):
    trained = copy.deepcopy(network).requires_grad_()
    assert frozen_state(trained) is None
    assert with_half_weights(trained, torch.bfloat16, None) is trained
    with torch.inference_mode():
        inference = build_network(network.config).requires_grad_(requires_grad=False)
    assert frozen_state(inference) is None


def test_nothing_keeps_a_network_alive():
    network = nn.Conv2d(3, 3, 1).requires_grad_(requires_grad=False)
    run(network)
    network_alive = weakref.ref(network)
    del network
    gc.collect()
    assert network_alive() is None
