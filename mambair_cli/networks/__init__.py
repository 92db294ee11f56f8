"""The networks: configuration, modules, what builds them, and what compiles their kernels."""

from __future__ import annotations

import time

import torch

from mambair_cli.networks.layers import ResidualStateSpaceBlock
from mambair_cli.networks.mambair import MambaIR
from mambair_cli.networks.mambair_unet import MambaIRUNet
from mambair_cli.networks.spec import MambaIRConfig, MambaIRUNetConfig, NetworkConfig
from mambair_cli.networks.ss2d import set_scan_backend

LEAST_CHANNELS = 16

RestorationNetwork = MambaIR | MambaIRUNet


def build_network(config: NetworkConfig) -> RestorationNetwork:
    """Builds a network with fresh weights, on the default device.

    Args:
        config: Which network.

    Returns:
        The module, in training mode.
    """
    if isinstance(config, MambaIRUNetConfig):
        return MambaIRUNet(config)
    return MambaIR(config)


def prepare_kernels(scan: str, *, training: bool = False) -> float:
    """Compiles a CPU's kernels, or loads them from the cache, by running a small block.

    Args:
        scan: Name of the scan backend, as `set_scan_backend` returns it.
        training: Also those of the backward pass.

    Returns:
        Seconds that it took.
    """
    start = time.perf_counter()
    block = ResidualStateSpaceBlock(LEAST_CHANNELS, d_state=1, expand=1.0, light=True)
    set_scan_backend(block, scan)
    with torch.set_grad_enabled(training):
        result = block(torch.zeros(1, 2, 3, LEAST_CHANNELS))
    if training:
        result.sum().backward()
    return time.perf_counter() - start


__all__ = [
    "MambaIR",
    "MambaIRConfig",
    "MambaIRUNet",
    "MambaIRUNetConfig",
    "build_network",
    "prepare_kernels",
]
