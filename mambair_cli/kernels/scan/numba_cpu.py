"""The scan of an image on a CPU: Numba kernels behind a differentiable PyTorch function.

Importing this module compiles the kernels, or loads them from Numba's cache.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from mambair_cli.kernels.numba_launch import FLAT, flat, launch, padded
from mambair_cli.kernels.parameters import recorded
from mambair_cli.kernels.scan.numba_forward import CHUNK, scan_forward
from mambair_cli.kernels.vector import LANES, LOG2_E

LARGEST_BLOCK = 192  # channels whose state and A stay in the first-level cache


def channel_blocks(channels: int, tasks: int) -> int:
    """Split channels so that a block fits the cache and every thread has work.

    Args:
        channels: Channels, a multiple of `LANES`.
        tasks: Independent tasks of one block.

    Returns:
        How many blocks.
    """
    for_cache = -(-channels // LARGEST_BLOCK)
    for_threads = -(-torch.get_num_threads() // tasks)
    return min(max(for_cache, for_threads), channels // LANES)


def _summed(planes: Tensor) -> Tensor:
    """Add the plane of the columns, if there is one, to that of the rows, in place."""
    return planes[0].add_(planes[1]) if len(planes) > 1 else planes[0]


class _SelectiveScan2d(torch.autograd.Function):
    """As `dispatch.selective_scan_2d`, float32; first argument: whether to keep the states."""

    @staticmethod
    def forward(ctx: Any, keep: bool, *inputs: Tensor) -> Tensor:
        u, projected, step_weight, step_bias, A, D = inputs
        b, h, w, d = u.shape
        parameters = (
            padded(step_weight, lambda weight: weight.transpose(1, 2)),
            padded(step_bias),
            padded(A, lambda matrix: matrix.transpose(1, 2) * float(LOG2_E)),
            padded(D),
        )
        k, n, channels = parameters[2].shape
        axes = min(k, 2)
        kept_size = b * k * -(-h * w // CHUNK) * n * channels if keep else 0
        kept = torch.empty(kept_size, **FLAT)
        planes = torch.empty(axes, b, h, w, d, **FLAT)
        blocks = 1 if keep else channel_blocks(channels, axes * b)
        launch(
            scan_forward, flat(u), flat(projected), *parameters, flat(planes), flat(kept),
            b, h, w, d, blocks,
        )  # fmt: skip
        if keep:
            ctx.save_for_backward(*inputs, kept)
            ctx.parameters = parameters
        return _summed(planes)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        from mambair_cli.kernels.scan.numba_backward import scan_backward

        u, projected, step_weight, _, A, _, kept = ctx.saved_tensors
        b, h, w, d = u.shape
        (k, _, r), n = step_weight.shape, A.shape[-1]
        channels = ctx.parameters[0].shape[-1]
        du, dprojected = (
            torch.empty(min(k, 2), *u.shape, **FLAT),
            torch.empty(projected.shape, **FLAT),
        )
        dA, dW = (torch.zeros(b, k, rows * channels, **FLAT) for rows in (n, r))
        dD, db = (torch.zeros(b, k, channels, **FLAT) for _ in range(2))
        launch(
            scan_backward, flat(u), flat(projected), *ctx.parameters, flat(kept),
            flat(gradients[0]), flat(du), flat(dprojected),
            *(gradient.numpy() for gradient in (dA, dD, db, dW)), b, h, w, d,
        )  # fmt: skip
        return (
            None,
            _summed(du),
            dprojected,
            dW.sum(0).view(k, r, channels)[..., :d].transpose(1, 2),
            db.sum(0)[:, :d],
            dA.sum(0).view(k, n, channels)[..., :d].transpose(1, 2),
            dD.sum(0)[:, :d],
        )


def selective_scan_2d(*inputs: Tensor) -> Tensor:
    """Run the scan in float32 whatever the inputs' dtype; see `dispatch.selective_scan_2d`."""
    with torch.autocast("cpu", enabled=False):
        result: Tensor = _SelectiveScan2d.apply(  # type: ignore[no-untyped-call]
            recorded(inputs), *(tensor.float() for tensor in inputs)
        )
    return result
