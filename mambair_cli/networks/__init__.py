"""The networks of the papers: configurations, modules, and what builds them."""

from __future__ import annotations

from mambair_cli.networks.mambair import MambaIR
from mambair_cli.networks.mambair_unet import MambaIRUNet
from mambair_cli.networks.mambair_v2 import MambaIRv2
from mambair_cli.networks.spec import (
    MambaIRConfig,
    MambaIRUNetConfig,
    MambaIRv2Config,
    NetworkConfig,
)

RestorationNetwork = MambaIR | MambaIRUNet | MambaIRv2


def build_network(config: NetworkConfig) -> RestorationNetwork:
    """Build a network with fresh weights, float32 on the default device.

    Args:
        config: Which network.

    Returns:
        The module, in training mode.
    """
    if isinstance(config, MambaIRUNetConfig):
        return MambaIRUNet(config).float()
    if isinstance(config, MambaIRv2Config):
        return MambaIRv2(config).float()
    return MambaIR(config).float()


__all__ = [
    "MambaIR",
    "MambaIRConfig",
    "MambaIRUNet",
    "MambaIRUNetConfig",
    "MambaIRv2",
    "MambaIRv2Config",
    "build_network",
]
