"""Gradients of the scan on a GPU: launches of the kernels, and the products around them."""

from __future__ import annotations

import torch
from torch import Tensor

from mambair_cli.kernels.scan import triton_gpu
from mambair_cli.kernels.scan.reference import DIRECTIONS
from mambair_cli.kernels.scan.triton_backward import adjoint_chunks, scan_gradients

# Room for the states before every token, of as many rows at a time as it holds, at least one.
HISTORY_BYTES = 256 * 2**20


def gradients(tensors: tuple[Tensor, ...], dplanes: Tensor) -> tuple[Tensor, ...]:
    """Differentiates the scan.

    States are computed again; nothing but the inputs is kept from the forward pass. Runs repeat to
    the bit: what several programs contribute to one value is stored apart and summed afterwards.

    Args:
        tensors: Arguments of `dispatch.selective_scan_2d`.
        dplanes: `(4 b h w d)`, gradients of each direction's outputs, any dtype and strides.

    Returns:
        Gradients of the arguments, float32, in their shapes.
    """
    u, projected, step_weight, step_bias, A, D = tensors
    b, h, w, d = u.shape
    k, n, r = DIRECTIONS, A.shape[-1], step_weight.shape[-1]
    dy = dplanes[0].contiguous() if dplanes.stride(0) == 0 else dplanes.contiguous()
    plane_stride = dy.stride(0) if dy.dim() == 5 else 0
    row_bytes = 4 * h * w * n * d
    rows_at_once = min(k * b, max(1, HISTORY_BYTES // row_bytes))
    division = triton_gpu.divide(rows_at_once, h * w, d, triton_gpu.processor(u.device))
    blocks, chunks = division.blocks, division.chunks
    sizes = triton_gpu.block_sizes(A, step_weight)
    weight, bias, matrix, skip = (
        triton_gpu.channels_last(parameter) for parameter in (step_weight, step_bias, A, D)
    )
    states, steps = triton_gpu.chunk_states(tensors, division)
    adjoints = torch.empty_like(states)
    if chunks > 1:
        adjoint_chunks[blocks, chunks - 1, k * b](
            dy, projected, weight, bias, matrix, adjoints, steps,
            plane_stride, h, w, d, division.length, chunks,
            **sizes, BLOCK=division.block, num_warps=division.warps,
        )  # fmt: skip

    def new(*shape: int) -> Tensor:
        return u.new_empty(shape, dtype=torch.float32)

    du, dz, dA = new(k, b, h, w, d), new(k, b, h * w, d), torch.empty_like(states)
    dBC = new(blocks, b, h * w, k, 2 * n)
    history = new(rows_at_once, chunks, division.length, n, d)
    for first_row in range(0, k * b, rows_at_once):
        scan_gradients[blocks, chunks, min(rows_at_once, k * b - first_row)](
            u, projected, weight, bias, matrix, skip, dy,
            states, adjoints, steps, history, du, dz, dBC, dA,
            plane_stride, first_row, b, h, w, d, division.length, chunks,
            **sizes, BLOCK=division.block, num_warps=division.warps,
        )  # fmt: skip
    raw = projected.view(b, h * w, k, r + 2 * n)[..., :r].float()
    draw = torch.einsum("kbld,kdr->blkr", dz, step_weight.float())
    return (
        du.sum(0),
        torch.cat([draw, dBC.sum(0)], dim=-1).view(projected.shape),
        torch.einsum("kbld,blkr->kdr", dz, raw),
        dz.sum((1, 2)),
        dA.sum((0, 2)).transpose(1, 2),
        (dplanes.float() * u.float()).sum((1, 2, 3)),
    )
