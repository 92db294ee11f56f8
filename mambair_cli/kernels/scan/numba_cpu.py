"""The scan of an image on a CPU: Numba kernels behind a differentiable PyTorch function."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from mambair_cli.kernels.numba_kernel import Kernel
from mambair_cli.kernels.numba_launch import FLAT, LANES, flat, launch, padded, scratch
from mambair_cli.kernels.parameters import recorded

FORWARD = Kernel("mambair_cli.kernels.scan.numba_forward", "scan_forward")
BACKWARD = Kernel("mambair_cli.kernels.scan.numba_backward", "scan_backward")
CHUNK = 4  # tokens between states that are kept for gradients, as in the kernels
LOG2_E = 1.4426950408889634
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
    """As `dispatch.selective_scan_2d`; `u` is float32 or bfloat16, all other inputs float32.

    First argument: whether to keep the states.
    """

    @staticmethod
    def forward(ctx: Any, keep: bool, *inputs: Tensor) -> Tensor:
        u, projected, step_weight, step_bias, A, D = inputs
        b, h, w, d = u.shape
        parameters = (
            padded(step_weight, lambda weight: weight.transpose(1, 2)),
            padded(step_bias),
            padded(A, lambda matrix: matrix.transpose(1, 2) * LOG2_E),
            padded(D),
        )
        k, n, channels = parameters[2].shape
        r, axes = step_weight.shape[-1], min(k, 2)
        kept_size = b * k * -(-h * w // CHUNK) * n * channels if keep else 0
        kept = torch.empty(kept_size, **FLAT)
        planes = torch.empty(axes, b, h, w, d, **FLAT)
        blocks = 1 if keep else channel_blocks(channels, axes * b)
        tasks = b * axes * blocks
        widest = -(-(channels // LANES) // blocks) * LANES
        launch(
            FORWARD, tasks, flat(u), flat(projected), *parameters, planes, kept,
            scratch(tasks, (2 * n + r + CHUNK) * widest), b, h, w, d, k, n, r, channels, blocks,
        )  # fmt: skip
        if keep:
            ctx.save_for_backward(*inputs, kept)
            ctx.parameters = parameters
        return _summed(planes)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
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
        row = r + 2 * n
        room = n * channels + 4 * (-(-row // LANES) * LANES * LANES)
        tasks = b * min(k, 2)
        launch(
            BACKWARD, tasks, flat(u), flat(projected), *ctx.parameters, kept, flat(gradients[0]),
            du, dprojected, dA, dD, db, dW, scratch(tasks, room), b, h, w, d, k, n, r, channels,
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
    """Run the scan; see `dispatch.selective_scan_2d`.

    It is float32 whatever the inputs' dtype; of bfloat16, exponentials are no more exact than that.
    """
    keep = recorded(inputs)
    u, *others = inputs
    if keep or u.dtype != torch.bfloat16:
        u = u.float()
    with torch.autocast("cpu", enabled=False):
        result: Tensor = _SelectiveScan2d.apply(  # type: ignore[no-untyped-call]
            keep, u, *(tensor.float() for tensor in others)
        )
    return result
