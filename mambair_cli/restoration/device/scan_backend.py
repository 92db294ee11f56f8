"""Which kernels a network runs on: the choice for its modules, and compiling them ahead."""

from __future__ import annotations

import time

import torch
from torch import nn

from mambair_cli.kernels.scan import dispatch
from mambair_cli.networks.frame import ResidualGroup
from mambair_cli.networks.layers import ResidualStateSpaceBlock
from mambair_cli.networks.selective_scan import SelectiveScan
from mambair_cli.restoration.device.precision import Precision, computing_in

# Of the block that compiles the kernels: any number will do.
LEAST_CHANNELS = 16
# What convolutions on smaller maps run on is not compiled.
LEAST_SIDES = (12, 9)


def set_scan_backend(network: nn.Module, scan: str | dispatch.Backend) -> str:
    """Choose the scan backend of a network for its device, and the steps around the scan with it.

    Args:
        network: A network whose parameters already are on their device.
        scan: `auto`, the name of a backend, or one that runs on the device.

    Returns:
        The name of the chosen backend.

    Raises:
        BackendError: The named backend cannot run here; the message says why.
    """
    device = next(network.parameters()).device
    backend = dispatch.select(scan, device) if isinstance(scan, str) else scan
    steps = backend.steps()
    for module in network.modules():
        if hasattr(module, "ops"):
            module.ops = steps  # type: ignore[assignment]
        if isinstance(module, SelectiveScan):
            module.scan = backend
    return backend.name


def prepare_kernels(
    scan: str | dispatch.Backend, *, precision: Precision = "fp32", training: bool = False
) -> float:
    """Compile a CPU's kernels, or load them from the cache, by running a small group.

    Args:
        scan: As for `set_scan_backend`.
        precision: What networks will compute in.
        training: Also those of the backward pass.

    Returns:
        Seconds that it took.
    """
    start = time.perf_counter()
    with torch.device("cpu"):
        block = ResidualStateSpaceBlock(LEAST_CHANNELS, d_state=1, expand=1.0, light=True)
        group = ResidualGroup(block, LEAST_CHANNELS, "1conv").float().requires_grad_(training)
    set_scan_backend(group, scan)
    zeros = torch.zeros(1, *LEAST_SIDES, LEAST_CHANNELS, dtype=torch.float32, device="cpu")
    with torch.set_grad_enabled(training), computing_in(precision, zeros.device):
        result = group(zeros)
    if training:
        result.sum().backward()
    return time.perf_counter() - start
