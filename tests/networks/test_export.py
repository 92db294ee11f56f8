"""Leaving PyTorch: networks as programs of a fixed size."""

from __future__ import annotations

import pytest
import torch

from mambair_cli.errors import BackendError
from mambair_cli.networks import MambaIRConfig, build_network
from mambair_cli.restoration.device.scan_backend import set_scan_backend

IMAGE = torch.rand(1, 3, 9, 14, generator=torch.Generator().manual_seed(0))


def network(scan):
    torch.manual_seed(0)
    built = build_network(MambaIRConfig(upscale=2, embed_dim=12, d_state=2, depths=(1,)))
    set_scan_backend(built, scan)
    return built.eval().requires_grad_(requires_grad=False)


def test_a_network_of_plain_operations_is_exported():
    module = network("torch")
    program = torch.export.export(module, (IMAGE,)).module()
    torch.testing.assert_close(program(IMAGE), module(IMAGE))
    traced = torch.jit.trace(module, IMAGE, check_trace=False)
    torch.testing.assert_close(traced(IMAGE), module(IMAGE))


@pytest.mark.parametrize("ran_before", [False, True])
def test_compiled_kernels_refuse_to_be_exported(ran_before):
    module = network("numba")
    expected = module(IMAGE) if ran_before else None
    for leave in (torch.export.export, torch.jit.trace):
        with pytest.raises(BackendError, match="'numba' cannot be exported") as caught:
            leave(module, (IMAGE,))
        assert caught.value.hint == 'export a network that was loaded with scan="torch"'
    if ran_before:
        assert torch.equal(module(IMAGE), expected)
