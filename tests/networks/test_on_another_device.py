"""What networks do on a device other than the CPU, which the meta device stands in for."""

from __future__ import annotations

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from mambair_cli.kernels.scan.dispatch import Backend
from mambair_cli.networks import (
    MambaIRConfig,
    MambaIRUNetConfig,
    MambaIRv2Config,
    build_network,
)
from mambair_cli.restoration.device.scan_backend import set_scan_backend

CONFIGS = {
    "light": MambaIRConfig(upscale=2, embed_dim=8, d_state=2, depths=(1,)),
    "classic": MambaIRConfig(
        upscale=4, embed_dim=12, d_state=2, depths=(1,), upsampler="pixelshuffle"
    ),
    "nearest": MambaIRConfig(
        upscale=4, embed_dim=12, d_state=2, depths=(1,), upsampler="nearest+conv"
    ),
    "unet": MambaIRUNetConfig(dim=8, num_blocks=(1, 1, 1, 1), num_refinement_blocks=1, d_state=2),
    "v2": MambaIRv2Config(
        embed_dim=12, d_state=2, depths=(2,), num_heads=(2,), window_size=4, num_tokens=4
    ),
}


class Placed(TorchDispatchMode):
    """Notes what makes or takes a tensor in main memory: no CUDA graph can hold such a step."""

    def __init__(self):
        super().__init__()
        self.in_main_memory = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        results = func(*args, **(kwargs or {}))
        for value in tree_leaves((args, kwargs, results)):
            if isinstance(value, torch.Tensor) and value.device.type == "cpu":
                self.in_main_memory.append(str(func))
        return results


@pytest.mark.parametrize(("name", "sampled"), [*((name, False) for name in CONFIGS), ("v2", True)])
def test_a_run_makes_and_takes_nothing_in_main_memory(name, sampled):
    with torch.device("meta"):
        network = build_network(CONFIGS[name]).eval().requires_grad_(requires_grad=False)
        network.to("meta")
        x = torch.empty(2, 3, 9, 13)
    scan = Backend("none", lambda _: None, lambda u, *_: u.float())
    set_scan_backend(network, scan)
    if sampled:
        network.sample_classes(sampled=True)
    with torch.inference_mode(), Placed() as placed:
        assert network(x).device.type == "meta"
    assert not placed.in_main_memory
