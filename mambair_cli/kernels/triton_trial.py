"""Whether Triton's kernels run on a device: tried once, on a few pixels, and compared.

Nothing else tells. Triton needs a C compiler, headers, a folder to write to, a driver and a GPU
that it knows, and misses them only when a kernel is launched for the first time.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache

import torch
from torch import Tensor, nn

from mambair_cli.kernels.block.ops import PLAIN, Ops
from mambair_cli.kernels.scan import reference

CHANNELS = 16
# Enough of them to be scanned in two chunks.
ROWS, COLUMNS = 8, 16
# Of the largest value; wrong kernels are further off, and libraries may round products.
TOLERANCE = 1e-2


@cache
def failure_on(device: torch.device) -> str | None:
    """Run all kernels of a network once.

    Args:
        device: One that Triton compiles for, or the CPU where its interpreter runs.

    Returns:
        Why they do not run there, or that they compute something else than they are to; else None.
    """
    try:
        wrong = _wrong_on(device)
    # Compilers, drivers, disks and tables of GPUs fail in ever new ways, and all of them mean this.
    except Exception as error:  # noqa: BLE001
        first = str(error).strip().partition("\n")[0]
        return f"its kernels do not run there ({type(error).__name__}: {first})"
    return None if wrong is None else f"its kernels compute something else there: {wrong}"


def _wrong_on(device: torch.device) -> str | None:
    from mambair_cli.kernels.block.ops_gpu import FUSED
    from mambair_cli.kernels.scan.triton_gpu import selective_scan_2d

    with torch.inference_mode(), torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(0)  # and no GPU's
        inputs = list(_scan_inputs())
        scanned = selective_scan_2d(*(tensor.to(device) for tensor in inputs)).sum(0)
        if not _agree(scanned, reference.selective_scan_2d(*inputs)):
            return "scan"
        features = [_made_up(1, ROWS, COLUMNS, CHANNELS) for _ in range(2)]
        with torch.device("cpu"):
            layers = _Layers().float()
        expected = list(_steps(PLAIN, layers, *features))
        on_device = _steps(FUSED, layers.to(device), *(tensor.to(device) for tensor in features))
        for (name, actual), (_, right) in zip(on_device, expected, strict=True):
            if not _agree(actual, right):
                return name
    return None


def _scan_inputs() -> Iterator[Tensor]:
    """Make up what `dispatch.selective_scan_2d` takes, with one state and rank one."""
    k, d = 4, CHANNELS
    for shape in ((1, ROWS, COLUMNS, d), (1, ROWS, COLUMNS, 3 * k), (k, d, 1), (k, d)):
        yield _made_up(*shape)
    yield -_made_up(k, d, 1).abs()
    yield _made_up(k, d)


def _made_up(*shape: int) -> Tensor:
    return torch.randn(shape, dtype=torch.float32, device="cpu")


class _Layers(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(CHANNELS)
        self.local = nn.Conv2d(CHANNELS, CHANNELS, 3, padding=1, groups=CHANNELS)
        self.squeeze = nn.Conv2d(CHANNELS, 1, 1)
        self.expand = nn.Conv2d(1, CHANNELS, 1)


def _steps(ops: Ops, layers: _Layers, x: Tensor, y: Tensor) -> Iterator[tuple[str, Tensor]]:
    skip, gate = y[0, 0, 0], ops.channel_gate(x, layers.squeeze, layers.expand)
    yield "channel_gate", gate
    yield "norm", ops.norm(x, layers.norm)
    yield "residual_norm", ops.residual_norm(x, y, skip, layers.norm)[1]
    yield "norm_gate", ops.norm_gate(x, y, layers.norm)
    yield "gated_residual", ops.gated_residual(x, y, skip, gate)
    yield "depthwise", ops.depthwise(x, layers.local, "silu")


def _agree(actual: Tensor, expected: Tensor) -> bool:
    return bool((actual.cpu() - expected).abs().max() < TOLERANCE * expected.abs().max())
